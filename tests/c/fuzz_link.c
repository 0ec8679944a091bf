/* SPDX-License-Identifier: MIT */
/* A peer that sends anything, at any moment, to a link with calls of every
 * kind in every state.  The input is a program: each byte is an instruction,
 * some of which take the bytes that follow.
 *
 * With libFuzzer (see CONTRIBUTING.md), or alone: FUZZ_ALONE gives a main
 * that runs random programs for a few seconds. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/link.h"

#define MS        1000000LL
#define CALLS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct seqc_link link;
    struct seqc_regress *regress;
    struct seqc_call *held[CALLS_MAX]; /* calls whose holder waits */
    size_t held_count;
    int64_t now;
    const uint8_t *at;
    const uint8_t *end;
};

static uint8_t
next_byte(struct world *world)
{
    return world->at < world->end ? *world->at++ : 0;
}

/* What one who waits checks: an end, exactly once, and a reference of his. */
static void
end_call(struct world *world, struct seqc_call *call)
{
    size_t i = 0;

    while (i < world->held_count && world->held[i] != call) {
        i++;
    }
    assert(i < world->held_count);
    world->held[i] = world->held[--world->held_count];
    assert(call->abandoned || !call->waiting);
    for (uint32_t r = 0; r < call->count; r++) {
        struct seqc_request *request = &call->requests[r];
        assert(call->abandoned || request->state == SEQC_REQUEST_DONE);
        assert(request->status != SEQC_PENDING);
        assert(request->status < SEQC_STATUS_COUNT);
        assert(!request->error || strlen(request->error) <= 512);
        assert(!call->abandoned || request->status
               || request->state == SEQC_REQUEST_DONE);
    }
    seqc_call_unref(call);
}

static void
end_done(struct world *world)
{
    struct seqc_call *call = seqc_link_take_done(&world->link);

    while (call) {
        struct seqc_call *next = call->next_done;
        assert(!call->abandoned);
        seqc_call_unref(call); /* the link's */
        end_call(world, call);
        call = next;
    }
}

static void
submit(struct world *world)
{
    uint8_t kind = next_byte(world);
    enum seqc_op op = kind % SEQC_OP_COUNT;
    uint32_t count = op == SEQC_OP_RAW ? 1 : (kind >> 4) + 1u;
    struct seqc_call *call;
    struct seqc_call_filler filler;

    if (world->held_count == CALLS_MAX
        || !(call = seqc_call_new(count, (size_t)count * 16))) {
        return;
    }
    seqc_call_fill(&filler, call);
    for (uint32_t i = 0; i < count; i++) {
        static const char raw[] = "*1\r\n$4\r\nTIME\r\n";
        const char *key = op == SEQC_OP_RAW ? raw : &"abcdefghijklmnop"[i];
        seqc_call_add_key(&filler, op, "", 0, key,
                          op == SEQC_OP_RAW ? sizeof raw - 1 : 1)
            ->amount = kind == 255 ? INT64_MAX : 1 + i;
    }
    if (op == SEQC_OP_MGET) {
        call->requests[0].span = count;
    }
    call->counting = op == SEQC_OP_INCREASE || op == SEQC_OP_DELETE
        || op == SEQC_OP_INCREASE_ONCE;
    call->repeatable = !call->counting || (kind & 8);
    call->deadline_ns =
        kind & 4 ? world->now + 500 * MS : SEQC_TIME_NEVER;
    world->held[world->held_count++] = call;
    seqc_link_submit(&world->link, call);
}

static void
abandon(struct world *world)
{
    uint8_t which = next_byte(world);

    if (world->held_count) {
        struct seqc_call *call = world->held[which % world->held_count];
        seqc_link_abandon(&world->link, call,
                          seqc_link_late_status(&world->link));
        end_call(world, call);
    }
}

static void
lose(struct world *world, seqc_status cause, const char *why)
{
    seqc_link_fail(&world->link, cause, why);
    end_done(world);
}

static void
write_some(struct world *world)
{
    const char *data;
    size_t len;
    size_t most = next_byte(world) * 4u;

    if (seqc_link_output(&world->link, &data, &len) || !world->link.up) {
        return;
    }
    len = len < most || most == 255 * 4 ? len : most;
    seqc_link_wrote(&world->link, len, world->now);
    seqc_link_rewind(&world->link);
}

static void
feed(struct world *world, const char *data, size_t len)
{
    seqc_status status;

    if (!world->link.up) {
        return;
    }
    status = seqc_link_feed(&world->link, data, len, world->now);
    if (status) {
        assert(strlen(seqc_link_why(&world->link)));
        lose(world, SEQC_PROTOCOL, seqc_link_why(&world->link));
        return;
    }
    end_done(world);
}

/* Some of the input as it stands, in a block of its own for ASan. */
static void
feed_bytes(struct world *world)
{
    size_t len = next_byte(world);
    size_t left = (size_t)(world->end - world->at);

    len = len < left ? len : left;
    char *copy = malloc(len + 1);
    memcpy(copy, world->at, len);
    world->at += len;
    feed(world, copy, len);
    free(copy);
}

static void
feed_known(struct world *world)
{
    static const char *const known[] = {
        ":1\r\n", "$1\r\n7\r\n", "$-1\r\n", "-LOADING x\r\n",
        "-NOSCRIPT x\r\n", "-WRONGTYPE x\r\n", "*1\r\n", "*2\r\n", "*16\r\n",
        ">1\r\n+x\r\n", ":-9223372036854775808\r\n", "%1\r\n+a\r\n:1\r\n",
        "-ERR x\r\n", "+OK\r\n", "$3\r\nabc\r\n", "|1\r\n+a\r\n:1\r\n",
    };
    const char *text = known[next_byte(world) % 16];

    feed(world, text, strlen(text));
}

static void
step(struct world *world)
{
    struct seqc_link *link = &world->link;

    switch (next_byte(world) % 12) {
    case 0:
    case 1:
        submit(world);
        break;
    case 2:
    case 3:
        write_some(world);
        break;
    case 4:
    case 5:
        feed_known(world);
        break;
    case 6:
        feed_bytes(world);
        break;
    case 7:
        abandon(world);
        break;
    case 8:
        lose(world, next_byte(world) & 1 ? SEQC_CONNECT : SEQC_TIMEOUT, "x");
        break;
    case 9:
        if (!link->up && seqc_link_up(link, world->now)) {
            abort();
        }
        break;
    case 10:
        world->now += next_byte(world) * 10 * MS;
        seqc_link_tick(link, world->now);
        assert(seqc_link_next_ns(link) > world->now
               || seqc_link_is_dead(link, world->now));
        break;
    case 11:
        if (!link->up) {
            seqc_link_refuse(link, SEQC_AUTH, "no");
            end_done(world);
        }
        break;
    }
}

static void
check_lists(const struct seqc_link *link)
{
    size_t in_flight = 0;
    uint32_t deletes = 0;
    uint64_t offset = 0;

    for (struct seqc_request *r = link->sent.head; r; r = r->next) {
        assert(r->state == SEQC_REQUEST_SENT && r->u.offset >= offset);
        offset = r->u.offset;
        in_flight += r->span;
        deletes += r->op == SEQC_OP_DELETE;
    }
    assert(in_flight == link->in_flight);
    assert(!link->regress || deletes == seqc_regress_deletes(link->regress));
    for (struct seqc_request *r = link->unsent.head; r; r = r->next) {
        assert(r->state == SEQC_REQUEST_UNSENT && !r->call->abandoned);
    }
    assert(link->written <= link->encoded);
    assert(seqc_buf_len(&link->out) == link->encoded - link->written
           || !link->up);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seqc_stats stats;
    struct world world = {.now = 1000 * MS, .at = data, .end = data + size};
    uint8_t flags = next_byte(&world);
    struct seqc_link_options options = {
        flags & 1 ? 1000 : 4,
        1000 * MS,
        !(flags & 2),
    };

    world.regress = flags & 4 ? seqc_regress_new(64) : NULL;
    if (seqc_link_init(&world.link, options, world.regress, &stats)
        || seqc_link_up(&world.link, world.now)) {
        abort();
    }
    while (world.at < world.end) {
        step(&world);
        check_lists(&world.link);
    }
    seqc_link_close(&world.link);
    end_done(&world);
    assert(!world.held_count);
    seqc_link_fini(&world.link);
    seqc_regress_free(world.regress);
    return 0;
}

#ifdef FUZZ_ALONE

#include "ut_check.h"

int
main(void)
{
    unsigned seed = 1;
    uint8_t program[512];

    for (; ut_passed < 20000; ut_passed++) {
        size_t size = ut_random(&seed) % sizeof program;
        for (size_t i = 0; i < size; i++) {
            program[i] = (uint8_t)ut_random(&seed);
        }
        LLVMFuzzerTestOneInput(program, size);
    }
    return ut_finish();
}

#endif
