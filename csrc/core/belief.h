/* SPDX-License-Identifier: MIT */
/* What a client of durable mode believes: which epoch its server is in, and
 * until when it may believe so (docs/durable.md).
 *
 * The state machine, seqcache/durable/epoch.py, sets it.  A link looks once
 * for each write; what it comes to know on the way is left here for the
 * machine: that the cache is in use, and that blocks will soon be used up.
 *
 * Any thread may call any function.  The mutex is a leaf. */
#ifndef SEQC_BELIEF_H
#define SEQC_BELIEF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reply.h"
#include "core/status.h"

/* The token of an epoch: one object for each that was believed in, as long as
 * the belief lives, so that requests may point to it. */
struct seqc_epoch {
    struct seqc_epoch *next;
    size_t len; /* bytes of the token */
    char token[];
};

/* What holds for one write. */
struct seqc_lease {
    const struct seqc_epoch *epoch; /* NULL: nothing may be sent */
    bool verify; /* the server is to look whether it is what it was (R9) */
};

/* A block that will soon be used up: the server's {low, n, gid, ceiling}. */
struct seqc_low {
    struct seqc_low *next;
    const struct seqc_epoch *epoch; /* borrowed from the belief */
    struct seqc_value *verdict;     /* owned */
    size_t key_len;
    char key[];
};

struct seqc_belief;

/* Believes in nothing.  The caller owns a reference; NULL without memory. */
struct seqc_belief *seqc_belief_new(void);
struct seqc_belief *seqc_belief_ref(struct seqc_belief *belief);
void seqc_belief_unref(struct seqc_belief *belief); /* NULL is fine */

/* From now on believes in the epoch `token` (`len` 0: in none) while the time
 * is below `until_ns`.  At `touch_ns` somebody is to be told that the cache is
 * in use.  Times are of seqc_lease_now_ns, SEQC_TIME_NEVER for no end: then
 * the epoch has no lease, and the server verifies.  NOMEM: believes in
 * nothing. */
seqc_status seqc_belief_set(struct seqc_belief *belief,
                            const char *token,
                            size_t len,
                            int64_t until_ns,
                            int64_t touch_ns) SEQC_CHECK;

/* What may be sent with at `now_ns`, read after the calls to be sent were
 * made (R6). */
struct seqc_lease seqc_belief_look(struct seqc_belief *belief, int64_t now_ns);

/* Leaves news of a low block for whoever comes next; owns the verdict.  Too
 * many are dropped: the server tells another caller. */
void seqc_belief_note_low_steal(struct seqc_belief *belief,
                                const struct seqc_epoch *epoch,
                                const char *key,
                                size_t key_len,
                                struct seqc_value *verdict);

/* Whether there is news; a relaxed load. */
bool seqc_belief_has_news(const struct seqc_belief *belief);
/* Takes the news: true if the cache's use is to be told, and the blocks that
 * run low, which the caller frees by seqc_low_free. */
bool seqc_belief_take_news(struct seqc_belief *belief,
                           struct seqc_low **out_lows);
void seqc_low_free(struct seqc_low *low);

/* In the forked child: a new mutex; believes in nothing. */
void seqc_belief_after_fork(struct seqc_belief *belief);

#endif
