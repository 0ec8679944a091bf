/* SPDX-License-Identifier: MIT */
/* What became of the tokens of memory://: a table of records that is bounded
 * and forgets, the oldest first.
 *
 * A record is known by 128 bits of a seeded hash of key and token.  The caller
 * locks.  A fork may come in the middle of an addition: then the copy has all
 * records but that one. */
#ifndef SEQC_RECORD_H
#define SEQC_RECORD_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/status.h"

/* Records of one table, 56 bytes each; above that the oldest is forgotten
 * before its time. */
#define SEQC_RECORDS_MAX (1u << 14)

struct seqc_record {
    uint64_t id[2];
    int64_t last;     /* the number that the call got */
    int64_t count;    /* what it increased by */
    int64_t until_ns; /* forgotten then; monotonic */
    uint64_t before;  /* number of the next older record of its bucket */
};

struct seqc_records {
    _Atomic(struct seqc_record_block *) block; /* owned; NULL at first */
    uint64_t first;        /* number of the oldest record, from 1 */
    _Atomic uint64_t next; /* number of the next one */
};

void seqc_records_init(struct seqc_records *records);
void seqc_records_fini(struct seqc_records *records);

/* The live record of an id, NULL if there is none; borrowed until the next
 * change. */
const struct seqc_record *
seqc_records_find(const struct seqc_records *records,
                  const uint64_t id[2],
                  int64_t now_ns);

/* Makes room for one more.  SEQC_NOMEM: nothing has changed. */
SEQC_CHECK seqc_status seqc_records_reserve(struct seqc_records *records,
                                            int64_t now_ns);
/* Adds one, after seqc_records_reserve; `before` is set here. */
void seqc_records_add(struct seqc_records *records,
                      const struct seqc_record *record);

#endif
