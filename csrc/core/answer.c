/* SPDX-License-Identifier: MIT */
#include "core/answer.h"

#include <string.h>

#include "core/alloc.h"
#include "core/durable.h"
#include "core/encode.h"

/* Tries of a request that the server does not run; those whose script it lost
 * are sent in full at once, and wait only when that does not help either. */
#define RETRY_ATTEMPTS  64
#define SCRIPT_ATTEMPTS 2

static void
call_done(struct seqc_link *link, struct seqc_call *call)
{
    if (call->abandoned) {
        seqc_call_unref(call);
        return;
    }
    if (!call->uncounted) {
        seqc_stats_latency(link->stats, link->now_ns - call->start_ns);
    }
    call->next_done = NULL;
    if (link->done_tail) {
        link->done_tail->next_done = call;
    } else {
        link->done_head = call;
    }
    link->done_tail = call;
}

static void
note_error(struct seqc_request *request, const char *text, size_t len)
{
    seqc_free(request->error);
    request->error = seqc_error_dup(text, len);
}

/* Had the first sending counted, the record of its token would have answered
 * the repeat; what refuses this one for good refused or refuses that one. */
static bool
is_certain(const struct seqc_request *request, seqc_status status)
{
    return request->op == SEQC_OP_INCREASE_ONCE &&
           (status == SEQC_TOKEN_CONFLICT || status == SEQC_OVERFLOW ||
            status == SEQC_NOT_A_SEQUENCE);
}

void
seqc_answer_doubt(const struct seqc_request *request,
                  struct seqc_outcome *outcome)
{
    if (!request->maybe_run || outcome->status == SEQC_OK ||
        outcome->executed != SEQC_EXECUTED_NO ||
        is_certain(request, outcome->status)) {
        return;
    }
    outcome->executed = SEQC_EXECUTED_UNKNOWN;
    if (outcome->status == SEQC_CLOSED) {
        return;
    }
    if (request->call->counting) {
        outcome->cause = outcome->status;
        outcome->status = SEQC_UNKNOWN;
    } else if (outcome->status == SEQC_CONNECT) {
        outcome->status = SEQC_TIMEOUT; /* for it was sent */
    }
}

/* An element of an abandoned call was given its outcome when the holder left
 * and may be being read by it: it is not written any more. */
static void
finish_element(struct seqc_link *link,
               struct seqc_request *element,
               const struct seqc_outcome *given)
{
    struct seqc_call *call = element->call;
    struct seqc_outcome outcome = *given;

    if (!call->abandoned) {
        seqc_answer_doubt(element, &outcome);
        element->state = SEQC_REQUEST_DONE;
        element->status = (uint8_t)outcome.status;
        element->executed = (uint8_t)outcome.executed;
        element->cause = (uint8_t)outcome.cause;
        if (outcome.text) {
            note_error(element, outcome.text, outcome.len);
        }
        if (call->durable && outcome.status) {
            call->is_slow = true;
            call->uncounted = true; /* the binding sees how it ends */
        }
        seqc_stats_add(&link->stats->errors[outcome.status], !call->uncounted);
    }
    if (--call->waiting == 0) {
        call_done(link, call);
    }
}

void
seqc_answer_finish(struct seqc_link *link,
                   struct seqc_request *request,
                   const struct seqc_outcome *outcome)
{
    /* Read before the first element ends: the last one may free the call. */
    uint32_t span = request->span;

    request->span = 1;
    for (uint32_t i = 0; i < span; i++) {
        finish_element(link, &request[i], outcome);
    }
}

/* ---- the number that came ---- */

/* Compares with what was known when the request was written, then remembers.
 * A lower number than known: the server lost numbers.  It is the truth from
 * now on, so that the loss is told once. */
static void
check_regress(struct seqc_link *link,
              struct seqc_request *request,
              int64_t value)
{
    int64_t before = value;

    if (!link->regress ||
        request->generation != seqc_regress_generation(link->regress)) {
        return; /* a delete came between: it may be of before */
    }
    if (request->op == SEQC_OP_INCREASE &&
        __builtin_sub_overflow(value, request->amount, &before)) {
        before = INT64_MIN; /* only a liar answers so */
    }
    if (request->op == SEQC_OP_RAISE || before >= request->floor) {
        seqc_regress_raise(link->regress, request->hash, value);
        return;
    }
    seqc_regress_set(link->regress, request->hash, value);
    seqc_stats_add(&link->stats->regressions, 1);
    if (!request->call->abandoned) {
        request->regressed = true;
    }
}

void
seqc_answer_finish_good(struct seqc_link *link, struct seqc_request *request)
{
    uint32_t span = request->span; /* read first: see seqc_answer_finish */

    request->span = 1;
    for (uint32_t i = 0; i < span; i++) {
        struct seqc_request *element = &request[i];
        struct seqc_call *call = element->call;

        if (!call->abandoned) {
            element->state = SEQC_REQUEST_DONE;
            element->status = SEQC_OK;
            element->executed = SEQC_EXECUTED_YES;
            element->cause = SEQC_OK;
            seqc_stats_add(&link->stats->errors[SEQC_OK], 1);
        }
        if (--call->waiting == 0) {
            call_done(link, call);
        }
    }
}

static void
finish_refused(struct seqc_link *link,
               struct seqc_request *request,
               seqc_status status,
               const char *text,
               size_t len)
{
    struct seqc_outcome outcome = {
        .status = status,
        .executed = SEQC_EXECUTED_NO,
        .text = text,
        .len = len,
    };

    seqc_answer_finish(link, request, &outcome);
}

static void
finish_number(struct seqc_link *link,
              struct seqc_request *request,
              int64_t value)
{
    /* What a token gets again may be of long ago, of before a delete. */
    if (request->op != SEQC_OP_DELETE &&
        request->op != SEQC_OP_INCREASE_ONCE) {
        check_regress(link, request, value);
    }
    if (!request->call->abandoned) {
        request->u.value = value;
    }
    seqc_answer_finish_good(link, request);
}

static void
finish_scalar(struct seqc_link *link,
              struct seqc_request *request,
              const struct seqc_scalar *scalar)
{
    static const char why[] = "value is not an integer or out of range";

    if (scalar->is_integer) {
        finish_number(link, request, scalar->integer);
    } else if (scalar->type == SEQC_VALUE_NIL && request->op == SEQC_OP_GET) {
        finish_number(link, request, 0);
    } else {
        finish_refused(
            link, request, SEQC_NOT_A_SEQUENCE, why, sizeof why - 1);
    }
}

/* ---- the server said no ---- */

/* Keeps the request for another try.  False: there is no time for one. */
static bool
retry_later(struct seqc_link *link,
            struct seqc_request *request,
            bool no_script)
{
    int64_t due = seqc_delays_due_ns(&link->delays, request, link->now_ns);
    uint8_t script = seqc_script_of(request->op);

    if (request->call->abandoned) {
        return false;
    }
    if (no_script && script) {
        link->scripts_known &= (uint8_t)~script;
        if (request->attempts < SCRIPT_ATTEMPTS) {
            request->attempts++;
            request->state = SEQC_REQUEST_UNSENT;
            seqc_list_push(&link->unsent, request);
            return true;
        }
    }
    if (!link->options.repeat || request->call->once ||
        due >= request->call->deadline_ns ||
        request->attempts >= RETRY_ATTEMPTS) {
        return false;
    }
    seqc_delays_add(&link->delays, request, due);
    return true;
}

static void
take_error(struct seqc_link *link,
           struct seqc_request *request,
           const char *text,
           size_t len)
{
    struct seqc_verdict verdict = seqc_error_classify(text, len);

    if (verdict.not_run && retry_later(link, request, verdict.no_script)) {
        note_error(request, text, len);
        return;
    }
    finish_refused(link, request, verdict.status, text, len);
}

/* ---- the reader's target ---- */

static bool
expect_reply(void *context,
             enum seqc_reply_shape *out_shape,
             size_t *out_count)
{
    struct seqc_link *link = context;
    struct seqc_request *head = link->sent.head;

    if (!head || head->u.offset >= link->written) {
        return false;
    }
    if (head->call->durable) {
        *out_count = head->batch;
        *out_shape = SEQC_SHAPE_VERDICTS;
        return true;
    }
    *out_count = head->span;
    switch ((enum seqc_op)head->op) {
    case SEQC_OP_MGET:
        *out_shape = SEQC_SHAPE_ELEMENTS;
        break;
    case SEQC_OP_RAW:
        *out_shape = SEQC_SHAPE_TREE;
        break;
    case SEQC_OP_GET:
    case SEQC_OP_INCREASE:
    case SEQC_OP_RAISE:
    case SEQC_OP_DELETE:
    case SEQC_OP_INCREASE_ONCE:
    case SEQC_OP_COUNT:
        *out_shape = SEQC_SHAPE_SCALAR;
        break;
    }
    return true;
}

static struct seqc_request *
pop_sent(struct seqc_link *link)
{
    struct seqc_request *head = link->sent.head;

    seqc_list_remove(&link->sent, head);
    link->in_flight -= head->span;
    if (link->regress && head->op == SEQC_OP_DELETE) {
        seqc_regress_end_delete(link->regress, head->hash);
    }
    if (link->regress && link->sent.head) {
        seqc_regress_prefetch(link->regress, link->sent.head->hash);
    }
    return head;
}

/* An id without a value may be one of a wrong type, which MGET answers with
 * nil too: it is read once more by itself. */
static void
read_again(struct seqc_link *link, struct seqc_request *element)
{
    element->op = SEQC_OP_GET;
    element->span = 1;
    element->state = SEQC_REQUEST_UNSENT;
    seqc_list_push(&link->unsent, element);
}

/* Elements are kept as they come and finished when the last one is there: a
 * link that is lost in the middle reads the whole once more. */
static void
finish_elements(struct seqc_link *link, struct seqc_request *head)
{
    uint32_t span = head->span;

    if (head->call->abandoned) { /* its holder may be reading the elements */
        seqc_answer_finish_good(link, head);
        return;
    }
    head->span = 1;
    for (uint32_t i = 0; i < span; i++) {
        struct seqc_request *element = &head[i];
        struct seqc_scalar scalar = {
            .is_integer = element->status == SEQC_OK,
            .integer = element->amount,
        };
        if (element->status == SEQC_PENDING) {
            element->status = SEQC_OK;
            read_again(link, element);
            continue;
        }
        element->op = SEQC_OP_GET;
        element->status = SEQC_OK;
        scalar.type = SEQC_VALUE_STRING;
        finish_scalar(link, element, &scalar);
    }
}

/* May such an answer come?  If not, nobody knows what was done, or for which
 * request: the connection is given up. */
static bool
fits(const struct seqc_request *request, const struct seqc_scalar *scalar)
{
    switch ((enum seqc_op)request->op) {
    case SEQC_OP_INCREASE:
    case SEQC_OP_DELETE:
        return scalar->type == SEQC_VALUE_INTEGER;
    case SEQC_OP_RAISE:
    case SEQC_OP_INCREASE_ONCE:
        return scalar->type == SEQC_VALUE_STRING && scalar->is_integer;
    case SEQC_OP_GET:
    case SEQC_OP_MGET:
        return scalar->type == SEQC_VALUE_STRING ||
               scalar->type == SEQC_VALUE_NIL;
    case SEQC_OP_RAW:
    case SEQC_OP_COUNT:
        break;
    }
    return false;
}

static void
keep_element(struct seqc_link *link,
             const struct seqc_scalar *scalar,
             size_t index,
             size_t count)
{
    struct seqc_request *head = link->sent.head;
    struct seqc_request *element = &head[index];

    if (!head->call->abandoned) {
        element->amount = scalar->integer;
        element->status = scalar->is_integer ? SEQC_OK
                          : scalar->type == SEQC_VALUE_NIL
                              ? SEQC_PENDING
                              : SEQC_NOT_A_SEQUENCE;
    }
    if (index + 1 == count) {
        finish_elements(link, pop_sent(link));
    }
}

static bool
take_scalar(void *context,
            const struct seqc_scalar *scalar,
            size_t index,
            size_t count)
{
    struct seqc_link *link = context;

    if (link->sent.head->call->durable) {
        return seqc_durable_take_scalar(link, scalar, count);
    }
    if (!count && scalar->type == SEQC_VALUE_ERROR) {
        take_error(link, pop_sent(link), scalar->text, scalar->len);
        return true;
    }
    if (!fits(link->sent.head, scalar) ||
        (link->sent.head->op == SEQC_OP_MGET && !count)) {
        return false;
    }
    if (count) {
        keep_element(link, scalar, index, count);
    } else {
        finish_scalar(link, pop_sent(link), scalar);
    }
    return true;
}

static bool
take_tree(void *context, struct seqc_value *value, size_t count)
{
    struct seqc_link *link = context;
    struct seqc_request *request;

    if (link->sent.head->call->durable) {
        return seqc_durable_take_tree_steal(link, value, count);
    }
    request = pop_sent(link);
    if (value->type == SEQC_VALUE_ERROR) {
        take_error(link, request, value->text, value->len);
        seqc_value_free(value);
        return true;
    }
    if (request->call->abandoned) {
        seqc_value_free(value);
    } else {
        request->u.tree = value;
        if (!request->call->connection) {
            request->call->connection = link->connection;
        }
    }
    seqc_answer_finish_good(link, request);
    return true;
}

/* The way of nearly every answer. */
static bool
take_number(void *context, enum seqc_value_type type, int64_t value)
{
    struct seqc_link *link = context;
    struct seqc_request *head = link->sent.head;
    struct seqc_scalar scalar = {.type = type, .is_integer = true};

    if (!head || head->u.offset >= link->written) {
        return false;
    }
    if (head->call->durable) {
        return seqc_durable_take_number(link, type, value);
    }
    if (head->op == SEQC_OP_MGET || !fits(head, &scalar)) {
        return false;
    }
    finish_number(link, pop_sent(link), value);
    return true;
}

struct seqc_reply_target
seqc_answer_target(struct seqc_link *link)
{
    return (struct seqc_reply_target){
        .expect = expect_reply,
        .scalar = take_scalar,
        .tree = take_tree,
        .number = take_number,
        .numbers = seqc_durable_take_numbers,
        .context = link,
    };
}
