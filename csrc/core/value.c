/* SPDX-License-Identifier: MIT */
/* Values of replies: see reply.h. */
#include "core/reply.h"

#include "core/alloc.h"

void
seqc_value_free(struct seqc_value *value)
{
    if (!value) {
        return;
    }
    if (value->items) { /* depth is capped at SEQC_REPLY_DEPTH_MAX */
        for (size_t i = 0; i < value->len; i++) {
            seqc_value_free(value->items[i]);
        }
        seqc_free(value->items);
    }
    seqc_free(value->text);
    seqc_free(value);
}
