/* SPDX-License-Identifier: MIT */
/* The words of RESP, as a client writes them.  Each function writes to `out`,
 * which has room, and returns one past the last byte. */
#ifndef SEQC_PUT_H
#define SEQC_PUT_H

#include <stdint.h>
#include <string.h>

#define SEQC_INTEGER_CHARS 20 /* "-9223372036854775808" */

static inline char *
seqc_put_bytes(char *out, const char *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

#define SEQC_PUT_LITERAL(out, text) seqc_put_bytes(out, text, sizeof(text) - 1)

static inline char *
seqc_put_unsigned(char *out, uint64_t value)
{
    char digits[SEQC_INTEGER_CHARS];
    char *end = digits + sizeof digits;
    char *p = end;

    if (value < 100) { /* the length of nearly every key */
        if (value >= 10) {
            *out++ = (char)('0' + value / 10);
        }
        *out++ = (char)('0' + value % 10);
        return out;
    }
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return seqc_put_bytes(out, p, (size_t)(end - p));
}

/* "$<len>\r\n" */
static inline char *
seqc_put_length(char *out, size_t len)
{
    *out++ = '$';
    out = seqc_put_unsigned(out, len);
    return SEQC_PUT_LITERAL(out, "\r\n");
}

/* "$<len>\r\n<bytes>\r\n" */
static inline char *
seqc_put_string(char *out, const char *bytes, size_t len)
{
    out = seqc_put_length(out, len);
    out = seqc_put_bytes(out, bytes, len);
    return SEQC_PUT_LITERAL(out, "\r\n");
}

static inline char *
seqc_put_integer(char *out, int64_t value)
{
    char digits[SEQC_INTEGER_CHARS + 1];
    char *p = digits;

    if (value < 0) {
        *p++ = '-';
    }
    p = seqc_put_unsigned(p,
                          value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    /* 20 at most: else gcc thinks of lengths of 100 and more, and warns */
    return seqc_put_string(out, digits, (size_t)(p - digits) & 31);
}

#endif
