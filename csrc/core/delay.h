/* SPDX-License-Identifier: MIT */
/* Requests that the server did not run (LOADING, READONLY ...) and that wait
 * for another try: after 10 ms, then twice as long each time up to 0.64 s,
 * half of it by chance.  One list for each length of the wait, so that a
 * hundred thousand of them cost no more than one. */
#ifndef SEQC_DELAY_H
#define SEQC_DELAY_H

#include "core/request.h"

#define SEQC_DELAY_LENGTHS 7

/* All zero bytes: empty. */
struct seqc_delays {
    struct seqc_list lists[SEQC_DELAY_LENGTHS]; /* each by due_ns */
};

/* When the request's next try would be due. */
int64_t seqc_delays_due_ns(const struct seqc_delays *delays,
                           const struct seqc_request *request,
                           int64_t now_ns);
/* Counts the attempt; the request is in no list. */
void seqc_delays_add(struct seqc_delays *delays,
                     struct seqc_request *request,
                     int64_t due_ns);
void seqc_delays_remove(struct seqc_delays *delays,
                        struct seqc_request *request);

/* SEQC_TIME_NEVER when there is none. */
int64_t seqc_delays_earliest(const struct seqc_delays *delays);
/* Takes out the earliest whose due_ns is not after `now_ns`, else NULL. */
struct seqc_request *seqc_delays_expired(struct seqc_delays *delays,
                                         int64_t now_ns);

#endif
