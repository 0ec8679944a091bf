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

struct seqc_call *
seqc_call_ref(struct seqc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

static void
free_result(struct seqc_request *request)
{
    seqc_free(request->error);
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
    seqc_free(call);
}

void
seqc_call_fill(struct seqc_call_filler *filler, struct seqc_call *call)
{
    filler->call = call;
    filler->end = (char *)&call->requests[call->count];
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
seqc_list_push(struct seqc_list *list, struct seqc_request *request)
{
    request->next = NULL;
    request->prev = list->tail;
    if (list->tail) {
        list->tail->next = request;
    } else {
        list->head = request;
    }
    list->tail = request;
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
seqc_list_remove(struct seqc_list *list, struct seqc_request *request)
{
    if (request->prev) {
        request->prev->next = request->next;
    } else {
        list->head = request->next;
    }
    if (request->next) {
        request->next->prev = request->prev;
    } else {
        list->tail = request->prev;
    }
    request->next = request->prev = NULL;
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
