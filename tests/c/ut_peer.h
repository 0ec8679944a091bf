/* SPDX-License-Identifier: MIT */
/* A scripted server of one connection each, in threads, behind socketpairs.
 * It answers INCRBY with the amount and GET with nothing, so that every
 * caller can tell its own answer. */
#ifndef SEQC_UT_PEER_H
#define SEQC_UT_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ut_check.h"

#define PEERS_MAX 20000

/* How the connections behave from now on. */
struct ut_script {
    atomic_int silent;      /* reads, never answers */
    atomic_int deaf;        /* does not even read */
    atomic_int hang_up;     /* closes instead of the n-th answer of one */
    atomic_int garbage;     /* answers nonsense instead of the n-th */
    atomic_int pause_us;    /* before the answers to what one read brought */
};

static struct ut_script script;
static pthread_t peers[PEERS_MAX];
static atomic_int peer_count;
static atomic_int peer_commands;

static inline void
ut_sleep_us(long us)
{
    struct timespec time = {us / 1000000, us % 1000000 * 1000};

    nanosleep(&time, NULL);
}

/* "*3\r\n$6\r\nINCRBY\r\n$2\r\nk0\r\n$1\r\n5\r\n" -> its length, and the
 * amount (-1 for a GET); 0 when it is not whole. */
static inline size_t
ut_parse(const char *data, size_t len, long long *out_amount)
{
    const char *p = data;
    const char *end = data + len;
    const char *last = NULL;
    long argc = 0;

    for (long i = -1; i < argc; i++) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        if (!line) {
            return 0;
        }
        long number = strtol(p + 1, NULL, 10);
        p = line + 1;
        if (i < 0) {
            argc = number;
            continue;
        }
        if (end - p < number + 2) {
            return 0;
        }
        last = p;
        p += number + 2;
    }
    *out_amount = argc == 3 ? strtoll(last, NULL, 10) : -1;
    return (size_t)(p - data);
}

/* False: the connection ends. */
static inline bool
ut_answer(int fd, long long amount, int n)
{
    char reply[64];
    int len;

    atomic_fetch_add(&peer_commands, 1);
    if (n == atomic_load(&script.hang_up)) {
        return false;
    }
    if (atomic_load(&script.silent)) {
        return true;
    }
    len = n == atomic_load(&script.garbage)
        ? snprintf(reply, sizeof reply, "garbage\r\n")
        : amount < 0 ? snprintf(reply, sizeof reply, "$-1\r\n")
                     : snprintf(reply, sizeof reply, ":%lld\r\n", amount);
    return send(fd, reply, (size_t)len, MSG_NOSIGNAL) == len;
}

static inline void *
ut_peer(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char data[65536];
    size_t len = 0, used;
    long long amount;
    int n = 0;
    bool open = true;
    ssize_t got = 1;

    while (open && got > 0) {
        while (atomic_load(&script.deaf)) {
            ut_sleep_us(1000);
        }
        got = recv(fd, data + len, sizeof data - len - 1, 0);
        len += got > 0 ? (size_t)got : 0;
        data[len] = '\0';
        ut_sleep_us(atomic_load(&script.pause_us));
        while (open && (used = ut_parse(data, len, &amount))) {
            memmove(data, data + used, len -= used);
            data[len] = '\0';
            open = ut_answer(fd, amount, ++n);
        }
    }
    close(fd);
    return NULL;
}

/* A new connection: our end. */
static inline int
ut_connect(void)
{
    int fds[2];
    int n = atomic_fetch_add(&peer_count, 1);

    CHECK(n < PEERS_MAX);
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    CHECK(!pthread_create(&peers[n], NULL, ut_peer,
                          (void *)(intptr_t)fds[1]));
    return fds[0];
}

/* After our ends are closed. */
static inline void
ut_join_peers(void)
{
    memset(&script, 0, sizeof script);
    for (int i = 0; i < atomic_load(&peer_count); i++) {
        CHECK(!pthread_join(peers[i], NULL));
    }
    atomic_store(&peer_count, 0);
}

#endif
