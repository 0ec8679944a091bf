/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "core/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/durable.h"
#include "core/park.h"

/* How long a leader blocks in recv before it looks at its deadline; nearer
 * deadlines are kept by poll, which costs a system call more. */
#define RECV_SLICE_NS 40000000

seqc_status
seqc_wire_init(struct seqc_wire *wire,
               struct seqc_link_options options,
               struct seqc_regress *regress,
               struct seqc_stats *stats)
{
    *wire = (struct seqc_wire){.fd = -1};
    wire->input = seqc_malloc(SEQC_INPUT_BYTES);
    if (!wire->input || seqc_link_init(&wire->link, options, regress, stats)) {
        seqc_free(wire->input);
        return SEQC_NOMEM;
    }
    pthread_mutex_init(&wire->mutex, NULL);
    return SEQC_OK;
}

void
seqc_wire_fini(struct seqc_wire *wire)
{
    seqc_wire_drop_socket(wire);
    seqc_link_fini(&wire->link);
    pthread_mutex_destroy(&wire->mutex);
    seqc_free(wire->input);
}

void
seqc_wire_drop_socket(struct seqc_wire *wire)
{
    if (wire->fd >= 0) {
        close(wire->fd);
        wire->fd = -1;
    }
    wire->wants_write = false;
}

static bool
prepare_socket(int fd)
{
    struct timeval slice = {.tv_usec = RECV_SLICE_NS / 1000};
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) >= 0 &&
           !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof slice);
}

bool
seqc_wire_connect(struct seqc_wire *wire, int fd)
{
    int64_t now = seqc_now_ns();

    /* Up already: two threads connected, see may_lead in group.c. */
    if (wire->closed || wire->link.up) {
        close(fd);
        return false;
    }
    if (!prepare_socket(fd) || seqc_link_up(&wire->link, now)) {
        close(fd);
        seqc_backoff_failed(&wire->backoff, now);
        return false;
    }
    wire->fd = fd;
    wire->backoff.retry_ns = 0;
    return true;
}

/* ---- system calls ---- */

static void
lose(struct seqc_wire *wire, const struct seqc_loss *loss)
{
    seqc_wire_drop_socket(wire);
    seqc_backoff_lost(&wire->backoff, &wire->link, seqc_now_ns());
    seqc_link_fail(&wire->link, loss->cause, loss->why);
}

/* Writes until the queue is empty or the socket full. */
static void
write_queue(struct seqc_wire *wire)
{
    static const struct seqc_loss no_memory = {SEQC_NOMEM, "out of memory"};
    struct seqc_link *link = &wire->link;
    seqc_status status = SEQC_OK;
    struct seqc_loss loss;
    const char *data;
    size_t len;

    wire->wants_write = false;
    while (!status) {
        if (link->belief) {
            seqc_durable_look(link, seqc_lease_now_ns());
        }
        if (seqc_link_output(link, &data, &len)) {
            lose(wire, &no_memory);
            return;
        }
        if (!len) {
            return;
        }
        int fd = wire->fd;
        wire->is_busy = wire->is_sending = true;
        pthread_mutex_unlock(&wire->mutex);
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        int error = errno;
        int64_t now = seqc_now_ns();
        pthread_mutex_lock(&wire->mutex);
        wire->is_busy = wire->is_sending = false;
        if (wire->closed) {
            return;
        }
        status = seqc_socket_sent(link, len, sent, error, now, &loss);
    }
    if (status == SEQC_PENDING) {
        wire->wants_write = true;
        return;
    }
    lose(wire, &loss);
}

/* Takes what recv returned. */
static void
take_input(struct seqc_wire *wire, ssize_t got, int error)
{
    static const struct seqc_loss silent = {
        SEQC_TIMEOUT,
        "the link was silent for too long",
    };
    int64_t now = seqc_now_ns();
    struct seqc_loss loss;
    seqc_status status;

    if (wire->closed) {
        return;
    }
    status =
        seqc_socket_received(&wire->link, wire->input, got, error, now, &loss);
    if (status && status != SEQC_PENDING) {
        lose(wire, &loss);
    } else if (status && seqc_link_is_dead(&wire->link, now)) {
        lose(wire, &silent);
    }
}

/* What is already there: late answers, the end of the connection.  Costs a
 * system call and saves a call from being written to a dead connection. */
static void
read_ready(struct seqc_wire *wire)
{
    ssize_t got = recv(wire->fd, wire->input, SEQC_INPUT_BYTES, MSG_DONTWAIT);

    take_input(wire, got, errno);
}

static int
poll_ms(int64_t ns)
{
    int64_t ms = (ns + 999999) / 1000000;

    return ms < 0 ? 0 : (int)ms;
}

/* Blocks for input, at most until `until_ns`; true if a signal came.  A far
 * deadline is waited for inside recv (SO_RCVTIMEO), a near one by poll. */
static bool
read_wait(struct seqc_wire *wire, int64_t until_ns)
{
    int fd = wire->fd;
    bool wants_write = wire->wants_write;
    int64_t left = until_ns - seqc_now_ns();
    int flags = MSG_DONTWAIT;
    ssize_t got = -1;
    int error = EAGAIN;

    wire->is_busy = true;
    pthread_mutex_unlock(&wire->mutex);
    if (left > RECV_SLICE_NS && !wants_write) {
        flags = 0;
    } else {
        short events = wants_write ? POLLIN | POLLOUT : POLLIN;
        struct pollfd pfd = {.fd = fd, .events = events};
        if (left > RECV_SLICE_NS) {
            left = RECV_SLICE_NS;
        }
        if (poll(&pfd, 1, poll_ms(left)) < 0) {
            error = errno;
        }
    }
    if (error != EINTR) {
        got = recv(fd, wire->input, SEQC_INPUT_BYTES, flags);
        error = errno;
    }
    pthread_mutex_lock(&wire->mutex);
    wire->is_busy = false;
    take_input(wire, got, error);
    return got < 0 && error == EINTR;
}

bool
seqc_wire_exchange(struct seqc_wire *wire, int64_t until_ns)
{
    struct seqc_link *link = &wire->link;
    int64_t next_ns;

    seqc_link_tick(link, seqc_now_ns());
    if (link->unsent.head) {
        read_ready(wire);
    }
    if (link->up && (link->unsent.head || wire->wants_write)) {
        write_queue(wire);
    }
    if (!link->up || wire->closed || link->done_head) {
        return false;
    }
    next_ns = seqc_link_next_ns(link);
    return read_wait(wire, until_ns < next_ns ? until_ns : next_ns);
}

/* ---- the end ---- */

void
seqc_wire_close(struct seqc_wire *wire)
{
    if (wire->closed) {
        return;
    }
    wire->closed = true;
    if (wire->is_sending) {
        seqc_link_assume_written(&wire->link);
    }
    seqc_link_close(&wire->link);
    if (wire->is_busy && wire->fd >= 0) {
        shutdown(wire->fd, SHUT_RDWR); /* ends the system call */
    } else {
        seqc_wire_drop_socket(wire);
    }
}

void
seqc_wire_after_fork(struct seqc_wire *wire, uint64_t thread)
{
    pthread_mutex_init(&wire->mutex, NULL);
    if (wire->is_sending) {
        seqc_link_assume_written(&wire->link);
    }
    wire->is_busy = wire->is_sending = false;
    seqc_wire_drop_socket(wire);
    seqc_link_after_fork(&wire->link, thread);
    wire->backoff = (struct seqc_backoff){0};
}
