/* SPDX-License-Identifier: MIT */
/* A link, its socket and the mutex around both: the system calls of a
 * blocking driver.
 *
 * One thread at a time, the leader of group.h, may exchange bytes; others
 * submit, abandon and close meanwhile.  Every function but _init and _fini
 * wants the mutex held; seqc_wire_exchange lets go of it during system
 * calls. */
#ifndef SEQC_WIRE_H
#define SEQC_WIRE_H

#include <pthread.h>

#include "core/socket.h"

struct seqc_wire {
    pthread_mutex_t mutex; /* rank: before the one of seqc_regress */
    struct seqc_link link;
    struct seqc_backoff backoff;
    char *input; /* owned, the leader's */
    int fd;      /* owned; -1 while there is no connection */
    bool closed;
    bool is_busy;     /* the leader is in a system call on fd */
    bool is_sending;  /* which is send */
    bool wants_write; /* the socket was full */
};

seqc_status seqc_wire_init(struct seqc_wire *wire,
                           struct seqc_link_options options,
                           struct seqc_regress *regress,
                           struct seqc_stats *stats) SEQC_CHECK;
void seqc_wire_fini(struct seqc_wire *wire);

/* The connected stream socket `fd` is owned by the wire from here on.  False:
 * it is not taken, and closed. */
bool seqc_wire_connect(struct seqc_wire *wire, int fd);

/* Writes what is queued and reads, at most until `until_ns`; true if a signal
 * came.  The link is up; it may be down, or closed, afterwards. */
bool seqc_wire_exchange(struct seqc_wire *wire, int64_t until_ns);

/* Ends everything with SEQC_CLOSED.  Idempotent.  While the leader is in a
 * system call the descriptor stays, for seqc_wire_drop_socket. */
void seqc_wire_close(struct seqc_wire *wire);
void seqc_wire_drop_socket(struct seqc_wire *wire);

/* In a forked child, see seqc_link_after_fork; makes the mutex anew. */
void seqc_wire_after_fork(struct seqc_wire *wire, uint64_t thread);

#endif
