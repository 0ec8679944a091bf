/* SPDX-License-Identifier: MIT */
/* The in-process store: counters by key, the prefix being part of the key.
 *
 * Threads: every function may be called from any thread at any time, except
 * where said.  Each shard has one leaf mutex (rank: last), held for one
 * lookup; nothing is called back and nothing waits while it is held.
 *
 * Every change of a shard is published by its last single store, so a copy
 * that fork makes at any moment holds usable tables. */
#ifndef SEQC_MEMORY_H
#define SEQC_MEMORY_H

#include <stdint.h>

#include "core/buf.h"
#include "core/once.h"
#include "core/status.h"

typedef struct seqc_store seqc_store;

/* The caller owns the only reference; NULL when out of memory. */
seqc_store *seqc_store_new(void);
seqc_store *seqc_store_ref(seqc_store *store);
void seqc_store_unref(seqc_store *store); /* NULL is fine */

/* In the forked child, before anything else: mutexes are made anew. */
void seqc_store_after_fork(seqc_store *store);

/* The number of `key`, 0 when there is none.  Never fails. */
void seqc_store_get(seqc_store *store,
                    const char *key,
                    size_t len,
                    int64_t *out_seq);

/* Adds `by` (at least 1) and creates the key.  SEQC_OVERFLOW past INT64_MAX,
 * SEQC_NOMEM for a new key: nothing has changed. */
SEQC_CHECK seqc_status seqc_store_increase(seqc_store *store,
                                           const char *key,
                                           size_t len,
                                           int64_t by,
                                           int64_t *out_seq);

/* The tokens of its increases. */
struct seqc_once *seqc_store_once_view(seqc_store *store);

/* Forward only: the number becomes `to` if that is greater; out_seq is what
 * now holds.  A missing key counts as 0.  SEQC_NOMEM for a new key. */
SEQC_CHECK seqc_status seqc_store_raise(seqc_store *store,
                                        const char *key,
                                        size_t len,
                                        int64_t to,
                                        int64_t *out_seq);

/* Never fails; out_existed says whether there was a key. */
void seqc_store_delete(seqc_store *store,
                       const char *key,
                       size_t len,
                       bool *out_existed);

/* Keys at the moment; exact when nobody writes. */
size_t seqc_store_count(seqc_store *store);

#define SEQC_STORE_PAGE_MAX 65536

struct seqc_store_item {
    const char *key; /* borrowed from the page until it is changed */
    size_t key_len;
    int64_t seq;
};

/* Appends about `max` keys (at most 65536) to `page` and moves *cursor.  0
 * starts; a cursor of 0 afterwards is the end, an empty page is not.  As with
 * SCAN: what is in the store from start to end comes at least once, also when
 * the store grows meanwhile; a page may hold a few keys more than `max`, or
 * fewer. SEQC_NOMEM: page and cursor are as before. */
SEQC_CHECK seqc_status seqc_store_page(seqc_store *store,
                                       uint64_t *cursor,
                                       struct seqc_buf *page,
                                       size_t max);

/* Consumes one item from the front of `page`; false when it is empty. */
bool seqc_store_page_next(struct seqc_buf *page,
                          struct seqc_store_item *out_item);

#endif
