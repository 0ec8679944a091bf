/* SPDX-License-Identifier: MIT */
/* A thread sleeps on a word until another changes it: futex(2) on Linux, one
 * mutex and condition elsewhere. */
#ifndef SEQC_PARK_H
#define SEQC_PARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Monotonic, in nanoseconds. */
int64_t seqc_now_ns(void);
/* The clock of leases: goes on while the machine is suspended. */
int64_t seqc_lease_now_ns(void);

/* Sleeps while `*word` is `value`, at most until `until_ns` (SEQC_TIME_NEVER:
 * no end).  Returns early for no reason or on a signal: look again. */
void seqc_park(_Atomic uint32_t *word, uint32_t value, int64_t until_ns);
/* Wakes whoever sleeps on `word`; the word may be gone by then. */
void seqc_unpark(_Atomic uint32_t *word);

#endif
