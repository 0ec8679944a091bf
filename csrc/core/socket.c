/* SPDX-License-Identifier: MIT */
#include "core/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BACKOFF_FIRST_NS 10000000
#define BACKOFF_MAX_NS   1000000000

static bool
would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* strerror_r returns the text (GNU) or fills it in (POSIX). */
static inline const char *
returned_text(const char *text, const char *buffer)
{
    (void)buffer;
    return text;
}

static inline const char *
filled_in_text(int failed, const char *buffer)
{
    return failed ? "unknown error" : buffer;
}

#define ERROR_TEXT(error, buffer)                                             \
    _Generic(strerror_r(error, buffer, sizeof(buffer)),                       \
        char *: returned_text,                                                \
        int: filled_in_text)(strerror_r(error, buffer, sizeof(buffer)),       \
                             buffer)

static seqc_status
lose_by_errno(struct seqc_loss *loss, const char *what, int error)
{
    char buffer[128];

    snprintf(loss->why,
             sizeof loss->why,
             "%s: %s",
             what,
             ERROR_TEXT(error, buffer));
    loss->cause = SEQC_CONNECT;
    return loss->cause;
}

seqc_status
seqc_socket_sent(struct seqc_link *link,
                 size_t len,
                 ssize_t sent,
                 int error,
                 int64_t now_ns,
                 struct seqc_loss *out_loss)
{
    if (sent < 0 && !would_block(error)) {
        return lose_by_errno(out_loss, "send", error);
    }
    seqc_link_wrote(link, sent > 0 ? (size_t)sent : 0, now_ns);
    if (sent == (ssize_t)len) {
        return SEQC_OK;
    }
    seqc_link_rewind(link);
    return SEQC_PENDING;
}

seqc_status
seqc_socket_received(struct seqc_link *link,
                     const char *data,
                     ssize_t got,
                     int error,
                     int64_t now_ns,
                     struct seqc_loss *out_loss)
{
    if (got < 0) {
        return would_block(error) ? SEQC_PENDING
                                  : lose_by_errno(out_loss, "recv", error);
    }
    if (got == 0) {
        out_loss->cause = SEQC_CONNECT;
        snprintf(out_loss->why,
                 sizeof out_loss->why,
                 "the server closed the connection");
        return out_loss->cause;
    }
    out_loss->cause = seqc_link_feed(link, data, (size_t)got, now_ns);
    if (out_loss->cause) {
        snprintf(out_loss->why,
                 sizeof out_loss->why,
                 "%s%s",
                 out_loss->cause == SEQC_PROTOCOL ? "protocol error: " : "",
                 seqc_link_why(link));
    }
    return out_loss->cause;
}

/* ---- rest ---- */

void
seqc_backoff_failed(struct seqc_backoff *backoff, int64_t now_ns)
{
    int64_t wait = BACKOFF_FIRST_NS;

    for (int i = 0; i < backoff->failures && wait < BACKOFF_MAX_NS; i++) {
        wait *= 2;
    }
    wait = wait < BACKOFF_MAX_NS ? wait : BACKOFF_MAX_NS;
    backoff->failures++;
    backoff->retry_ns = now_ns + wait / 2 + now_ns % (wait / 2); /* jitter */
}

void
seqc_backoff_lost(struct seqc_backoff *backoff,
                  const struct seqc_link *link,
                  int64_t now_ns)
{
    if (link->has_answered) {
        *backoff = (struct seqc_backoff){0};
    } else if (link->written) {
        seqc_backoff_failed(backoff, now_ns);
    }
}
