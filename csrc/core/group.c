/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "core/group.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/park.h"

#define INPUT_BYTES 65536
/* How long a leader blocks in recv before it looks at its deadline; nearer
 * deadlines are kept by poll, which costs a system call more. */
#define RECV_SLICE_NS   40000000
#define BACKOFF_FIRST_NS 10000000
#define BACKOFF_MAX_NS  1000000000

/* States of a call's word. */
enum { WORD_WAIT, WORD_DONE, WORD_LEAD };

struct seqc_group {
    pthread_mutex_t mutex; /* rank: before the one of seqc_regress */
    struct seqc_link link;
    struct seqc_stats stats;
    struct seqc_call *leader; /* who may use fd and input; borrowed */
    int fd;                   /* owned; -1 while there is no connection */
    bool closed;
    bool wants_write; /* the socket was full */
    bool was_up;      /* the next connection is a reconnect */
    int failures;     /* connects that failed in a row */
    int64_t retry_ns; /* no connect before */
    char *input;      /* owned, the leader's */
};

struct seqc_group *
seqc_group_new(struct seqc_link_options options, struct seqc_regress *regress)
{
    struct seqc_group *group = seqc_calloc(1, sizeof *group);

    if (!group) {
        return NULL;
    }
    group->fd = -1;
    group->input = seqc_malloc(INPUT_BYTES);
    if (!group->input
        || seqc_link_init(&group->link, options, regress, &group->stats)) {
        seqc_free(group->input);
        seqc_free(group);
        return NULL;
    }
    pthread_mutex_init(&group->mutex, NULL);
    return group;
}

static void
drop_socket(struct seqc_group *group)
{
    if (group->fd >= 0) {
        close(group->fd);
        group->fd = -1;
    }
    group->wants_write = false;
}

void
seqc_group_free(struct seqc_group *group)
{
    if (!group) {
        return;
    }
    seqc_group_close(group);
    drop_socket(group);
    seqc_link_fini(&group->link);
    pthread_mutex_destroy(&group->mutex);
    seqc_free(group->input);
    seqc_free(group);
}

/* ---- waking ---- */

/* The first call that still has somebody waiting for it. */
static struct seqc_call *
find_heir(const struct seqc_list *list, const struct seqc_call *except)
{
    for (struct seqc_request *r = list->head; r; r = r->next) {
        if (r->call != except && !r->call->abandoned) {
            return r->call;
        }
    }
    return NULL;
}

/* Under the mutex: the lead goes to a call that waits, if there is one.
 * Returns it with a reference, to be woken by wake_heir without the mutex. */
static struct seqc_call *
choose_heir(struct seqc_group *group)
{
    struct seqc_link *link = &group->link;
    struct seqc_call *me = group->leader;
    struct seqc_call *heir = find_heir(&link->sent, me);

    heir = heir ? heir : find_heir(&link->unsent, me);
    heir = heir ? heir : find_heir(&link->delayed, me);
    group->leader = heir;
    if (group->closed && !heir) {
        drop_socket(group);
    }
    return heir ? seqc_call_ref(heir) : NULL;
}

static void
wake_heir(struct seqc_call *heir)
{
    uint32_t wait = WORD_WAIT;

    if (heir
        && atomic_compare_exchange_strong(&heir->word, &wait, WORD_LEAD)) {
        seqc_unpark(&heir->word);
    }
    seqc_call_unref(heir);
}

/* Without the mutex: all of a finished group at once (waking them one by
 * another halves the rate).  The reference of the link ends here. */
static void
wake_done(struct seqc_call *done, const struct seqc_call *me)
{
    while (done) {
        struct seqc_call *next = done->next_done;
        atomic_store_explicit(&done->word, WORD_DONE, memory_order_release);
        if (done != me) {
            seqc_unpark(&done->word);
        }
        seqc_call_unref(done);
        done = next;
    }
}

/* Leaves the mutex.  The order was measured: wake the finished first, then
 * hand over the lead. */
static void
unlock_and_wake(struct seqc_group *group, struct seqc_call *me, bool leave)
{
    struct seqc_call *done = seqc_link_take_done(&group->link);
    struct seqc_call *heir =
        leave && group->leader == me ? choose_heir(group) : NULL;

    pthread_mutex_unlock(&group->mutex);
    wake_done(done, me);
    wake_heir(heir);
}

/* ---- the leader's work, with the mutex ---- */

static void
lose_connection(struct seqc_group *group, seqc_status cause, const char *why)
{
    drop_socket(group);
    seqc_link_fail(&group->link, cause, why);
}

static void
lose_by_errno(struct seqc_group *group, const char *what, int error)
{
    char why[160];
    char text[96];

    if (strerror_r(error, text, sizeof text) != 0) {
        snprintf(text, sizeof text, "error %d", error);
    }
    snprintf(why, sizeof why, "%s: %s", what, text);
    lose_connection(group, SEQC_CONNECT, why);
}

static bool
would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* Writes until the queue is empty or the socket full. */
static void
write_queue(struct seqc_group *group)
{
    struct seqc_link *link = &group->link;
    const char *data;
    size_t len;

    group->wants_write = false;
    for (;;) {
        if (seqc_link_output(link, &data, &len)) {
            lose_connection(group, SEQC_NOMEM, "out of memory");
            return;
        }
        if (!len) {
            return;
        }
        int fd = group->fd;
        pthread_mutex_unlock(&group->mutex);
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        int error = errno;
        int64_t now = seqc_now_ns();
        pthread_mutex_lock(&group->mutex);
        if (group->closed) {
            return;
        }
        if (sent < 0 && !would_block(error)) {
            lose_by_errno(group, "send", error);
            return;
        }
        seqc_link_wrote(link, sent > 0 ? (size_t)sent : 0, now);
        if (sent < (ssize_t)len) {
            seqc_link_rewind(link);
            group->wants_write = true;
            return;
        }
    }
}

/* Takes what recv returned.  False: nothing came. */
static bool
take_input(struct seqc_group *group, ssize_t got, int error)
{
    struct seqc_link *link = &group->link;

    if (group->closed || (got < 0 && would_block(error))) {
        return false;
    }
    if (got < 0) {
        lose_by_errno(group, "recv", error);
    }
    else if (got == 0) {
        lose_connection(group, SEQC_CONNECT,
                        "the server closed the connection");
    }
    else if (seqc_link_feed(link, group->input, (size_t)got, seqc_now_ns())) {
        char why[200];
        snprintf(why, sizeof why, "protocol error: %s", seqc_link_why(link));
        lose_connection(group, SEQC_PROTOCOL, why);
    }
    return true;
}

static void
check_silence(struct seqc_group *group)
{
    if (seqc_link_is_dead(&group->link, seqc_now_ns())) {
        lose_connection(group, SEQC_TIMEOUT,
                        "the link was silent for too long");
    }
}

/* What is already there: late answers, the end of the connection.  Costs a
 * system call and saves a call from being written to a dead connection. */
static void
read_ready(struct seqc_group *group)
{
    ssize_t got = recv(group->fd, group->input, INPUT_BYTES, MSG_DONTWAIT);

    if (!take_input(group, got, errno)) {
        check_silence(group);
    }
}

static int
poll_ms(int64_t ns)
{
    int64_t ms = (ns + 999999) / 1000000;

    return ms < 0 ? 0 : ms > 1000 ? 1000 : (int)ms;
}

/* Blocks for input, at most until `until_ns`; true if a signal came.  A far
 * deadline is waited for inside recv (SO_RCVTIMEO), a near one by poll. */
static bool
read_wait(struct seqc_group *group, int64_t until_ns)
{
    int fd = group->fd;
    bool wants_write = group->wants_write;
    int64_t left = until_ns - seqc_now_ns();
    int flags = MSG_DONTWAIT;
    ssize_t got = -1;
    int error = EAGAIN;

    pthread_mutex_unlock(&group->mutex);
    if (left > RECV_SLICE_NS && !wants_write) {
        flags = 0;
    }
    else {
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
        got = recv(fd, group->input, INPUT_BYTES, flags);
        error = errno;
    }
    pthread_mutex_lock(&group->mutex);
    if (!take_input(group, got, error)) {
        check_silence(group);
    }
    return got < 0 && error == EINTR;
}

/* ---- waiting ---- */

static int64_t
earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void
sleep_until(struct seqc_group *group, struct seqc_call *call, int64_t until_ns)
{
    pthread_mutex_unlock(&group->mutex);
    seqc_park(&call->word, WORD_WAIT, until_ns);
    pthread_mutex_lock(&group->mutex);
}

/* One round of writing and reading; true if a signal came. */
static bool
lead_round(struct seqc_group *group, int64_t until_ns)
{
    struct seqc_link *link = &group->link;

    seqc_link_tick(link, seqc_now_ns());
    if (link->unsent.head) {
        read_ready(group);
    }
    if (link->up && (link->unsent.head || group->wants_write)) {
        write_queue(group);
    }
    if (!link->up || group->closed || link->done_head) {
        return false;
    }
    return read_wait(group, earlier(until_ns, seqc_link_next_ns(link)));
}

/* A follower's sleep, outside the mutex: true when the call is done. */
static bool
follow(struct seqc_call *call, int64_t until_ns)
{
    uint32_t word;

    do {
        word = atomic_load_explicit(&call->word, memory_order_acquire);
        if (word != WORD_WAIT) {
            return word == WORD_DONE;
        }
        seqc_park(&call->word, WORD_WAIT, until_ns);
        word = atomic_load_explicit(&call->word, memory_order_acquire);
    } while (word == WORD_WAIT && seqc_now_ns() < until_ns);
    return word == WORD_DONE;
}

enum step {
    STEP_AGAIN,
    STEP_DONE,
    STEP_SIGNAL,
    STEP_CONNECT,
};

/* With the mutex, by whoever is not done yet. */
static enum step
take_step(struct seqc_group *group,
          struct seqc_call *call,
          bool signals,
          int64_t check_ns)
{
    struct seqc_link *link = &group->link;
    int64_t now = seqc_now_ns();
    int64_t until = earlier(call->deadline_ns, check_ns);

    if (!call->waiting) {
        return STEP_DONE;
    }
    if (now >= call->deadline_ns) {
        seqc_link_abandon(link, call, seqc_link_late_status(link));
        return STEP_DONE;
    }
    if (now >= check_ns) {
        return STEP_SIGNAL;
    }
    if (group->leader && group->leader != call) {
        return STEP_AGAIN;
    }
    group->leader = call;
    if (!link->up && now >= group->retry_ns) {
        return STEP_CONNECT;
    }
    if (!link->up) {
        sleep_until(group, call, earlier(until, group->retry_ns));
        return STEP_AGAIN;
    }
    if (lead_round(group, until) && signals && call->waiting) {
        return STEP_SIGNAL;
    }
    return call->waiting ? STEP_AGAIN : STEP_DONE;
}

enum seqc_turn
seqc_group_wait(struct seqc_group *group,
                struct seqc_call *call,
                bool signals,
                int64_t check_ns)
{
    enum step step = STEP_AGAIN;
    uint32_t lead = WORD_LEAD;

    check_ns = signals ? check_ns : SEQC_TIME_NEVER;
    for (;;) {
        pthread_mutex_lock(&group->mutex);
        atomic_compare_exchange_strong(&call->word, &lead, WORD_WAIT);
        lead = WORD_LEAD;
        step = take_step(group, call, signals, check_ns);
        bool leads = group->leader == call;
        if (step == STEP_CONNECT) {
            unlock_and_wake(group, call, false);
            return SEQC_TURN_CONNECT;
        }
        unlock_and_wake(group, call, step != STEP_AGAIN);
        if (step == STEP_DONE) {
            return SEQC_TURN_DONE;
        }
        if (step == STEP_SIGNAL) {
            return SEQC_TURN_SIGNAL;
        }
        if (!leads
            && follow(call, earlier(call->deadline_ns, check_ns))) {
            return SEQC_TURN_DONE;
        }
    }
}

/* ---- from outside ---- */

seqc_status
seqc_group_submit(struct seqc_group *group, struct seqc_call *call)
{
    seqc_status status = SEQC_OK;

    call->thread = (uint64_t)pthread_self();
    pthread_mutex_lock(&group->mutex);
    if (group->closed) {
        status = SEQC_CLOSED;
    }
    else {
        seqc_link_submit(&group->link, call);
    }
    pthread_mutex_unlock(&group->mutex);
    return status;
}

void
seqc_group_abandon(struct seqc_group *group,
                   struct seqc_call *call,
                   seqc_status status)
{
    pthread_mutex_lock(&group->mutex);
    seqc_link_abandon(&group->link, call, status);
    unlock_and_wake(group, call, true);
}

static seqc_status
prepare_socket(int fd)
{
    struct timeval slice = {.tv_usec = RECV_SLICE_NS / 1000};
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof slice)) {
        return SEQC_CONNECT;
    }
    return SEQC_OK;
}

void
seqc_group_connected(struct seqc_group *group, int fd)
{
    seqc_status status = prepare_socket(fd);

    pthread_mutex_lock(&group->mutex);
    if (!status && !group->closed) {
        status = seqc_link_up(&group->link, seqc_now_ns());
    }
    if (status || group->closed) {
        close(fd);
    }
    else {
        group->fd = fd;
        group->failures = 0;
        group->retry_ns = 0;
        seqc_stats_add(&group->stats.reconnects, group->was_up);
        group->was_up = true;
    }
    pthread_mutex_unlock(&group->mutex);
}

void
seqc_group_refused(struct seqc_group *group,
                   seqc_status status,
                   const char *why)
{
    int64_t wait = BACKOFF_FIRST_NS;
    int64_t now = seqc_now_ns();

    pthread_mutex_lock(&group->mutex);
    if (status != SEQC_CONNECT) {
        seqc_link_refuse(&group->link, status, why);
    }
    for (int i = 0; i < group->failures && wait < BACKOFF_MAX_NS; i++) {
        wait *= 2;
    }
    group->failures++;
    group->retry_ns = now + wait / 2 + now % (wait / 2); /* jitter */
    struct seqc_call *done = seqc_link_take_done(&group->link);
    pthread_mutex_unlock(&group->mutex);
    wake_done(done, NULL);
}

void
seqc_group_close(struct seqc_group *group)
{
    pthread_mutex_lock(&group->mutex);
    if (!group->closed) {
        group->closed = true;
        seqc_link_close(&group->link);
        if (group->leader && group->fd >= 0) {
            shutdown(group->fd, SHUT_RDWR); /* the leader closes it */
        }
        else {
            drop_socket(group);
        }
    }
    struct seqc_call *done = seqc_link_take_done(&group->link);
    pthread_mutex_unlock(&group->mutex);
    wake_done(done, NULL);
}

void
seqc_group_before_fork(struct seqc_group *group)
{
    pthread_mutex_lock(&group->mutex);
}

void
seqc_group_after_fork_parent(struct seqc_group *group)
{
    pthread_mutex_unlock(&group->mutex);
}

void
seqc_group_after_fork_child(struct seqc_group *group)
{
    uint64_t self = (uint64_t)pthread_self();

    pthread_mutex_init(&group->mutex, NULL);
    if (group->leader && group->leader->thread != self) {
        group->leader = NULL;
    }
    drop_socket(group);
    seqc_link_after_fork(&group->link, self);
    group->was_up = false;
    group->retry_ns = 0;
}

const struct seqc_stats *
seqc_group_stats(const struct seqc_group *group)
{
    return &group->stats;
}

size_t
seqc_group_in_flight(const struct seqc_group *group)
{
    return group->link.in_flight;
}

bool
seqc_group_is_up(const struct seqc_group *group)
{
    return group->link.up;
}
