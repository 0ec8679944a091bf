/* SPDX-License-Identifier: MIT */
#include "core/request.h"

#include <string.h>

#include "core/alloc.h"
#include "core/reply.h"

#define ERROR_TEXT_MAX 512

struct seqc_call *
seqc_call_new(uint32_t count, size_t key_bytes)
{
    size_t head =
        sizeof(struct seqc_call) + (size_t)count * sizeof(struct seqc_request);
    struct seqc_call *call = seqc_malloc(head + key_bytes);

    if (!call) {
        return NULL;
    }
    memset(call, 0, head);
    atomic_init(&call->refs, 1);
    atomic_init(&call->word, 0);
    call->count = count;
    call->deadline_ns = SEQC_TIME_NEVER;
    return call;
}

#define SINGLE_BYTES (sizeof(struct seqc_call) + sizeof(struct seqc_request))

struct seqc_call *
seqc_call_new_single(struct seqc_call_pool *pool, size_t key_bytes)
{
    struct seqc_call *call;

    if (!pool || SINGLE_BYTES + key_bytes > SEQC_POOL_BLOCK_BYTES) {
        return seqc_call_new(1, key_bytes);
    }
    call = pool->spares;
    if (call) {
        pool->spares = call->next_done;
        pool->count--;
    } else {
        call = seqc_malloc(SEQC_POOL_BLOCK_BYTES);
    }
    if (!call) {
        return NULL;
    }
    memset(call, 0, SINGLE_BYTES);
    atomic_init(&call->refs, 1);
    call->count = 1;
    call->deadline_ns = SEQC_TIME_NEVER;
    call->pool = pool;
    return call;
}

void
seqc_call_pool_fini(struct seqc_call_pool *pool)
{
    while (pool->spares) {
        struct seqc_call *call = pool->spares;
        pool->spares = call->next_done;
        seqc_free(call);
    }
    pool->count = 0;
}

static void
free_call(struct seqc_call *call)
{
    struct seqc_call_pool *pool = call->pool;

    if (pool && pool->count < SEQC_POOL_BLOCKS_MAX) {
        call->next_done = pool->spares;
        pool->spares = call;
        pool->count++;
    } else {
        seqc_free(call);
    }
}

struct seqc_call *
seqc_call_ref(struct seqc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

static void
free_result(struct seqc_request *request)
{
    if (request->error) {
        seqc_free(request->error);
    }
    if (request->state == SEQC_REQUEST_DONE &&
        request->status ==
            (request->op == SEQC_OP_RAW ? SEQC_OK : SEQC_VERDICT)) {
        seqc_value_free(request->u.tree);
    }
}

void
seqc_call_unref(struct seqc_call *call)
{
    if (!call ||
        atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t i = 0; i < call->count; i++) {
        free_result(&call->requests[i]);
    }
    free_call(call);
}

void
seqc_call_set_token(struct seqc_call *call, const char *token, uint16_t len)
{
    memcpy(&call->requests[call->count], token, len);
    call->token_len = len;
}

const char *
seqc_call_token(const struct seqc_call *call)
{
    return (const char *)&call->requests[call->count];
}

void
seqc_call_fill(struct seqc_call_filler *filler, struct seqc_call *call)
{
    filler->call = call;
    filler->end = (char *)&call->requests[call->count] + call->token_len;
    filler->filled = 0;
}

struct seqc_request *
seqc_call_add_key(struct seqc_call_filler *filler,
                  enum seqc_op op,
                  const char *prefix,
                  size_t prefix_len,
                  const char *id,
                  size_t id_len)
{
    struct seqc_request *request = &filler->call->requests[filler->filled++];

    request->call = filler->call;
    request->key = filler->end;
    request->key_len = (uint32_t)(prefix_len + id_len);
    request->op = (uint8_t)op;
    request->span = 1;
    memcpy(filler->end, prefix, prefix_len);
    memcpy(filler->end + prefix_len, id, id_len);
    filler->end += request->key_len;
    return request;
}

char *
seqc_error_dup(const char *text, size_t len)
{
    char *copy;

    len = len < ERROR_TEXT_MAX ? len : ERROR_TEXT_MAX;
    copy = seqc_malloc(len + 1);
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

void
seqc_list_push_front(struct seqc_list *list, struct seqc_request *request)
{
    request->prev = NULL;
    request->next = list->head;
    if (list->head) {
        list->head->prev = request;
    } else {
        list->tail = request;
    }
    list->head = request;
}

void
seqc_list_prepend(struct seqc_list *list, struct seqc_list *from)
{
    if (!from->head) {
        return;
    }
    from->tail->next = list->head;
    if (list->head) {
        list->head->prev = from->tail;
    } else {
        list->tail = from->tail;
    }
    list->head = from->head;
    from->head = from->tail = NULL;
}
