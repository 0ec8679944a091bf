/* SPDX-License-Identifier: MIT */
#include "core/durable.h"

#include "ut_link.h"

#define EPOCH "7.ab"

static struct seqc_stats stats;
static struct seqc_link the_link;
static struct seqc_belief *belief;
static int64_t now = 1000 * MS;
static int64_t lease_now = 50 * MS;
static char wire[1 << 20]; /* what was written */
static size_t wire_len;

static void
open_with(size_t max_pending)
{
    struct seqc_link_options options = {max_pending, 1000 * MS, true};

    belief = seqc_belief_new();
    CHECK(!seqc_link_init(&the_link, options, NULL, &stats));
    seqc_durable_attach(&the_link, belief);
    CHECK(!seqc_belief_set(
        belief, EPOCH, strlen(EPOCH), 100 * MS, SEQC_TIME_NEVER));
    CHECK(!seqc_link_up(&the_link, now));
    wire_len = 0;
}

static void
open_link(void)
{
    open_with(10000);
}

static void
shut_link(void)
{
    CHECK(!the_link.sent.head && !the_link.unsent.head && !the_link.done_head);
    CHECK(!the_link.in_flight);
    seqc_link_fini(&the_link);
    seqc_belief_unref(belief);
}

static struct seqc_call *
submit(enum seqc_op op, uint32_t count)
{
    struct seqc_call *call = ut_call(op, count);

    call->requests[0].span = 1;
    call->durable = true;
    call->once = true;
    call->repeatable = false;
    seqc_link_submit(&the_link, call);
    return call;
}

/* As a driver does, at most `most` bytes. */
static void
write_most(size_t most)
{
    const char *data;
    size_t len;

    while (most) {
        seqc_durable_look(&the_link, lease_now);
        CHECK(!seqc_link_output(&the_link, &data, &len));
        if (!len) {
            break;
        }
        len = len < most ? len : most;
        CHECK(wire_len + len < sizeof wire);
        memcpy(wire + wire_len, data, len);
        wire_len += len;
        most -= len;
        seqc_link_wrote(&the_link, len, now);
    }
    wire[wire_len] = '\0';
    seqc_link_rewind(&the_link);
}

static void
write_all(void)
{
    write_most(SIZE_MAX);
}

static void
wrote(const char *expected)
{
    write_all();
    if (strcmp(wire, expected)) {
        fprintf(stderr, "%s\n", wire);
    }
    CHECK(!strcmp(wire, expected));
    wire_len = 0;
}

static void
answer(const char *data)
{
    CHECK(!seqc_link_feed(&the_link, data, strlen(data), now));
}

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
    CHECK(call->requests[0].status == SEQC_OK && !call->is_slow);
    CHECK(call->requests[0].u.value == value);
    CHECK(seqc_durable_is_over(call));
    seqc_call_unref(call);
}

/* Ended by a verdict with that word, or, NULL, as never sent. */
static void
end_slow(struct seqc_call *call, const char *word)
{
    struct seqc_request *request = &call->requests[0];

    take_done(call);
    CHECK(call->is_slow && !seqc_durable_is_over(call));
    CHECK(request->status == SEQC_VERDICT);
    CHECK(!word == !request->u.tree);
    CHECK(!word || !strcmp(request->u.tree->items[0]->text, word));
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

#define CELL0 "$10\r\nsqc:m:{k0}\r\n"
#define CELL1 "$10\r\nsqc:m:{k1}\r\n"

/* ---- what is written ---- */

static void
single_calls_are_byte_exact(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    wrote("*7\r\n$5\r\nFCALL\r\n$8\r\nseq_incr\r\n$1\r\n2\r\n$2\r\nk0\r\n" CELL0
          "$4\r\n7.ab\r\n$1\r\n1\r\n");
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    wrote("*7\r\n$5\r\nFCALL\r\n$7\r\nseq_get\r\n$1\r\n2\r\n$2\r\nk0\r\n" CELL0
          "$4\r\n7.ab\r\n$1\r\n0\r\n");
    struct seqc_call *c = ut_call(SEQC_OP_RAISE, 1);
    c->durable = true;
    c->requests[0].amount = 1234567890123;
    seqc_link_submit(&the_link, c);
    wrote("*7\r\n$5\r\nFCALL\r\n$9\r\nseq_raise\r\n$1\r\n2\r\n$2\r\nk0\r\n" CELL0
          "$4\r\n7.ab\r\n$13\r\n1234567890123\r\n");
    answer(":7\r\n:8\r\n:1234567890123\r\n");
    end_good(a, 7);
    end_good(b, 8);
    end_good(c, 1234567890123);
    shut_link();
}

static void
key_with_a_tag_has_its_cell_beside_it(void)
{
    open_link();
    struct seqc_call *call = seqc_call_new(1, 8);
    struct seqc_call_filler filler;
    seqc_call_fill(&filler, call);
    seqc_call_add_key(&filler, SEQC_OP_GET, "{a}", 3, "x", 1);
    call->durable = true;
    seqc_link_submit(&the_link, call);
    wrote("*7\r\n$5\r\nFCALL\r\n$7\r\nseq_get\r\n$1\r\n2\r\n$4\r\n{a}x\r\n"
          "$10\r\nsqc:b:{a}x\r\n$4\r\n7.ab\r\n$1\r\n0\r\n");
    answer(":1\r\n");
    end_good(call, 1);
    shut_link();
}

static void
epoch_without_a_lease_has_the_server_verify(void)
{
    open_link();
    CHECK(!seqc_belief_set(
        belief, "8.c", 3, SEQC_TIME_NEVER, SEQC_TIME_NEVER));
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    wrote("*8\r\n$5\r\nFCALL\r\n$8\r\nseq_incr\r\n$1\r\n2\r\n$2\r\nk0\r\n" CELL0
          "$3\r\n8.c\r\n$1\r\n1\r\n$1\r\nv\r\n");
    answer(":7\r\n");
    end_good(a, 7);
    shut_link();
}

static void
calls_in_a_row_travel_as_one(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 2);
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *c = submit(SEQC_OP_GET, 1);
    struct seqc_call *d = submit(SEQC_OP_MGET, 2);
    wrote("*8\r\n$5\r\nFCALL\r\n$13\r\nseq_incr_keys\r\n$1\r\n3\r\n"
          "$2\r\nk0\r\n$2\r\nk1\r\n$2\r\nk0\r\n"
          "$4\r\n7.ab\r\n$1\r\n1\r\n"
          "*11\r\n$5\r\nFCALL\r\n$12\r\nseq_get_many\r\n$1\r\n6\r\n"
          "$2\r\nk0\r\n" CELL0 "$2\r\nk0\r\n" CELL0 "$2\r\nk1\r\n" CELL1
          "$4\r\n7.ab\r\n$1\r\n0\r\n");
    CHECK(the_link.in_flight == 6);
    answer("*3\r\n:1\r\n:5\r\n:2\r\n*3\r\n:2\r\n:2\r\n:5\r\n");
    take_done(a);
    CHECK(a->requests[0].u.value == 1 && a->requests[1].u.value == 5);
    seqc_call_unref(a);
    end_good(b, 2);
    end_good(c, 2);
    take_done(d);
    CHECK(d->requests[0].u.value == 2 && d->requests[1].u.value == 5);
    seqc_call_unref(d);
    shut_link();
}

/* A counting call on one key, with a token of four bytes. */
static struct seqc_call *
submit_once(const char *prefix, int64_t amount)
{
    struct seqc_call *call = seqc_call_new(1, strlen(prefix) + 5);
    struct seqc_call_filler filler;

    seqc_call_set_token(call, "t:{x", 4);
    seqc_call_fill(&filler, call);
    seqc_call_add_key(&filler, SEQC_OP_INCREASE_ONCE, prefix, strlen(prefix),
                      "k", 1)
        ->amount = amount;
    call->durable = true;
    call->counting = true;
    call->token_ttl_s = 600;
    seqc_link_submit(&the_link, call);
    return call;
}

static void
tokens_travel_with_their_records(void)
{
    open_link();
    struct seqc_call *a = submit_once("", 2);
    wrote("*10\r\n$5\r\nFCALL\r\n$8\r\nseq_incr\r\n$1\r\n3\r\n$1\r\nk\r\n"
          "$9\r\nsqc:m:{k}\r\n$16\r\nsqc:t:1:{k}:t:{x\r\n"
          "$4\r\n7.ab\r\n$1\r\n2\r\n$0\r\n\r\n$3\r\n600\r\n");
    answer("*3\r\n$4\r\nsame\r\n:9\r\n:2\r\n");
    end_good(a, 9);
    struct seqc_call *b = submit_once("{b}", 1);
    struct seqc_call *c = submit_once("", 1);
    struct seqc_call *d = submit(SEQC_OP_INCREASE, 1);
    wrote("*13\r\n$5\r\nFCALL\r\n$13\r\nseq_incr_many\r\n$1\r\n6\r\n"
          "$4\r\n{b}k\r\n$10\r\nsqc:b:{b}k\r\n$17\r\nsqc:t:4:{b}k:t:{x\r\n"
          "$1\r\nk\r\n$9\r\nsqc:m:{k}\r\n$16\r\nsqc:t:1:{k}:t:{x\r\n"
          "$4\r\n7.ab\r\n$1\r\n1\r\n$0\r\n\r\n$3\r\n600\r\n"
          "*7\r\n$5\r\nFCALL\r\n$8\r\nseq_incr\r\n$1\r\n2\r\n$2\r\nk0\r\n" CELL0
          "$4\r\n7.ab\r\n$1\r\n1\r\n");
    answer("*2\r\n:5\r\n*3\r\n$4\r\nsame\r\n:9\r\n:2\r\n:1\r\n");
    end_good(b, 5);
    end_slow(c, "same"); /* for another amount */
    end_good(d, 1);
    shut_link();
}

static void
unlike_calls_keep_their_order(void)
{
    open_link();
    struct seqc_call *calls[5];
    calls[0] = submit(SEQC_OP_INCREASE, 1);
    calls[1] = ut_call(SEQC_OP_INCREASE, 1);
    calls[1]->durable = true;
    calls[1]->requests[0].amount = 3;
    seqc_link_submit(&the_link, calls[1]);
    calls[2] = submit(SEQC_OP_INCREASE, 1);
    calls[3] = submit(SEQC_OP_RAISE, 1);
    calls[4] = submit(SEQC_OP_RAISE, 1);
    struct seqc_call *raw = ut_raw_call("*1\r\n$4\r\nPING\r\n");
    seqc_link_submit(&the_link, raw);
    write_all();
    CHECK(!strstr(wire, "many"));
    CHECK(strstr(wire, "seq_raise") < strstr(wire, "PING"));
    answer(":1\r\n:4\r\n:5\r\n:5\r\n:5\r\n+PONG\r\n");
    end_good(calls[0], 1);
    end_good(calls[1], 4);
    for (int i = 2; i < 5; i++) {
        end_good(calls[i], 5);
    }
    take_done(raw);
    seqc_call_unref(raw);
    shut_link();
}

static void
batches_are_bounded(void)
{
    open_with(1300);
    struct seqc_call *call = submit(SEQC_OP_INCREASE, 1500);
    write_all();
    CHECK(strstr(wire, "\r\n$3\r\n512\r\n"));
    CHECK(strstr(wire, "\r\n$3\r\n276\r\n")); /* 1300 - 1024 requests */
    CHECK(the_link.in_flight == 1300);
    for (int batch = 0; batch < 4; batch++) {
        static const int counts[] = {512, 512, 276, 200};
        char head[16];
        if (batch == 3) {
            write_all();
        }
        snprintf(head, sizeof head, "*%d\r\n", counts[batch]);
        answer(head);
        for (int i = 0; i < counts[batch]; i++) {
            answer(":1\r\n");
        }
    }
    take_done(call);
    CHECK(call->requests[1499].u.value == 1);
    seqc_call_unref(call);
    shut_link();
}

/* ---- R6: what may be sent ---- */

static void
nothing_is_sent_when_the_lease_is_over(void)
{
    open_link();
    lease_now = 100 * MS - 1;
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    write_all();
    CHECK(wire_len);
    answer(":1\r\n");
    end_good(a, 1);
    lease_now = 100 * MS;
    wire_len = 0;
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *raw = ut_raw_call("*1\r\n$4\r\nPING\r\n");
    seqc_link_submit(&the_link, raw);
    wrote("*1\r\n$4\r\nPING\r\n");
    end_slow(b, NULL);
    answer("+PONG\r\n");
    take_done(raw);
    seqc_call_unref(raw);
    lease_now = 50 * MS;
    shut_link();
}

static void
each_output_wants_its_own_look(void)
{
    const char *data;
    size_t len;

    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    write_all();
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 1);
    CHECK(!seqc_link_output(&the_link, &data, &len));
    CHECK(!len);
    end_slow(b, NULL);
    answer(":1\r\n");
    end_good(a, 1);
    shut_link();
}

static void
socket_that_was_full_has_the_lease_looked_at_again(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_RAISE, 1);
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 2);
    write_most(10);
    CHECK(a->requests[0].state == SEQC_REQUEST_SENT);
    CHECK(b->requests[1].state == SEQC_REQUEST_UNSENT);
    lease_now = 100 * MS;
    write_all();
    answer(":1\r\n");
    CHECK(b->requests[1].status == SEQC_VERDICT);
    CHECK(!b->requests[0].u.tree && !b->requests[0].epoch);
    lease_now = 50 * MS;
    take_done(b);
    seqc_call_unref(b);
    end_good(a, 1);
    shut_link();
}

static void
belief_in_nothing_sends_nothing(void)
{
    open_link();
    CHECK(!seqc_belief_set(belief, "", 0, 100 * MS, SEQC_TIME_NEVER));
    struct seqc_call *a = submit(SEQC_OP_GET, 1);
    write_all();
    CHECK(!wire_len);
    end_slow(a, NULL);
    seqc_belief_after_fork(belief);
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    write_all();
    end_slow(b, NULL);
    shut_link();
}

static void
use_is_told_once_when_it_is_time(void)
{
    struct seqc_low *lows;

    open_link();
    CHECK(!seqc_belief_set(belief, EPOCH, 4, 100 * MS, 60 * MS));
    CHECK(seqc_belief_look(belief, 59 * MS).epoch);
    CHECK(!seqc_belief_has_news(belief));
    CHECK(seqc_belief_look(belief, 60 * MS).epoch);
    CHECK(seqc_belief_has_news(belief));
    CHECK(seqc_belief_take_news(belief, &lows) && !lows);
    CHECK(!seqc_belief_has_news(belief));
    CHECK(seqc_belief_look(belief, 61 * MS).epoch);
    CHECK(!seqc_belief_has_news(belief));
    CHECK(!seqc_belief_take_news(belief, &lows));
    shut_link();
}

/* ---- what comes ---- */

#define LOW(n) "*4\r\n$3\r\nlow\r\n:" n "\r\n$2\r\naa\r\n$2\r\n50\r\n"
#define TAKE   "*2\r\n$4\r\ntake\r\n$1\r\n0\r\n"

static void
low_block_gives_its_number_and_is_told(void)
{
    struct seqc_low *lows;

    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    write_all();
    answer(LOW("26"));
    end_good(a, 26);
    CHECK(seqc_belief_has_news(belief));
    CHECK(!seqc_belief_take_news(belief, &lows));
    CHECK(lows && !lows->next && lows->key_len == 2);
    CHECK(!memcmp(lows->key, "k0", 2) && lows->epoch->len == 4);
    CHECK(!strcmp(lows->verdict->items[3]->text, "50"));
    seqc_low_free(lows);
    shut_link();
}

static void
too_many_low_blocks_are_dropped(void)
{
    struct seqc_low *lows;
    size_t count = 0;

    open_link();
    for (int i = 0; i < 5000; i++) {
        struct seqc_value *verdict = seqc_calloc(1, sizeof *verdict);
        seqc_belief_note_low_steal(belief, NULL, "k", 1, verdict);
    }
    (void)seqc_belief_take_news(belief, &lows);
    while (lows) {
        struct seqc_low *low = lows;
        lows = low->next;
        seqc_low_free(low);
        count++;
    }
    CHECK(count == 4096);
    struct seqc_value *verdict = seqc_calloc(1, sizeof *verdict);
    seqc_belief_note_low_steal(belief, NULL, "k", 1, verdict);
    shut_link();
}

static void
batch_tells_each_call_its_own(void)
{
    open_link();
    struct seqc_call *calls[5];
    for (int i = 0; i < 5; i++) {
        calls[i] = submit(SEQC_OP_INCREASE, 1);
    }
    write_all();
    answer("*5\r\n:1\r\n" TAKE LOW("3") ":4\r\n");
    end_good(calls[0], 1);
    end_slow(calls[1], "take");
    end_good(calls[2], 3);
    end_good(calls[3], 4);
    answer("*2\r\n$4\r\nbusy\r\n:1\r\n");
    end_slow(calls[4], "busy");
    shut_link();
}

static void
batch_of_two_tells_each_call_its_own(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 1);
    write_all();
    answer("*2\r\n" TAKE ":9\r\n");
    end_slow(a, "take");
    end_good(b, 9);
    shut_link();
}

static void
other_epoch_is_told_to_all_of_a_batch(void)
{
    for (uint32_t count = 1; count < 4; count++) {
        struct seqc_call *calls[3];
        open_link();
        for (uint32_t i = 0; i < count; i++) {
            calls[i] = submit(SEQC_OP_INCREASE, 1);
        }
        write_all();
        answer("*2\r\n$5\r\nepoch\r\n$1\r\nx\r\n");
        end_slow(calls[0], "epoch");
        for (uint32_t i = 1; i < count; i++) {
            CHECK(calls[i]->requests[0].epoch);
            end_slow(calls[i], NULL);
        }
        shut_link();
    }
}

static void
error_ends_all_of_a_batch_and_nothing_is_repeated(void)
{
    open_link();
    struct seqc_call *calls[3];
    for (int i = 0; i < 3; i++) {
        calls[i] = submit(SEQC_OP_GET, 1);
    }
    write_all();
    answer("-LOADING wait\r\n");
    for (int i = 0; i < 3; i++) {
        CHECK(!strcmp(calls[i]->requests[0].error, "LOADING wait"));
        CHECK(!seqc_durable_is_over(calls[i]));
        end_with(calls[i], SEQC_SERVER, SEQC_EXECUTED_NO);
    }
    shut_link();
}

static void
answers_that_cannot_be_are_refused(void)
{
    static const char *const bad[] = {
        "+OK\r\n",
        "$-1\r\n",
        ":1\r\n",
        "*3\r\n:1\r\n:2\r\n$1\r\n3\r\n",
        "*3\r\n:1\r\n*1\r\n:5\r\n:2\r\n",
        "*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "*0\r\n",
        "*3\r\n:1\r\n*4\r\n$3\r\nlow\r\n:2\r\n:3\r\n$2\r\n50\r\n:3\r\n",
        "*3\r\n:1\r\n*4\r\n$3\r\nlow\r\n:2\r\n$1\r\na\r\n_\r\n:3\r\n",
        "*3\r\n:1\r\n*2\r\n$3\r\nlow\r\n:2\r\n:3\r\n",
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        open_link();
        struct seqc_call *call = submit(SEQC_OP_INCREASE, 3);
        write_all();
        CHECK(seqc_link_feed(&the_link, bad[i], strlen(bad[i]), now)
              == SEQC_PROTOCOL);
        seqc_link_fail(&the_link, SEQC_PROTOCOL, "bad");
        CHECK(call->requests[2].status == SEQC_UNKNOWN);
        take_done(call);
        seqc_call_unref(call);
        shut_link();
    }
}

/* ---- calls that leave, links that are lost ---- */

static void
cancelled_call_leaves_its_place_in_the_batch(void)
{
    struct seqc_low *lows;

    open_link();
    struct seqc_call *calls[4];
    for (int i = 0; i < 4; i++) {
        calls[i] = submit(SEQC_OP_INCREASE, 1);
    }
    seqc_link_abandon(&the_link, calls[0], SEQC_TIMEOUT);
    CHECK(ut_ended(calls[0], 0, SEQC_TIMEOUT, SEQC_EXECUTED_NO));
    seqc_call_unref(calls[0]);
    write_all();
    CHECK(the_link.in_flight == 3);
    seqc_link_abandon(&the_link, calls[2], SEQC_TIMEOUT);
    CHECK(ut_ended(calls[2], 0, SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN));
    CHECK(seqc_durable_is_over(calls[2]));
    answer("*3\r\n:1\r\n" LOW("2") ":3\r\n");
    CHECK(atomic_load(&calls[2]->refs) == 1);
    CHECK(calls[2]->requests[0].u.value != 2);
    seqc_call_unref(calls[2]);
    end_good(calls[1], 1);
    end_good(calls[3], 3);
    CHECK(!seqc_belief_take_news(belief, &lows) && lows);
    seqc_low_free(lows);
    shut_link();
}

static void
epoch_is_told_to_one_that_still_waits(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 1);
    write_all();
    seqc_link_abandon(&the_link, a, SEQC_TIMEOUT);
    seqc_call_unref(a);
    answer("*2\r\n$5\r\nepoch\r\n$0\r\n\r\n");
    end_slow(b, "epoch");
    struct seqc_call *c = submit(SEQC_OP_INCREASE, 1);
    write_all();
    seqc_link_abandon(&the_link, c, SEQC_TIMEOUT);
    seqc_call_unref(c);
    answer(TAKE);
    shut_link();
}

static void
lost_link_leaves_each_call_of_a_batch_unknown(void)
{
    open_link();
    struct seqc_call *calls[3];
    for (int i = 0; i < 3; i++) {
        calls[i] = submit(SEQC_OP_INCREASE, 1);
    }
    write_most(20);
    struct seqc_call *unsent = submit(SEQC_OP_INCREASE, 1);
    calls[2]->again = true;
    seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
    CHECK(seqc_durable_is_over(calls[0]));
    CHECK(!seqc_durable_is_over(calls[2]));
    for (int i = 0; i < 3; i++) {
        end_with(calls[i], SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN);
    }
    CHECK(unsent->requests[0].state == SEQC_REQUEST_UNSENT);
    CHECK(!seqc_link_up(&the_link, now));
    write_all();
    answer(":1\r\n");
    end_good(unsent, 1);
    shut_link();
}

static void
half_an_answer_counts_for_the_calls_it_names(void)
{
    open_link();
    struct seqc_call *calls[4];
    for (int i = 0; i < 4; i++) {
        calls[i] = submit(SEQC_OP_INCREASE, 1);
    }
    write_all();
    answer("*4\r\n:1\r\n:2\r\n*2\r\n$4\r\nta");
    end_good(calls[0], 1);
    end_good(calls[1], 2);
    seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
    end_with(calls[2], SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN);
    end_with(calls[3], SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN);
    CHECK(!seqc_link_up(&the_link, now));
    struct seqc_call *next = submit(SEQC_OP_INCREASE, 1);
    write_all();
    answer(":5\r\n");
    end_good(next, 5);
    shut_link();
}

static void
lost_read_is_for_the_state_machine_until_its_time_is_up(void)
{
    open_link();
    struct seqc_call *a = submit(SEQC_OP_GET, 1);
    struct seqc_call *b = submit(SEQC_OP_GET, 1);
    write_all();
    seqc_link_abandon(&the_link, b, SEQC_TIMEOUT);
    CHECK(seqc_durable_is_over(b));
    seqc_link_fail(&the_link, SEQC_CONNECT, "gone");
    seqc_call_unref(b);
    CHECK(!seqc_durable_is_over(a));
    end_with(a, SEQC_CONNECT, SEQC_EXECUTED_UNKNOWN);
    CHECK(!seqc_link_up(&the_link, now));
    a = submit(SEQC_OP_GET, 1);
    write_all();
    seqc_link_fail(&the_link, SEQC_NOMEM, "out of memory");
    CHECK(!seqc_durable_is_over(a));
    end_with(a, SEQC_CONNECT, SEQC_EXECUTED_UNKNOWN);
    struct seqc_call *c = submit(SEQC_OP_GET, 1);
    seqc_link_close(&the_link);
    CHECK(seqc_durable_is_over(c));
    end_with(c, SEQC_CLOSED, SEQC_EXECUTED_NO);
    shut_link();
}

static void
only_what_ended_well_is_counted_here(void)
{
    open_link();
    memset(&stats, 0, sizeof stats);
    struct seqc_call *a = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *b = submit(SEQC_OP_INCREASE, 1);
    struct seqc_call *c = submit(SEQC_OP_INCREASE, 1);
    write_all();
    seqc_link_abandon(&the_link, c, SEQC_TIMEOUT);
    seqc_call_unref(c);
    answer("*3\r\n:1\r\n" TAKE ":3\r\n");
    end_good(a, 1);
    end_slow(b, "take");
    CHECK(seqc_stats_read(&stats.calls[SEQC_OP_INCREASE]) == 3);
    CHECK(seqc_stats_read(&stats.errors[SEQC_OK]) == 1);
    CHECK(seqc_stats_latency_count(&stats) == 1);
    for (int status = SEQC_PENDING; status < SEQC_STATUS_COUNT; status++) {
        CHECK(!seqc_stats_read(&stats.errors[status]));
    }
    shut_link();
}

/* ---- the belief ---- */

static void
epochs_are_known_by_their_token(void)
{
    const struct seqc_epoch *first;

    belief = seqc_belief_ref(seqc_belief_new());
    CHECK(!seqc_belief_look(belief, 0).epoch);
    CHECK(!seqc_belief_set(belief, "1.a", 3, 10, 10));
    first = seqc_belief_look(belief, 0).epoch;
    CHECK(!seqc_belief_set(belief, "2.b", 3, 10, 10));
    CHECK(seqc_belief_look(belief, 0).epoch != first);
    CHECK(!memcmp(first->token, "1.a", 3));
    CHECK(!seqc_belief_set(belief, "1.a", 3, 10, 10));
    CHECK(seqc_belief_look(belief, 0).epoch == first);
    CHECK(!seqc_belief_look(belief, 0).verify);
    ut_fail_at(1);
    CHECK(seqc_belief_set(belief, "3.c", 3, 10, 10) == SEQC_NOMEM);
    ut_fail_at(0);
    CHECK(!seqc_belief_look(belief, 0).epoch);
    seqc_belief_unref(belief);
    seqc_belief_unref(belief);
    seqc_belief_unref(NULL);
}

static void
without_memory_every_call_still_ends(void)
{
    static const char told[] = "*4\r\n:1\r\n" TAKE LOW("3") ":4\r\n";
    long n = 0;

    do {
        struct seqc_call *calls[4];
        open_link();
        for (int i = 0; i < 4; i++) {
            calls[i] = submit(SEQC_OP_INCREASE, 1);
        }
        write_all();
        ut_fail_at(++n);
        if (seqc_link_feed(&the_link, told, sizeof told - 1, now)) {
            seqc_link_fail(&the_link, SEQC_NOMEM, "no memory");
        }
        bool failed = ut_has_failed();
        ut_fail_at(0);
        for (int i = 0; i < 4; i++) {
            take_done(calls[i]);
            seqc_call_unref(calls[i]);
        }
        shut_link();
        if (!failed) {
            break;
        }
    } while (n < 100);
    CHECK(n > 5 && n < 100);
}

int
main(void)
{
    ut_watch();
    RUN(single_calls_are_byte_exact);
    RUN(key_with_a_tag_has_its_cell_beside_it);
    RUN(epoch_without_a_lease_has_the_server_verify);
    RUN(calls_in_a_row_travel_as_one);
    RUN(tokens_travel_with_their_records);
    RUN(unlike_calls_keep_their_order);
    RUN(batches_are_bounded);
    RUN(nothing_is_sent_when_the_lease_is_over);
    RUN(each_output_wants_its_own_look);
    RUN(socket_that_was_full_has_the_lease_looked_at_again);
    RUN(belief_in_nothing_sends_nothing);
    RUN(use_is_told_once_when_it_is_time);
    RUN(low_block_gives_its_number_and_is_told);
    RUN(too_many_low_blocks_are_dropped);
    RUN(batch_tells_each_call_its_own);
    RUN(batch_of_two_tells_each_call_its_own);
    RUN(other_epoch_is_told_to_all_of_a_batch);
    RUN(error_ends_all_of_a_batch_and_nothing_is_repeated);
    RUN(answers_that_cannot_be_are_refused);
    RUN(cancelled_call_leaves_its_place_in_the_batch);
    RUN(epoch_is_told_to_one_that_still_waits);
    RUN(lost_link_leaves_each_call_of_a_batch_unknown);
    RUN(half_an_answer_counts_for_the_calls_it_names);
    RUN(lost_read_is_for_the_state_machine_until_its_time_is_up);
    RUN(only_what_ended_well_is_counted_here);
    RUN(epochs_are_known_by_their_token);
    RUN(without_memory_every_call_still_ends);
    CHECK(ut_live == 0);
    return ut_finish();
}
