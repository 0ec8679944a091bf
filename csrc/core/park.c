/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "core/park.h"

#include <time.h>

#include "core/request.h"

#define NS_PER_S 1000000000

static int64_t
read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t
seqc_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* As boottime of seqcache/durable/drive.py, whose times it is compared with.
 */
int64_t
seqc_lease_now_ns(void)
{
#ifdef CLOCK_BOOTTIME
    return read_clock(CLOCK_BOOTTIME);
#else
    return read_clock(CLOCK_MONOTONIC);
#endif
}

#ifdef __linux__

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void
seqc_park(_Atomic uint32_t *word, uint32_t value, int64_t until_ns)
{
    struct timespec left;
    int64_t ns = until_ns;

    if (until_ns != SEQC_TIME_NEVER) {
        ns = until_ns - seqc_now_ns();
        if (ns <= 0) {
            return;
        }
        left.tv_sec = (time_t)(ns / NS_PER_S);
        left.tv_nsec = (long)(ns % NS_PER_S);
    }
    syscall(SYS_futex,
            word,
            FUTEX_WAIT_PRIVATE,
            value,
            until_ns == SEQC_TIME_NEVER ? NULL : &left,
            NULL,
            0);
}

void
seqc_unpark(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

#else

#include <pthread.h>

/* One place for all sleepers: correct, and crowded under load. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void
seqc_park(_Atomic uint32_t *word, uint32_t value, int64_t until_ns)
{
    struct timespec end;
    int64_t slice = 50000000; /* the clock of the condition may jump */
    int64_t left = until_ns - seqc_now_ns();

    if (left <= 0) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &end);
    slice = left < slice ? left : slice;
    end.tv_nsec += (long)slice;
    if (end.tv_nsec >= NS_PER_S) {
        end.tv_nsec -= NS_PER_S;
        end.tv_sec++;
    }
    pthread_mutex_lock(&mutex);
    if (atomic_load(word) == value) {
        pthread_cond_timedwait(&changed, &mutex, &end);
    }
    pthread_mutex_unlock(&mutex);
}

void
seqc_unpark(_Atomic uint32_t *word)
{
    (void)word;
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

#endif
