/* SPDX-License-Identifier: MIT */
#include "core/alloc.h"

#include <hiredis/alloc.h>
#include <stdlib.h>
#include <string.h>

static const struct seqc_allocator libc_allocator = {
    malloc,
    calloc,
    realloc,
    free,
};

static struct seqc_allocator current = {malloc, calloc, realloc, free};

static char *
duplicate_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = current.malloc_fn(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

void
seqc_alloc_use(const struct seqc_allocator *allocator)
{
    current = allocator ? *allocator : libc_allocator;
    hiredisAllocFuncs funcs = {
        .mallocFn = current.malloc_fn,
        .callocFn = current.calloc_fn,
        .reallocFn = current.realloc_fn,
        .strdupFn = duplicate_text,
        .freeFn = current.free_fn,
    };
    hiredisSetAllocators(&funcs);
}

void *
seqc_malloc(size_t size)
{
    return current.malloc_fn(size);
}

void *
seqc_calloc(size_t count, size_t size)
{
    return current.calloc_fn(count, size);
}

void *
seqc_realloc(void *block, size_t size)
{
    return current.realloc_fn(block, size);
}

void
seqc_free(void *block)
{
    current.free_fn(block);
}
