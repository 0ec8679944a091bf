/* SPDX-License-Identifier: MIT */
/* Increases that are counted once for each key and token, over whatever
 * counters there are in this process.
 *
 * Threads: as in memory.h.  A mutex (rank: before those of the counters) is
 * held around the increase. */
#ifndef SEQC_ONCE_H
#define SEQC_ONCE_H

#include <pthread.h>

#include "core/record.h"
#include "core/regress.h"

/* Records of all tokens: SEQC_RECORDS_MAX in each shard. */
#define SEQC_ONCE_SHARDS 16

struct seqc_once {
    struct seqc_hash_seed key_seeds[2]; /* of the ids of records */
    struct seqc_hash_seed token_seeds[2];

    struct seqc_once_shard {
        pthread_mutex_t mutex;
        struct seqc_records records;
    } shards[SEQC_ONCE_SHARDS];
};

void seqc_once_init(struct seqc_once *once);
void seqc_once_fini(struct seqc_once *once);
/* In the forked child, before anything else. */
void seqc_once_after_fork(struct seqc_once *once);

struct seqc_once_call {
    const char *key; /* borrowed, as `token` */
    size_t len;
    const char *token;
    size_t token_len;
    int64_t by;
    int64_t now_ns; /* monotonic */
    int64_t ttl_ns; /* how long it is remembered */
    /* The counters' own increase by `by`. */
    seqc_status (*increase)(void *context, int64_t *out_seq);
    void *context;
};

/* Increases, unless the token has counted for the key: then *out_seq is its
 * number again.  It is forgotten after ttl_ns, or when about 260 000 newer
 * ones came.  SEQC_TOKEN_CONFLICT: it counted another number of times, which
 * is then in *out_seq.  SEQC_NOMEM, or what the increase ended with: nothing
 * is recorded. */
SEQC_CHECK seqc_status seqc_once_increase(struct seqc_once *once,
                                          const struct seqc_once_call *call,
                                          int64_t *out_seq);

#endif
