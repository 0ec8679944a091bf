/* SPDX-License-Identifier: MIT */
/* The records of tokens, and the store's increase that uses them. */
#include "core/record.h"

#include <string.h>

#include "core/memory.h"

#include "ut_check.h"

#define SECOND 1000000000LL

static struct seqc_records records;

static seqc_status
add(uint64_t id, int64_t last, int64_t now, int64_t until)
{
    struct seqc_record record = {
        .id = {id, ~id},
        .last = last,
        .count = 1,
        .until_ns = until,
    };
    seqc_status status = seqc_records_reserve(&records, now);

    if (!status) {
        seqc_records_add(&records, &record);
    }
    return status;
}

static int64_t
find(uint64_t id, int64_t now)
{
    const struct seqc_record *record =
        seqc_records_find(&records, (uint64_t[]){id, ~id}, now);

    return record ? record->last : -1;
}

static void
record_is_found_until_its_time(void)
{
    seqc_records_init(&records);
    CHECK(find(7, 0) == -1);
    CHECK(!add(7, 70, 0, 10));
    CHECK(!add(8, 80, 0, 20));
    CHECK(find(7, 9) == 70 && find(7, 10) == -1 && find(8, 10) == 80);
    CHECK(!seqc_records_find(&records, (uint64_t[]){7, 7}, 0));
    CHECK(!add(7, 71, 15, 25)); /* a new one of the same id goes before */
    CHECK(find(7, 15) == 71 && find(7, 24) == 71 && find(7, 25) == -1);
    seqc_records_fini(&records);
    CHECK(find(7, 0) == -1);
}

/* All of one bucket, in tables of every size. */
static void
growth_keeps_every_record(void)
{
    seqc_records_init(&records);
    for (uint64_t i = 1; i <= SEQC_RECORDS_MAX; i++) {
        CHECK(!add(i << 40, (int64_t)i, 0, SECOND));
        if (i < 200 || i == SEQC_RECORDS_MAX) {
            uint64_t step = i < 200 ? 1 : 1000;
            for (uint64_t k = 1; k <= i; k += step) {
                CHECK(find(k << 40, 0) == (int64_t)k);
            }
        }
    }
    seqc_records_fini(&records);
}

static void
full_table_forgets_the_oldest_alone(void)
{
    seqc_records_init(&records);
    for (uint64_t i = 1; i <= SEQC_RECORDS_MAX; i++) {
        CHECK(!add(i * 977, (int64_t)i, 0, SECOND));
    }
    for (uint64_t i = 1; i <= 100; i++) {
        CHECK(find(i * 977, 0) == (int64_t)i);
        CHECK(!add((i + SEQC_RECORDS_MAX) * 977, 5, 0, SECOND));
        CHECK(find(i * 977, 0) == -1);
        CHECK(find((i + 1) * 977, 0) == (int64_t)i + 1);
    }
    seqc_records_fini(&records);
}

static void
old_records_make_room_before_the_table_grows(void)
{
    long before;

    seqc_records_init(&records);
    CHECK(!add(1, 1, 0, 5));
    before = ut_allocations;
    for (int64_t i = 0; i < 100000; i++) {
        CHECK(!add((uint64_t)i + 2, i, i, i + 5));
    }
    CHECK(ut_allocations == before);
    CHECK(find(100001, 99999) == 99999 && find(99990, 99999) == -1);
    seqc_records_fini(&records);
}

static void
without_memory_nothing_changes(void)
{
    seqc_records_init(&records);
    ut_fail_at(1);
    CHECK(add(1, 1, 0, SECOND) == SEQC_NOMEM);
    ut_fail_at(0);
    for (uint64_t i = 1; i <= 64; i++) {
        CHECK(!add(i, (int64_t)i, 0, SECOND));
    }
    ut_fail_at(1);
    CHECK(add(65, 65, 0, SECOND) == SEQC_NOMEM);
    ut_fail_at(0);
    for (uint64_t i = 1; i <= 64; i++) {
        CHECK(find(i, 0) == (int64_t)i);
    }
    CHECK(find(65, 0) == -1);
    seqc_records_fini(&records);
}

/* ---- the store ---- */

struct target {
    seqc_store *store;
    const char *key;
    int64_t by;
};

static seqc_status
increase(void *context, int64_t *out)
{
    const struct target *target = context;

    return seqc_store_increase(target->store, target->key,
                               strlen(target->key), target->by, out);
}

static seqc_status
once(seqc_store *store, const char *key, const char *token, int64_t by,
     int64_t now, int64_t *out)
{
    struct target target = {store, key, by};
    struct seqc_once_call call = {
        .key = key,
        .len = strlen(key),
        .token = token,
        .token_len = strlen(token),
        .by = by,
        .now_ns = now,
        .ttl_ns = SECOND,
        .increase = increase,
        .context = &target,
    };

    return seqc_once_increase(seqc_store_once_view(store), &call, out);
}

static void
store_counts_a_token_once(void)
{
    seqc_store *store = seqc_store_new();
    int64_t seq = 0;

    CHECK(!once(store, "a", "t", 3, 0, &seq) && seq == 3);
    CHECK(!seqc_store_increase(store, "a", 1, 1, &seq) && seq == 4);
    CHECK(!once(store, "a", "t", 3, SECOND - 1, &seq) && seq == 3);
    CHECK(!once(store, "b", "t", 3, 0, &seq) && seq == 3);
    CHECK(!once(store, "a", "u", 1, 0, &seq) && seq == 5);
    CHECK(once(store, "a", "t", 2, 0, &seq) == SEQC_TOKEN_CONFLICT);
    CHECK(seq == 3); /* what it counted */
    CHECK(!once(store, "a", "t", 3, SECOND, &seq) && seq == 8);
    seqc_store_unref(store);
}

static void
store_records_no_overflow(void)
{
    seqc_store *store = seqc_store_new();
    int64_t seq = 0;

    CHECK(!seqc_store_raise(store, "a", 1, INT64_MAX - 1, &seq));
    CHECK(once(store, "a", "t", 2, 0, &seq) == SEQC_OVERFLOW);
    CHECK(!once(store, "a", "t", 1, 0, &seq) && seq == INT64_MAX);
    seqc_store_unref(store);
}

static void
store_without_memory_counts_nothing(void)
{
    for (long n = 1;; n++) {
        seqc_store *store = seqc_store_new();
        int64_t seq = -1;
        int64_t now = -1;
        ut_fail_at(n);
        seqc_status status = once(store, "a", "t", 1, 0, &seq);
        ut_fail_at(0);
        seqc_store_get(store, "a", 1, &now);
        CHECK(status ? status == SEQC_NOMEM && now == 0 : now == 1);
        CHECK(!once(store, "a", "t", 1, 0, &seq) && seq == 1);
        seqc_store_unref(store);
        if (!status) {
            break;
        }
    }
}

int
main(void)
{
    ut_watch();
    RUN(record_is_found_until_its_time);
    RUN(growth_keeps_every_record);
    RUN(full_table_forgets_the_oldest_alone);
    RUN(old_records_make_room_before_the_table_grows);
    RUN(without_memory_nothing_changes);
    RUN(store_counts_a_token_once);
    RUN(store_records_no_overflow);
    RUN(store_without_memory_counts_nothing);
    return ut_finish();
}
