/* SPDX-License-Identifier: MIT */
/* What a lease has: blocks, the refill point, what is dropped. */
#include "core/blocks.h"

#include <string.h>

#include "ut_check.h"

static struct seqc_blocks blocks;

static void
begin_lease(int64_t refill_left)
{
    memset(&blocks, 0, sizeof blocks);
    blocks.refill_left = refill_left;
}

/* Numbers up to `last` come, as if nothing had happened since they were
 * asked for. */
static void
put(int64_t last, int64_t count)
{
    struct seqc_blocks_stamp stamp = seqc_blocks_begin(&blocks);

    seqc_blocks_put(&blocks, (struct seqc_block){last, count}, &stamp);
}

/* The next number without a refill, 0 if there is more to do. */
static int64_t
give(void)
{
    int64_t number = 0;

    return seqc_blocks_give(&blocks, &number) ? number : 0;
}

static int64_t
take(int64_t count)
{
    int64_t last = 0;
    bool refill = false;

    return seqc_blocks_take(&blocks, count, &last, &refill) ? last : 0;
}

static void
new_lease_has_nothing(void)
{
    begin_lease(5);
    CHECK(!give() && !take(1));
    CHECK(seqc_blocks_step(&blocks) == SEQC_BLOCKS_MORE);
    CHECK(!blocks.has_top);
}

static void
refill_is_asked_once_and_at_its_point(void)
{
    begin_lease(4);
    put(10, 10);
    for (int64_t n = 1; n <= 6; n++) {
        CHECK(give() == n);
    }
    CHECK(!give());
    CHECK(seqc_blocks_step(&blocks) == SEQC_BLOCKS_REFILL);
    for (int64_t n = 7; n <= 10; n++) {
        CHECK(give() == n);
    }
    CHECK(!give());
    CHECK(seqc_blocks_step(&blocks) == SEQC_BLOCKS_MORE);
}

static void
adjacent_blocks_are_one(void)
{
    begin_lease(4);
    put(10, 10);
    put(20, 10);
    CHECK(blocks.now.left == 20 && !blocks.spare.left);
    CHECK(take(15) == 15 && give() == 16);
    CHECK(seqc_blocks_step(&blocks) == SEQC_BLOCKS_REFILL);
    put(40, 5); /* not adjacent */
    CHECK(blocks.spare.left == 5);
    put(50, 10); /* to the spare one */
    CHECK(blocks.spare.left == 15);
    for (int64_t n = 17; n <= 20; n++) {
        CHECK(give() == n);
    }
    CHECK(seqc_blocks_step(&blocks) == SEQC_BLOCKS_GIVE);
    CHECK(give() == 36);
}

static void
last_and_lowest_numbers_are_exact(void)
{
    begin_lease(0);
    put(INT64_MAX, 2);
    CHECK(give() == INT64_MAX - 1 && give() == INT64_MAX && !give());
    begin_lease(0);
    put(INT64_MAX, INT64_MAX);
    CHECK(give() == 1 && take(INT64_MAX - 2) == INT64_MAX - 1);
    CHECK(give() == INT64_MAX && !give());
    begin_lease(0);
    put(-3, 2);
    CHECK(give() == -4 && give() == -3 && !give());
}

static void
take_skips_what_does_not_suffice(void)
{
    begin_lease(0);
    put(10, 10);
    put(30, 10);
    CHECK(take(12) == 0); /* neither is long enough: both are dropped */
    CHECK(!give() && !blocks.spare.left);
    put(50, 10);
    put(70, 10);
    CHECK(take(8) == 48 && take(5) == 65 && give() == 66);
    CHECK(take(4) == 70 && !give());
}

static void
take_tells_when_more_is_needed_but_once(void)
{
    int64_t last;
    bool refill;

    begin_lease(5);
    put(10, 10);
    CHECK(seqc_blocks_take(&blocks, 4, &last, &refill) && !refill);
    CHECK(seqc_blocks_take(&blocks, 1, &last, &refill) && refill);
    CHECK(seqc_blocks_take(&blocks, 1, &last, &refill) && !refill);
    CHECK(last == 6 && blocks.asked);
}

static void
failed_refill_is_asked_again_at_half_of_the_rest(void)
{
    struct seqc_blocks_stamp stamp;
    int asked = 0;

    begin_lease(500);
    put(1000, 1000);
    for (int64_t n = 1; n <= 1000; n++) {
        while (give() != n) {
            CHECK(seqc_blocks_step(&blocks) == SEQC_BLOCKS_REFILL);
            asked++;
            stamp = seqc_blocks_begin(&blocks);
            seqc_blocks_fail(&blocks, &stamp);
        }
    }
    CHECK(asked > 5 && asked < 12);
    CHECK(seqc_blocks_step(&blocks) == SEQC_BLOCKS_MORE);
}

static void
block_of_before_a_drop_is_dropped(void)
{
    begin_lease(0);
    put(10, 10);
    struct seqc_blocks_stamp stamp = seqc_blocks_begin(&blocks);
    seqc_blocks_drop(&blocks);
    CHECK(!give() && !blocks.asked);
    seqc_blocks_put(&blocks, (struct seqc_block){20, 10}, &stamp);
    CHECK(!give());
    seqc_blocks_fail(&blocks, &stamp);
    put(30, 10);
    CHECK(give() == 21);
}

/* Two refills at once: the one that began first comes last. */
static void
block_that_was_overtaken_is_dropped(void)
{
    begin_lease(0);
    put(10, 10);
    struct seqc_blocks_stamp first = seqc_blocks_begin(&blocks);
    struct seqc_blocks_stamp second = seqc_blocks_begin(&blocks);
    seqc_blocks_put(&blocks, (struct seqc_block){30, 10}, &second);
    seqc_blocks_put(&blocks, (struct seqc_block){20, 10}, &first);
    CHECK(take(10) == 10);
    CHECK(seqc_blocks_step(&blocks) == SEQC_BLOCKS_GIVE);
    CHECK(give() == 21 && take(9) == 30 && !give());
}

static void
counter_that_went_back_is_followed(void)
{
    begin_lease(0);
    put(1000, 10);
    CHECK(take(10) == 1000);
    put(5, 5);
    CHECK(give() == 1);
    put(10, 5);
    CHECK(take(4) == 5 && give() == 6);
}

static void
closed_lease_stays_closed(void)
{
    begin_lease(0);
    put(10, 10);
    struct seqc_blocks_stamp stamp = seqc_blocks_begin(&blocks);
    seqc_blocks_close(&blocks);
    CHECK(!give() && !take(1));
    seqc_blocks_put(&blocks, (struct seqc_block){20, 10}, &stamp);
    put(30, 10);
    CHECK(!give() && !take(1) && !blocks.now.left);
    seqc_blocks_fail(&blocks, &stamp);
    CHECK(!give());
}

int
main(void)
{
    RUN(new_lease_has_nothing);
    RUN(refill_is_asked_once_and_at_its_point);
    RUN(adjacent_blocks_are_one);
    RUN(last_and_lowest_numbers_are_exact);
    RUN(take_skips_what_does_not_suffice);
    RUN(take_tells_when_more_is_needed_but_once);
    RUN(failed_refill_is_asked_again_at_half_of_the_rest);
    RUN(block_of_before_a_drop_is_dropped);
    RUN(block_that_was_overtaken_is_dropped);
    RUN(counter_that_went_back_is_followed);
    RUN(closed_lease_stays_closed);
    return ut_finish();
}
