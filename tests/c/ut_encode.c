/* SPDX-License-Identifier: MIT */
#include "core/encode.h"

#include "core/script.h"

#include "ut_link.h"

static struct seqc_buf buf;

static void
check_bytes(const struct seqc_request *request,
            bool script_known,
            const char *expected)
{
    seqc_buf_clear(&buf);
    CHECK(!seqc_encode(&buf, request, script_known));
    CHECK(seqc_buf_len(&buf) == strlen(expected));
    CHECK(memcmp(buf.data + buf.start, expected, strlen(expected)) == 0);
}

static void
hot_commands_are_byte_exact(void)
{
    struct seqc_call *call = ut_call(SEQC_OP_GET, 1);
    struct seqc_request *request = &call->requests[0];

    check_bytes(request, false, "*2\r\n$3\r\nGET\r\n$2\r\nk0\r\n");
    request->op = SEQC_OP_INCREASE;
    check_bytes(request, false, "*2\r\n$4\r\nINCR\r\n$2\r\nk0\r\n");
    request->amount = 2;
    check_bytes(request, false,
                "*3\r\n$6\r\nINCRBY\r\n$2\r\nk0\r\n$1\r\n2\r\n");
    request->op = SEQC_OP_DELETE;
    check_bytes(request, false, "*2\r\n$3\r\nDEL\r\n$2\r\nk0\r\n");
    seqc_call_unref(call);
}

static void
extreme_amounts_keep_every_digit(void)
{
    struct seqc_call *call = ut_call(SEQC_OP_INCREASE, 1);
    struct seqc_request *request = &call->requests[0];

    request->amount = INT64_MAX;
    check_bytes(request, false,
                "*3\r\n$6\r\nINCRBY\r\n$2\r\nk0\r\n"
                "$19\r\n9223372036854775807\r\n");
    request->amount = INT64_MIN;
    check_bytes(request, false,
                "*3\r\n$6\r\nINCRBY\r\n$2\r\nk0\r\n"
                "$20\r\n-9223372036854775808\r\n");
    request->amount = 0;
    check_bytes(request, false,
                "*3\r\n$6\r\nINCRBY\r\n$2\r\nk0\r\n$1\r\n0\r\n");
    seqc_call_unref(call);
}

static void
raise_is_sent_by_digest_or_in_full(void)
{
    struct seqc_call *call = ut_call(SEQC_OP_RAISE, 1);
    char expected[2048];

    call->requests[0].amount = INT64_MAX;
    check_bytes(&call->requests[0], true,
                "*5\r\n$7\r\nEVALSHA\r\n$40\r\n" SEQC_RAISE_DIGEST
                "\r\n$1\r\n1\r\n$2\r\nk0\r\n$19\r\n9223372036854775807\r\n");
    snprintf(expected, sizeof expected,
             "*5\r\n$4\r\nEVAL\r\n$%zu\r\n%s\r\n$1\r\n1\r\n$2\r\nk0\r\n"
             "$19\r\n9223372036854775807\r\n",
             strlen(SEQC_RAISE_SCRIPT), SEQC_RAISE_SCRIPT);
    check_bytes(&call->requests[0], false, expected);
    seqc_call_unref(call);
}

static struct seqc_call *
token_call(const char *key, size_t len, const char *token, size_t token_len)
{
    struct seqc_call *call = seqc_call_new(1, len + token_len);
    struct seqc_call_filler filler;

    call->token_ttl_s = 600;
    seqc_call_set_token(call, token, (uint16_t)token_len);
    seqc_call_fill(&filler, call);
    seqc_call_add_key(&filler, SEQC_OP_INCREASE_ONCE, "", 0, key, len)
        ->amount = 7;
    return call;
}

static void
record_of_a_token_is_in_the_slot_of_its_key(void)
{
    struct seqc_call *call = token_call("seq:a", 5, "m:1", 3);
    char expected[2048];

    check_bytes(&call->requests[0], true,
                "*7\r\n$7\r\nEVALSHA\r\n$40\r\n" SEQC_INCREASE_ONCE_DIGEST
                "\r\n$1\r\n2\r\n$5\r\nseq:a\r\n$19\r\nsqc:t:5:{seq:a}:m:1\r\n"
                "$1\r\n7\r\n$3\r\n600\r\n");
    seqc_call_unref(call);
    call = token_call("x{b}", 4, "}", 1);
    snprintf(expected, sizeof expected,
             "*7\r\n$4\r\nEVAL\r\n$%zu\r\n%s\r\n$1\r\n2\r\n$4\r\nx{b}\r\n"
             "$14\r\nsqc:t:4:x{b}:}\r\n$1\r\n7\r\n$3\r\n600\r\n",
             strlen(SEQC_INCREASE_ONCE_SCRIPT), SEQC_INCREASE_ONCE_SCRIPT);
    check_bytes(&call->requests[0], false, expected);
    seqc_call_unref(call);
}

static void
longest_keys_and_tokens_fit_into_a_fresh_buffer(void)
{
    static char bytes[65535];

    memset(bytes, 'x', sizeof bytes);
    for (size_t len = 1; len <= sizeof bytes; len = len * 4 + 1) {
        for (size_t token_len = 1; token_len <= sizeof bytes;
             token_len = token_len * 8 + 7) {
            struct seqc_call *call = token_call(bytes, len, bytes, token_len);
            for (int known = 0; known < 2; known++) {
                struct seqc_buf fresh;
                seqc_buf_init(&fresh);
                call->token_ttl_s = UINT32_MAX;
                call->requests[0].amount = INT64_MIN;
                CHECK(!seqc_encode(&fresh, &call->requests[0], known));
                CHECK(seqc_buf_len(&fresh) > 2 * len + token_len);
                seqc_buf_fini(&fresh);
            }
            seqc_call_unref(call);
        }
    }
}

static void
mget_names_every_key(void)
{
    struct seqc_call *call = ut_call(SEQC_OP_MGET, 11);

    check_bytes(&call->requests[0], false,
                "*12\r\n$4\r\nMGET\r\n$2\r\nk0\r\n$2\r\nk1\r\n$2\r\nk2\r\n"
                "$2\r\nk3\r\n$2\r\nk4\r\n$2\r\nk5\r\n$2\r\nk6\r\n$2\r\nk7\r\n"
                "$2\r\nk8\r\n$2\r\nk9\r\n$3\r\nk10\r\n");
    seqc_call_unref(call);
}

/* The room that is reserved is a guess from above: ASan tells if it is not. */
static void
longest_keys_fit_into_a_fresh_buffer(void)
{
    static const enum seqc_op ops[] = {SEQC_OP_GET, SEQC_OP_INCREASE,
                                       SEQC_OP_RAISE, SEQC_OP_DELETE};
    static char id[65536];

    memset(id, '\r', sizeof id);
    for (size_t len = 0; len <= sizeof id; len = len * 4 + 1) {
        for (size_t i = 0; i < 8; i++) {
            struct seqc_call *call = seqc_call_new(1, sizeof id);
            struct seqc_call_filler filler;
            struct seqc_buf fresh;
            seqc_buf_init(&fresh);
            seqc_call_fill(&filler, call);
            seqc_call_add_key(&filler, ops[i % 4], "", 0, id, len)->amount =
                INT64_MIN;
            CHECK(!seqc_encode(&fresh, &call->requests[0], i < 4));
            CHECK(seqc_buf_len(&fresh) > len);
            seqc_buf_fini(&fresh);
            seqc_call_unref(call);
        }
    }
}

static void
raw_size_is_what_is_written(void)
{
    const char *argv[] = {"SET", "a\0b", "", "0123456789"};
    size_t lengths[] = {3, 3, 0, 10};
    static const char expected[] =
        "*4\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$0\r\n\r\n$10\r\n0123456789\r\n";
    size_t size = seqc_encode_raw_size(4, lengths);
    char *out = malloc(size); /* exact, for ASan */

    CHECK(size == sizeof expected - 1);
    seqc_encode_raw(out, 4, argv, lengths);
    CHECK(memcmp(out, expected, size) == 0);
    free(out);
    struct seqc_call *call = ut_raw_call("*1\r\n$4\r\nPING\r\n");
    check_bytes(&call->requests[0], false, "*1\r\n$4\r\nPING\r\n");
    seqc_call_unref(call);
}

static void
without_memory_nothing_is_written(void)
{
    struct seqc_call *call = ut_call(SEQC_OP_GET, 1);
    struct seqc_buf fresh;

    seqc_buf_init(&fresh);
    ut_fail_at(1);
    CHECK(seqc_encode(&fresh, &call->requests[0], false) == SEQC_NOMEM);
    CHECK(seqc_buf_len(&fresh) == 0);
    ut_fail_at(0);
    seqc_buf_fini(&fresh);
    seqc_call_unref(call);
}

/* ---- SHA-1 (FIPS 180-4), for the digest of the script ---- */

static uint32_t
rotate(uint32_t x, int bits)
{
    return x << bits | x >> (32 - bits);
}

static void
sha1_block(uint32_t h[5], const unsigned char *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[i * 4] << 24 | (uint32_t)block[i * 4 + 1] << 16
            | (uint32_t)block[i * 4 + 2] << 8 | block[i * 4 + 3];
    }
    for (int i = 16; i < 80; i++) {
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d)
            : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d)
                                : b ^ c ^ d;
        uint32_t k = i < 20 ? 0x5a827999
            : i < 40        ? 0x6ed9eba1
            : i < 60        ? 0x8f1bbcdc
                            : 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

static void
sha1_hex(const char *text, size_t len, char out[41])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
                     0xc3d2e1f0};
    size_t padded = (len + 9 + 63) / 64 * 64;
    unsigned char *data = calloc(1, padded);

    memcpy(data, text, len);
    data[len] = 0x80;
    for (int i = 0; i < 8; i++) {
        data[padded - 1 - (size_t)i] =
            (unsigned char)((uint64_t)len * 8 >> (8 * i));
    }
    for (size_t i = 0; i < padded; i += 64) {
        sha1_block(h, data + i);
    }
    free(data);
    for (int i = 0; i < 5; i++) {
        snprintf(out + i * 8, 9, "%08x", h[i]);
    }
}

static void
digest_is_the_one_of_the_script(void)
{
    char hex[41];

    sha1_hex("abc", 3, hex);
    CHECK(strcmp(hex, "a9993e364706816aba3e25717850c26c9cd0d89d") == 0);
    sha1_hex(SEQC_RAISE_SCRIPT, strlen(SEQC_RAISE_SCRIPT), hex);
    CHECK(strcmp(hex, SEQC_RAISE_DIGEST) == 0);
    sha1_hex(SEQC_INCREASE_ONCE_SCRIPT, strlen(SEQC_INCREASE_ONCE_SCRIPT),
             hex);
    CHECK(strcmp(hex, SEQC_INCREASE_ONCE_DIGEST) == 0);
}

int
main(void)
{
    ut_watch();
    seqc_buf_init(&buf);
    RUN(hot_commands_are_byte_exact);
    RUN(extreme_amounts_keep_every_digit);
    RUN(raise_is_sent_by_digest_or_in_full);
    RUN(record_of_a_token_is_in_the_slot_of_its_key);
    RUN(longest_keys_and_tokens_fit_into_a_fresh_buffer);
    RUN(mget_names_every_key);
    RUN(longest_keys_fit_into_a_fresh_buffer);
    RUN(raw_size_is_what_is_written);
    RUN(without_memory_nothing_is_written);
    RUN(digest_is_the_one_of_the_script);
    seqc_buf_fini(&buf);
    CHECK(ut_live == 0);
    return ut_finish();
}
