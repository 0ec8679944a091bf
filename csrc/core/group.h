/* SPDX-License-Identifier: MIT */
/* The blocking driver: group commit on one connection, any number of threads.
 *
 * A thread puts its call into the queue of the shared link.  If nobody leads,
 * it leads: it writes the whole queue, reads until its own answer is there,
 * wakes the threads whose answers came with it, and hands the lead to one
 * that still waits.  The others sleep on their own word with their own
 * deadline.  There is no thread between a caller and the socket.
 *
 * Every function may be called from any thread, without the GIL.  The mutex
 * is a leaf but for the one of seqc_regress; it is never held in a system
 * call that waits.
 *
 * A thread that returns from seqc_group_wait before its call is done may make
 * another call before it waits again (in a signal handler, say): that one
 * leads in its stead. */
#ifndef SEQC_GROUP_H
#define SEQC_GROUP_H

#include "core/link.h"

struct seqc_group;

enum seqc_turn {
    SEQC_TURN_DONE,    /* every request of the call has its outcome */
    SEQC_TURN_SIGNAL,  /* look for signals, then wait again */
    SEQC_TURN_CONNECT, /* you lead and there is no connection: make one, then
                          seqc_group_connected or _refused, and wait again */
};

/* The caller owns it; NULL when out of memory.  `regress` is borrowed. */
struct seqc_group *seqc_group_new(struct seqc_link_options options,
                                  struct seqc_regress *regress);
/* Durable calls go by `belief`, see durable.h.  Before the first of them. */
void seqc_group_make_durable(struct seqc_group *group,
                             struct seqc_belief *belief);
/* No call may be under way; NULL is fine. */
void seqc_group_free(struct seqc_group *group);

/* Queues the call; SEQC_CLOSED once the group is closed. */
seqc_status seqc_group_submit(struct seqc_group *group,
                              struct seqc_call *call) SEQC_CHECK;

/* Leads or sleeps until the call is done or its deadline passed (then it is
 * abandoned first).  `signals`: return SEQC_TURN_SIGNAL when a signal came,
 * and at `check_ns` at the latest. */
enum seqc_turn seqc_group_wait(struct seqc_group *group,
                               struct seqc_call *call,
                               bool signals,
                               int64_t check_ns);

/* The caller gives up: see seqc_link_abandon. */
void seqc_group_abandon(struct seqc_group *group,
                        struct seqc_call *call,
                        seqc_status status);

/* After SEQC_TURN_CONNECT: a descriptor of a connected stream socket, owned
 * by the group from here on. */
void seqc_group_connected(struct seqc_group *group, int fd);
/* No connection.  SEQC_CONNECT: somebody tries again after a while; another
 * status (the credentials were refused) ends every call that waits. */
void seqc_group_refused(struct seqc_group *group,
                        seqc_status status,
                        const char *why);

/* Answers every waiting call with SEQC_CLOSED.  Idempotent. */
void seqc_group_close(struct seqc_group *group);

/* Around fork(), in the forking thread: nobody changes the group while the
 * copy is made.  The child drops the descriptor without a word to the peer
 * and the calls of threads that are not there. */
void seqc_group_before_fork(struct seqc_group *group);
void seqc_group_after_fork_parent(struct seqc_group *group);
void seqc_group_after_fork_child(struct seqc_group *group);

/* Written to while it is read: see stats.h. */
const struct seqc_stats *seqc_group_stats(const struct seqc_group *group);
size_t seqc_group_in_flight(struct seqc_group *group);
bool seqc_group_is_up(struct seqc_group *group);

#endif
