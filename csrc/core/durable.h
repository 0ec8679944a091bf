/* SPDX-License-Identifier: MIT */
/* The calls of durable mode on a link: they travel as calls of the server
 * functions (seqcache/durable/functions.lua), what is queued in a row as one
 * where that is possible, and are answered by numbers or verdicts.
 *
 * A request that got a number is done.  Anything else ends it as
 * SEQC_VERDICT, or as other requests end: nothing is repeated here.  What
 * becomes of it then is for the state machine in Python. */
#ifndef SEQC_DURABLE_H
#define SEQC_DURABLE_H

#include "core/link.h"

/* Most requests that travel as one FCALL: the server does nothing else
 * meanwhile. */
#define SEQC_BATCH_MAX 512

/* Durable calls of the link are sent in the epoch of `belief`, of which it
 * keeps a reference.  Once, before the first of them. */
void seqc_durable_attach(struct seqc_link *link, struct seqc_belief *belief);

/* R6: for one output, durable calls may be sent if the belief holds at
 * `lease_now_ns`, of seqc_lease_now_ns, read after they were submitted.  Those
 * that may not end as SEQC_VERDICT without one. */
void seqc_durable_look(struct seqc_link *link, int64_t lease_now_ns);

/* Encodes the durable requests at the head of the queue. */
seqc_status seqc_durable_encode(struct seqc_link *link) SEQC_CHECK;

/* What comes for a durable request; as in reply.h.  `numbers` may be offered
 * whatever is at the head of the stream. */
bool seqc_durable_take_number(struct seqc_link *link,
                              enum seqc_value_type type,
                              int64_t value);
const char *
seqc_durable_take_numbers(void *context, const char *at, const char *end);
bool seqc_durable_take_scalar(struct seqc_link *link,
                              const struct seqc_scalar *scalar,
                              size_t count);
bool seqc_durable_take_tree_steal(struct seqc_link *link,
                                  struct seqc_value *value,
                                  size_t count);

/* Nothing is left that the state machine could do for a call that is done or
 * abandoned. */
bool seqc_durable_is_over(const struct seqc_call *call);

#endif
