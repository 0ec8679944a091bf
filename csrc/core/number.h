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

#endif
