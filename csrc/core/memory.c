/* SPDX-License-Identifier: MIT */
#include "core/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core/alloc.h"
#include "core/regress.h"
#include "core/table.h"

/* The leading bits of a key's hash choose the shard; its table knows the rest,
 * moved up.  A cursor is such a hash: those below it are done. */
#define SHARD_BITS 6
#define SHARDS     (1u << SHARD_BITS)
#define REST_BITS  (64 - SHARD_BITS)

/* Slots that a page may look at, so that no call is long on a store that was
 * large once: for each item, and for the page. */
#define STEPS_PER_ITEM 16
#define STEPS_PER_PAGE 4096

struct shard {
    pthread_mutex_t mutex; /* rank: last */
    struct seqc_table table;
};

struct seqc_store {
    atomic_int refs;
    struct seqc_hash_seed seed;
    struct shard shards[SHARDS];
    struct seqc_once once;
};

/* Sets the table's part of the key; returns the shard. */
static inline struct shard *
find_shard(seqc_store *store,
           const char *bytes,
           size_t len,
           struct seqc_table_key *out_key)
{
    uint64_t hash = seqc_hash_bytes(&store->seed, bytes, len);

    out_key->bytes = bytes;
    out_key->len = len;
    out_key->hash = hash << SHARD_BITS;
    return &store->shards[hash >> REST_BITS];
}

seqc_store *
seqc_store_new(void)
{
    seqc_store *store = seqc_malloc(sizeof *store);

    if (!store) {
        return NULL;
    }
    atomic_init(&store->refs, 1);
    seqc_hash_seed_draw(&store->seed);
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&store->shards[i].mutex, NULL);
        seqc_table_init(&store->shards[i].table, 0);
    }
    seqc_once_init(&store->once);
    return store;
}

seqc_store *
seqc_store_ref(seqc_store *store)
{
    atomic_fetch_add_explicit(&store->refs, 1, memory_order_relaxed);
    return store;
}

void
seqc_store_unref(seqc_store *store)
{
    if (!store || atomic_fetch_sub_explicit(
                      &store->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&store->shards[i].mutex);
        seqc_table_fini(&store->shards[i].table);
    }
    seqc_once_fini(&store->once);
    seqc_free(store);
}

void
seqc_store_after_fork(seqc_store *store)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        /* Held: by a thread that does not exist here. */
        if (pthread_mutex_trylock(&shard->mutex) != 0) {
            seqc_table_recount(&shard->table);
        }
        pthread_mutex_init(&shard->mutex, NULL);
    }
    seqc_once_after_fork(&store->once);
}

void
seqc_store_get(seqc_store *store,
               const char *key,
               size_t len,
               int64_t *out_seq)
{
    struct seqc_table_key table_key;
    struct shard *shard = find_shard(store, key, len, &table_key);

    pthread_mutex_lock(&shard->mutex);
    const int64_t *number = seqc_table_find(&shard->table, &table_key);
    *out_seq = number ? *number : 0;
    pthread_mutex_unlock(&shard->mutex);
}

/* `number` is the key's, NULL for a new key. */
SEQC_CHECK static seqc_status
write_number(struct shard *shard,
             const struct seqc_table_key *key,
             int64_t *number,
             int64_t seq)
{
    if (!number) {
        return seqc_table_add(&shard->table, key, seq);
    }
    *number = seq;
    return SEQC_OK;
}

seqc_status
seqc_store_increase(seqc_store *store,
                    const char *key,
                    size_t len,
                    int64_t by,
                    int64_t *out_seq)
{
    struct seqc_table_key table_key;
    struct shard *shard = find_shard(store, key, len, &table_key);
    seqc_status status = SEQC_OVERFLOW;

    pthread_mutex_lock(&shard->mutex);
    int64_t *number = seqc_table_find(&shard->table, &table_key);
    int64_t seq = number ? *number : 0;
    if (seq <= INT64_MAX - by) {
        seq += by;
        status = write_number(shard, &table_key, number, seq);
    }
    pthread_mutex_unlock(&shard->mutex);
    if (!status) {
        *out_seq = seq;
    }
    return status;
}

struct seqc_once *
seqc_store_once_view(seqc_store *store)
{
    return &store->once;
}

seqc_status
seqc_store_raise(seqc_store *store,
                 const char *key,
                 size_t len,
                 int64_t to,
                 int64_t *out_seq)
{
    struct seqc_table_key table_key;
    struct shard *shard = find_shard(store, key, len, &table_key);
    seqc_status status = SEQC_OK;

    pthread_mutex_lock(&shard->mutex);
    int64_t *number = seqc_table_find(&shard->table, &table_key);
    int64_t seq = number ? *number : 0;
    if (seq < to) {
        seq = to;
        status = write_number(shard, &table_key, number, seq);
    }
    pthread_mutex_unlock(&shard->mutex);
    if (!status) {
        *out_seq = seq;
    }
    return status;
}

void
seqc_store_delete(seqc_store *store,
                  const char *key,
                  size_t len,
                  bool *out_existed)
{
    struct seqc_table_key table_key;
    struct shard *shard = find_shard(store, key, len, &table_key);

    pthread_mutex_lock(&shard->mutex);
    *out_existed = seqc_table_remove(&shard->table, &table_key);
    pthread_mutex_unlock(&shard->mutex);
}

size_t
seqc_store_count(seqc_store *store)
{
    size_t count = 0;

    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->mutex);
        count += shard->table.count;
        pthread_mutex_unlock(&shard->mutex);
    }
    return count;
}

/* Goes on within the shard of *cursor, and to the start of the next one when
 * it is through; behind the last one that is 0, the end. */
SEQC_CHECK static seqc_status
walk_shard(seqc_store *store, struct seqc_table_walk *walk, uint64_t *cursor)
{
    uint64_t number = *cursor >> REST_BITS;
    struct shard *shard = &store->shards[number];

    walk->place = *cursor << SHARD_BITS;
    pthread_mutex_lock(&shard->mutex);
    seqc_status status = seqc_table_walk_on(&shard->table, walk);
    pthread_mutex_unlock(&shard->mutex);
    if (!status) {
        number += walk->place == 0;
        *cursor = number << REST_BITS | walk->place >> SHARD_BITS;
    }
    return status;
}

seqc_status
seqc_store_page(seqc_store *store,
                uint64_t *cursor,
                struct seqc_buf *page,
                size_t max)
{
    size_t items = max < SEQC_STORE_PAGE_MAX ? max : SEQC_STORE_PAGE_MAX;
    struct seqc_table_walk walk = {
        .page = page,
        .items_left = items ? items : 1,
        .steps_left = STEPS_PER_PAGE + items * STEPS_PER_ITEM,
    };
    size_t len_before = seqc_buf_len(page);
    uint64_t position = *cursor;

    do {
        seqc_status status = walk_shard(store, &walk, &position);
        if (status) {
            seqc_buf_truncate(page, seqc_buf_len(page) - len_before);
            return status;
        }
    } while (position && walk.items_left && walk.steps_left);
    *cursor = position;
    return SEQC_OK;
}

bool
seqc_store_page_next(struct seqc_buf *page, struct seqc_store_item *out_item)
{
    struct seqc_table_item item;

    if (seqc_buf_len(page) == 0) {
        return false;
    }
    const char *data = page->data + page->start;
    memcpy(&item, data, sizeof item);
    out_item->key = data + sizeof item;
    out_item->key_len = item.key_len;
    out_item->seq = item.seq;
    seqc_buf_consume(page, sizeof item + item.key_len);
    return true;
}
