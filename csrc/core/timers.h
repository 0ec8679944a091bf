/* SPDX-License-Identifier: MIT */
/* Deadlines of the calls in flight, for a driver with one timer.
 *
 * Calls with the default timeout come in the order of their deadlines and
 * are linked in a list; overrides go into a small heap.  Single-threaded.
 * No references are held: remove a call before giving it up (the flag
 * `timed` of a call tells that it is in here).  All zero bytes is the initial
 * state. */
#ifndef SEQC_TIMERS_H
#define SEQC_TIMERS_H

#include <stdint.h>

#include "core/request.h"
#include "core/status.h"

struct seqc_timers {
    struct seqc_call *head; /* borrowed; the earliest of the list */
    struct seqc_call *tail;
    struct seqc_call **heap; /* owned; entries 1 to heap_count, borrowed */
    uint32_t heap_count;
    uint32_t heap_size; /* entries that fit, the unused one at 0 included */
};

void seqc_timers_init(struct seqc_timers *timers);
/* Takes out what is still in, then frees. */
void seqc_timers_fini(struct seqc_timers *timers);

/* By call->deadline_ns, which stays as it is while the call is in; a call
 * without a deadline is left out.  is_default: its timeout is the default.
 * Only an override can end in SEQC_NOMEM; the call is then not in. */
SEQC_CHECK seqc_status seqc_timers_add(struct seqc_timers *timers,
                                       struct seqc_call *call,
                                       bool is_default);

/* Fine for a call that is not in.  O(1), O(log n) for an override. */
void seqc_timers_remove(struct seqc_timers *timers, struct seqc_call *call);

/* SEQC_TIME_NEVER when there is none. */
int64_t seqc_timers_earliest(const struct seqc_timers *timers);

/* Takes out the earliest call whose deadline is not after `now_ns` and
 * returns it (borrowed), else NULL. */
struct seqc_call *seqc_timers_expired(struct seqc_timers *timers,
                                      int64_t now_ns);

#endif
