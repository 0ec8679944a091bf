/* SPDX-License-Identifier: MIT */
/* One connection as a state machine: calls in, bytes out, bytes in, finished
 * calls out.  No sockets, no clock, no lock: a driver (group.c for threads,
 * binding/loop.c for asyncio) moves the bytes, tells the time and guards it.
 *
 * A link outlives its connections.  While it is down, calls queue.  A request
 * of which no byte was written moves to the next connection, one that was
 * sent is repeated only if its call is repeatable, and else ends as
 * SEQC_UNKNOWN. */
#ifndef SEQC_LINK_H
#define SEQC_LINK_H

#include "core/belief.h"
#include "core/buf.h"
#include "core/delay.h"
#include "core/regress.h"
#include "core/reply.h"
#include "core/request.h"
#include "core/stats.h"

struct seqc_link_options {
    size_t max_pending;  /* requests in flight, at most */
    int64_t patience_ns; /* silence that ends a link which owes answers */
    bool repeat;         /* retry="never" clears it */
};

struct seqc_link {
    struct seqc_link_options options;
    struct seqc_regress *regress; /* borrowed, NULL: off */
    struct seqc_belief *belief;   /* a reference, NULL: not durable */
    struct seqc_lease lease;      /* for one output, see durable.h */
    struct seqc_stats *stats;     /* borrowed */
    struct seqc_replies replies;
    struct seqc_buf out; /* encoded, not yet written */
    struct seqc_list unsent;
    struct seqc_list sent; /* in the order of the stream */
    struct seqc_delays delays;
    size_t in_flight;      /* elements in `sent` */
    uint64_t connection;   /* number of the connection, from 1 */
    uint64_t encoded;      /* stream offset of the next encoded byte */
    uint64_t written;      /* stream offset of the next written byte */
    int64_t now_ns;        /* as last told */
    int64_t owed_since_ns; /* last progress while answers are owed */
    bool up;
    bool has_answered; /* the connection: bytes came */
    uint8_t scripts_known; /* bits of enum seqc_script */
    struct seqc_call *done_head; /* finished, not yet taken */
    struct seqc_call *done_tail;
};

seqc_status seqc_link_init(struct seqc_link *link,
                           struct seqc_link_options options,
                           struct seqc_regress *regress,
                           struct seqc_stats *stats) SEQC_CHECK;
/* Everything in the link must be finished (seqc_link_close) or forgotten. */
void seqc_link_fini(struct seqc_link *link);

/* Takes a reference of `call` until all its requests are answered. */
void seqc_link_submit(struct seqc_link *link, struct seqc_call *call);

/* A new connection is there. */
seqc_status seqc_link_up(struct seqc_link *link, int64_t now_ns) SEQC_CHECK;

/* The next bytes to write (borrowed until the next call on the link), none
 * when `*out_len` is 0.  Write them, tell how many went. */
seqc_status seqc_link_output(struct seqc_link *link,
                             const char **out_data,
                             size_t *out_len) SEQC_CHECK;
void seqc_link_wrote(struct seqc_link *link, size_t len, int64_t now_ns);

/* The socket takes no more: requests of which no byte was written are unsent
 * again, so that they can be withdrawn. */
void seqc_link_rewind(struct seqc_link *link);

/* What is encoded may be on its way: nobody can tell what was written. */
void seqc_link_assume_written(struct seqc_link *link);

/* Bytes came.  A failure means that the connection must be given up with
 * seqc_link_fail; `seqc_link_why` tells why. */
seqc_status seqc_link_feed(struct seqc_link *link,
                           const char *data,
                           size_t len,
                           int64_t now_ns) SEQC_CHECK;
static inline const char *
seqc_link_why(const struct seqc_link *link)
{
    return link->replies.why ? link->replies.why : "";
}

/* The connection is lost.  `cause`: SEQC_CONNECT, SEQC_TIMEOUT (silence) or
 * SEQC_PROTOCOL (then reads are not repeated either). */
void
seqc_link_fail(struct seqc_link *link, seqc_status cause, const char *why);

/* No connection will come: ends what is unsent with `status`. */
void
seqc_link_refuse(struct seqc_link *link, seqc_status status, const char *why);

/* Ends everything with SEQC_CLOSED. */
void seqc_link_close(struct seqc_link *link);

/* The holder gives up: unsent requests are withdrawn and end with `status`
 * (certainly not executed), sent ones end as SEQC_UNKNOWN or, when reading,
 * `status`; their replies will be dropped.  Afterwards nothing of the call is
 * written by the link; the holder keeps its own reference. */
void seqc_link_abandon(struct seqc_link *link,
                       struct seqc_call *call,
                       seqc_status status);

/* What a call ends with whose deadline passes while it is unsent. */
seqc_status seqc_link_late_status(const struct seqc_link *link);

/* Moves requests that are due back into the queue. */
void seqc_link_tick(struct seqc_link *link, int64_t now_ns);
/* When seqc_link_tick or seqc_link_is_dead must be asked next. */
int64_t seqc_link_next_ns(const struct seqc_link *link);
bool seqc_link_is_dead(const struct seqc_link *link, int64_t now_ns);

/* The finished calls, linked by next_done; the caller owns one reference of
 * each. */
struct seqc_call *seqc_link_take_done(struct seqc_link *link);

/* In a forked child: drops the calls of other threads, which do not exist
 * here, with both references.  Those of `thread` stay as after a lost link. */
void seqc_link_after_fork(struct seqc_link *link, uint64_t thread);

#endif
