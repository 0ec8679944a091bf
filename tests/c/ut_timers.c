/* SPDX-License-Identifier: MIT */
#include "core/timers.h"

#include <string.h>

#include "ut_check.h"

#define CALLS 500

static struct seqc_call *
make_call(int64_t deadline_ns)
{
    struct seqc_call *call = seqc_call_new(0, 0);

    CHECK(call);
    call->deadline_ns = deadline_ns;
    return call;
}

static struct seqc_call *
add(struct seqc_timers *timers, int64_t deadline_ns, bool is_default)
{
    struct seqc_call *call = make_call(deadline_ns);

    CHECK(!seqc_timers_add(timers, call, is_default));
    return call;
}

/* Takes out the next, which must be `call`, and frees it. */
static void
expect(struct seqc_timers *timers, int64_t now_ns, struct seqc_call *call)
{
    CHECK(seqc_timers_expired(timers, now_ns) == call);
    if (call) {
        CHECK(!call->timed);
        seqc_call_unref(call);
    }
}

static void
empty_has_no_deadline(void)
{
    struct seqc_timers timers;

    seqc_timers_init(&timers);
    CHECK(seqc_timers_earliest(&timers) == SEQC_TIME_NEVER);
    expect(&timers, SEQC_TIME_NEVER, NULL);
    seqc_timers_fini(&timers);
}

static void
call_expires_at_its_deadline_not_before(void)
{
    for (int is_default = 0; is_default < 2; is_default++) {
        struct seqc_timers timers = {0};
        struct seqc_call *call = add(&timers, 100, is_default);
        CHECK(call->timed && seqc_timers_earliest(&timers) == 100);
        expect(&timers, 99, NULL);
        expect(&timers, 100, call);
        expect(&timers, 100, NULL);
        CHECK(seqc_timers_earliest(&timers) == SEQC_TIME_NEVER);
        seqc_timers_fini(&timers);
    }
}

static void
defaults_and_overrides_expire_in_one_order(void)
{
    struct seqc_timers timers = {0};
    struct seqc_call *d20 = add(&timers, 20, true);
    struct seqc_call *o10 = add(&timers, 10, false);
    struct seqc_call *d40 = add(&timers, 40, true);
    struct seqc_call *o30 = add(&timers, 30, false);
    struct seqc_call *o50 = add(&timers, 50, false);

    expect(&timers, 45, o10);
    CHECK(seqc_timers_earliest(&timers) == 20);
    expect(&timers, 45, d20);
    expect(&timers, 45, o30);
    expect(&timers, 45, d40);
    expect(&timers, 45, NULL);
    CHECK(seqc_timers_earliest(&timers) == 50);
    expect(&timers, 50, o50);
    seqc_timers_fini(&timers);
}

static void
default_out_of_order_finds_its_place(void)
{
    struct seqc_timers timers = {0};
    struct seqc_call *c20 = add(&timers, 20, true);
    struct seqc_call *c30 = add(&timers, 30, true);
    struct seqc_call *c25 = add(&timers, 25, true);
    struct seqc_call *c10 = add(&timers, 10, true);
    struct seqc_call *later = add(&timers, 25, true); /* equal: behind */

    expect(&timers, 99, c10);
    expect(&timers, 99, c20);
    expect(&timers, 99, c25);
    expect(&timers, 99, later);
    expect(&timers, 99, c30);
    seqc_timers_fini(&timers);
}

static void
call_without_deadline_is_left_out(void)
{
    struct seqc_timers timers = {0};
    struct seqc_call *one = add(&timers, SEQC_TIME_NEVER, true);
    struct seqc_call *two = add(&timers, SEQC_TIME_NEVER, false);

    CHECK(!one->timed && !two->timed);
    CHECK(seqc_timers_earliest(&timers) == SEQC_TIME_NEVER);
    seqc_timers_remove(&timers, one);
    seqc_call_unref(one);
    seqc_call_unref(two);
    seqc_timers_fini(&timers);
}

static void
removed_call_does_not_expire(void)
{
    struct seqc_timers timers = {0};
    struct seqc_call *calls[6];

    for (int i = 0; i < 6; i++) { /* three of each kind */
        calls[i] = add(&timers, 10 + i, i % 2);
    }
    seqc_timers_remove(&timers, calls[2]);
    seqc_timers_remove(&timers, calls[3]);
    CHECK(!calls[2]->timed && !calls[3]->timed);
    seqc_timers_remove(&timers, calls[2]); /* again: nothing */
    seqc_timers_remove(&timers, calls[3]);
    expect(&timers, 99, calls[0]);
    expect(&timers, 99, calls[1]);
    expect(&timers, 99, calls[4]);
    expect(&timers, 99, calls[5]);
    expect(&timers, 99, NULL);
    CHECK(!seqc_timers_add(&timers, calls[2], true)); /* may come again */
    CHECK(!seqc_timers_add(&timers, calls[3], false));
    expect(&timers, 99, calls[2]);
    expect(&timers, 99, calls[3]);
    seqc_timers_fini(&timers);
}

/* The earliest of the model, found the slow way. */
static int64_t
find_earliest(struct seqc_call *const *calls)
{
    int64_t earliest = SEQC_TIME_NEVER;

    for (int i = 0; i < CALLS; i++) {
        if (calls[i] && calls[i]->deadline_ns < earliest) {
            earliest = calls[i]->deadline_ns;
        }
    }
    return earliest;
}

static void
agrees_with_a_model(void)
{
    static struct seqc_call *calls[CALLS];
    struct seqc_timers timers = {0};
    unsigned random = 7;

    for (int step = 0; step < 40000; step++) {
        struct seqc_call **slot = &calls[ut_random(&random) % CALLS];
        if (!*slot) {
            bool is_default = ut_random(&random) % 3 == 0;
            int64_t spread = is_default ? 50 : 100000;
            *slot = add(&timers,
                        step + ut_random(&random) % spread,
                        is_default);
        }
        else if (ut_random(&random) % 2) {
            seqc_timers_remove(&timers, *slot);
            CHECK(!(*slot)->timed);
            seqc_call_unref(*slot);
            *slot = NULL;
        }
        CHECK(seqc_timers_earliest(&timers) == find_earliest(calls));
    }
    int64_t earliest = find_earliest(calls);
    while (earliest != SEQC_TIME_NEVER) {
        struct seqc_call *call = seqc_timers_expired(&timers, earliest);
        CHECK(call && call->deadline_ns == earliest);
        for (int i = 0; i < CALLS; i++) {
            calls[i] = calls[i] == call ? NULL : calls[i];
        }
        seqc_call_unref(call);
        earliest = find_earliest(calls);
    }
    expect(&timers, SEQC_TIME_NEVER, NULL);
    seqc_timers_fini(&timers);
}

static void
fini_takes_all_out(void)
{
    struct seqc_timers timers = {0};
    struct seqc_call *one = add(&timers, 10, true);
    struct seqc_call *two = add(&timers, 20, false);

    seqc_timers_fini(&timers);
    CHECK(!one->timed && !two->timed);
    CHECK(!one->heap_index && !two->heap_index);
    seqc_call_unref(one);
    seqc_call_unref(two);
}

/* An override that found no memory is not in; what was in still is. */
static void
nth_allocation_fails_and_the_rest_stays(void)
{
    struct seqc_call *calls[100];
    long n = 0;
    bool has_failed;

    for (int i = 0; i < 100; i++) {
        calls[i] = make_call(1000 - i);
    }
    do {
        struct seqc_timers timers = {0};
        int64_t earliest = SEQC_TIME_NEVER;
        ut_fail_at(++n);
        for (int i = 0; i < 100; i++) {
            seqc_status status =
                seqc_timers_add(&timers, calls[i], i % 10 == 0);
            CHECK(calls[i]->timed == !status);
            CHECK(!status || (status == SEQC_NOMEM && i % 10));
            earliest = status ? earliest : calls[i]->deadline_ns;
            CHECK(seqc_timers_earliest(&timers) == earliest);
        }
        has_failed = ut_has_failed();
        ut_fail_at(0);
        seqc_timers_fini(&timers);
        CHECK(ut_live == 100);
    } while (has_failed);
    CHECK(n > 3);
    for (int i = 0; i < 100; i++) {
        seqc_call_unref(calls[i]);
    }
}

int
main(void)
{
    ut_watch();
    RUN(empty_has_no_deadline);
    RUN(call_expires_at_its_deadline_not_before);
    RUN(defaults_and_overrides_expire_in_one_order);
    RUN(default_out_of_order_finds_its_place);
    RUN(call_without_deadline_is_left_out);
    RUN(removed_call_does_not_expire);
    RUN(agrees_with_a_model);
    RUN(fini_takes_all_out);
    RUN(nth_allocation_fails_and_the_rest_stays);
    CHECK(ut_live == 0);
    return ut_finish();
}
