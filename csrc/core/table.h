/* SPDX-License-Identifier: MIT */
/* Counters by key: one open-addressing hash table, a shard of memory.h.
 *
 * The caller hashes, and locks.  The leading bits of a hash say where the
 * search begins, so the table is ordered by hash, run by run: a place in the
 * order of hashes means the same before and after the table grew.
 *
 * A table may keep more than a number for each key: `lead` bytes in front of
 * it, zero at first, that only the caller knows how to read. */
#ifndef SEQC_TABLE_H
#define SEQC_TABLE_H

#include <stdint.h>

#include "core/buf.h"
#include "core/status.h"

struct seqc_table {
    struct seqc_table_block *block; /* owned; NULL until the first key */
    size_t count;                   /* keys */
    size_t lead;                    /* bytes in front of each number */
};

struct seqc_table_key {
    const char *bytes; /* borrowed */
    size_t len;        /* below UINT32_MAX */
    uint64_t hash;     /* of all of them, seeded */
};

/* `lead` is a multiple of 8. */
void seqc_table_init(struct seqc_table *table, size_t lead);
void seqc_table_fini(struct seqc_table *table);

/* In a forked child, when the fork may have come in the middle of a change:
 * keys and numbers are whole at any moment, the counts are taken anew. */
void seqc_table_recount(struct seqc_table *table);

/* The key's number, borrowed until the key is removed; NULL for no key. */
int64_t *seqc_table_find(const struct seqc_table *table,
                         const struct seqc_table_key *key);

/* Only for a key that is not there. */
SEQC_CHECK seqc_status seqc_table_add(struct seqc_table *table,
                                      const struct seqc_table_key *key,
                                      int64_t seq);

/* Returns whether the key was there. */
bool seqc_table_remove(struct seqc_table *table,
                       const struct seqc_table_key *key);

/* A walk in the order of hashes, interrupted when nothing is left of what it
 * may take. */
struct seqc_table_walk {
    struct seqc_buf *page; /* borrowed; items are appended */
    size_t items_left;     /* may be passed by those of equal place */
    size_t steps_left;     /* slots to look at */
    uint64_t place;        /* hashes below it are done; 0 at the end */
};

/* SEQC_NOMEM: `place` is as before, the page may hold items behind it. */
SEQC_CHECK seqc_status seqc_table_walk_on(const struct seqc_table *table,
                                          struct seqc_table_walk *walk);

/* How an item begins within a page; the key's bytes follow, unaligned. */
struct seqc_table_item {
    int64_t seq;
    size_t key_len;
};

#endif
