/* SPDX-License-Identifier: MIT */
#include "core/regress.h"

#include <stdbool.h>
#include <string.h>

#include "ut_check.h"

static uint64_t
hash_number(const struct seqc_regress *regress, size_t number)
{
    char text[32];
    int len = snprintf(text, sizeof text, "seq:%zu", number);
    return seqc_regress_hash(regress, text, (size_t)len);
}

static int
compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void
hash_depends_on_each_bit_and_the_length(void)
{
    static uint64_t hashes[70 * 71 / 2 * 8 + 71];
    struct seqc_regress *regress = seqc_regress_new(64);
    char key[70] = {0};
    size_t count = 0;

    for (size_t len = 0; len <= sizeof key; len++) {
        hashes[count++] = seqc_regress_hash(regress, key, len);
        for (size_t bit = 0; bit < len * 8; bit++) {
            key[bit / 8] = (char)(1 << bit % 8);
            hashes[count++] = seqc_regress_hash(regress, key, len);
            key[bit / 8] = 0;
        }
    }
    qsort(hashes, count, sizeof *hashes, compare);
    CHECK(hashes[0] != 0);
    for (size_t i = 1; i < count; i++) {
        CHECK(hashes[i] != hashes[i - 1]);
    }
    seqc_regress_free(regress);
}

/* Both ends of the hash choose slots: keys in a row must spread evenly. */
static void
hash_spreads_keys_in_a_row(void)
{
    static unsigned low[256];
    static unsigned high[256];
    struct seqc_hash_seed seed;
    char text[32];

    seqc_hash_seed_draw(&seed);
    for (size_t i = 0; i < 256 * 400; i++) {
        int len = snprintf(text, sizeof text, "seq:%zu", i);
        uint64_t hash = seqc_hash_bytes(&seed, text, (size_t)len);
        low[hash & 255]++;
        high[hash >> 56]++;
    }
    for (size_t i = 0; i < 256; i++) { /* 400 expected, deviation 20 */
        CHECK(low[i] > 270 && low[i] < 530);
        CHECK(high[i] > 270 && high[i] < 530);
    }
}

/* One bit of the key turns half of the hash, on average. */
static void
hash_mixes_every_bit(void)
{
    static const size_t lens[] = {1, 3, 8, 9, 16, 17, 40, 64};

    for (size_t l = 0; l < sizeof lens / sizeof *lens; l++) {
        struct seqc_hash_seed seed;
        char key[64] = "the quick brown fox";
        unsigned turned = 0;
        size_t bits = lens[l] * 8;
        for (int draw = 0; draw < 100; draw++) {
            seqc_hash_seed_draw(&seed);
            uint64_t before = seqc_hash_bytes(&seed, key, lens[l]);
            for (size_t bit = 0; bit < bits; bit++) {
                key[bit / 8] = (char)(key[bit / 8] ^ 1 << bit % 8);
                uint64_t after = seqc_hash_bytes(&seed, key, lens[l]);
                turned += (unsigned)__builtin_popcountll(before ^ after);
                key[bit / 8] = (char)(key[bit / 8] ^ 1 << bit % 8);
            }
        }
        double average = turned / (100.0 * (double)bits);
        CHECK(average > 31 && average < 33);
    }
}

static void
hash_is_of_the_table(void)
{
    struct seqc_regress *one = seqc_regress_new(64);
    struct seqc_regress *two = seqc_regress_new(64);

    CHECK(hash_number(one, 1) == hash_number(one, 1));
    CHECK(hash_number(one, 1) != hash_number(two, 1));
    seqc_regress_free(one);
    seqc_regress_free(two);
    seqc_regress_free(NULL);
}

static void
floor_follows_raise_set_forget(void)
{
    struct seqc_regress *regress = seqc_regress_new(64);

    seqc_regress_lock(regress);
    CHECK(seqc_regress_floor(regress, 5) == SEQC_REGRESS_UNKNOWN);
    seqc_regress_raise(regress, 5, 10);
    CHECK(seqc_regress_floor(regress, 5) == 10);
    seqc_regress_raise(regress, 5, 9);
    CHECK(seqc_regress_floor(regress, 5) == 10);
    seqc_regress_raise(regress, 5, 11);
    CHECK(seqc_regress_floor(regress, 5) == 11);
    seqc_regress_set(regress, 5, -3);
    CHECK(seqc_regress_floor(regress, 5) == -3);
    seqc_regress_set(regress, 6, 1);
    seqc_regress_forget(regress, 5);
    seqc_regress_forget(regress, 5);
    CHECK(seqc_regress_floor(regress, 5) == SEQC_REGRESS_UNKNOWN);
    CHECK(seqc_regress_floor(regress, 6) == 1);
    seqc_regress_unlock(regress);
    seqc_regress_free(regress);
}

/* Entries of one set, by order of arrival: forgetting one keeps the rest. */
static void
forget_keeps_the_neighbours(void)
{
    struct seqc_regress *regress = seqc_regress_new(64);

    for (uint64_t i = 1; i <= 8; i++) {
        seqc_regress_raise(regress, i << 32, (int64_t)i);
    }
    seqc_regress_forget(regress, (uint64_t)3 << 32);
    for (uint64_t i = 1; i <= 8; i++) {
        CHECK(seqc_regress_floor(regress, i << 32)
              == (i == 3 ? SEQC_REGRESS_UNKNOWN : (int64_t)i));
    }
    seqc_regress_raise(regress, (uint64_t)9 << 32, 9); /* in its place */
    CHECK(seqc_regress_floor(regress, (uint64_t)1 << 32) == 1);
    seqc_regress_free(regress);
}

static void
growing_forgets_nothing(void)
{
    /* So few that no set of the largest table is ever full (5e-8). */
    struct seqc_regress *regress = seqc_regress_new(SEQC_REGRESS_ENTRIES);

    for (size_t i = 0; i < 2000; i++) {
        seqc_regress_raise(regress, hash_number(regress, i), (int64_t)i);
    }
    for (size_t i = 0; i < 2000; i++) {
        CHECK(seqc_regress_floor(regress, hash_number(regress, i))
              == (int64_t)i);
    }
    seqc_regress_free(regress);
}

static void
memory_is_small_at_first_and_bounded(void)
{
    long live = ut_live;

    ut_fail_at(0);
    struct seqc_regress *regress = seqc_regress_new(SEQC_REGRESS_ENTRIES);
    CHECK(ut_largest < 2048);
    for (size_t i = 0; i < 300000; i++) {
        seqc_regress_raise(regress, hash_number(regress, i), (int64_t)i);
    }
    CHECK(ut_largest <= SEQC_REGRESS_ENTRIES * 16 + 128); /* and a header */
    CHECK(ut_largest > SEQC_REGRESS_ENTRIES * 15);
    size_t known = 0;
    for (size_t i = 0; i < 300000; i++) {
        int64_t floor = seqc_regress_floor(regress, hash_number(regress, i));
        CHECK(floor == SEQC_REGRESS_UNKNOWN || floor == (int64_t)i);
        known += floor != SEQC_REGRESS_UNKNOWN;
    }
    CHECK(known <= SEQC_REGRESS_ENTRIES && known > SEQC_REGRESS_ENTRIES / 2);
    seqc_regress_free(regress);
    CHECK(ut_live == live);
}

static void
full_table_replaces_the_oldest(void)
{
    struct seqc_regress *regress = seqc_regress_new(64);

    for (uint64_t i = 1; i <= 9; i++) { /* all of one set of eight */
        seqc_regress_raise(regress, i << 32, (int64_t)i);
    }
    CHECK(seqc_regress_floor(regress, (uint64_t)1 << 32)
          == SEQC_REGRESS_UNKNOWN);
    for (uint64_t i = 2; i <= 9; i++) {
        CHECK(seqc_regress_floor(regress, i << 32) == (int64_t)i);
    }
    seqc_regress_free(regress);
}

static void
used_entries_outlive_unused_ones(void)
{
    struct seqc_regress *regress = seqc_regress_new(64);
    uint64_t raised = hash_number(regress, 1000000);
    uint64_t set = hash_number(regress, 1000001);

    for (int64_t i = 0; i < 5000; i++) {
        seqc_regress_raise(regress, raised, i);
        seqc_regress_set(regress, set, i);
        seqc_regress_raise(regress, hash_number(regress, (size_t)i), 1);
        CHECK(seqc_regress_floor(regress, raised) == i);
        CHECK(seqc_regress_floor(regress, set) == i);
    }
    seqc_regress_free(regress);
}

static void
neighbours_used_in_turn_stay(void)
{
    struct seqc_regress *regress = seqc_regress_new(64);
    uint64_t one = (uint64_t)1 << 32; /* all of one set of eight */
    uint64_t two = (uint64_t)2 << 32;

    seqc_regress_raise(regress, one, 0);
    seqc_regress_raise(regress, two, 0);
    for (int64_t i = 1; i < 100; i++) {
        seqc_regress_raise(regress, one, i);
        seqc_regress_raise(regress, two, i);
        seqc_regress_raise(regress, (uint64_t)(i + 2) << 32, i);
        CHECK(seqc_regress_floor(regress, one) == i);
        CHECK(seqc_regress_floor(regress, two) == i);
    }
    seqc_regress_free(regress);
}

static void
nth_allocation_fails_and_entries_are_replaced(void)
{
    for (long n = 1;; n++) {
        ut_fail_at(n);
        struct seqc_regress *regress = seqc_regress_new(1024);
        CHECK(!regress == (n <= 2));
        for (size_t i = 0; regress && i < 1024; i++) {
            uint64_t hash = hash_number(regress, i);
            seqc_regress_raise(regress, hash, (int64_t)i);
            CHECK(seqc_regress_floor(regress, hash) == (int64_t)i);
        }
        bool has_failed = ut_has_failed();
        ut_fail_at(0);
        seqc_regress_free(regress);
        CHECK(ut_live == 0);
        if (!has_failed) {
            CHECK(n > 4);
            return;
        }
    }
}

static void
after_fork_a_held_lock_means_forget(void)
{
    struct seqc_regress *regress = seqc_regress_new(64);

    seqc_regress_raise(regress, 5, 10);
    seqc_regress_after_fork(regress); /* nobody was at work */
    seqc_regress_lock(regress);
    CHECK(seqc_regress_floor(regress, 5) == 10);
    seqc_regress_after_fork(regress); /* as if that were another thread */
    seqc_regress_lock(regress);
    CHECK(seqc_regress_floor(regress, 5) == SEQC_REGRESS_UNKNOWN);
    seqc_regress_raise(regress, 5, 3);
    CHECK(seqc_regress_floor(regress, 5) == 3);
    seqc_regress_unlock(regress);
    seqc_regress_free(regress);
}

int
main(void)
{
    ut_watch();
    RUN(hash_depends_on_each_bit_and_the_length);
    RUN(hash_spreads_keys_in_a_row);
    RUN(hash_mixes_every_bit);
    RUN(hash_is_of_the_table);
    RUN(floor_follows_raise_set_forget);
    RUN(forget_keeps_the_neighbours);
    RUN(growing_forgets_nothing);
    RUN(memory_is_small_at_first_and_bounded);
    RUN(full_table_replaces_the_oldest);
    RUN(used_entries_outlive_unused_ones);
    RUN(neighbours_used_in_turn_stay);
    RUN(nth_allocation_fails_and_entries_are_replaced);
    RUN(after_fork_a_held_lock_means_forget);
    return ut_finish();
}
