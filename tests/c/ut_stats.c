/* SPDX-License-Identifier: MIT */
#include "core/stats.h"

#include <math.h>

#include "ut_check.h"

#define US INT64_C(1000)
#define S  INT64_C(1000000000)

/* What the histogram says about one latency. */
static int64_t
measure(int64_t ns)
{
    struct seqc_stats stats = {0};

    seqc_stats_latency(&stats, ns);
    CHECK(seqc_stats_latency_count(&stats) == 1);
    CHECK(seqc_stats_read(&stats.latency_sum_ns) == (uint64_t)ns);
    return seqc_stats_quantile(&stats, 1);
}

static void
buckets_are_narrow_from_1_us_to_100_s(void)
{
    int64_t last = 0;

    for (double ns = 1 * US; ns <= 100.0 * S; ns *= 1.003) {
        int64_t end = measure((int64_t)ns);
        CHECK((double)end > ns - 1 && (double)end <= ns * 1.126);
        CHECK(end >= last);
        last = end;
    }
}

static void
histogram_is_within_2_kb(void)
{
    struct seqc_stats stats;
    CHECK(sizeof stats.latency <= 2048);
}

static void
ends_of_the_range_are_kept(void)
{
    struct seqc_stats stats = {0};

    CHECK(measure(0) <= 128);
    CHECK(measure(INT64_MAX) >= 128 * S);
    seqc_stats_latency(&stats, -5);
    CHECK(seqc_stats_latency_count(&stats) == 1);
    CHECK(seqc_stats_read(&stats.latency_sum_ns) == 0);
    CHECK(seqc_stats_quantile(&stats, 0.5) <= 128);
}

static void
bucket_ends_at_the_first_time_of_the_next(void)
{
    uint64_t end = seqc_stats_bucket_end_ns(0);

    CHECK(end == 128);
    for (size_t i = 1; i < SEQC_STATS_BUCKETS; i++) {
        struct seqc_stats stats = {0};
        seqc_stats_latency(&stats, (int64_t)end - 1);
        seqc_stats_latency(&stats, (int64_t)end);
        CHECK(seqc_stats_read(&stats.latency[i - 1]) == 1);
        CHECK(seqc_stats_read(&stats.latency[i]) == 1);
        end = seqc_stats_bucket_end_ns(i);
    }
    CHECK(end == UINT64_MAX);
}

static void
quantile_of_nothing_is_0(void)
{
    struct seqc_stats stats = {0};

    CHECK(seqc_stats_quantile(&stats, 0) == 0);
    CHECK(seqc_stats_quantile(&stats, 0.5) == 0);
    CHECK(seqc_stats_quantile(&stats, 1) == 0);
}

/* 1 to 10000 us, each once, in any order: the quantiles are known. */
static void
quantiles_are_right(void)
{
    static const double questions[] = {0.01, 0.5, 0.9, 0.99, 0.999, 1};
    struct seqc_stats stats = {0};

    for (int64_t i = 0; i < 10000; i++) {
        seqc_stats_latency(&stats, (i * 7919 % 10000 + 1) * US);
    }
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        double exact = questions[i] * 10000 * (double)US;
        double found = (double)seqc_stats_quantile(&stats, questions[i]);
        CHECK(fabs(found - exact) <= 0.05 * exact + 2 * (double)US);
    }
    CHECK(seqc_stats_quantile(&stats, -1) == seqc_stats_quantile(&stats, 0));
    CHECK(seqc_stats_quantile(&stats, 7) == seqc_stats_quantile(&stats, 1));
}

static void
quantile_of_two_groups_is_in_one_of_them(void)
{
    struct seqc_stats stats = {0};

    for (int i = 0; i < 1000; i++) {
        seqc_stats_latency(&stats, i < 900 ? 50 * US : 1 * S);
    }
    int64_t most = seqc_stats_quantile(&stats, 0.89);
    int64_t few = seqc_stats_quantile(&stats, 0.91);
    CHECK(most >= 44 * US && most <= 57 * US);
    CHECK(few >= S - S / 8 && few <= S + S / 8);
}

static void
counters_add_and_merge(void)
{
    struct seqc_stats one = {0};
    struct seqc_stats two = {0};

    seqc_stats_add(&one.calls[SEQC_OP_GET], 2);
    seqc_stats_add(&one.calls[SEQC_OP_GET], 3);
    CHECK(seqc_stats_read(&one.calls[SEQC_OP_GET]) == 5);
    seqc_stats_add(&one.calls[SEQC_OP_COUNT - 1], 6);
    seqc_stats_add(&one.errors[SEQC_STATUS_COUNT - 1], 7);
    seqc_stats_add(&one.out_bytes, 8);
    seqc_stats_add(&one.in_bytes, 9);
    seqc_stats_add(&one.reconnects, 10);
    seqc_stats_add(&one.regressions, 11);
    seqc_stats_latency(&one, 12 * US);
    seqc_stats_merge(&two, &one);
    seqc_stats_merge(&two, &one);
    CHECK(seqc_stats_read(&two.calls[SEQC_OP_GET]) == 10);
    CHECK(seqc_stats_read(&two.calls[SEQC_OP_COUNT - 1]) == 12);
    CHECK(seqc_stats_read(&two.errors[SEQC_STATUS_COUNT - 1]) == 14);
    CHECK(seqc_stats_read(&two.out_bytes) == 16);
    CHECK(seqc_stats_read(&two.in_bytes) == 18);
    CHECK(seqc_stats_read(&two.reconnects) == 20);
    CHECK(seqc_stats_read(&two.regressions) == 22);
    CHECK(seqc_stats_read(&two.latency_sum_ns) == 24000);
    CHECK(seqc_stats_latency_count(&two) == 2);
}

int
main(void)
{
    RUN(buckets_are_narrow_from_1_us_to_100_s);
    RUN(histogram_is_within_2_kb);
    RUN(ends_of_the_range_are_kept);
    RUN(bucket_ends_at_the_first_time_of_the_next);
    RUN(quantile_of_nothing_is_0);
    RUN(quantiles_are_right);
    RUN(quantile_of_two_groups_is_in_one_of_them);
    RUN(counters_add_and_merge);
    return ut_finish();
}
