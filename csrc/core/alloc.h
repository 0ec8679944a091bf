/* SPDX-License-Identifier: MIT */
/* The allocator seam: every allocation of the core goes through these four
 * pointers, so that a test can fail the n-th one.  hiredis is given the same
 * ones when a test installs its own. */
#ifndef SEQC_ALLOC_H
#define SEQC_ALLOC_H

#include <stddef.h>

struct seqc_allocator {
    void *(*malloc_fn)(size_t size);
    void *(*calloc_fn)(size_t count, size_t size);
    void *(*realloc_fn)(void *block, size_t size);
    void (*free_fn)(void *block);
};

/* Not thread-safe: call before anything was allocated.  NULL: libc's. */
void seqc_alloc_use(const struct seqc_allocator *allocator);

/* As malloc, calloc, realloc and free; the caller owns the result. */
void *seqc_malloc(size_t size);
void *seqc_calloc(size_t count, size_t size);
void *seqc_realloc(void *block, size_t size);
void seqc_free(void *block);

#endif
