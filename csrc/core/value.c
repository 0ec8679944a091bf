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

bool
seqc_parse_integer(const char *text, size_t len, int64_t *out_value)
{
    bool negative = len > 0 && text[0] == '-';
    size_t i = negative;
    uint64_t value = 0;
    uint64_t limit = (uint64_t)INT64_MAX + negative;

    if (i == len || (text[i] == '0' && len > 1)) {
        return false;
    }
    for (; i < len; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        if (digit > 9 || value > (limit - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}
