/* SPDX-License-Identifier: MIT */
#include "core/stats.h"

/* A bucket is found by the four leading bits of the time in units of 128 ns:
 * the position of the first is the octave, the other three the bucket in it.
 * Times below 16 units have a bucket each. */
#define UNIT_SHIFT     7
#define OCTAVE_SHIFT   3
#define OCTAVE_BUCKETS (1u << OCTAVE_SHIFT)

_Static_assert(sizeof(((struct seqc_stats *)0)->latency) <= 2048,
               "the histogram stays within 2 KB");

static size_t
find_bucket(uint64_t ns)
{
    uint64_t units = ns >> UNIT_SHIFT;

    if (units < 2 * OCTAVE_BUCKETS) {
        return (size_t)units;
    }
    unsigned octave = 63u - (unsigned)__builtin_clzll(units) - OCTAVE_SHIFT;
    size_t bucket = octave * OCTAVE_BUCKETS + (size_t)(units >> octave);
    return bucket < SEQC_STATS_BUCKETS ? bucket : SEQC_STATS_BUCKETS - 1;
}

/* The shortest time that falls into a bucket, in ns. */
static uint64_t
bucket_start(size_t bucket)
{
    if (bucket < 2 * OCTAVE_BUCKETS) {
        return (uint64_t)bucket << UNIT_SHIFT;
    }
    size_t octave = bucket / OCTAVE_BUCKETS - 1;
    uint64_t units = bucket % OCTAVE_BUCKETS + OCTAVE_BUCKETS;
    return units << octave << UNIT_SHIFT;
}

uint64_t
seqc_stats_bucket_end_ns(size_t bucket)
{
    return bucket + 1 < SEQC_STATS_BUCKETS ? bucket_start(bucket + 1)
                                           : UINT64_MAX;
}

void
seqc_stats_latency(struct seqc_stats *stats, int64_t ns)
{
    uint64_t time_ns = ns > 0 ? (uint64_t)ns : 0;

    seqc_stats_add(&stats->latency[find_bucket(time_ns)], 1);
    seqc_stats_add(&stats->latency_sum_ns, time_ns);
}

uint64_t
seqc_stats_latency_count(const struct seqc_stats *stats)
{
    uint64_t count = 0;

    for (size_t i = 0; i < SEQC_STATS_BUCKETS; i++) {
        count += seqc_stats_read(&stats->latency[i]);
    }
    return count;
}

int64_t
seqc_stats_quantile(const struct seqc_stats *stats, double q)
{
    uint64_t count = seqc_stats_latency_count(stats);
    double rank = (double)count * (q > 0 ? q : 0);
    double below = 0;
    int64_t found = 0;

    /* The writer may have gone on since the count: the last bucket that holds
     * anything is the answer then. */
    for (size_t i = 0; i < SEQC_STATS_BUCKETS; i++) {
        double here = (double)seqc_stats_read(&stats->latency[i]);
        if (here == 0) {
            continue;
        }
        double start = (double)bucket_start(i);
        double width = (double)bucket_start(i + 1) - start;
        double share = (rank - below) / here;
        found = (int64_t)(start + width * (share < 1 ? share : 1));
        below += here;
        if (below >= rank) {
            break;
        }
    }
    return found;
}

static void
merge_counters(seqc_counter *counters, const seqc_counter *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        seqc_stats_add(&counters[i], seqc_stats_read(&from[i]));
    }
}

void
seqc_stats_merge(struct seqc_stats *stats, const struct seqc_stats *from)
{
    merge_counters(stats->calls, from->calls, SEQC_OP_COUNT);
    merge_counters(stats->errors, from->errors, SEQC_STATUS_COUNT);
    merge_counters(&stats->out_bytes, &from->out_bytes, 1);
    merge_counters(&stats->in_bytes, &from->in_bytes, 1);
    merge_counters(&stats->reconnects, &from->reconnects, 1);
    merge_counters(&stats->regressions, &from->regressions, 1);
    merge_counters(&stats->latency_sum_ns, &from->latency_sum_ns, 1);
    merge_counters(stats->latency, from->latency, SEQC_STATS_BUCKETS);
}
