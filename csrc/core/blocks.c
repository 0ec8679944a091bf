/* SPDX-License-Identifier: MIT */
#include "core/blocks.h"

static void
set_keep(struct seqc_blocks *blocks)
{
    int64_t left = blocks->now.left;

    if (blocks->closed) {
        blocks->keep = INT64_MAX;
    } else if (blocks->asked || blocks->spare.left) {
        blocks->keep = 0;
    } else {
        blocks->keep =
            left < blocks->refill_left ? left : blocks->refill_left;
    }
}

static void
move_on(struct seqc_blocks *blocks)
{
    blocks->now = blocks->spare;
    blocks->spare = (struct seqc_block){0};
    set_keep(blocks);
}

enum seqc_blocks_step
seqc_blocks_step(struct seqc_blocks *blocks)
{
    if (!blocks->now.left && blocks->spare.left) {
        move_on(blocks);
    }
    if (!blocks->now.left) {
        return SEQC_BLOCKS_MORE;
    }
    if (blocks->now.left > blocks->keep) {
        return SEQC_BLOCKS_GIVE;
    }
    blocks->asked = true;
    set_keep(blocks);
    return SEQC_BLOCKS_REFILL;
}

bool
seqc_blocks_take(struct seqc_blocks *blocks,
                 int64_t count,
                 int64_t *out_last,
                 bool *out_refill)
{
    for (int i = 0; i < 2 && blocks->now.left < count; i++) {
        move_on(blocks);
    }
    if (blocks->now.left < count) {
        return false;
    }
    blocks->now.left -= count;
    *out_last = blocks->now.last - blocks->now.left;
    *out_refill = blocks->now.left && blocks->now.left <= blocks->keep;
    blocks->asked = blocks->asked || *out_refill;
    set_keep(blocks);
    return true;
}

struct seqc_blocks_stamp
seqc_blocks_begin(struct seqc_blocks *blocks)
{
    blocks->asked = true;
    set_keep(blocks);
    return (struct seqc_blocks_stamp){
        .epoch = blocks->epoch,
        .top = blocks->top,
        .has_top = blocks->has_top,
    };
}

static bool
fits(const struct seqc_blocks *blocks,
     int64_t first,
     const struct seqc_blocks_stamp *stamp)
{
    bool went_back = stamp->has_top && first <= stamp->top;

    return !blocks->closed && stamp->epoch == blocks->epoch &&
           (!blocks->has_top || went_back || first > blocks->top);
}

static bool
extend(struct seqc_block *block, const struct seqc_block *next)
{
    if (block->last != next->last - next->left) {
        return false;
    }
    block->last = next->last;
    block->left += next->left;
    return true;
}

/* Adjacent blocks become one.  When two refills met there may be a third: then
 * the second is a gap. */
static void
add(struct seqc_blocks *blocks, struct seqc_block block)
{
    if (!blocks->now.left) {
        move_on(blocks);
    }
    if (!blocks->now.left) {
        blocks->now = block;
    } else if (blocks->spare.left ? !extend(&blocks->spare, &block)
                                  : !extend(&blocks->now, &block)) {
        blocks->spare = block;
    }
    blocks->top = block.last;
    blocks->has_top = true;
}

void
seqc_blocks_put(struct seqc_blocks *blocks,
                struct seqc_block block,
                const struct seqc_blocks_stamp *stamp)
{
    int64_t before; /* the number before the first; a server may lie */

    if (block.left > 0 &&
        !__builtin_sub_overflow(block.last, block.left, &before) &&
        fits(blocks, before + 1, stamp)) {
        add(blocks, block);
    }
    if (stamp->epoch == blocks->epoch) {
        blocks->asked = false;
    }
    set_keep(blocks);
}

void
seqc_blocks_fail(struct seqc_blocks *blocks,
                 const struct seqc_blocks_stamp *stamp)
{
    int64_t half = blocks->now.left / 2;

    if (stamp->epoch != blocks->epoch) {
        return;
    }
    blocks->asked = false;
    set_keep(blocks);
    if (!blocks->closed && blocks->keep > half) {
        blocks->keep = half;
    }
}

void
seqc_blocks_drop(struct seqc_blocks *blocks)
{
    blocks->now = blocks->spare = (struct seqc_block){0};
    blocks->asked = false;
    blocks->epoch++;
    set_keep(blocks);
}

void
seqc_blocks_close(struct seqc_blocks *blocks)
{
    blocks->closed = true;
    seqc_blocks_drop(blocks);
}
