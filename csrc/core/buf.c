/* SPDX-License-Identifier: MIT */
#include "core/buf.h"

#include <string.h>

#include "core/alloc.h"

void
seqc_buf_init(struct seqc_buf *buf)
{
    *buf = (struct seqc_buf){0};
}

void
seqc_buf_fini(struct seqc_buf *buf)
{
    seqc_free(buf->data);
    seqc_buf_init(buf);
}

char *
seqc_buf_reserve(struct seqc_buf *buf, size_t room)
{
    size_t len = seqc_buf_len(buf);

    if (buf->size - buf->end >= room) {
        return buf->data + buf->end;
    }
    if (buf->start && buf->size - len >= room) {
        memmove(buf->data, buf->data + buf->start, len);
        buf->start = 0;
        buf->end = len;
        return buf->data + buf->end;
    }
    size_t size = (buf->end + room) * 2;
    char *data = seqc_realloc(buf->data, size);
    if (!data) {
        return NULL;
    }
    buf->data = data;
    buf->size = size;
    return data + buf->end;
}

void
seqc_buf_consume(struct seqc_buf *buf, size_t len_bytes)
{
    buf->start += len_bytes;
    if (buf->start == buf->end) {
        buf->start = buf->end = 0;
    }
}

void
seqc_buf_truncate(struct seqc_buf *buf, size_t len_bytes)
{
    buf->end -= len_bytes;
    if (buf->start == buf->end) {
        buf->start = buf->end = 0;
    }
}

void
seqc_buf_clear(struct seqc_buf *buf)
{
    buf->start = buf->end = 0;
}
