/* SPDX-License-Identifier: MIT */
#include "core/durable.h"

#include <string.h>

#include "core/answer.h"
#include "core/encode.h"
#include "core/put.h"

/* Bytes of one FCALL, beyond which no request is added. */
#define BATCH_BYTES 65536

void
seqc_durable_attach(struct seqc_link *link, struct seqc_belief *belief)
{
    link->belief = seqc_belief_ref(belief);
}

void
seqc_durable_look(struct seqc_link *link, int64_t lease_now_ns)
{
    link->lease = seqc_belief_look(link->belief, lease_now_ns);
}

/* ---- writing ---- */

static bool
has_token(const struct seqc_request *request)
{
    return request->op == SEQC_OP_INCREASE_ONCE;
}

/* Bytes of a key and of the names of its cell and record, at most. */
static size_t
keys_room(const struct seqc_request *request)
{
    size_t room = 2 * ((size_t)request->key_len + SEQC_INTEGER_CHARS + 16);

    return has_token(request)
               ? room + request->key_len + request->call->token_len +
                     SEQC_RECORD_KEY_ROOM
               : room;
}

static bool
is_read(const struct seqc_request *request)
{
    return request->op == SEQC_OP_GET || request->op == SEQC_OP_MGET;
}

/* May both travel in one FCALL?  There is none for many raises. */
static bool
are_alike(const struct seqc_request *a, const struct seqc_request *b)
{
    if (!b->call->durable) {
        return false;
    }
    if (is_read(a)) {
        return is_read(b);
    }
    return a->op != SEQC_OP_RAISE && a->op == b->op &&
           a->amount == b->amount &&
           a->call->token_ttl_s == b->call->token_ttl_s;
}

/* How many requests at the head of the queue travel in one FCALL, and how
 * many bytes their keys take at most.  Only what is in a row: calls reach the
 * server in the order in which they were made. */
static uint32_t
measure_batch(const struct seqc_link *link, size_t *out_room)
{
    const struct seqc_request *head = link->unsent.head;
    size_t slots = link->options.max_pending - link->in_flight;
    size_t most = slots < SEQC_BATCH_MAX ? slots : SEQC_BATCH_MAX;
    uint32_t count = 1;

    *out_room = keys_room(head);
    for (const struct seqc_request *r = head->next;
         r && count < most && *out_room < BATCH_BYTES && are_alike(head, r);
         r = r->next) {
        *out_room += keys_room(r);
        count++;
    }
    return count;
}

/* The name of the counter's cell: see meta_key in seqcache/durable/items.py.
 */
static char *
put_cell_name(char *out, const char *key, size_t len)
{
    if (memchr(key, '{', len)) {
        out = seqc_put_length(out, len + 6);
        out = SEQC_PUT_LITERAL(out, "sqc:b:");
        out = seqc_put_bytes(out, key, len);
        return SEQC_PUT_LITERAL(out, "\r\n");
    }
    out = seqc_put_length(out, len + 8);
    out = SEQC_PUT_LITERAL(out, "sqc:m:{");
    out = seqc_put_bytes(out, key, len);
    return SEQC_PUT_LITERAL(out, "}\r\n");
}

static char *
put_function(char *out, const struct seqc_request *request, bool many)
{
    if (is_read(request)) {
        return many ? SEQC_PUT_LITERAL(out, "$12\r\nseq_get_many\r\n")
                    : SEQC_PUT_LITERAL(out, "$7\r\nseq_get\r\n");
    }
    if (request->op == SEQC_OP_RAISE) {
        return SEQC_PUT_LITERAL(out, "$9\r\nseq_raise\r\n");
    }
    if (!many) {
        return SEQC_PUT_LITERAL(out, "$8\r\nseq_incr\r\n");
    }
    return has_token(request)
               ? SEQC_PUT_LITERAL(out, "$13\r\nseq_incr_many\r\n")
               : SEQC_PUT_LITERAL(out, "$13\r\nseq_incr_keys\r\n");
}

/* FCALL function 2n (key cell)* token amount ['v']
 * FCALL function 3n (key cell record)* token amount 'v' or '' ttl
 * FCALL seq_incr_keys n key* token amount ['v'] */
static char *
put_fcall(char *out,
          const struct seqc_request *head,
          uint32_t count,
          const struct seqc_lease *lease)
{
    const struct seqc_request *request = head;
    bool once = has_token(head);
    bool bare = count > 1 && head->op == SEQC_OP_INCREASE;
    uint64_t keys = (bare ? 1 : 2 + (uint64_t)once) * count;

    *out++ = '*';
    out = seqc_put_unsigned(out, 5 + keys + (once ? 2 : lease->verify));
    out = SEQC_PUT_LITERAL(out, "\r\n$5\r\nFCALL\r\n");
    out = put_function(out, head, count > 1);
    out = seqc_put_integer(out, (int64_t)keys);
    for (uint32_t i = 0; i < count; i++, request = request->next) {
        out = seqc_put_string(out, request->key, request->key_len);
        if (bare) {
            continue;
        }
        out = put_cell_name(out, request->key, request->key_len);
        out = once ? seqc_encode_record_key(out, request) : out;
    }
    out = seqc_put_string(out, lease->epoch->token, lease->epoch->len);
    out = seqc_put_integer(out, is_read(head) ? 0 : head->amount);
    if (lease->verify) {
        out = SEQC_PUT_LITERAL(out, "$1\r\nv\r\n");
    } else if (once) {
        out = SEQC_PUT_LITERAL(out, "$0\r\n\r\n");
    }
    return once ? seqc_put_integer(out, head->call->token_ttl_s) : out;
}

/* From the queue to the stream, all of a batch at one offset: they are written
 * together, or none. */
static void
send_batch(struct seqc_link *link, uint32_t count)
{
    link->unsent.head->batch = count;
    while (count--) {
        struct seqc_request *request = link->unsent.head;
        seqc_list_remove(&link->unsent, request);
        request->state = SEQC_REQUEST_SENT;
        request->u.offset = link->encoded;
        request->epoch = link->lease.epoch;
        seqc_list_push(&link->sent, request);
        link->in_flight++;
    }
}

/* The request ends without a number, and nothing more is done here. */
static void
finish_verdict_steal(struct seqc_link *link,
                     struct seqc_request *request,
                     struct seqc_value *verdict)
{
    static const struct seqc_outcome outcome = {
        .status = SEQC_VERDICT,
        .executed = SEQC_EXECUTED_NO,
    };

    if (request->call->abandoned) {
        seqc_value_free(verdict);
    } else {
        request->u.tree = verdict;
    }
    seqc_answer_finish(link, request, &outcome);
}

seqc_status
seqc_durable_encode(struct seqc_link *link)
{
    struct seqc_request *head = link->unsent.head;
    size_t before = seqc_buf_len(&link->out);
    size_t room;
    uint32_t count;
    char *out;

    if (!link->lease.epoch) {
        seqc_list_remove(&link->unsent, head);
        head->epoch = NULL;
        finish_verdict_steal(link, head, NULL);
        return SEQC_OK;
    }
    count = measure_batch(link, &room);
    out = seqc_buf_reserve(&link->out, 128 + link->lease.epoch->len + room);
    if (!out) {
        return SEQC_NOMEM;
    }
    out = put_fcall(out, head, count, &link->lease);
    link->out.end = (size_t)(out - link->out.data);
    send_batch(link, count);
    link->encoded += seqc_buf_len(&link->out) - before;
    return SEQC_OK;
}

/* ---- reading ---- */

static struct seqc_request *
pop_sent(struct seqc_link *link)
{
    struct seqc_request *request = link->sent.head;

    seqc_list_remove(&link->sent, request);
    link->in_flight--;
    return request;
}

static void
finish_number(struct seqc_link *link,
              struct seqc_request *request,
              int64_t value)
{
    if (!request->call->abandoned) {
        request->u.value = value;
    }
    seqc_answer_finish_good(link, request);
}

bool
seqc_durable_take_number(struct seqc_link *link,
                         enum seqc_value_type type,
                         int64_t value)
{
    if (type != SEQC_VALUE_INTEGER || link->sent.head->batch != 1) {
        return false;
    }
    finish_number(link, pop_sent(link), value);
    return true;
}

/* The way of nearly every batch. */
const char *
seqc_durable_take_numbers(void *context, const char *at, const char *end)
{
    struct seqc_link *link = context;
    const struct seqc_request *head = link->sent.head;
    int64_t values[SEQC_BATCH_MAX];
    size_t count;

    if (!head || head->u.offset >= link->written || !head->call->durable) {
        return NULL;
    }
    count = head->batch;
    if (count < 2) { /* its answer is no array */
        return NULL;
    }
    at = seqc_read_numbers(at, end, count, values);
    for (size_t i = 0; at && i < count; i++) {
        finish_number(link, pop_sent(link), values[i]);
    }
    return at;
}

/* The server said no to the whole FCALL.  A missing right may be that of one
 * key: the calls go the slow way then, each by itself. */
static void
refuse_batch(struct seqc_link *link, const struct seqc_scalar *scalar)
{
    struct seqc_outcome outcome = {
        .status = seqc_error_classify(scalar->text, scalar->len).status,
        .executed = SEQC_EXECUTED_NO,
        .text = scalar->text,
        .len = scalar->len,
    };

    uint32_t count = link->sent.head->batch;
    bool alone = count == 1 || outcome.status != SEQC_AUTH;

    for (uint32_t n = count; n; n--) {
        if (alone) {
            seqc_answer_finish(link, pop_sent(link), &outcome);
        } else {
            finish_verdict_steal(link, pop_sent(link), NULL);
        }
    }
}

bool
seqc_durable_take_scalar(struct seqc_link *link,
                         const struct seqc_scalar *scalar,
                         size_t count)
{
    bool whole = !count;

    if (whole && scalar->type == SEQC_VALUE_ERROR) {
        refuse_batch(link, scalar);
        return true;
    }
    if (scalar->type != SEQC_VALUE_INTEGER ||
        (whole && link->sent.head->batch != 1)) {
        return false;
    }
    finish_number(link, pop_sent(link), scalar->integer);
    return true;
}

static bool
is_word(const struct seqc_value *value, const char *word)
{
    return value && value->type == SEQC_VALUE_STRING &&
           value->len == strlen(word) &&
           !memcmp(value->text, word, value->len);
}

static bool
is_verdict(const struct seqc_value *value)
{
    return value->type == SEQC_VALUE_ARRAY && value->len &&
           value->items[0]->type == SEQC_VALUE_STRING;
}

static bool
is_integer(const struct seqc_value *value)
{
    return value->type == SEQC_VALUE_INTEGER;
}

static bool
is_string(const struct seqc_value *value)
{
    return value->type == SEQC_VALUE_STRING;
}

/* {low, n, gid, ceiling}: n is good. */
static bool
is_low(const struct seqc_value *value)
{
    return value->len == 4 && is_word(value->items[0], "low") &&
           is_integer(value->items[1]) && is_string(value->items[2]) &&
           is_string(value->items[3]);
}

/* {same, n, amount}: the token was given n before, for the same amount. */
static bool
is_same(const struct seqc_value *value, const struct seqc_request *request)
{
    return value->len == 3 && is_word(value->items[0], "same") &&
           is_integer(value->items[1]) && is_integer(value->items[2]) &&
           value->items[2]->integer == request->amount;
}

/* One request's answer; false if it can be none, the value is left then. */
static bool
take_value_steal(struct seqc_link *link, struct seqc_value *value)
{
    struct seqc_request *request;

    if (value->type == SEQC_VALUE_INTEGER) {
        finish_number(link, pop_sent(link), value->integer);
        seqc_value_free(value);
        return true;
    }
    if (!is_verdict(value) ||
        (is_word(value->items[0], "low") && !is_low(value))) {
        return false;
    }
    request = pop_sent(link);
    if (is_low(value)) {
        int64_t number = value->items[1]->integer;
        seqc_belief_note_low_steal(link->belief,
                                   request->epoch,
                                   request->key,
                                   request->key_len,
                                   value);
        finish_number(link, request, number);
    } else if (is_same(value, request)) {
        finish_number(link, request, value->items[1]->integer);
        seqc_value_free(value);
    } else {
        finish_verdict_steal(link, request, value);
    }
    return true;
}

/* {epoch, token} for a batch: no call was executed, which is as good as not
 * sent.  One of them is enough to tell the state machine. */
static void
share_verdict_steal(struct seqc_link *link, struct seqc_value *value)
{
    for (uint32_t n = link->sent.head->batch; n; n--) {
        struct seqc_request *request = pop_sent(link);
        struct seqc_value *told = request->call->abandoned ? NULL : value;
        finish_verdict_steal(link, request, told);
        value = told ? NULL : value;
    }
    seqc_value_free(value);
}

/* The answers of a batch of two, which come as one tree. */
static bool
split_pair(struct seqc_link *link, struct seqc_value *pair)
{
    if (pair->type != SEQC_VALUE_ARRAY || pair->len != 2) {
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        struct seqc_value *value = pair->items[i];
        if (!take_value_steal(link, value)) {
            return false;
        }
        pair->items[i] = NULL;
    }
    return true;
}

bool
seqc_durable_take_tree_steal(struct seqc_link *link,
                             struct seqc_value *value,
                             size_t count)
{
    uint32_t batch = link->sent.head->batch;
    bool taken = false;

    if (count || batch == 1) {
        taken = take_value_steal(link, value);
    } else if (is_verdict(value) && is_word(value->items[0], "epoch")) {
        share_verdict_steal(link, value);
        return true;
    } else if (batch == 2 && split_pair(link, value)) {
        seqc_value_free(value);
        return true;
    }
    if (!taken) {
        seqc_value_free(value);
    }
    return taken;
}

/* ---- the end ---- */

static bool
is_over(const struct seqc_call *call, const struct seqc_request *request)
{
    switch ((seqc_status)request->status) {
    case SEQC_OK:
    case SEQC_CLOSED:
    case SEQC_AUTH:
        return true;
    case SEQC_UNKNOWN:
        return call->abandoned || !call->again;
    case SEQC_TIMEOUT: /* lost, if the time is not up */
    case SEQC_CONNECT:
    case SEQC_PROTOCOL:
    case SEQC_BUSY:
        return call->abandoned;
    case SEQC_PENDING:
    case SEQC_NOMEM: /* no request ends so */
    case SEQC_VERDICT:
    case SEQC_SERVER:
    case SEQC_NOT_A_SEQUENCE:
    case SEQC_OVERFLOW:
    case SEQC_REGRESSED:
    case SEQC_CEILING:
    case SEQC_TOKEN_CONFLICT:
    case SEQC_STATUS_COUNT:
        break;
    }
    return false;
}

bool
seqc_durable_is_over(const struct seqc_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        if (!is_over(call, &call->requests[i])) {
            return false;
        }
    }
    return true;
}
