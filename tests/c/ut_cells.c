/* SPDX-License-Identifier: MIT */
#include "core/cells.h"

#include <string.h>

#include "core/memory.h"

#include "ut_check.h"

static seqc_cells *cells;

static seqc_status
increase_as(const char *key, int64_t by, int64_t *out_seq, bool *in_line)
{
    struct seqc_cells_ask ask = {key, strlen(key), by, in_line, false};
    bool low;
    return seqc_cells_increase(cells, &ask, out_seq, &low);
}

/* The number, or what it was refused with, below zero. */
static int64_t
increase(const char *key, int64_t by)
{
    int64_t seq = 0;
    seqc_status status = increase_as(key, by, &seq, NULL);
    return status ? -(int64_t)status : seq;
}

static int64_t
raise_to(const char *key, int64_t to)
{
    struct seqc_cells_ask ask = {key, strlen(key), to, NULL, false};
    bool low;
    int64_t seq = 0;
    seqc_status status = seqc_cells_raise(cells, &ask, &seq, &low);
    return status ? -(int64_t)status : seq;
}

static int64_t
get(const char *key)
{
    struct seqc_cells_ask ask = {key, strlen(key), 0, NULL, false};
    int64_t seq = 0;
    seqc_status status = seqc_cells_get(cells, &ask, &seq);
    return status ? -(int64_t)status : seq;
}

static void
grant(const char *key, int64_t base, int64_t ceiling)
{
    struct seqc_cells_grant made = {base, ceiling, ceiling - 5};
    CHECK(!seqc_cells_grant(cells, key, strlen(key), &made));
}

static void
anew(void)
{
    seqc_cells_unref(cells);
    cells = seqc_cells_new();
    CHECK(cells);
}

#define REFUSED (-(int64_t)SEQC_CEILING)

static void
nothing_is_given_without_a_grant(void)
{
    anew();
    CHECK(increase("a", 1) == REFUSED);
    CHECK(get("a") == REFUSED);
    CHECK(raise_to("a", 5) == REFUSED);
    CHECK(raise_to("a", 0) == REFUSED);
}

static void
numbers_end_at_the_ceiling_and_go_on_after_it_rose(void)
{
    anew();
    grant("a", 10, 12);
    CHECK(get("a") == 10);
    CHECK(increase("a", 1) == 11);
    CHECK(increase("a", 2) == REFUSED);
    CHECK(increase("a", 1) == 12);
    CHECK(increase("a", 1) == REFUSED);
    CHECK(get("a") == 12);
    grant("a", 0, 20);
    CHECK(increase("a", 8) == 20);
    CHECK(increase("a", 1) == REFUSED);
}

static void
a_ceiling_never_comes_down_and_a_number_never_goes_back(void)
{
    anew();
    grant("a", 10, 20);
    grant("a", 3, 15);
    CHECK(increase("a", 10) == 20);
    grant("a", 100, 110);
    CHECK(increase("a", 1) == 101);
}

static void
a_raise_stays_below_the_ceiling(void)
{
    anew();
    grant("a", 0, 10);
    CHECK(raise_to("a", 7) == 7);
    CHECK(raise_to("a", 3) == 7);
    CHECK(raise_to("a", 10) == 10);
    CHECK(raise_to("a", 11) == REFUSED);
    CHECK(raise_to("a", 0) == 10);
}

static void
the_last_number_is_that_of_durable_mode(void)
{
    anew();
    grant("a", SEQC_CELLS_LAST - 1, SEQC_CELLS_LAST);
    CHECK(increase("a", 2) == -(int64_t)SEQC_OVERFLOW);
    CHECK(increase("a", INT64_MAX) == -(int64_t)SEQC_OVERFLOW);
    CHECK(increase("a", 1) == SEQC_CELLS_LAST);
    CHECK(increase("a", 1) == -(int64_t)SEQC_OVERFLOW);
    CHECK(raise_to("a", SEQC_CELLS_LAST) == SEQC_CELLS_LAST);
    CHECK(raise_to("a", SEQC_CELLS_LAST + 1) == -(int64_t)SEQC_OVERFLOW);
    CHECK(raise_to("b", INT64_MAX) == -(int64_t)SEQC_OVERFLOW);
}

static void
who_was_refused_comes_first(void)
{
    bool first = false, second = false;
    int64_t seq;

    anew();
    grant("a", 0, 5);
    CHECK(increase_as("a", 10, &seq, &first) == SEQC_CEILING && first);
    CHECK(increase("a", 1) == REFUSED); /* there is room, but others wait */
    CHECK(get("a") == REFUSED);
    CHECK(increase_as("a", 1, &seq, &second) == SEQC_CEILING && second);
    grant("a", 0, 20);
    CHECK(increase("a", 1) == REFUSED);
    CHECK(!increase_as("a", 10, &seq, &first) && seq == 10 && !first);
    CHECK(increase("a", 1) == REFUSED);
    CHECK(!increase_as("a", 1, &seq, &second) && seq == 11 && !second);
    CHECK(increase("a", 1) == 12);
}

static void
a_number_with_a_record_goes_before_the_line(void)
{
    struct seqc_cells_ask ask = {"a", 1, 2, NULL, true};
    bool in_line = false;
    int64_t seq;
    bool low;

    anew();
    grant("a", 0, 5);
    CHECK(increase_as("a", 10, &seq, &in_line) == SEQC_CEILING && in_line);
    CHECK(increase("a", 1) == REFUSED);
    CHECK(!seqc_cells_increase(cells, &ask, &seq, &low) && seq == 2);
    ask.amount = 4;
    CHECK(seqc_cells_increase(cells, &ask, &seq, &low) == SEQC_CEILING);
}

static void
who_leaves_the_line_lets_the_others_go_on(void)
{
    bool in_line = false;
    int64_t seq;

    anew();
    CHECK(increase_as("a", 1, &seq, &in_line) == SEQC_CEILING && in_line);
    CHECK(increase_as("a", 1, &seq, &in_line) == SEQC_CEILING && in_line);
    grant("a", 0, 5);
    CHECK(increase("a", 1) == REFUSED);
    seqc_cells_leave(cells, "a", 1);
    CHECK(increase("a", 1) == 1);
    seqc_cells_leave(cells, "a", 1);
    seqc_cells_leave(cells, "nobody", 6);
    CHECK(increase("a", 1) == 2);
}

static void
a_line_ends_with_an_overflow_too(void)
{
    bool in_line = false;
    int64_t seq;

    anew();
    CHECK(increase_as("a", 9, &seq, &in_line) == SEQC_CEILING && in_line);
    grant("a", SEQC_CELLS_LAST - 3, SEQC_CELLS_LAST);
    CHECK(increase_as("a", 9, &seq, &in_line) == SEQC_OVERFLOW && !in_line);
    CHECK(increase("a", 3) == SEQC_CELLS_LAST);
}

static void
low_is_told_at_the_mark_and_seldom_after_it(void)
{
    struct seqc_cells_ask ask = {"a", 1, 1, NULL, false};
    struct seqc_cells_grant made = {0, 1000, 500};
    int64_t seq;
    int told = 0;

    anew();
    CHECK(!seqc_cells_grant(cells, "a", 1, &made));
    for (int i = 1; i <= 1000; i++) {
        bool low = true;
        CHECK(!seqc_cells_increase(cells, &ask, &seq, &low));
        CHECK(seq == i);
        CHECK(!low || seq >= 500);
        told += low;
        CHECK(seq < 500 || told);
    }
    CHECK(told < 15);
}

static void
what_is_sealed_gives_nothing_and_keeps_its_numbers(void)
{
    int64_t seq, ceiling;
    bool in_line = false;

    anew();
    grant("a", 0, 10);
    CHECK(increase("a", 4) == 4);
    seqc_cells_seal(cells);
    CHECK(increase("a", 1) == REFUSED);
    CHECK(raise_to("a", 5) == REFUSED);
    CHECK(get("a") == REFUSED);
    CHECK(increase_as("a", 1, &seq, &in_line) == SEQC_CEILING && !in_line);
    seqc_cells_set_lease(cells, SEQC_CELLS_FOR_EVER);
    CHECK(increase("a", 1) == REFUSED);
    CHECK(seqc_cells_look(cells, "a", 1, &seq, &ceiling));
    CHECK(seq == 4 && ceiling == 10);
}

static void
the_child_of_a_fork_is_sealed(void)
{
    anew();
    grant("a", 0, 10);
    seqc_cells_after_fork(cells);
    CHECK(increase("a", 1) == REFUSED);
    CHECK(seqc_cells_lease(cells) == SEQC_CELLS_SEALED);
}

static void
what_is_forgotten_needs_a_grant_again(void)
{
    int64_t seq, ceiling;

    anew();
    grant("a", 0, 10);
    CHECK(increase("a", 4) == 4);
    seqc_cells_forget(cells);
    CHECK(increase("a", 1) == REFUSED);
    CHECK(!seqc_cells_look(cells, "a", 1, &seq, &ceiling));
    grant("a", 2, 5); /* below what this process gave: never lower */
    CHECK(get("a") == 4);
    grant("b", 20, 30);
    CHECK(increase("b", 1) == 21);
}

static void
pages_hold_every_cell(void)
{
    struct seqc_store_item item;
    struct seqc_buf page;
    uint64_t cursor = 0;
    char key[24];
    int found = 0;
    int64_t sum = 0;

    anew();
    for (int i = 1; i <= 3000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        grant(key, i, i);
    }
    seqc_buf_init(&page);
    do {
        CHECK(!seqc_cells_page(cells, &cursor, &page, 100));
        while (seqc_store_page_next(&page, &item)) {
            found++;
            sum += item.seq;
        }
    } while (cursor);
    seqc_buf_fini(&page);
    CHECK(found == 3000 && sum == 3000 * 3001 / 2);
}

static void
out_of_memory_changes_nothing(void)
{
    struct seqc_cells_grant made = {0, 9, 5};
    bool in_line = false;
    int64_t seq;
    long fails = 0;

    anew();
    ut_fail_at(1);
    CHECK(!seqc_cells_new());
    ut_fail_at(0);
    do {
        ut_fail_at(++fails);
    } while (increase_as("a", 1, &seq, &in_line) == SEQC_NOMEM && !in_line);
    ut_fail_at(0);
    CHECK(fails > 1 && in_line);
    fails = 0;
    do {
        ut_fail_at(++fails);
    } while (seqc_cells_grant(cells, "b", 1, &made) == SEQC_NOMEM);
    ut_fail_at(0);
    CHECK(fails > 1);
    CHECK(increase("b", 9) == 9);
}

int
main(void)
{
    ut_watch();
    RUN(nothing_is_given_without_a_grant);
    RUN(numbers_end_at_the_ceiling_and_go_on_after_it_rose);
    RUN(a_ceiling_never_comes_down_and_a_number_never_goes_back);
    RUN(a_raise_stays_below_the_ceiling);
    RUN(the_last_number_is_that_of_durable_mode);
    RUN(who_was_refused_comes_first);
    RUN(a_number_with_a_record_goes_before_the_line);
    RUN(who_leaves_the_line_lets_the_others_go_on);
    RUN(a_line_ends_with_an_overflow_too);
    RUN(low_is_told_at_the_mark_and_seldom_after_it);
    RUN(what_is_sealed_gives_nothing_and_keeps_its_numbers);
    RUN(the_child_of_a_fork_is_sealed);
    RUN(what_is_forgotten_needs_a_grant_again);
    RUN(pages_hold_every_cell);
    RUN(out_of_memory_changes_nothing);
    seqc_cells_unref(cells);
    CHECK(ut_live == 0);
    return ut_finish();
}
