/* SPDX-License-Identifier: MIT */
#include "core/timers.h"

#include <string.h>

#include "core/alloc.h"

#define HEAP_SIZE_FIRST 16

void
seqc_timers_init(struct seqc_timers *timers)
{
    memset(timers, 0, sizeof *timers);
}

void
seqc_timers_fini(struct seqc_timers *timers)
{
    while (seqc_timers_expired(timers, SEQC_TIME_NEVER)) {
    }
    seqc_free(timers->heap);
    seqc_timers_init(timers);
}

/* Behind the last one that is not later: clocks may be read in another order
 * than calls are added. */
static void
insert_call(struct seqc_timers *timers, struct seqc_call *call)
{
    struct seqc_call *prev = timers->tail;

    while (prev && prev->deadline_ns > call->deadline_ns) {
        prev = prev->timer_prev;
    }
    call->timer_prev = prev;
    call->timer_next = prev ? prev->timer_next : timers->head;
    *(call->timer_next ? &call->timer_next->timer_prev : &timers->tail) = call;
    *(prev ? &prev->timer_next : &timers->head) = call;
}

static inline void
link_call(struct seqc_timers *timers, struct seqc_call *call)
{
    struct seqc_call *tail = timers->tail;

    if (tail && tail->deadline_ns > call->deadline_ns) {
        insert_call(timers, call);
        return;
    }
    call->timer_prev = tail;
    call->timer_next = NULL;
    *(tail ? &tail->timer_next : &timers->head) = call;
    timers->tail = call;
}

static inline void
unlink_call(struct seqc_timers *timers, struct seqc_call *call)
{
    struct seqc_call *next = call->timer_next;
    struct seqc_call *prev = call->timer_prev;

    *(prev ? &prev->timer_next : &timers->head) = next;
    *(next ? &next->timer_prev : &timers->tail) = prev;
}

static void
place(struct seqc_timers *timers, uint32_t i, struct seqc_call *call)
{
    timers->heap[i] = call;
    call->heap_index = i;
}

static void
sift_up(struct seqc_timers *timers, uint32_t i, struct seqc_call *call)
{
    while (i > 1 && timers->heap[i / 2]->deadline_ns > call->deadline_ns) {
        place(timers, i, timers->heap[i / 2]);
        i /= 2;
    }
    place(timers, i, call);
}

static void
sift_down(struct seqc_timers *timers, uint32_t i, struct seqc_call *call)
{
    struct seqc_call **heap = timers->heap;

    while (i <= timers->heap_count / 2) {
        uint32_t child = i * 2;
        if (child < timers->heap_count &&
            heap[child + 1]->deadline_ns < heap[child]->deadline_ns) {
            child++;
        }
        if (heap[child]->deadline_ns >= call->deadline_ns) {
            break;
        }
        place(timers, i, heap[child]);
        i = child;
    }
    place(timers, i, call);
}

SEQC_CHECK static seqc_status
make_room(struct seqc_timers *timers)
{
    if (timers->heap_count + 1 < timers->heap_size) {
        return SEQC_OK;
    }
    uint32_t size =
        timers->heap_size ? timers->heap_size * 2 : HEAP_SIZE_FIRST;
    struct seqc_call **heap =
        seqc_realloc(timers->heap, size * sizeof(struct seqc_call *));
    if (!heap) {
        return SEQC_NOMEM;
    }
    timers->heap = heap;
    timers->heap_size = size;
    return SEQC_OK;
}

/* The last entry goes where the call was, then up or down from there. */
static void
remove_from_heap(struct seqc_timers *timers, struct seqc_call *call)
{
    uint32_t i = call->heap_index;
    struct seqc_call *last = timers->heap[timers->heap_count--];

    call->heap_index = 0;
    if (last == call) {
        return;
    }
    if (i > 1 && timers->heap[i / 2]->deadline_ns > last->deadline_ns) {
        sift_up(timers, i, last);
    } else {
        sift_down(timers, i, last);
    }
}

seqc_status
seqc_timers_add(struct seqc_timers *timers,
                struct seqc_call *call,
                bool is_default)
{
    if (call->deadline_ns == SEQC_TIME_NEVER) {
        return SEQC_OK;
    }
    if (is_default) {
        link_call(timers, call);
    } else {
        seqc_status status = make_room(timers);
        if (status) {
            return status;
        }
        sift_up(timers, ++timers->heap_count, call);
    }
    call->timed = true;
    return SEQC_OK;
}

void
seqc_timers_remove(struct seqc_timers *timers, struct seqc_call *call)
{
    if (!call->timed) {
        return;
    }
    call->timed = false;
    if (call->heap_index) {
        remove_from_heap(timers, call);
    } else {
        unlink_call(timers, call);
    }
}

static struct seqc_call *
find_earliest(const struct seqc_timers *timers)
{
    struct seqc_call *top = timers->heap_count ? timers->heap[1] : NULL;

    if (!timers->head ||
        (top && top->deadline_ns < timers->head->deadline_ns)) {
        return top;
    }
    return timers->head;
}

int64_t
seqc_timers_earliest(const struct seqc_timers *timers)
{
    const struct seqc_call *call = find_earliest(timers);
    return call ? call->deadline_ns : SEQC_TIME_NEVER;
}

struct seqc_call *
seqc_timers_expired(struct seqc_timers *timers, int64_t now_ns)
{
    struct seqc_call *call = find_earliest(timers);

    if (!call || call->deadline_ns > now_ns) {
        return NULL;
    }
    seqc_timers_remove(timers, call);
    return call;
}
