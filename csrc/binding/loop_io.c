/* SPDX-License-Identifier: MIT */
/* The bytes of a loop's link: what is read, what is written, and when not. */
#define _GNU_SOURCE
#include "binding/loop_connect.h"

#include <errno.h>
#include <sys/socket.h>

#include "core/durable.h"
#include "core/park.h"

/* A connection that brought bytes in this turn, so long ago at most, is not
 * asked again whether it has ended. */
#define HEARD_NS 1000000

void
loop_lose(LoopLinkObject *self, seqc_status cause, const char *why)
{
    loop_drop_socket(self);
    seqc_backoff_lost(&self->backoff, &self->link, seqc_now_ns());
    seqc_link_fail(&self->link, cause, why);
}

void
loop_receive(LoopLinkObject *self)
{
    struct seqc_loss loss;
    seqc_status status;
    ssize_t got;
    int64_t now;
    int error;
    int fd = self->fd;

    Py_BEGIN_ALLOW_THREADS
    got = recv(fd, self->input, SEQC_INPUT_BYTES, MSG_DONTWAIT);
    error = errno;
    Py_END_ALLOW_THREADS
    if (self->fd != fd) {
        return;
    }
    now = seqc_now_ns();
    status =
        seqc_socket_received(&self->link, self->input, got, error, now, &loss);
    if (!status) {
        self->heard_ns = now;
    } else if (status != SEQC_PENDING) {
        loop_lose(self, loss.cause, loss.why);
    }
}

/* The loop may have been blocked for long: a call whose deadline is over must
 * not be written, and a connection that ended meanwhile neither. */
static void
look_before_writing(LoopLinkObject *self, int64_t now)
{
    if (seqc_timers_earliest(&self->timers) <= now) {
        loop_expire(self, now);
    } else if (!self->link.in_flight && now - self->heard_ns > HEARD_NS) {
        loop_receive(self);
    }
}

/* True: there is more to write and the socket takes it. */
static bool
send_some(LoopLinkObject *self)
{
    int64_t now = 0;
    struct seqc_loss loss;
    seqc_status status;
    const char *data;
    size_t len;
    ssize_t sent;
    int error;
    int fd;

    if (self->link.unsent.head) {
        now = seqc_now_ns();
        look_before_writing(self, now);
    }
    fd = self->fd;
    if (fd < 0) {
        return false;
    }
    if (self->link.belief) {
        seqc_durable_look(&self->link, seqc_lease_now_ns());
    }
    if (seqc_link_output(&self->link, &data, &len)) {
        loop_lose(self, SEQC_NOMEM, "out of memory");
        return false;
    }
    if (!len) {
        return false;
    }
    Py_BEGIN_ALLOW_THREADS
    sent = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    error = errno;
    Py_END_ALLOW_THREADS
    if (self->fd != fd) {
        return false;
    }
    status = seqc_socket_sent(
        &self->link, len, sent, error, now ? now : seqc_now_ns(), &loss);
    if (status == SEQC_PENDING) {
        self->wants_write = true;
    } else if (status) {
        loop_lose(self, loss.cause, loss.why);
    }
    return !status;
}

int
loop_flush(LoopLinkObject *self)
{
    bool wanted_write = self->wants_write;

    if (self->closed) {
        return 0;
    }
    self->wants_write = false;
    while (self->link.up && send_some(self)) {
    }
    if (self->link.up && wanted_write != self->wants_write &&
        loop_watch_writable(self)) {
        self->wants_write = wanted_write; /* the next flush tries again */
        return -1;
    }
    return !self->link.up && self->link.unsent.head ? loop_connect(self) : 0;
}
