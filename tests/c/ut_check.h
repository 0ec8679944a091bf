/* SPDX-License-Identifier: MIT */
/* What the unit programs share: checks that stay on, and an allocator that
 * counts, and fails the n-th allocation. */
#ifndef SEQC_UT_CHECK_H
#define SEQC_UT_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"

#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr,                                                  \
                    "%s:%d: not so: %s\n",                                   \
                    __FILE__,                                                \
                    __LINE__,                                                \
                    #condition);                                             \
            abort();                                                         \
        }                                                                    \
    } while (0)

static int ut_passed;

#define RUN(test)                                                            \
    do {                                                                     \
        test();                                                              \
        ut_passed++;                                                         \
    } while (0)

static inline int
ut_finish(void)
{
    printf("%d passed, 0 failed\n", ut_passed);
    return 0;
}

static long ut_allocations; /* since ut_fail_at or ut_watch */
static long ut_first_failure; /* the one that fails; 0: none */
static long ut_live;        /* blocks not yet freed */
static size_t ut_largest;   /* bytes of the largest block since */

static inline int
ut_may_allocate(size_t size)
{
    ut_largest = size > ut_largest ? size : ut_largest;
    return ++ut_allocations != ut_first_failure;
}

static inline void *
ut_malloc(size_t size)
{
    void *block = ut_may_allocate(size) ? malloc(size) : NULL;
    ut_live += block != NULL;
    return block;
}

static inline void *
ut_calloc(size_t count, size_t size)
{
    void *block = ut_may_allocate(count * size) ? calloc(count, size) : NULL;
    ut_live += block != NULL;
    return block;
}

static inline void *
ut_realloc(void *block, size_t size)
{
    void *moved = ut_may_allocate(size) ? realloc(block, size) : NULL;
    ut_live += moved != NULL && block == NULL;
    return moved;
}

static inline void
ut_free(void *block)
{
    ut_live -= block != NULL;
    free(block);
}

/* Allocation `n` from here on, counted from 1, fails; 0: none does. */
static inline void
ut_fail_at(long n)
{
    ut_allocations = 0;
    ut_largest = 0;
    ut_first_failure = n;
}

/* Whether the allocation that was to fail has come. */
static inline int
ut_has_failed(void)
{
    return ut_first_failure && ut_allocations >= ut_first_failure;
}

/* To be called first, by programs of one thread. */
static inline void
ut_watch(void)
{
    static const struct seqc_allocator watched = {
        ut_malloc,
        ut_calloc,
        ut_realloc,
        ut_free,
    };
    seqc_alloc_use(&watched);
    ut_fail_at(0);
}

/* A small generator of ours, so that a failure repeats. */
static inline unsigned
ut_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

#endif
