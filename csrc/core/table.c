/* SPDX-License-Identifier: MIT */
#include "core/table.h"

#include <stdatomic.h>
#include <string.h>

#include "core/alloc.h"

#define BITS_FIRST 4 /* log2 of the slots of a first block */

struct entry {
    int64_t seq;
    uint32_t len;
    char key[];
};

/* NULL: never used, a search ends here.  DELETED: it goes on. */
struct slot {
    uint64_t hash;
    _Atomic(struct entry *) entry; /* owned */
};

/* One block behind one pointer: a growing table is never half there. */
struct seqc_table_block {
    unsigned bits; /* log2 of the slots */
    size_t used;   /* slots that are not NULL */
    struct slot slots[];
};

/* Its length is no key's, so a search passes it by without a question. */
static const struct entry deleted = {.len = UINT32_MAX};
#define DELETED ((struct entry *)(uintptr_t) & deleted)

static inline struct entry *
load_entry(const struct slot *slot)
{
    return atomic_load_explicit(&slot->entry, memory_order_relaxed);
}

/* Release: a fork that copies the slot with the entry has all of both. */
static inline void
publish(struct slot *slot, struct entry *entry)
{
    atomic_store_explicit(&slot->entry, entry, memory_order_release);
}

static inline bool
is_key(const struct entry *entry)
{
    return entry && entry != DELETED;
}

/* 0 for no block. */
static inline size_t
slot_count(const struct seqc_table_block *block)
{
    return block ? (size_t)1 << block->bits : 0;
}

/* Where the search for a hash begins. */
static inline size_t
find_home(const struct seqc_table_block *block, uint64_t hash)
{
    return (size_t)(hash >> (64 - block->bits));
}

/* The block of memory of an entry: its lead comes first. */
static inline void
free_entry(const struct seqc_table *table, struct entry *entry)
{
    seqc_free((char *)entry - table->lead);
}

void
seqc_table_init(struct seqc_table *table, size_t lead)
{
    *table = (struct seqc_table){.lead = lead};
}

void
seqc_table_fini(struct seqc_table *table)
{
    struct seqc_table_block *block = table->block;

    for (size_t i = 0; i < slot_count(block); i++) {
        struct entry *entry = load_entry(&block->slots[i]);
        if (is_key(entry)) {
            free_entry(table, entry);
        }
    }
    seqc_free(block);
    seqc_table_init(table, table->lead);
}

void
seqc_table_recount(struct seqc_table *table)
{
    struct seqc_table_block *block = table->block;
    size_t used = 0;

    table->count = 0;
    for (size_t i = 0; i < slot_count(block); i++) {
        const struct entry *entry = load_entry(&block->slots[i]);
        used += entry != NULL;
        table->count += is_key(entry);
    }
    if (block) {
        block->used = used;
    }
}

/* NULL when there is no such key. */
static struct slot *
find_slot(const struct seqc_table *table, const struct seqc_table_key *key)
{
    struct seqc_table_block *block = table->block;

    if (!block) {
        return NULL;
    }
    size_t mask = slot_count(block) - 1;
    for (size_t i = find_home(block, key->hash);; i = (i + 1) & mask) {
        struct slot *slot = &block->slots[i];
        const struct entry *entry = load_entry(slot);
        if (!entry) {
            return NULL;
        }
        if (slot->hash == key->hash && entry->len == key->len &&
            memcmp(entry->key, key->bytes, key->len) == 0) {
            return slot;
        }
    }
}

int64_t *
seqc_table_find(const struct seqc_table *table,
                const struct seqc_table_key *key)
{
    const struct slot *slot = find_slot(table, key);
    return slot ? &load_entry(slot)->seq : NULL;
}

/* For a hash that is not in the block, which has room. */
static void
put_entry(struct seqc_table_block *block, uint64_t hash, struct entry *entry)
{
    size_t mask = slot_count(block) - 1;
    size_t i = find_home(block, hash);

    while (is_key(load_entry(&block->slots[i]))) {
        i = (i + 1) & mask;
    }
    struct slot *slot = &block->slots[i];
    if (!load_entry(slot)) {
        block->used++;
    }
    slot->hash = hash;
    publish(slot, entry);
}

/* Five of eight slots: searches stay short, and always end. */
static inline bool
has_room(const struct seqc_table_block *block)
{
    return block && (block->used + 1) * 8 <= slot_count(block) * 5;
}

/* A new block without deleted slots: of the same size when those were many,
 * else twice as large.  It never shrinks, interrupted walks count on it. */
SEQC_CHECK static seqc_status
rebuild(struct seqc_table *table)
{
    struct seqc_table_block *old = table->block;
    unsigned bits =
        old ? old->bits + (table->count >= old->used / 2) : BITS_FIRST;
    size_t slots_bytes = sizeof(struct slot) << bits;
    struct seqc_table_block *block =
        seqc_calloc(1, sizeof *block + slots_bytes);

    if (!block) {
        return SEQC_NOMEM;
    }
    block->bits = bits;
    for (size_t i = 0; i < slot_count(old); i++) {
        struct entry *entry = load_entry(&old->slots[i]);
        if (is_key(entry)) {
            put_entry(block, old->slots[i].hash, entry);
        }
    }
    table->block = block;
    seqc_free(old);
    return SEQC_OK;
}

seqc_status
seqc_table_add(struct seqc_table *table,
               const struct seqc_table_key *key,
               int64_t seq)
{
    if (!has_room(table->block)) {
        seqc_status status = rebuild(table);
        if (status) {
            return status;
        }
    }
    char *bytes = seqc_malloc(table->lead + sizeof(struct entry) + key->len);
    if (!bytes) {
        return SEQC_NOMEM;
    }
    memset(bytes, 0, table->lead);
    struct entry *entry = (struct entry *)(void *)(bytes + table->lead);
    entry->seq = seq;
    entry->len = (uint32_t)key->len;
    memcpy(entry->key, key->bytes, key->len);
    put_entry(table->block, key->hash, entry);
    table->count++;
    return SEQC_OK;
}

bool
seqc_table_remove(struct seqc_table *table, const struct seqc_table_key *key)
{
    struct slot *slot = find_slot(table, key);

    if (!slot) {
        return false;
    }
    struct entry *entry = load_entry(slot);
    publish(slot, DELETED);
    free_entry(table, entry);
    table->count--;
    return true;
}

static inline void
take_one(size_t *left)
{
    *left -= *left > 0;
}

SEQC_CHECK static seqc_status
append_item(struct seqc_buf *page, const struct entry *entry)
{
    struct seqc_table_item item = {entry->seq, entry->len};
    char *room = seqc_buf_reserve(page, sizeof item + entry->len);

    if (!room) {
        return SEQC_NOMEM;
    }
    memcpy(room, &item, sizeof item);
    memcpy(room + sizeof item, entry->key, entry->len);
    page->end += sizeof item + entry->len;
    return SEQC_OK;
}

/* All keys whose search begins at slot `home`: they are somewhere in the run
 * of used slots from there on.  All or none, so that a place between two
 * homes says exactly what was returned. */
SEQC_CHECK static seqc_status
walk_home(struct seqc_table_walk *walk,
          const struct seqc_table_block *block,
          size_t home)
{
    size_t mask = slot_count(block) - 1;

    for (size_t i = home;; i = (i + 1) & mask) {
        const struct slot *slot = &block->slots[i];
        const struct entry *entry = load_entry(slot);
        take_one(&walk->steps_left);
        if (!entry) {
            return SEQC_OK;
        }
        if (entry == DELETED || find_home(block, slot->hash) != home) {
            continue;
        }
        seqc_status status = append_item(walk->page, entry);
        if (status) {
            return status;
        }
        take_one(&walk->items_left);
    }
}

seqc_status
seqc_table_walk_on(const struct seqc_table *table,
                   struct seqc_table_walk *walk)
{
    const struct seqc_table_block *block = table->block;

    if (!block) {
        walk->place = 0;
        return SEQC_OK;
    }
    size_t home = find_home(block, walk->place);
    while (walk->items_left && walk->steps_left) {
        seqc_status status = walk_home(walk, block, home);
        if (status) {
            return status;
        }
        home = (home + 1) & (slot_count(block) - 1);
        if (home == 0) {
            break;
        }
    }
    walk->place = (uint64_t)home << (64 - block->bits);
    return SEQC_OK;
}
