/* SPDX-License-Identifier: MIT */
/* The highest number known for each key, so that lost numbers are noticed.
 *
 * Bounded: it starts small, grows to max_entries and then replaces the
 * oldest of eight.  A key that was replaced is unknown, never wrong.  Keys
 * are known by a seeded 64-bit hash of theirs. */
#ifndef SEQC_REGRESS_H
#define SEQC_REGRESS_H

#include <stddef.h>
#include <stdint.h>

#define SEQC_REGRESS_ENTRIES                                                  \
    65536 /* default of max_entries; 16 bytes each                            \
           */
#define SEQC_REGRESS_UNKNOWN INT64_MIN

/* The secret of a hash.  Drawn per object, so that nobody outside can choose
 * keys that collide. */
struct seqc_hash_seed {
    uint64_t words[4];
};

void seqc_hash_seed_draw(struct seqc_hash_seed *seed);
/* All 64 bits are usable.  A few ns for keys of 10 to 40 bytes. */
uint64_t seqc_hash_bytes(const struct seqc_hash_seed *seed,
                         const char *bytes,
                         size_t len);

struct seqc_regress;

/* Caller owns; NULL when out of memory.  max_entries is rounded up to a
 * power of two, at least 64. */
struct seqc_regress *seqc_regress_new(size_t max_entries);
void seqc_regress_free(struct seqc_regress *regress); /* NULL is fine */

/* In the forked child, before anything else: a new mutex; forgets all if a
 * thread that is no more was at work. */
void seqc_regress_after_fork(struct seqc_regress *regress);

/* Needs no lock; never 0. */
uint64_t seqc_regress_hash(const struct seqc_regress *regress,
                           const char *key,
                           size_t len);

/* A leaf mutex (rank: last) around any number of the calls below. */
void seqc_regress_lock(struct seqc_regress *regress);
void seqc_regress_unlock(struct seqc_regress *regress);

/* Brings the entry of `hash` closer, for a call that comes soon.  Needs the
 * lock. */
void seqc_regress_prefetch(const struct seqc_regress *regress, uint64_t hash);

/* Around a delete of the key, from its writing to its end, on whichever link:
 * meanwhile nothing is known of any key, and afterwards nothing of this one.
 * The generation changes at both: an answer to what was written in another
 * one proves nothing.  All three need the lock. */
void seqc_regress_begin_delete(struct seqc_regress *regress, uint64_t hash);
void seqc_regress_end_delete(struct seqc_regress *regress, uint64_t hash);
uint32_t seqc_regress_generation(const struct seqc_regress *regress);
/* Deletes that were begun and not ended; for the tests. */
uint32_t seqc_regress_deletes(const struct seqc_regress *regress);

/* The following need the lock and never fail; without memory to grow, older
 * entries are replaced earlier. */
int64_t seqc_regress_floor(const struct seqc_regress *regress,
                           uint64_t hash); /* or SEQC_REGRESS_UNKNOWN */
/* The higher of the known and `value`. */
void
seqc_regress_raise(struct seqc_regress *regress, uint64_t hash, int64_t value);
/* Exactly `value`, also if that is lower. */
void
seqc_regress_set(struct seqc_regress *regress, uint64_t hash, int64_t value);
void seqc_regress_forget(struct seqc_regress *regress, uint64_t hash);

#endif
