/* SPDX-License-Identifier: MIT */
/* Threads on the cells of one process. */
#include "core/cells.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "ut_check.h"

#define THREADS 4
#define ROUNDS  20000
#define REFUSED (-(int64_t)SEQC_CEILING)

static seqc_cells *cells;

static int64_t
increase(const char *key, int64_t by)
{
    struct seqc_cells_ask ask = {key, strlen(key), by, NULL, false};
    int64_t seq = 0;
    bool low;
    seqc_status status = seqc_cells_increase(cells, &ask, &seq, &low);
    return status ? -(int64_t)status : seq;
}

static void
grant(const char *key, int64_t base, int64_t ceiling)
{
    struct seqc_cells_grant made = {base, ceiling, ceiling - 5};
    CHECK(!seqc_cells_grant(cells, key, strlen(key), &made));
}

static void
anew(void)
{
    seqc_cells_unref(cells);
    cells = seqc_cells_new();
    CHECK(cells);
}

static _Atomic int64_t given[THREADS];

static void *
count_up(void *argument)
{
    int me = *(int *)argument;
    int64_t last = 0;

    for (int i = 0; i < ROUNDS; i++) {
        int64_t seq = increase("a", 1);
        if (seq == REFUSED) {
            continue;
        }
        CHECK(seq > last);
        last = seq;
        given[me]++;
    }
    return NULL;
}

static void *
grant_more(void *argument)
{
    (void)argument;
    for (int64_t ceiling = 1; ceiling <= ROUNDS; ceiling++) {
        grant("a", 0, ceiling);
    }
    return NULL;
}

static void
threads_never_pass_a_ceiling_or_share_a_number(void)
{
    pthread_t threads[THREADS + 1];
    int numbers[THREADS];
    int64_t seq, ceiling, sum = 0;

    anew();
    grant("a", 0, 0);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        given[i] = 0;
        CHECK(!pthread_create(&threads[i], NULL, count_up, &numbers[i]));
    }
    CHECK(!pthread_create(&threads[THREADS], NULL, grant_more, NULL));
    for (int i = 0; i <= THREADS; i++) {
        CHECK(!pthread_join(threads[i], NULL));
    }
    for (int i = 0; i < THREADS; i++) {
        sum += given[i];
    }
    CHECK(seqc_cells_look(cells, "a", 1, &seq, &ceiling));
    CHECK(sum == seq && seq <= ceiling && ceiling == ROUNDS);
}

static void *
seal_soon(void *argument)
{
    int64_t ceiling;
    (void)argument;
    while (increase("a", 1) < 1000) {
    }
    seqc_cells_seal(cells);
    static int64_t seq;
    CHECK(seqc_cells_look(cells, "a", 1, &seq, &ceiling));
    return &seq;
}

static void
numbers_are_final_once_sealed(void)
{
    pthread_t threads[THREADS + 1];
    int numbers[THREADS];
    int64_t seq, ceiling;
    void *sealed_at;

    anew();
    grant("a", 0, SEQC_CELLS_LAST);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(!pthread_create(&threads[i], NULL, count_up, &numbers[i]));
    }
    CHECK(!pthread_create(&threads[THREADS], NULL, seal_soon, NULL));
    CHECK(!pthread_join(threads[THREADS], &sealed_at));
    for (int i = 0; i < THREADS; i++) {
        CHECK(!pthread_join(threads[i], NULL));
    }
    CHECK(seqc_cells_look(cells, "a", 1, &seq, &ceiling));
    CHECK(seq == *(int64_t *)sealed_at);
}

int
main(void)
{
    RUN(threads_never_pass_a_ceiling_or_share_a_number);
    RUN(numbers_are_final_once_sealed);
    seqc_cells_unref(cells);
    return ut_finish();
}
