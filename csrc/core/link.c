/* SPDX-License-Identifier: MIT */
#include "core/link.h"

#include <string.h>

#include "core/answer.h"
#include "core/durable.h"
#include "core/encode.h"

/* Bytes encoded before they are offered for writing. */
#define OUTPUT_BYTES 65536

seqc_status
seqc_link_init(struct seqc_link *link,
               struct seqc_link_options options,
               struct seqc_regress *regress,
               struct seqc_stats *stats)
{
    *link = (struct seqc_link){
        .options = options,
        .regress = regress,
        .stats = stats,
    };
    seqc_buf_init(&link->out);
    return seqc_replies_init(&link->replies, seqc_answer_target(link));
}

void
seqc_link_fini(struct seqc_link *link)
{
    seqc_replies_fini(&link->replies);
    seqc_buf_fini(&link->out);
    seqc_belief_unref(link->belief);
}

/* Here, where the keys are still in the cache. */
static void
hash_keys(const struct seqc_link *link, struct seqc_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        struct seqc_request *request = &call->requests[i];
        request->hash =
            seqc_regress_hash(link->regress, request->key, request->key_len);
    }
}

void
seqc_link_submit(struct seqc_link *link, struct seqc_call *call)
{
    seqc_call_ref(call);
    call->waiting = call->count;
    call->uncounted = link->belief && !call->durable; /* a part of others */
    if (link->regress) {
        hash_keys(link, call);
    }
    for (uint32_t i = 0; i < call->count; i += call->requests[i].span) {
        struct seqc_request *request = &call->requests[i];
        seqc_stats_add(&link->stats->calls[request->op], !call->uncounted);
        request->state = SEQC_REQUEST_UNSENT;
        seqc_list_push(&link->unsent, request);
    }
}

seqc_status
seqc_link_up(struct seqc_link *link, int64_t now_ns)
{
    seqc_status status = seqc_replies_reset(&link->replies);

    if (status) {
        return status;
    }
    seqc_buf_clear(&link->out);
    link->connection++;
    link->encoded = link->written = 0;
    link->now_ns = link->owed_since_ns = now_ns;
    link->has_answered = false;
    link->scripts_known = 0;
    link->up = true;
    return SEQC_OK;
}

/* ---- writing ---- */

/* What is known now is what the answer will be compared with. */
static void
capture_floor(struct seqc_link *link, struct seqc_request *request)
{
    for (uint32_t i = 0; i < request->span; i++) {
        struct seqc_request *element = &request[i];
        element->floor = seqc_regress_floor(link->regress, element->hash);
        element->generation = seqc_regress_generation(link->regress);
    }
    if (request->op == SEQC_OP_DELETE) {
        seqc_regress_begin_delete(link->regress, request->hash);
    }
}

/* The request left the stream without an answer.  If it is a delete, nobody
 * knows whether there still is a key. */
static void
end_delete(struct seqc_link *link, const struct seqc_request *request)
{
    if (!link->regress || request->op != SEQC_OP_DELETE) {
        return;
    }
    seqc_regress_lock(link->regress);
    seqc_regress_end_delete(link->regress, request->hash);
    seqc_regress_unlock(link->regress);
}

/* A call that belongs to another connection does not travel on this one. */
static bool
refuse_bound(struct seqc_link *link, struct seqc_request *request)
{
    static const char why[] = "its connection is gone";
    struct seqc_outcome outcome = {
        .status = SEQC_CONNECT,
        .executed = SEQC_EXECUTED_NO,
        .cause = SEQC_CONNECT,
        .text = why,
        .len = sizeof why - 1,
    };

    if (!request->call->bound ||
        request->call->connection == link->connection) {
        return false;
    }
    seqc_list_remove(&link->unsent, request);
    seqc_answer_finish(link, request, &outcome);
    return true;
}

static seqc_status
encode_next(struct seqc_link *link)
{
    struct seqc_request *request = link->unsent.head;
    size_t before = seqc_buf_len(&link->out);
    uint8_t script = seqc_script_of(request->op);
    seqc_status status;

    if (request->call->durable) {
        return seqc_durable_encode(link);
    }
    if (refuse_bound(link, request)) {
        return SEQC_OK;
    }
    status = seqc_encode(
        &link->out, request, (link->scripts_known & script) != 0);
    if (status) {
        return status;
    }
    if (link->regress && request->op != SEQC_OP_RAW) {
        if (request->next) {
            seqc_regress_prefetch(link->regress, request->next->hash);
        }
        capture_floor(link, request);
    }
    link->scripts_known |= script;
    seqc_list_remove(&link->unsent, request);
    request->state = SEQC_REQUEST_SENT;
    request->u.offset = link->encoded;
    link->encoded += seqc_buf_len(&link->out) - before;
    seqc_list_push(&link->sent, request);
    link->in_flight += request->span;
    return SEQC_OK;
}

static bool
has_room(const struct seqc_link *link)
{
    return link->in_flight < link->options.max_pending;
}

seqc_status
seqc_link_output(struct seqc_link *link,
                 const char **out_data,
                 size_t *out_len)
{
    seqc_status status = SEQC_OK;

    if (link->up && link->unsent.head && has_room(link)) {
        if (link->regress) {
            seqc_regress_lock(link->regress);
        }
        while (!status && link->unsent.head && has_room(link) &&
               seqc_buf_len(&link->out) < OUTPUT_BYTES) {
            status = encode_next(link);
        }
        if (link->regress) {
            seqc_regress_unlock(link->regress);
        }
    }
    link->lease.epoch = NULL; /* another output, another look */
    *out_len = seqc_buf_len(&link->out);
    *out_data = *out_len ? link->out.data + link->out.start : "";
    return *out_len ? SEQC_OK : status;
}

void
seqc_link_wrote(struct seqc_link *link, size_t len, int64_t now_ns)
{
    link->now_ns = now_ns;
    if (link->sent.head && link->sent.head->u.offset >= link->written) {
        link->owed_since_ns = now_ns; /* nothing was owed until now */
    }
    link->written += len;
    seqc_stats_add(&link->stats->out_bytes, len);
    seqc_buf_consume(&link->out, len);
}

/* Takes the request at the end of the stream back; it was not written. */
static void
unsend_last(struct seqc_link *link)
{
    struct seqc_request *request = link->sent.tail;

    seqc_list_remove(&link->sent, request);
    link->in_flight -= request->span;
    end_delete(link, request);
    link->encoded = request->u.offset;
    if (request->call->abandoned) {
        seqc_answer_finish(link, request, &(struct seqc_outcome){0});
        return;
    }
    request->state = SEQC_REQUEST_UNSENT;
    seqc_list_push_front(&link->unsent, request);
}

void
seqc_link_rewind(struct seqc_link *link)
{
    uint64_t encoded = link->encoded;

    while (link->sent.tail && link->sent.tail->u.offset >= link->written) {
        unsend_last(link);
    }
    seqc_buf_truncate(&link->out, (size_t)(encoded - link->encoded));
}

void
seqc_link_assume_written(struct seqc_link *link)
{
    link->written = link->encoded;
    seqc_buf_clear(&link->out);
}

/* ---- reading ---- */

seqc_status
seqc_link_feed(struct seqc_link *link,
               const char *data,
               size_t len,
               int64_t now_ns)
{
    seqc_status status;

    link->now_ns = link->owed_since_ns = now_ns;
    link->has_answered = true;
    seqc_stats_add(&link->stats->in_bytes, len);
    if (link->regress) {
        seqc_regress_lock(link->regress);
    }
    status = seqc_replies_feed(&link->replies, data, len);
    if (link->regress) {
        seqc_regress_unlock(link->regress);
    }
    return status;
}

/* ---- the end of a connection, of the link, of a call ---- */

/* Forward-only calls and reads may always be repeated, tokens and
 * retry="gap" say so; a repeated MGET starts from its first element.  A
 * durable read goes on elsewhere, whatever it was that ended the link. */
static void
resolve_lost(struct seqc_link *link,
             struct seqc_request *request,
             struct seqc_list *again,
             struct seqc_outcome *outcome)
{
    struct seqc_call *call = request->call;

    if (call->abandoned || !call->repeatable || !link->options.repeat ||
        (outcome->cause == SEQC_PROTOCOL && !call->counting)) {
        bool goes_on = call->durable && outcome->cause == SEQC_NOMEM;
        outcome->status = call->counting ? SEQC_UNKNOWN
                          : goes_on      ? SEQC_CONNECT
                                         : outcome->cause;
        seqc_answer_finish(link, request, outcome);
        return;
    }
    request->state = SEQC_REQUEST_UNSENT;
    request->maybe_run = true;
    seqc_list_push(again, request);
}

void
seqc_link_fail(struct seqc_link *link, seqc_status cause, const char *why)
{
    struct seqc_list again = {0};
    struct seqc_outcome outcome = {
        .executed = SEQC_EXECUTED_UNKNOWN,
        .cause = cause,
        .text = why,
        .len = strlen(why),
    };

    seqc_link_rewind(link);
    link->up = false;
    seqc_buf_clear(&link->out);
    link->in_flight = 0;
    while (link->sent.head) {
        struct seqc_request *request = link->sent.head;
        seqc_list_remove(&link->sent, request);
        end_delete(link, request);
        resolve_lost(link, request, &again, &outcome);
    }
    seqc_list_prepend(&link->unsent, &again);
}

static void
end_list(struct seqc_link *link,
         struct seqc_list *list,
         const struct seqc_outcome *outcome)
{
    while (list->head) {
        struct seqc_request *request = list->head;
        seqc_list_remove(list, request);
        seqc_answer_finish(link, request, outcome);
    }
}

void
seqc_link_refuse(struct seqc_link *link, seqc_status status, const char *why)
{
    struct seqc_outcome outcome = {
        .status = status,
        .executed = SEQC_EXECUTED_NO,
        .text = why,
        .len = why ? strlen(why) : 0,
    };

    end_list(link, &link->unsent, &outcome);
    for (int i = 0; i < SEQC_DELAY_LENGTHS; i++) {
        end_list(link, &link->delays.lists[i], &outcome);
    }
}

void
seqc_link_close(struct seqc_link *link)
{
    struct seqc_outcome sent = {
        .status = SEQC_CLOSED,
        .executed = SEQC_EXECUTED_UNKNOWN,
    };

    seqc_link_rewind(link);
    link->up = false;
    seqc_buf_clear(&link->out);
    link->in_flight = 0;
    for (struct seqc_request *r = link->sent.head; r; r = r->next) {
        end_delete(link, r);
    }
    end_list(link, &link->sent, &sent);
    seqc_link_refuse(link, SEQC_CLOSED, NULL);
}

/* Takes the request out of its list unless it was sent.  One that the server
 * refused and that found no time for another try ends with the refusal. */
static struct seqc_outcome
withdraw(struct seqc_link *link,
         struct seqc_request *request,
         seqc_status status,
         bool *out_left)
{
    struct seqc_outcome outcome = {
        .status = status,
        .executed = SEQC_EXECUTED_NO,
        .cause = status,
    };

    if (request->error && status != SEQC_CLOSED) {
        outcome.status =
            seqc_error_classify(request->error, strlen(request->error)).status;
    }
    *out_left = request->state != SEQC_REQUEST_SENT;
    switch ((enum seqc_request_state)request->state) {
    case SEQC_REQUEST_UNSENT:
        seqc_list_remove(&link->unsent, request);
        break;
    case SEQC_REQUEST_DELAYED:
        seqc_delays_remove(&link->delays, request);
        break;
    case SEQC_REQUEST_SENT: /* it did not wait for room */
        status = status == SEQC_BUSY ? SEQC_TIMEOUT : status;
        outcome.executed = SEQC_EXECUTED_UNKNOWN;
        outcome.status = request->call->counting ? SEQC_UNKNOWN : status;
        outcome.cause = status;
        break;
    case SEQC_REQUEST_IDLE:
    case SEQC_REQUEST_DONE:
        break;
    }
    return outcome;
}

void
seqc_link_abandon(struct seqc_link *link,
                  struct seqc_call *call,
                  seqc_status status)
{
    struct seqc_outcome outcome = {.status = status};
    bool left = true;

    if (call->abandoned || !call->waiting) {
        return;
    }
    call->uncounted = call->uncounted || call->durable;
    for (uint32_t i = 0; i < call->count; i++) {
        struct seqc_request *request = &call->requests[i];
        if (request->state == SEQC_REQUEST_DONE) {
            continue;
        }
        if (request->state != SEQC_REQUEST_IDLE) { /* else: its head's */
            outcome = withdraw(link, request, status, &left);
            seqc_answer_doubt(request, &outcome);
        }
        request->status = (uint8_t)outcome.status;
        request->executed = (uint8_t)outcome.executed;
        request->cause = (uint8_t)outcome.cause;
        if (left) {
            request->state = SEQC_REQUEST_IDLE;
            call->waiting--;
        }
        seqc_stats_add(&link->stats->errors[outcome.status], !call->uncounted);
    }
    call->abandoned = true;
    if (!call->waiting) {
        seqc_call_unref(call);
    }
}

seqc_status
seqc_link_late_status(const struct seqc_link *link)
{
    if (!link->up) {
        return SEQC_CONNECT;
    }
    return has_room(link) ? SEQC_TIMEOUT : SEQC_BUSY;
}

/* ---- time ---- */

void
seqc_link_tick(struct seqc_link *link, int64_t now_ns)
{
    struct seqc_request *request;

    link->now_ns = now_ns;
    while ((request = seqc_delays_expired(&link->delays, now_ns))) {
        request->state = SEQC_REQUEST_UNSENT;
        seqc_list_push(&link->unsent, request);
    }
}

static int64_t
death_ns(const struct seqc_link *link)
{
    if (!link->up || !link->sent.head ||
        link->options.patience_ns == SEQC_TIME_NEVER) {
        return SEQC_TIME_NEVER;
    }
    return link->owed_since_ns + link->options.patience_ns;
}

int64_t
seqc_link_next_ns(const struct seqc_link *link)
{
    int64_t death = death_ns(link);
    int64_t due = seqc_delays_earliest(&link->delays);

    return due < death ? due : death;
}

bool
seqc_link_is_dead(const struct seqc_link *link, int64_t now_ns)
{
    return now_ns >= death_ns(link);
}

struct seqc_call *
seqc_link_take_done(struct seqc_link *link)
{
    struct seqc_call *done = link->done_head;

    link->done_head = link->done_tail = NULL;
    return done;
}
