/* SPDX-License-Identifier: MIT */
#include "core/number.h"

/* Digits that fit into an int64_t whatever they are. */
#define PLAIN_DIGITS 18

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

/* Digits and the end of the line; returns the first byte behind it. */
static const char *
read_line(const char *at, const char *end, int64_t *out_value)
{
    const char *first = at;
    const char *last = end - at > PLAIN_DIGITS ? at + PLAIN_DIGITS : end;
    int64_t value = 0;

    for (; at < last; at++) {
        unsigned digit = (unsigned char)*at - (unsigned)'0';
        if (digit > 9) {
            break;
        }
        value = value * 10 + digit;
    }
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n' || at == first ||
        (*first == '0' && at - first > 1)) {
        return NULL;
    }
    *out_value = value;
    return at + 2;
}

const char *
seqc_read_number(const char *at,
                 const char *end,
                 bool *out_is_string,
                 int64_t *out_value)
{
    const char *text = at + 1;
    const char *next = NULL;
    int64_t len;

    if (at < end && *at == ':') {
        next = read_line(text, end, out_value);
    } else if (at < end && *at == '$') {
        text = read_line(text, end, &len);
        next = text ? read_line(text, end, out_value) : NULL;
        next = next && next - text == len + 2 ? next : NULL;
    }
    *out_is_string = next && *at == '$';
    return next;
}

const char *
seqc_read_numbers(const char *at,
                  const char *end,
                  size_t count,
                  int64_t *out_values)
{
    int64_t len;

    if (at >= end || *at != '*') {
        return NULL;
    }
    at = read_line(at + 1, end, &len);
    if (!at || (size_t)len != count) {
        return NULL;
    }
    for (size_t i = 0; at && i < count; i++) {
        at = at < end && *at == ':' ? read_line(at + 1, end, &out_values[i])
                                    : NULL;
    }
    return at;
}
