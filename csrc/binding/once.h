/* SPDX-License-Identifier: MIT */
/* Requests with a token on counters of this process. */
#ifndef SEQCACHE_ONCE_H
#define SEQCACHE_ONCE_H

#include "core/once.h"
#include "core/request.h"

/* Runs an INCREASE_ONCE; `increase` gets the context.  The text of a conflict
 * is that of a server. */
seqc_status once_run(struct seqc_once *once,
                     seqc_status (*increase)(void *context, int64_t *out_seq),
                     void *context,
                     struct seqc_request *request);

#endif
