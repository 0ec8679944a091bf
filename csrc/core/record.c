/* SPDX-License-Identifier: MIT */
#include "core/record.h"

#include "core/alloc.h"

#define BITS_FIRST 6 /* log2 of the records of a first block */
/* Old records that one addition forgets at most. */
#define FORGET_MOST 16

/* A ring of records by their numbers, and the newest of each bucket.  What is
 * older than the oldest record is gone wherever it is still named, so nothing
 * is ever taken out of a bucket. */
struct seqc_record_block {
    uint64_t mask;               /* of numbers and buckets */
    uint64_t *newest;            /* inside the block: a number, 0 for none */
    struct seqc_record records[];
};

void
seqc_records_init(struct seqc_records *records)
{
    atomic_init(&records->block, NULL);
    records->first = 1;
    atomic_init(&records->next, 1);
}

void
seqc_records_fini(struct seqc_records *records)
{
    seqc_free(atomic_load_explicit(&records->block, memory_order_relaxed));
    seqc_records_init(records);
}

static struct seqc_record_block *
load_block(const struct seqc_records *records)
{
    return atomic_load_explicit(&records->block, memory_order_relaxed);
}

static uint64_t
load_next(const struct seqc_records *records)
{
    return atomic_load_explicit(&records->next, memory_order_relaxed);
}

const struct seqc_record *
seqc_records_find(const struct seqc_records *records,
                  const uint64_t id[2],
                  int64_t now_ns)
{
    const struct seqc_record_block *block = load_block(records);
    uint64_t number = block ? block->newest[id[0] & block->mask] : 0;

    while (number >= records->first) {
        const struct seqc_record *record =
            &block->records[number & block->mask];
        if (record->id[0] == id[0] && record->id[1] == id[1]) {
            /* an older one of the same id was over before this one began */
            return now_ns < record->until_ns ? record : NULL;
        }
        number = record->before;
    }
    return NULL;
}

static struct seqc_record_block *
new_block(uint64_t size)
{
    struct seqc_record_block *block;
    size_t records = (size_t)size * sizeof *block->records;

    block = seqc_calloc(
        1, sizeof *block + records + (size_t)size * sizeof *block->newest);
    if (block) {
        block->mask = size - 1;
        block->newest = (uint64_t *)(void *)&block->records[size];
    }
    return block;
}

static void
put_record(struct seqc_record_block *block,
           const struct seqc_record *record,
           uint64_t number)
{
    struct seqc_record *place = &block->records[number & block->mask];

    *place = *record;
    place->before = block->newest[record->id[0] & block->mask];
}

/* One that twice as many fit into; the oldest first, as they came. */
SEQC_CHECK static seqc_status
grow(struct seqc_records *records)
{
    struct seqc_record_block *old = load_block(records);
    struct seqc_record_block *block =
        new_block(old ? (old->mask + 1) * 2 : (uint64_t)1 << BITS_FIRST);

    if (!block) {
        return SEQC_NOMEM;
    }
    for (uint64_t n = records->first; n < load_next(records); n++) {
        const struct seqc_record *record = &old->records[n & old->mask];
        put_record(block, record, n);
        block->newest[record->id[0] & block->mask] = n;
    }
    atomic_store_explicit(&records->block, block, memory_order_release);
    seqc_free(old);
    return SEQC_OK;
}

seqc_status
seqc_records_reserve(struct seqc_records *records, int64_t now_ns)
{
    const struct seqc_record_block *block = load_block(records);
    uint64_t size = block ? block->mask + 1 : 0;
    uint64_t next = load_next(records);

    for (int i = 0; i < FORGET_MOST && records->first < next; i++) {
        if (now_ns < block->records[records->first & block->mask].until_ns) {
            break;
        }
        records->first++;
    }
    if (next - records->first < size) {
        return SEQC_OK;
    }
    if (size < SEQC_RECORDS_MAX) {
        return grow(records);
    }
    records->first++;
    return SEQC_OK;
}

void
seqc_records_add(struct seqc_records *records,
                 const struct seqc_record *record)
{
    struct seqc_record_block *block = load_block(records);
    uint64_t number = load_next(records);

    put_record(block, record, number);
    atomic_store_explicit(&records->next, number + 1, memory_order_release);
    block->newest[record->id[0] & block->mask] = number;
}
