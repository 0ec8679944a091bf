/* SPDX-License-Identifier: MIT */
#include "core/encode.h"

#include "core/put.h"
#include "core/script.h"

/* Of script.h, by its digest or in full. */
#define PUT_SCRIPT(out, name, known)                                          \
    ((known) ? SEQC_PUT_LITERAL(                                              \
                   out, "$7\r\nEVALSHA\r\n$40\r\n" name##_DIGEST "\r\n")      \
             : seqc_put_string(SEQC_PUT_LITERAL(out, "$4\r\nEVAL\r\n"),       \
                               name##_SCRIPT,                                 \
                               sizeof name##_SCRIPT - 1))

static char *
put_raise(char *out, const struct seqc_request *request, bool script_known)
{
    out = SEQC_PUT_LITERAL(out, "*5\r\n");
    out = PUT_SCRIPT(out, SEQC_RAISE, script_known);
    out = SEQC_PUT_LITERAL(out, "$1\r\n1\r\n");
    out = seqc_put_string(out, request->key, request->key_len);
    return seqc_put_integer(out, request->amount);
}

char *
seqc_encode_record_key(char *out, const struct seqc_request *request)
{
    const struct seqc_call *call = request->call;
    bool has_tag = memchr(request->key, '{', request->key_len) != NULL;
    char prefix[32];
    char *end = SEQC_PUT_LITERAL(prefix, "sqc:t:");

    end = seqc_put_unsigned(end, request->key_len);
    *end++ = ':';
    if (!has_tag) {
        *end++ = '{';
    }
    out = seqc_put_length(out,
                          (size_t)(end - prefix) + request->key_len +
                              !has_tag + 1 + call->token_len);
    out = seqc_put_bytes(out, prefix, (size_t)(end - prefix));
    out = seqc_put_bytes(out, request->key, request->key_len);
    if (!has_tag) {
        *out++ = '}';
    }
    *out++ = ':';
    out = seqc_put_bytes(out, seqc_call_token(call), call->token_len);
    return SEQC_PUT_LITERAL(out, "\r\n");
}

static char *
put_increase_once(char *out,
                  const struct seqc_request *request,
                  bool script_known)
{
    out = SEQC_PUT_LITERAL(out, "*7\r\n");
    out = PUT_SCRIPT(out, SEQC_INCREASE_ONCE, script_known);
    out = SEQC_PUT_LITERAL(out, "$1\r\n2\r\n");
    out = seqc_put_string(out, request->key, request->key_len);
    out = seqc_encode_record_key(out, request);
    out = seqc_put_integer(out, request->amount);
    return seqc_put_integer(out, request->call->token_ttl_s);
}

static char *
put_mget(char *out, const struct seqc_request *head)
{
    *out++ = '*';
    out = seqc_put_unsigned(out, (uint64_t)head->span + 1);
    out = SEQC_PUT_LITERAL(out, "\r\n$4\r\nMGET\r\n");
    for (uint32_t i = 0; i < head->span; i++) {
        out = seqc_put_string(out, head[i].key, head[i].key_len);
    }
    return out;
}

/* Room for the command: at most so many bytes around the keys. */
static size_t
command_room(const struct seqc_request *request)
{
    size_t room = 128 + request->key_len + SEQC_INTEGER_CHARS + 8;

    for (uint32_t i = 1; i < request->span; i++) {
        room += request[i].key_len + SEQC_INTEGER_CHARS + 8;
    }
    if (request->op == SEQC_OP_RAISE) {
        room += sizeof SEQC_RAISE_SCRIPT;
    } else if (request->op == SEQC_OP_INCREASE_ONCE) {
        room += sizeof SEQC_INCREASE_ONCE_SCRIPT + 128 + request->key_len +
                request->call->token_len;
    }
    return room;
}

static char *
put_command(char *out, const struct seqc_request *request, bool script_known)
{
    switch ((enum seqc_op)request->op) {
    case SEQC_OP_GET:
        out = SEQC_PUT_LITERAL(out, "*2\r\n$3\r\nGET\r\n");
        return seqc_put_string(out, request->key, request->key_len);
    case SEQC_OP_INCREASE:
        if (request->amount == 1) {
            out = SEQC_PUT_LITERAL(out, "*2\r\n$4\r\nINCR\r\n");
            return seqc_put_string(out, request->key, request->key_len);
        }
        out = SEQC_PUT_LITERAL(out, "*3\r\n$6\r\nINCRBY\r\n");
        out = seqc_put_string(out, request->key, request->key_len);
        return seqc_put_integer(out, request->amount);
    case SEQC_OP_RAISE:
        return put_raise(out, request, script_known);
    case SEQC_OP_DELETE:
        out = SEQC_PUT_LITERAL(out, "*2\r\n$3\r\nDEL\r\n");
        return seqc_put_string(out, request->key, request->key_len);
    case SEQC_OP_MGET:
        return put_mget(out, request);
    case SEQC_OP_INCREASE_ONCE:
        return put_increase_once(out, request, script_known);
    case SEQC_OP_RAW:
        return seqc_put_bytes(out, request->key, request->key_len);
    case SEQC_OP_COUNT:
        break;
    }
    return out;
}

seqc_status
seqc_encode(struct seqc_buf *buf,
            const struct seqc_request *request,
            bool script_known)
{
    char *out = seqc_buf_reserve(buf, command_room(request));

    if (!out) {
        return SEQC_NOMEM;
    }
    out = put_command(out, request, script_known);
    buf->end = (size_t)(out - buf->data);
    return SEQC_OK;
}

static size_t
digits_of(size_t value)
{
    size_t digits = 1;

    for (; value >= 10; value /= 10) {
        digits++;
    }
    return digits;
}

size_t
seqc_encode_raw_size(size_t argc, const size_t *lengths)
{
    size_t size = 1 + digits_of(argc) + 2;

    for (size_t i = 0; i < argc; i++) {
        size += 1 + digits_of(lengths[i]) + 2 + lengths[i] + 2;
    }
    return size;
}

void
seqc_encode_raw(char *out,
                size_t argc,
                const char *const *argv,
                const size_t *lengths)
{
    *out++ = '*';
    out = seqc_put_unsigned(out, argc);
    out = SEQC_PUT_LITERAL(out, "\r\n");
    for (size_t i = 0; i < argc; i++) {
        out = seqc_put_string(out, argv[i], lengths[i]);
    }
}
