/* SPDX-License-Identifier: MIT */
/* Random programs for the fuzz target, a few seconds of them. */
#define FUZZ_ALONE
#include "fuzz_link.c"
