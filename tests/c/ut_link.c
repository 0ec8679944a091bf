/* SPDX-License-Identifier: MIT */
#include "core/link.h"

#include "core/script.h"

#include "ut_link.h"

static struct seqc_stats stats;
static struct seqc_link the_link;
static struct seqc_regress *regress;
static int64_t now = 1000 * MS;

static void
open_with(size_t max_pending, bool repeat)
{
    struct seqc_link_options options = {max_pending, 1000 * MS, repeat};

    CHECK(!seqc_link_init(&the_link, options, regress, &stats));
    CHECK(!seqc_link_up(&the_link, now));
}

static void
open_link(void)
{
    open_with(1000, true);
}

static void
shut_link(void)
{
    CHECK(!the_link.sent.head && !the_link.unsent.head && !the_link.done_head);
    CHECK(seqc_delays_earliest(&the_link.delays) == SEQC_TIME_NEVER);
    CHECK(!the_link.in_flight);
    CHECK(!regress || !seqc_regress_deletes(regress));
    seqc_link_fini(&the_link);
}

static struct seqc_call *
submit(enum seqc_op op, uint32_t count)
{
    struct seqc_call *call = ut_call(op, count);

    seqc_link_submit(&the_link, call);
    return call;
}

/* Writes all there is, or at most `most` bytes and then rewinds. */
static size_t
write_most(size_t most)
{
    const char *data;
    size_t len, total = 0;

    for (;;) {
        CHECK(!seqc_link_output(&the_link, &data, &len));
        if (!len || total == most) {
            break;
        }
        len = len < most - total ? len : most - total;
        seqc_link_wrote(&the_link, len, now);
        total += len;
    }
    seqc_link_rewind(&the_link);
    return total;
}

static void
write_all(void)
{
    (void)write_most(SIZE_MAX);
}

static void
answer(const char *data)
{
    CHECK(!seqc_link_feed(&the_link, data, strlen(data), now));
}

/* The next finished call is `call`, which ends here. */
static void
take_done(struct seqc_call *call)
{
    struct seqc_call *done = the_link.done_head;

    CHECK(done == call && call->waiting == 0);
    the_link.done_head = done->next_done;
    if (!the_link.done_head) {
        the_link.done_tail = NULL;
    }
    CHECK(atomic_load(&call->refs) == 2);
    seqc_call_unref(call);
}

static void
end_good(struct seqc_call *call, int64_t value)
{
    take_done(call);
    CHECK(call->requests[0].status == SEQC_OK);
    CHECK(call->requests[0].u.value == value);
    seqc_call_unref(call);
}

static void
end_with(struct seqc_call *call, seqc_status status, seqc_executed executed)
{
    take_done(call);
    for (uint32_t i = 0; i < call->count; i++) {
        CHECK(ut_ended(call, i, status, executed));
    }
    seqc_call_unref(call);
}

static void
answers_go_to_calls_in_order(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    struct seqc_call *c = submit(SEQC_OP_RAISE, 1);
    struct seqc_call *d = submit(SEQC_OP_DELETE, 1);
    write_all();
    CHECK(the_link.in_flight == 4);
    answer(":7\r\n$-1\r\n$1\r\n9\r\n:1\r\n");
    end_good(a, 7);
    end_good(b, 0);
    end_good(c, 9);
    end_good(d, 1);
    shut_link();
}

static void
errors_end_the_call_they_belong_to(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    struct seqc_call *c = submit(SEQC_OP_GET, 1);
    struct seqc_call *d = submit(SEQC_OP_INCREASE, 1);
    write_all();
    answer("-OOM no\r\n-WRONGTYPE x\r\n$3\r\nabc\r\n"
           "-ERR increment or decrement would overflow\r\n");
    take_done(a);
    CHECK(ut_ended(a, 0, SEQC_SERVER, SEQC_EXECUTED_NO));
    CHECK(strcmp(a->requests[0].error, "OOM no") == 0);
    seqc_call_unref(a);
    end_with(b, SEQC_NOT_A_SEQUENCE, SEQC_EXECUTED_NO);
    end_with(c, SEQC_NOT_A_SEQUENCE, SEQC_EXECUTED_NO);
    end_with(d, SEQC_OVERFLOW, SEQC_EXECUTED_NO);
    shut_link();
}

static void
answer_of_a_wrong_kind_leaves_the_outcome_open(void)
{
    static const char *const wrong[] = {"+QUEUED\r\n", "$1\r\n1\r\n",
                                        "$-1\r\n", "*1\r\n:1\r\n", "#t\r\n"};

    for (size_t i = 0; i < 5; i++) {
        open_link();
        struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
        write_all();
        CHECK(seqc_link_feed(&the_link, wrong[i], strlen(wrong[i]), now)
              == SEQC_PROTOCOL);
        seqc_link_fail(&the_link, SEQC_PROTOCOL, seqc_link_why(&the_link));
        end_with(a, SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN);
        shut_link();
    }
}

static void
answer_before_the_question_is_refused(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    CHECK(seqc_link_feed(&the_link, ":1\r\n", 4, now) == SEQC_PROTOCOL);
    seqc_link_fail(&the_link, SEQC_PROTOCOL, "x");
    CHECK(!the_link.done_head && the_link.unsent.head); /* it goes on */
    CHECK(!seqc_link_up(&the_link, now));
    write_all();
    answer(":1\r\n");
    end_good(a, 1);
    shut_link();
}

/* Cut after each byte of three commands: what was begun is lost or repeated,
 * what was not begun is unsent. */
static void
lost_link_tells_sent_from_unsent_by_bytes(void)
{
    const size_t len = strlen("*2\r\n$4\r\nINCR\r\n$2\r\nk0\r\n");

    for (size_t cut = 0; cut <= 3 * len; cut++) {
        open_link();
        struct seqc_call *calls[3];
        size_t begun = (cut + len - 1) / len;
        for (int i = 0; i < 3; i++) {
            calls[i] = submit(SEQC_OP_INCREASE, 1);
        }
        CHECK(write_most(cut) == cut);
        CHECK(the_link.in_flight == begun);
        seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
        for (size_t i = 0; i < begun; i++) {
            CHECK(calls[i]->requests[0].cause == SEQC_CONNECT);
            end_with(calls[i], SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN);
        }
        CHECK(!seqc_link_up(&the_link, now));
        CHECK(write_most(SIZE_MAX) == (3 - begun) * len);
        for (size_t i = begun; i < 3; i++) {
            answer(":5\r\n");
            end_good(calls[i], 5);
        }
        shut_link();
    }
}

/* The socket failed before it took a byte. */
static void
encoded_call_of_a_lost_link_is_unsent(void)
{
    const char *data;
    size_t len;

    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    CHECK(!seqc_link_output(&the_link, &data, &len) && len);
    seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
    CHECK(a->waiting && !seqc_link_up(&the_link, now));
    write_all();
    answer(":1\r\n");
    end_good(a, 1);
    shut_link();
}

static void
partial_writes_continue_where_they_stopped(void)
{
    open_link();
    struct seqc_call *calls[20];
    char wire[2048];
    size_t total = 0, len;
    const char *data;
    for (int i = 0; i < 20; i++) {
        calls[i] = submit(SEQC_OP_INCREASE, 1);
    }
    for (;;) {
        CHECK(!seqc_link_output(&the_link, &data, &len));
        if (!len) {
            break;
        }
        len = len < 7 ? len : 7;
        memcpy(wire + total, data, len);
        total += len;
        seqc_link_wrote(&the_link, len, now);
        seqc_link_rewind(&the_link);
    }
    CHECK(total == 20 * 22);
    for (int i = 0; i < 20; i++) {
        CHECK(!memcmp(wire + i * 22, "*2\r\n$4\r\nINCR\r\n$2\r\nk0\r\n", 22));
        answer(":1\r\n");
        end_good(calls[i], 1);
    }
    shut_link();
}

/* At each stage a call may be in; with and without other calls around it. */
static void
abandoned_call_disturbs_nobody(void)
{
    enum { UNSENT, PARTLY, SENT, STAGES };

    for (int stage = UNSENT; stage < STAGES; stage++) {
        open_link();
        struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
        struct seqc_call *b = submit(SEQC_OP_INCREASE, 3);
        struct seqc_call *c = submit(SEQC_OP_INCREASE, 1);
        (void)write_most(stage == UNSENT ? 22 : stage == PARTLY ? 50 : 999);
        seqc_link_abandon(&the_link, b, SEQC_TIMEOUT);
        seqc_link_abandon(&the_link, b, SEQC_CLOSED); /* the first one counts */
        for (int i = 0; i < 3; i++) {
            bool was_sent = stage == SENT || (stage == PARTLY && i < 2);
            CHECK(ut_ended(b, (uint32_t)i,
                           was_sent ? SEQC_UNKNOWN : SEQC_TIMEOUT,
                           was_sent ? SEQC_EXECUTED_UNKNOWN
                                    : SEQC_EXECUTED_NO));
        }
        CHECK(atomic_load(&b->refs) == (stage == UNSENT ? 1 : 2));
        write_all();
        answer(":1\r\n");
        for (int i = 0; i < (stage == UNSENT ? 0 : stage == SENT ? 3 : 2);
             i++) {
            answer(":66\r\n");
        }
        answer(":2\r\n");
        CHECK(atomic_load(&b->refs) == 1);
        seqc_call_unref(b);
        end_good(a, 1);
        end_good(c, 2);
        shut_link();
    }
}

static void
abandoned_mget_keeps_its_outcome(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_MGET, 3);
    write_all();
    answer("*3\r\n$1\r\n7\r\n"); /* some of it came already */
    seqc_link_abandon(&the_link, a, SEQC_TIMEOUT);
    answer("$1\r\n7\r\n$-1\r\n");
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(ut_ended(a, i, SEQC_TIMEOUT, SEQC_EXECUTED_UNKNOWN));
        CHECK(a->requests[i].op == SEQC_OP_MGET);
    }
    CHECK(atomic_load(&a->refs) == 1 && !the_link.done_head);
    seqc_call_unref(a);
    shut_link();
}

static void
abandoned_call_ends_with_the_link(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_MGET, 3);
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    write_all();
    seqc_link_abandon(&the_link, a, SEQC_TIMEOUT);
    seqc_link_abandon(&the_link, b, SEQC_TIMEOUT);
    seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
    CHECK(atomic_load(&a->refs) == 1 && atomic_load(&b->refs) == 1);
    seqc_call_unref(a);
    seqc_call_unref(b);
    shut_link();
}

static void
reads_are_repeated_in_order_unless_told(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_GET, 1);
    struct seqc_call *b = submit(SEQC_OP_MGET, 2);
    struct seqc_call *c = submit(SEQC_OP_RAISE, 1);
    struct seqc_call *d = submit(SEQC_OP_INCREASE, 1);
    d->repeatable = true; /* retry="gap" */
    write_all();
    answer("$1\r\n1\r\n*2\r\n$1\r\n2\r\n");
    end_good(a, 1);
    seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
    CHECK(!the_link.done_head);
    CHECK(!seqc_link_up(&the_link, now));
    write_all();
    answer("*2\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n:7\r\n");
    CHECK(b->requests[1].u.value == 5);
    end_good(b, 4);
    end_good(c, 6);
    end_good(d, 7);
    shut_link();
    open_with(10, false); /* retry="never" */
    a = submit(SEQC_OP_GET, 1);
    write_all();
    seqc_link_fail(&the_link, SEQC_TIMEOUT, "gone");
    end_with(a, SEQC_TIMEOUT, SEQC_EXECUTED_UNKNOWN);
    shut_link();
}

static void
broken_peer_is_not_asked_again(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_GET, 1);
    write_all();
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    CHECK(seqc_link_feed(&the_link, "HTTP\r\n", 6, now) == SEQC_PROTOCOL);
    seqc_link_fail(&the_link, SEQC_PROTOCOL, seqc_link_why(&the_link));
    end_with(a, SEQC_PROTOCOL, SEQC_EXECUTED_UNKNOWN);
    seqc_link_refuse(&the_link, SEQC_AUTH, "NOAUTH");
    end_with(b, SEQC_AUTH, SEQC_EXECUTED_NO);
    shut_link();
}

static void
nil_of_an_mget_is_read_once_more(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_MGET, 4);
    write_all();
    answer("*4\r\n$1\r\n7\r\n$-1\r\n$-1\r\n$1\r\nx\r\n");
    CHECK(a->waiting == 2 && !the_link.done_head);
    write_all();
    answer("$-1\r\n-WRONGTYPE no\r\n");
    take_done(a);
    CHECK(a->requests[0].status == SEQC_OK && a->requests[0].u.value == 7);
    CHECK(a->requests[1].status == SEQC_OK && a->requests[1].u.value == 0);
    CHECK(a->requests[2].status == SEQC_NOT_A_SEQUENCE);
    CHECK(a->requests[3].status == SEQC_NOT_A_SEQUENCE);
    seqc_call_unref(a);
    a = submit(SEQC_OP_MGET, 2); /* given up between the two readings */
    write_all();
    answer("*2\r\n$-1\r\n$1\r\n8\r\n");
    seqc_link_abandon(&the_link, a, SEQC_TIMEOUT);
    CHECK(ut_ended(a, 0, SEQC_TIMEOUT, SEQC_EXECUTED_NO));
    CHECK(a->requests[1].status == SEQC_OK && a->requests[1].u.value == 8);
    CHECK(atomic_load(&a->refs) == 1);
    seqc_call_unref(a);
    shut_link();
}

static void
mget_that_is_refused_fails_every_id(void)
{
    static const char *const wrong[] = {":5\r\n", "$-1\r\n", "$1\r\n5\r\n",
                                        "*1\r\n$1\r\n5\r\n"};

    open_link();
    struct seqc_call *a = submit(SEQC_OP_MGET, 3);
    write_all();
    answer("-NOPERM no\r\n");
    CHECK(strcmp(a->requests[2].error, "NOPERM no") == 0);
    end_with(a, SEQC_AUTH, SEQC_EXECUTED_NO);
    shut_link();
    for (size_t i = 0; i < 4; i++) {
        open_link();
        a = submit(SEQC_OP_MGET, 3);
        write_all();
        CHECK(seqc_link_feed(&the_link, wrong[i], strlen(wrong[i]), now)
              == SEQC_PROTOCOL);
        seqc_link_fail(&the_link, SEQC_PROTOCOL, "x");
        end_with(a, SEQC_PROTOCOL, SEQC_EXECUTED_UNKNOWN);
        shut_link();
    }
}

static bool
next_output_has(const char *word)
{
    const char *data;
    size_t len;

    CHECK(!seqc_link_output(&the_link, &data, &len));
    return memmem(data, len, word, strlen(word)) != NULL;
}

static void
one_script_says_nothing_of_the_other(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_RAISE, 1);
    struct seqc_call *b = submit(SEQC_OP_INCREASE_ONCE, 1);
    CHECK(next_output_has(SEQC_INCREASE_ONCE_SCRIPT));
    write_all();
    answer("$1\r\n1\r\n$1\r\n2\r\n");
    end_good(a, 1);
    end_good(b, 2);
    a = submit(SEQC_OP_RAISE, 1);
    b = submit(SEQC_OP_INCREASE_ONCE, 1);
    CHECK(next_output_has(SEQC_INCREASE_ONCE_DIGEST));
    CHECK(!next_output_has("EVAL\r\n"));
    write_all();
    answer("$1\r\n1\r\n-NOSCRIPT gone\r\n");
    end_good(a, 1);
    CHECK(next_output_has(SEQC_INCREASE_ONCE_SCRIPT));
    write_all();
    answer("$1\r\n3\r\n");
    end_good(b, 3);
    shut_link();
}

/* A token's call goes on over any number of links, and what its repeat is
 * refused with for good is certain. */
static void
call_with_a_token_is_repeated(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE_ONCE, 1);
    for (int i = 0; i < 10; i++) {
        write_all();
        seqc_link_fail(&the_link, i % 2 ? SEQC_PROTOCOL : SEQC_CONNECT, "x");
        CHECK(!seqc_link_take_done(&the_link));
        CHECK(!seqc_link_up(&the_link, now));
    }
    write_all();
    answer("$19\r\n9223372036854775807\r\n");
    end_good(a, INT64_MAX);
    a = submit(SEQC_OP_INCREASE_ONCE, 1);
    write_all();
    seqc_link_fail(&the_link, SEQC_CONNECT, "x");
    CHECK(!seqc_link_up(&the_link, now));
    write_all();
    answer("-TOKENCONFLICT 2\r\n");
    end_with(a, SEQC_TOKEN_CONFLICT, SEQC_EXECUTED_NO);
    the_link.options.repeat = false;
    a = submit(SEQC_OP_INCREASE_ONCE, 1);
    write_all();
    seqc_link_fail(&the_link, SEQC_CONNECT, "x");
    end_with(a, SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN);
    shut_link();
}

static void
lost_script_is_sent_in_full_but_not_for_ever(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_RAISE, 1);
    CHECK(next_output_has("EVAL\r\n"));
    write_all();
    answer("$1\r\n1\r\n");
    end_good(a, 1);
    a = submit(SEQC_OP_RAISE, 1);
    CHECK(next_output_has("EVALSHA\r\n"));
    write_all();
    answer("-NOSCRIPT gone\r\n");
    CHECK(next_output_has("EVAL\r\n"));
    write_all();
    answer("-NOSCRIPT gone\r\n");
    write_all();
    answer("-NOSCRIPT gone\r\n"); /* a liar: not as fast as the link can */
    CHECK(!the_link.unsent.head);
    CHECK(seqc_link_next_ns(&the_link) > now);
    seqc_link_close(&the_link);
    end_with(a, SEQC_CLOSED, SEQC_EXECUTED_NO);
    shut_link();
}

static void
loading_server_is_asked_again_later(void)
{
    int64_t begin = now;

    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    a->deadline_ns = now + 5000 * MS;
    int64_t last = 0;
    int tries = 0;
    while (a->waiting) { /* each wait is longer, until no time is left */
        write_all();
        answer("-LOADING busy\r\n");
        tries++;
        int64_t due = seqc_link_next_ns(&the_link);
        CHECK(!a->waiting || (due > now && due <= now + 640 * MS));
        last = due - now;
        seqc_link_tick(&the_link, due - 1);
        CHECK(!the_link.unsent.head);
        now = a->waiting ? due : now;
        seqc_link_tick(&the_link, now);
        CHECK(!a->waiting || the_link.unsent.head);
    }
    CHECK(tries > 8 && tries < 40 && last >= 0);
    CHECK(now < begin + 5000 * MS);
    CHECK(strcmp(a->requests[0].error, "LOADING busy") == 0);
    end_with(a, SEQC_SERVER, SEQC_EXECUTED_NO);
    a = submit(SEQC_OP_INCREASE, 1);
    write_all();
    answer("-READONLY no\r\n");
    seqc_link_abandon(&the_link, a, SEQC_TIMEOUT); /* what it waited for */
    CHECK(ut_ended(a, 0, SEQC_SERVER, SEQC_EXECUTED_NO));
    CHECK(atomic_load(&a->refs) == 1);
    seqc_call_unref(a);
    shut_link();
}

static void
many_delayed_requests_cost_little(void)
{
    enum { MANY = 60000, ROUNDS = 4 };

    open_with(2 * MANY, true);
    struct seqc_call *a = submit(SEQC_OP_INCREASE, MANY);
    for (int round = 0; round < ROUNDS; round++) {
        write_all();
        CHECK(the_link.in_flight == MANY);
        for (int i = 0; i < MANY; i++) {
            now += 100; /* each read is another moment: quadratic before */
            answer("-LOADING x\r\n");
        }
        now += 1000 * MS;
        seqc_link_tick(&the_link, now);
    }
    for (int i = 0; i + 1 < MANY; i++) { /* the order is kept */
        CHECK(a->requests[i].next == &a->requests[i + 1]);
    }
    seqc_link_abandon(&the_link, a, SEQC_TIMEOUT);
    seqc_call_unref(a);
    shut_link();
}

static void
late_status_says_what_was_waited_for(void)
{
    open_with(2, true);
    CHECK(seqc_link_late_status(&the_link) == SEQC_TIMEOUT);
    struct seqc_call *a = submit(SEQC_OP_GET, 1);
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *c = submit(SEQC_OP_INCREASE, 1);
    write_all();
    CHECK(the_link.in_flight == 2 && the_link.unsent.head == &c->requests[0]);
    CHECK(seqc_link_late_status(&the_link) == SEQC_BUSY);
    seqc_link_abandon(&the_link, a, seqc_link_late_status(&the_link));
    CHECK(ut_ended(a, 0, SEQC_TIMEOUT, SEQC_EXECUTED_UNKNOWN));
    seqc_link_abandon(&the_link, b, seqc_link_late_status(&the_link));
    CHECK(ut_ended(b, 0, SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN));
    CHECK(b->requests[0].cause == SEQC_TIMEOUT);
    seqc_link_abandon(&the_link, c, seqc_link_late_status(&the_link));
    CHECK(ut_ended(c, 0, SEQC_BUSY, SEQC_EXECUTED_NO));
    answer("$-1\r\n:1\r\n");
    seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
    CHECK(seqc_link_late_status(&the_link) == SEQC_CONNECT);
    seqc_call_unref(a);
    seqc_call_unref(b);
    seqc_call_unref(c);
    shut_link();
}

static void
only_silence_that_owes_is_death(void)
{
    open_link();
    CHECK(seqc_link_next_ns(&the_link) == SEQC_TIME_NEVER);
    now += 5000 * MS;
    struct seqc_call *a = submit(SEQC_OP_GET, 1);
    CHECK(!seqc_link_is_dead(&the_link, now));
    write_all();
    CHECK(seqc_link_next_ns(&the_link) == now + 1000 * MS);
    now += 900 * MS;
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    write_all(); /* another question is no answer */
    CHECK(!seqc_link_is_dead(&the_link, now + 99 * MS));
    CHECK(seqc_link_is_dead(&the_link, now + 100 * MS));
    answer("$-1\r\n"); /* progress */
    CHECK(!seqc_link_is_dead(&the_link, now + 999 * MS));
    end_good(a, 0);
    answer("$-1\r\n");
    end_good(b, 0);
    CHECK(!seqc_link_is_dead(&the_link, now + 90000 * MS));
    shut_link();
}

static void
close_ends_all_exactly_once(void)
{
    open_with(3, true);
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    write_all();
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    write_all();
    answer("-LOADING x\r\n"); /* a is delayed */
    struct seqc_call *c = submit(SEQC_OP_MGET, 5);
    struct seqc_call *d = submit(SEQC_OP_DELETE, 1);
    write_all();
    seqc_link_close(&the_link);
    CHECK(ut_ended(d, 0, SEQC_CLOSED, SEQC_EXECUTED_NO));
    CHECK(ut_ended(a, 0, SEQC_CLOSED, SEQC_EXECUTED_NO));
    end_with(b, SEQC_CLOSED, SEQC_EXECUTED_UNKNOWN);
    end_with(c, SEQC_CLOSED, SEQC_EXECUTED_UNKNOWN);
    take_done(d);
    take_done(a);
    seqc_call_unref(a);
    seqc_call_unref(d);
    seqc_link_close(&the_link);
    shut_link();
}

/* Encoded, and in the hands of a system call when somebody closes. */
static void
close_during_a_write_leaves_the_outcome_open(void)
{
    const char *data;
    size_t len;

    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    CHECK(!seqc_link_output(&the_link, &data, &len) && len);
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 1);
    seqc_link_assume_written(&the_link);
    seqc_link_close(&the_link);
    end_with(a, SEQC_CLOSED, SEQC_EXECUTED_UNKNOWN);
    end_with(b, SEQC_CLOSED, SEQC_EXECUTED_NO);
    shut_link();
}

/* ---- numbers that were lost ---- */

static struct seqc_call *
run(enum seqc_op op, const char *reply)
{
    struct seqc_call *call = submit(op, 1);

    write_all();
    answer(reply);
    take_done(call);
    return call;
}

static bool
regresses(enum seqc_op op, const char *reply)
{
    struct seqc_call *call = run(op, reply);
    bool regressed = call->requests[0].regressed;

    seqc_call_unref(call);
    return regressed;
}

static void
lost_numbers_are_told_once(void)
{
    regress = seqc_regress_new(64);
    open_link();
    CHECK(!regresses(SEQC_OP_INCREASE, ":5\r\n"));
    CHECK(!regresses(SEQC_OP_INCREASE, ":6\r\n"));
    CHECK(regresses(SEQC_OP_INCREASE, ":6\r\n"));
    CHECK(!regresses(SEQC_OP_INCREASE, ":7\r\n"));
    CHECK(regresses(SEQC_OP_GET, "$1\r\n3\r\n"));
    CHECK(!regresses(SEQC_OP_GET, "$1\r\n3\r\n"));
    CHECK(!regresses(SEQC_OP_RAISE, "$1\r\n9\r\n"));
    CHECK(regresses(SEQC_OP_GET, "$-1\r\n"));
    /* a liar's number must not overflow */
    CHECK(regresses(SEQC_OP_INCREASE, ":-9223372036854775808\r\n"));
    shut_link();
    seqc_regress_free(regress);
    regress = NULL;
}

static void
deleted_key_has_no_floor(void)
{
    regress = seqc_regress_new(64);
    open_link();
    CHECK(!regresses(SEQC_OP_INCREASE, ":5\r\n"));
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *d = submit(SEQC_OP_DELETE, 1);
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    write_all();
    answer(":6\r\n:1\r\n$-1\r\n");
    end_good(a, 6);
    end_good(d, 1);
    CHECK(!b->requests[0].regressed);
    end_good(b, 0);
    CHECK(!regresses(SEQC_OP_INCREASE, ":1\r\n"));
    /* the same with a delete that nobody knows the outcome of */
    a = submit(SEQC_OP_INCREASE, 1);
    d = submit(SEQC_OP_DELETE, 1);
    write_all();
    answer(":2\r\n");
    seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
    end_good(a, 2);
    end_with(d, SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN);
    CHECK(!seqc_regress_deletes(regress) && !seqc_link_up(&the_link, now));
    CHECK(!regresses(SEQC_OP_GET, "$-1\r\n"));
    CHECK(!regresses(SEQC_OP_INCREASE, ":1\r\n"));
    d = run(SEQC_OP_DELETE, "-NOPERM no\r\n");
    seqc_call_unref(d);
    CHECK(!seqc_regress_deletes(regress));
    shut_link();
    seqc_regress_free(regress);
    regress = NULL;
}

/* ---- raw commands ---- */

static void
raw_tree_belongs_to_its_call(void)
{
    long live = ut_live;

    open_link();
    for (int i = 0; i < 3; i++) {
        struct seqc_call *a = ut_raw_call("*1\r\n$4\r\nTIME\r\n");
        seqc_link_submit(&the_link, a);
        write_all();
        if (i == 1) {
            seqc_link_abandon(&the_link, a, SEQC_TIMEOUT);
        }
        answer(i == 2 ? "-ERR no\r\n" : "*2\r\n$1\r\n1\r\n*1\r\n:3\r\n");
        if (i != 1) {
            take_done(a);
        }
        if (i == 0) {
            CHECK(a->requests[0].u.tree->len == 2);
        }
        seqc_call_unref(a);
    }
    shut_link();
    CHECK(ut_live == live);
}

/* ---- fork ---- */

static void
child_keeps_only_its_own_calls(void)
{
    long live = ut_live;

    open_link();
    struct seqc_call *mine[3];
    for (int i = 0; i < 9; i++) {
        struct seqc_call *call = ut_call(SEQC_OP_INCREASE, 2);
        call->thread = i % 3 == 0 ? 1 : 2;
        if (i % 3 == 0) {
            mine[i / 3] = call;
        }
        seqc_link_submit(&the_link, call);
        if (i == 2) {
            write_all();
            answer(":1\r\n:2\r\n:1\r\n-LOADING x\r\n");
        }
        else if (i == 5) {
            write_all();
            answer(":2\r\n:3\r\n");
        }
    }
    seqc_link_after_fork(&the_link, 1); /* frees the calls of thread 2 */
    CHECK(atomic_load(&mine[0]->refs) == 1 && !mine[0]->waiting);
    take_done(mine[1]);
    CHECK(mine[1]->requests[0].status == SEQC_UNKNOWN);
    CHECK(mine[2]->waiting == 2);
    seqc_link_close(&the_link);
    take_done(mine[2]);
    for (int i = 0; i < 3; i++) {
        seqc_call_unref(mine[i]);
    }
    shut_link();
    CHECK(ut_live == live);
}

/* Sent once on a link that was lost, and waiting for the next one. */
static struct seqc_call *
lose_once(enum seqc_op op)
{
    struct seqc_call *call = submit(op, 1);

    call->repeatable = true; /* an increase: retry="gap" */
    write_all();
    seqc_link_fail(&the_link, SEQC_CONNECT, "reset");
    CHECK(call->requests[0].state == SEQC_REQUEST_UNSENT);
    return call;
}

/* Whatever becomes of the repeat, the first sending may have counted. */
static void
repeated_call_never_claims_that_it_did_not_run(void)
{
    static const struct {
        enum seqc_op op;
        seqc_status late;
        seqc_status refused;
    } cases[] = {
        {SEQC_OP_INCREASE, SEQC_UNKNOWN, SEQC_UNKNOWN},
        {SEQC_OP_RAISE, SEQC_TIMEOUT, SEQC_SERVER},
    };

    for (size_t i = 0; i < 2; i++) {
        open_link();
        struct seqc_call *late = lose_once(cases[i].op);
        seqc_link_abandon(&the_link, late, SEQC_CONNECT);
        CHECK(late->requests[0].status == cases[i].late);
        CHECK(late->requests[0].executed == SEQC_EXECUTED_UNKNOWN);
        CHECK(atomic_load(&late->refs) == 1);
        seqc_call_unref(late);
        struct seqc_call *closed = lose_once(cases[i].op);
        CHECK(!seqc_link_up(&the_link, now));
        struct seqc_call *refused = lose_once(cases[i].op);
        seqc_call_ref(closed); /* lost twice, still waiting */
        CHECK(!seqc_link_up(&the_link, now));
        write_all();
        answer(cases[i].op == SEQC_OP_RAISE ? "$1\r\n9\r\n" : ":9\r\n");
        seqc_call_unref(closed);
        end_good(closed, 9);
        answer("-OOM no memory\r\n");
        end_with(refused, cases[i].refused, SEQC_EXECUTED_UNKNOWN);
        closed = lose_once(cases[i].op);
        seqc_link_close(&the_link);
        end_with(closed, SEQC_CLOSED, SEQC_EXECUTED_UNKNOWN);
        shut_link();
    }
}

int
main(void)
{
    ut_watch();
    RUN(answers_go_to_calls_in_order);
    RUN(errors_end_the_call_they_belong_to);
    RUN(answer_of_a_wrong_kind_leaves_the_outcome_open);
    RUN(answer_before_the_question_is_refused);
    RUN(lost_link_tells_sent_from_unsent_by_bytes);
    RUN(encoded_call_of_a_lost_link_is_unsent);
    RUN(partial_writes_continue_where_they_stopped);
    RUN(abandoned_call_disturbs_nobody);
    RUN(abandoned_mget_keeps_its_outcome);
    RUN(abandoned_call_ends_with_the_link);
    RUN(reads_are_repeated_in_order_unless_told);
    RUN(broken_peer_is_not_asked_again);
    RUN(nil_of_an_mget_is_read_once_more);
    RUN(mget_that_is_refused_fails_every_id);
    RUN(one_script_says_nothing_of_the_other);
    RUN(call_with_a_token_is_repeated);
    RUN(lost_script_is_sent_in_full_but_not_for_ever);
    RUN(loading_server_is_asked_again_later);
    RUN(many_delayed_requests_cost_little);
    RUN(late_status_says_what_was_waited_for);
    RUN(only_silence_that_owes_is_death);
    RUN(close_ends_all_exactly_once);
    RUN(close_during_a_write_leaves_the_outcome_open);
    RUN(lost_numbers_are_told_once);
    RUN(deleted_key_has_no_floor);
    RUN(repeated_call_never_claims_that_it_did_not_run);
    RUN(raw_tree_belongs_to_its_call);
    RUN(child_keeps_only_its_own_calls);
    CHECK(ut_live == 0);
    return ut_finish();
}
