/* SPDX-License-Identifier: MIT */
/* Counters of a link, and how long its calls took.
 *
 * One writer at a time (whoever holds the link); anybody may read meanwhile
 * and sees each counter as it was a moment ago, not all of one moment.
 * All zero bytes is the initial state. */
#ifndef SEQC_STATS_H
#define SEQC_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/request.h"
#include "core/status.h"

typedef _Atomic uint64_t seqc_counter;

/* Eight buckets an octave from 1 us on (6 to 12.5 % wide), 128 ns below;
 * the last one holds everything from 128 s on. */
#define SEQC_STATS_BUCKETS 224

struct seqc_stats {
    seqc_counter calls[SEQC_OP_COUNT];
    seqc_counter errors[SEQC_STATUS_COUNT]; /* also [SEQC_OK]: good ones */
    seqc_counter out_bytes;
    seqc_counter in_bytes;
    seqc_counter reconnects;
    seqc_counter regressions;
    seqc_counter latency_sum_ns;
    seqc_counter latency[SEQC_STATS_BUCKETS];
};

/* Not an atomic addition: a plain load and store, for the one writer. */
static inline void
seqc_stats_add(seqc_counter *counter, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

static inline uint64_t
seqc_stats_read(const seqc_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Counts one call that took `ns`; below 0 counts as 0. */
void seqc_stats_latency(struct seqc_stats *stats, int64_t ns);

/* What is shorter than this falls into the bucket or one before it; the last
 * bucket has no end: UINT64_MAX. */
uint64_t seqc_stats_bucket_end_ns(size_t bucket);

/* Calls in the histogram. */
uint64_t seqc_stats_latency_count(const struct seqc_stats *stats);

/* The latency in ns that the share `q` (0 to 1) of the calls did not exceed,
 * interpolated within its bucket; 0 when there are none. */
int64_t seqc_stats_quantile(const struct seqc_stats *stats, double q);

/* Adds all of `from`; the caller is the writer of `stats`. */
void seqc_stats_merge(struct seqc_stats *stats, const struct seqc_stats *from);

#endif
