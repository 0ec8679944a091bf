/* SPDX-License-Identifier: MIT */
/* What several threads may do with regress.h and stats.h at a time. */
#include <pthread.h>

#include "core/regress.h"
#include "core/stats.h"

#include "ut_check.h"

#define THREADS 4
#define ROUNDS  20000

/* As a link has it: the holder of the lock writes both. */
static struct seqc_regress *regress;
static struct seqc_stats stats;
static _Atomic int running;

static void *
write_both(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        seqc_regress_lock(regress);
        uint64_t hash = 1 + (uint64_t)i % 1000 * 977;
        int64_t floor = seqc_regress_floor(regress, hash);
        seqc_regress_raise(regress, hash, i);
        CHECK(seqc_regress_floor(regress, hash) >= floor);
        seqc_stats_add(&stats.calls[SEQC_OP_INCREASE], 1);
        seqc_stats_latency(&stats, i * 100);
        seqc_regress_unlock(regress);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* Without the lock: each counter only rises. */
static void *
read_stats(void *argument)
{
    uint64_t calls = 0;
    uint64_t count = 0;

    (void)argument;
    while (atomic_load(&running)) {
        struct seqc_stats sum = {0};
        seqc_stats_merge(&sum, &stats);
        CHECK(seqc_stats_read(&sum.calls[SEQC_OP_INCREASE]) >= calls);
        CHECK(seqc_stats_latency_count(&sum) >= count);
        calls = seqc_stats_read(&sum.calls[SEQC_OP_INCREASE]);
        count = seqc_stats_latency_count(&sum);
        CHECK(seqc_stats_quantile(&stats, 0.5) <= ROUNDS * 113);
    }
    return NULL;
}

static void
writers_take_turns_while_one_reads(void)
{
    pthread_t threads[THREADS + 1];

    regress = seqc_regress_new(256);
    atomic_store(&running, THREADS);
    for (int t = 0; t <= THREADS; t++) {
        void *(*run)(void *) = t < THREADS ? write_both : read_stats;
        CHECK(!pthread_create(&threads[t], NULL, run, NULL));
    }
    for (int t = 0; t <= THREADS; t++) {
        CHECK(!pthread_join(threads[t], NULL));
    }
    CHECK(seqc_stats_read(&stats.calls[SEQC_OP_INCREASE])
          == THREADS * ROUNDS);
    CHECK(seqc_stats_latency_count(&stats) == THREADS * ROUNDS);
    seqc_regress_free(regress);
}

int
main(void)
{
    RUN(writers_take_turns_while_one_reads);
    return ut_finish();
}
