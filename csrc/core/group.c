/* SPDX-License-Identifier: MIT */
#include "core/group.h"

#include <pthread.h>

#include "core/alloc.h"
#include "core/durable.h"
#include "core/park.h"
#include "core/wire.h"

/* States of a call's word. */
enum { WORD_WAIT, WORD_DONE, WORD_LEAD };

struct seqc_group {
    struct seqc_wire wire; /* its mutex guards all of the group */
    struct seqc_stats stats;
    struct seqc_call *leader; /* who may exchange bytes; borrowed */
    bool was_up;              /* the next connection is a reconnect */
};

struct seqc_group *
seqc_group_new(struct seqc_link_options options, struct seqc_regress *regress)
{
    struct seqc_group *group = seqc_calloc(1, sizeof *group);

    if (group &&
        seqc_wire_init(&group->wire, options, regress, &group->stats)) {
        seqc_free(group);
        return NULL;
    }
    return group;
}

void
seqc_group_make_durable(struct seqc_group *group, struct seqc_belief *belief)
{
    seqc_durable_attach(&group->wire.link, belief);
}

void
seqc_group_free(struct seqc_group *group)
{
    if (!group) {
        return;
    }
    seqc_group_close(group);
    seqc_wire_fini(&group->wire);
    seqc_free(group);
}

/* ---- waking ---- */

/* The first call that still has somebody waiting for it, who can lead. */
static struct seqc_call *
find_heir(const struct seqc_list *list, const struct seqc_call *except)
{
    for (struct seqc_request *r = list->head; r; r = r->next) {
        if (r->call != except && !r->call->abandoned && !r->call->is_away) {
            return r->call;
        }
    }
    return NULL;
}

/* Under the mutex: the lead goes to a call that waits, if there is one.
 * Returns it with a reference, to be woken by wake_heir without the mutex. */
static struct seqc_call *
choose_heir(struct seqc_group *group)
{
    struct seqc_link *link = &group->wire.link;
    struct seqc_call *me = group->leader;
    struct seqc_call *heir = find_heir(&link->sent, me);

    heir = heir ? heir : find_heir(&link->unsent, me);
    for (int i = 0; i < SEQC_DELAY_LENGTHS && !heir; i++) {
        heir = find_heir(&link->delays.lists[i], me);
    }
    group->leader = heir;
    if (group->wire.closed) {
        seqc_wire_drop_socket(&group->wire);
    }
    return heir ? seqc_call_ref(heir) : NULL;
}

/* A sleeper with a changed word does not go to sleep, either. */
static void
rouse(struct seqc_call *call)
{
    uint32_t wait = WORD_WAIT;

    if (call &&
        atomic_compare_exchange_strong(&call->word, &wait, WORD_LEAD)) {
        seqc_unpark(&call->word);
    }
}

static void
wake_heir(struct seqc_call *heir)
{
    rouse(heir);
    seqc_call_unref(heir);
}

/* Without the mutex: all of a finished group at once (waking them one by
 * another halves the rate).  The reference of the link ends here. */
static void
wake_done(struct seqc_call *done, const struct seqc_call *me)
{
    while (done) {
        struct seqc_call *next = done->next_done;
        atomic_store_explicit(&done->word, WORD_DONE, memory_order_release);
        if (done != me) {
            seqc_unpark(&done->word);
        }
        seqc_call_unref(done);
        done = next;
    }
}

/* Leaves the mutex.  The order was measured: wake the finished first, then
 * hand over the lead. */
static void
unlock_and_wake(struct seqc_group *group, struct seqc_call *me, bool leave)
{
    struct seqc_call *done = seqc_link_take_done(&group->wire.link);
    struct seqc_call *heir =
        leave && group->leader == me ? choose_heir(group) : NULL;

    pthread_mutex_unlock(&group->wire.mutex);
    wake_done(done, me);
    wake_heir(heir);
}

/* ---- waiting ---- */

static int64_t
earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void
sleep_until(struct seqc_group *group, struct seqc_call *call, int64_t until_ns)
{
    pthread_mutex_unlock(&group->wire.mutex);
    seqc_park(&call->word, WORD_WAIT, until_ns);
    pthread_mutex_lock(&group->wire.mutex);
}

/* A follower's sleep, outside the mutex: true when the call is done. */
static bool
follow(struct seqc_call *call, int64_t until_ns)
{
    uint32_t word;

    do {
        word = atomic_load_explicit(&call->word, memory_order_acquire);
        if (word != WORD_WAIT) {
            return word == WORD_DONE;
        }
        seqc_park(&call->word, WORD_WAIT, until_ns);
        word = atomic_load_explicit(&call->word, memory_order_acquire);
    } while (word == WORD_WAIT && seqc_now_ns() < until_ns);
    return word == WORD_DONE;
}

enum step {
    STEP_AGAIN,
    STEP_DONE,
    STEP_SIGNAL,
    STEP_CONNECT,
};

/* Nobody else leads, or only a call of this very thread: further up its
 * stack, waiting in Python while a signal handler or the like made this call,
 * and not to be waited for. */
static bool
may_lead(const struct seqc_group *group, const struct seqc_call *call)
{
    const struct seqc_call *leader = group->leader;

    return !leader || leader == call || leader->thread == call->thread;
}

/* With the mutex, by whoever is not done yet. */
static enum step
take_step(struct seqc_group *group,
          struct seqc_call *call,
          bool signals,
          int64_t check_ns)
{
    struct seqc_link *link = &group->wire.link;
    int64_t now = seqc_now_ns();
    int64_t until = earlier(call->deadline_ns, check_ns);
    int64_t retry_ns = group->wire.backoff.retry_ns;

    if (!call->waiting) {
        return STEP_DONE;
    }
    if (now >= call->deadline_ns) {
        seqc_link_abandon(link, call, seqc_link_late_status(link));
        return STEP_DONE;
    }
    if (now >= check_ns) {
        return STEP_SIGNAL;
    }
    if (!may_lead(group, call)) {
        return STEP_AGAIN;
    }
    group->leader = call;
    if (!link->up && now >= retry_ns) {
        return STEP_CONNECT;
    }
    if (!link->up) {
        sleep_until(group, call, earlier(until, retry_ns));
        return STEP_AGAIN;
    }
    if (seqc_wire_exchange(&group->wire, until) && signals && call->waiting) {
        return STEP_SIGNAL;
    }
    return call->waiting ? STEP_AGAIN : STEP_DONE;
}

enum seqc_turn
seqc_group_wait(struct seqc_group *group,
                struct seqc_call *call,
                bool signals,
                int64_t check_ns)
{
    enum step step = STEP_AGAIN;
    uint32_t lead = WORD_LEAD;

    check_ns = signals ? check_ns : SEQC_TIME_NEVER;
    for (;;) {
        pthread_mutex_lock(&group->wire.mutex);
        atomic_compare_exchange_strong(&call->word, &lead, WORD_WAIT);
        lead = WORD_LEAD;
        call->is_away = false;
        step = take_step(group, call, signals, check_ns);
        call->is_away = step == STEP_SIGNAL || step == STEP_CONNECT;
        bool leads = group->leader == call;
        if (step == STEP_CONNECT) {
            unlock_and_wake(group, call, false);
            return SEQC_TURN_CONNECT;
        }
        unlock_and_wake(group, call, step != STEP_AGAIN);
        if (step == STEP_DONE) {
            return SEQC_TURN_DONE;
        }
        if (step == STEP_SIGNAL) {
            return SEQC_TURN_SIGNAL;
        }
        if (!leads && follow(call, earlier(call->deadline_ns, check_ns))) {
            return SEQC_TURN_DONE;
        }
    }
}

/* ---- from outside ---- */

seqc_status
seqc_group_submit(struct seqc_group *group, struct seqc_call *call)
{
    seqc_status status = SEQC_OK;

    call->thread = (uint64_t)pthread_self();
    pthread_mutex_lock(&group->wire.mutex);
    if (group->wire.closed) {
        status = SEQC_CLOSED;
    } else {
        seqc_link_submit(&group->wire.link, call);
    }
    pthread_mutex_unlock(&group->wire.mutex);
    return status;
}

void
seqc_group_abandon(struct seqc_group *group,
                   struct seqc_call *call,
                   seqc_status status)
{
    pthread_mutex_lock(&group->wire.mutex);
    seqc_link_abandon(&group->wire.link, call, status);
    unlock_and_wake(group, call, true);
}

void
seqc_group_connected(struct seqc_group *group, int fd)
{
    pthread_mutex_lock(&group->wire.mutex);
    if (seqc_wire_connect(&group->wire, fd)) {
        seqc_stats_add(&group->stats.reconnects, group->was_up);
        group->was_up = true;
        rouse(group->leader); /* it may rest, or be about to */
    }
    pthread_mutex_unlock(&group->wire.mutex);
}

/* Leaves the mutex after calls were ended from outside: if the leader's was
 * among them it may never know that it led. */
static void
unlock_after_ending(struct seqc_group *group)
{
    struct seqc_call *done = seqc_link_take_done(&group->wire.link);

    if (group->leader && !group->leader->waiting && !group->wire.is_busy) {
        group->leader = NULL;
    }
    pthread_mutex_unlock(&group->wire.mutex);
    wake_done(done, NULL);
}

void
seqc_group_refused(struct seqc_group *group,
                   seqc_status status,
                   const char *why)
{
    pthread_mutex_lock(&group->wire.mutex);
    if (!group->wire.link.up) {
        if (status != SEQC_CONNECT) {
            seqc_link_refuse(&group->wire.link, status, why);
        }
        seqc_backoff_failed(&group->wire.backoff, seqc_now_ns());
    }
    unlock_after_ending(group);
}

void
seqc_group_close(struct seqc_group *group)
{
    pthread_mutex_lock(&group->wire.mutex);
    seqc_wire_close(&group->wire);
    unlock_after_ending(group);
}

void
seqc_group_before_fork(struct seqc_group *group)
{
    pthread_mutex_lock(&group->wire.mutex);
}

void
seqc_group_after_fork_parent(struct seqc_group *group)
{
    pthread_mutex_unlock(&group->wire.mutex);
}

void
seqc_group_after_fork_child(struct seqc_group *group)
{
    uint64_t self = (uint64_t)pthread_self();

    if (group->leader && group->leader->thread != self) {
        group->leader = NULL;
    }
    seqc_wire_after_fork(&group->wire, self);
    group->was_up = false;
}

const struct seqc_stats *
seqc_group_stats(const struct seqc_group *group)
{
    return &group->stats;
}

size_t
seqc_group_in_flight(struct seqc_group *group)
{
    pthread_mutex_lock(&group->wire.mutex);
    size_t in_flight = group->wire.link.in_flight;
    pthread_mutex_unlock(&group->wire.mutex);
    return in_flight;
}

bool
seqc_group_is_up(struct seqc_group *group)
{
    pthread_mutex_lock(&group->wire.mutex);
    bool up = group->wire.link.up;
    pthread_mutex_unlock(&group->wire.mutex);
    return up;
}
