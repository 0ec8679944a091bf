/* SPDX-License-Identifier: MIT */
/* What send and recv returned, told to a link; the rest between two connects.
 * Shared by the drivers, which make the system calls. */
#ifndef SEQC_SOCKET_H
#define SEQC_SOCKET_H

#include <sys/types.h>

#include "core/link.h"

/* Bytes for one recv. */
#define SEQC_INPUT_BYTES 65536

/* Why a connection must be given up: arguments of seqc_link_fail. */
struct seqc_loss {
    seqc_status cause;
    char why[200];
};

/* After send(2) of what seqc_link_output gave: OK: all of it went; PENDING:
 * the socket is full, wait until it takes more (the link is rewound); another
 * status: the connection is lost, see `out_loss`. */
seqc_status seqc_socket_sent(struct seqc_link *link,
                             size_t len,
                             ssize_t sent,
                             int error,
                             int64_t now_ns,
                             struct seqc_loss *out_loss) SEQC_CHECK;

/* After recv(2) into `data`: OK: bytes came and were fed; PENDING: nothing
 * was there; another status: the connection is lost, see `out_loss`. */
seqc_status seqc_socket_received(struct seqc_link *link,
                                 const char *data,
                                 ssize_t got,
                                 int error,
                                 int64_t now_ns,
                                 struct seqc_loss *out_loss) SEQC_CHECK;

/* Rest between connects: 10 ms, then twice as long each time up to 1 s, half
 * of it by chance.  A connection that takes commands and is lost without an
 * answer counts as a failure too, or a server that always hangs up would be
 * asked as fast as it can.  All zero bytes: no rest. */
struct seqc_backoff {
    int failures;     /* in a row */
    int64_t retry_ns; /* no connect before */
};

void seqc_backoff_failed(struct seqc_backoff *backoff, int64_t now_ns);
/* The connection of `link` is to be given up; before seqc_link_fail. */
void seqc_backoff_lost(struct seqc_backoff *backoff,
                       const struct seqc_link *link,
                       int64_t now_ns);

#endif
