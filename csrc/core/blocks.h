/* SPDX-License-Identifier: MIT */
/* What a lease has: a block of numbers that it gives, one behind it, and when
 * to ask for more.
 *
 * The caller locks.  All zero bytes but for `refill_left` is a lease that had
 * no block yet. */
#ifndef SEQC_BLOCKS_H
#define SEQC_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

/* Consecutive numbers: the last one, and how many are left of them. */
struct seqc_block {
    int64_t last;
    int64_t left;
};

struct seqc_blocks {
    struct seqc_block now;
    int64_t keep; /* at so many left, more is to be done than to give one */
    struct seqc_block spare; /* behind `now`, with a gap between */
    int64_t refill_left;     /* at so many left it asks for the next block */
    int64_t top;             /* the highest number that it was given last */
    uint64_t epoch;          /* changes when all numbers are dropped */
    bool has_top;
    bool asked; /* the next block is on its way */
    bool closed;
};

/* The hot path: a number, unless there is more to do (seqc_blocks_step). */
static inline bool
seqc_blocks_give(struct seqc_blocks *blocks, int64_t *out_number)
{
    if (blocks->now.left <= blocks->keep) {
        return false;
    }
    *out_number = blocks->now.last - --blocks->now.left;
    return true;
}

enum seqc_blocks_step {
    SEQC_BLOCKS_GIVE,   /* there are numbers */
    SEQC_BLOCKS_REFILL, /* there are, and more must be asked for; asked once */
    SEQC_BLOCKS_MORE,   /* there are none */
};

/* What comes before the next number; moves on to the next block. */
enum seqc_blocks_step seqc_blocks_step(struct seqc_blocks *blocks);

/* Gives `count` numbers in a row, the last one in *out_last.  What lies before
 * them and does not suffice is dropped, also when nothing does, for later
 * numbers must be greater.  *out_refill: more must be asked for. */
bool seqc_blocks_take(struct seqc_blocks *blocks,
                      int64_t count,
                      int64_t *out_last,
                      bool *out_refill);

/* What was true when a block was asked for. */
struct seqc_blocks_stamp {
    unsigned long long epoch;
    long long top;
    int has_top;
};

struct seqc_blocks_stamp seqc_blocks_begin(struct seqc_blocks *blocks);

/* A block came.  It is dropped, a gap, if all was since it was asked for, or
 * if one with greater numbers came meanwhile.  That its numbers are lower than
 * those of then is no reason: the counter went back, which is for others to
 * tell. */
void seqc_blocks_put(struct seqc_blocks *blocks,
                     struct seqc_block block,
                     const struct seqc_blocks_stamp *stamp);

/* No block came; it is asked for again when half of the rest is used. */
void seqc_blocks_fail(struct seqc_blocks *blocks,
                      const struct seqc_blocks_stamp *stamp);

/* Forgets all numbers, and what is on its way. */
void seqc_blocks_drop(struct seqc_blocks *blocks);
/* The same, and for ever. */
void seqc_blocks_close(struct seqc_blocks *blocks);

#endif
