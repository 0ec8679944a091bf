/* SPDX-License-Identifier: MIT */
#include "core/buf.h"

#include <string.h>

#include "ut_check.h"

static void
append(struct seqc_buf *buf, const char *bytes, size_t len)
{
    char *room = seqc_buf_reserve(buf, len);

    CHECK(room);
    memcpy(room, bytes, len);
    buf->end += len;
}

static bool
holds(const struct seqc_buf *buf, const char *text)
{
    return seqc_buf_len(buf) == strlen(text)
        && memcmp(buf->data + buf->start, text, strlen(text)) == 0;
}

static void
bytes_go_in_behind_and_out_in_front(void)
{
    struct seqc_buf buf;

    seqc_buf_init(&buf);
    CHECK(seqc_buf_len(&buf) == 0);
    append(&buf, "hello ", 6);
    append(&buf, "world", 5);
    CHECK(holds(&buf, "hello world"));
    seqc_buf_consume(&buf, 4);
    CHECK(holds(&buf, "o world"));
    seqc_buf_truncate(&buf, 3);
    CHECK(holds(&buf, "o wo"));
    append(&buf, "!", 1);
    CHECK(holds(&buf, "o wo!"));
    seqc_buf_fini(&buf);
    CHECK(ut_live == 0);
}

static void
emptied_buffer_starts_over_in_its_block(void)
{
    struct seqc_buf buf;

    seqc_buf_init(&buf);
    append(&buf, "12345678", 8);
    const char *block = buf.data;
    for (int way = 0; way < 3; way++) {
        if (way == 0) {
            seqc_buf_consume(&buf, 8);
        }
        else if (way == 1) {
            seqc_buf_truncate(&buf, 8);
        }
        else {
            seqc_buf_clear(&buf);
        }
        CHECK(seqc_buf_len(&buf) == 0 && buf.start == 0);
        append(&buf, "abcdefgh", 8);
        CHECK(buf.data == block && holds(&buf, "abcdefgh"));
    }
    seqc_buf_fini(&buf);
}

/* What was consumed makes room before more memory is asked for. */
static void
consumed_room_is_used_again(void)
{
    struct seqc_buf buf;

    seqc_buf_init(&buf);
    append(&buf, "0123456789", 10);
    ut_fail_at(0);
    for (int i = 0; i < 1000; i++) {
        seqc_buf_consume(&buf, 4);
        append(&buf, "wxyz", 4);
        CHECK(seqc_buf_len(&buf) == 10);
    }
    CHECK(ut_allocations == 0);
    CHECK(holds(&buf, "yzwxyzwxyz"));
    seqc_buf_fini(&buf);
}

static void
reserved_room_is_not_content(void)
{
    struct seqc_buf buf;

    seqc_buf_init(&buf);
    append(&buf, "abc", 3);
    char *room = seqc_buf_reserve(&buf, 5000);
    CHECK(room && seqc_buf_len(&buf) == 3);
    memset(room, 'x', 5000); /* all of it is ours */
    CHECK(holds(&buf, "abc"));
    CHECK(seqc_buf_reserve(&buf, 5000) == room);
    seqc_buf_fini(&buf);
}

/* The stream of bytes is the same whatever the sizes of the pieces. */
static void
agrees_with_a_stream(void)
{
    struct seqc_buf buf;
    unsigned random = 3;
    unsigned written = 0;
    unsigned consumed = 0;
    char piece[300];

    seqc_buf_init(&buf);
    for (int i = 0; i < 20000; i++) {
        size_t len = 1 + ut_random(&random) % sizeof piece;
        if (ut_random(&random) % 2) {
            for (size_t k = 0; k < len; k++) {
                piece[k] = (char)(written++ % 251);
            }
            append(&buf, piece, len);
        }
        len = ut_random(&random) % (seqc_buf_len(&buf) + 1);
        for (size_t k = 0; k < len; k++) {
            CHECK(buf.data[buf.start + k] == (char)(consumed++ % 251));
        }
        seqc_buf_consume(&buf, len);
        CHECK(seqc_buf_len(&buf) == written - consumed);
    }
    seqc_buf_fini(&buf);
}

static void
without_memory_the_content_stays(void)
{
    struct seqc_buf buf;

    seqc_buf_init(&buf);
    ut_fail_at(1);
    CHECK(!seqc_buf_reserve(&buf, 10));
    CHECK(seqc_buf_len(&buf) == 0);
    append(&buf, "abc", 3);
    ut_fail_at(1);
    CHECK(!seqc_buf_reserve(&buf, 10000));
    CHECK(holds(&buf, "abc"));
    append(&buf, "def", 3);
    CHECK(holds(&buf, "abcdef"));
    seqc_buf_fini(&buf);
    seqc_buf_fini(&buf); /* again: nothing */
    CHECK(ut_live == 0);
}

int
main(void)
{
    ut_watch();
    RUN(bytes_go_in_behind_and_out_in_front);
    RUN(emptied_buffer_starts_over_in_its_block);
    RUN(consumed_room_is_used_again);
    RUN(reserved_room_is_not_content);
    RUN(agrees_with_a_stream);
    RUN(without_memory_the_content_stays);
    return ut_finish();
}
