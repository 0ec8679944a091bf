/* SPDX-License-Identifier: MIT */
/* Growable bytes with a read position: written at the end, consumed from the
 * front. */
#ifndef SEQC_BUF_H
#define SEQC_BUF_H

#include "core/status.h"

struct seqc_buf {
    char *data;   /* owned */
    size_t start; /* first byte that is not consumed */
    size_t end;   /* one past the last byte */
    size_t size;  /* bytes allocated */
};

void seqc_buf_init(struct seqc_buf *buf);
void seqc_buf_fini(struct seqc_buf *buf);

/* Makes sure that `room` more bytes fit and returns where they go (borrowed
 * until the next call on the object); NULL when out of memory. */
char *seqc_buf_reserve(struct seqc_buf *buf, size_t room);

static inline size_t
seqc_buf_len(const struct seqc_buf *buf)
{
    return buf->end - buf->start;
}

void seqc_buf_consume(struct seqc_buf *buf, size_t len_bytes);
/* Drops the last `len_bytes` bytes. */
void seqc_buf_truncate(struct seqc_buf *buf, size_t len_bytes);
void seqc_buf_clear(struct seqc_buf *buf);

#endif
