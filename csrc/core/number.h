/* SPDX-License-Identifier: MIT */
/* Decimal numbers of 64 bits, as Redis writes them. */
#ifndef SEQC_NUMBER_H
#define SEQC_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All of the text, strictly: no space, no plus, no leading zero. */
bool seqc_parse_integer(const char *text, size_t len, int64_t *out_value);

/* A whole reply that is one plain number of at most 18 digits: an integer, or
 * a string.  Returns the first byte behind it; NULL if that is not what is
 * there, or not whole. */
const char *seqc_read_number(const char *at,
                             const char *end,
                             bool *out_is_string,
                             int64_t *out_value);

/* A whole reply that is an array of `count` plain integers, at most 18 digits
 * each.  As seqc_read_number; `out_values` has room for all, and is written to
 * in any case. */
const char *seqc_read_numbers(const char *at,
                              const char *end,
                              size_t count,
                              int64_t *out_values);

#endif
