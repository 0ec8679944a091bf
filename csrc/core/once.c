/* SPDX-License-Identifier: MIT */
#include "core/once.h"

void
seqc_once_init(struct seqc_once *once)
{
    for (size_t i = 0; i < 2; i++) {
        seqc_hash_seed_draw(&once->key_seeds[i]);
        seqc_hash_seed_draw(&once->token_seeds[i]);
    }
    for (size_t i = 0; i < SEQC_ONCE_SHARDS; i++) {
        pthread_mutex_init(&once->shards[i].mutex, NULL);
        seqc_records_init(&once->shards[i].records);
    }
}

void
seqc_once_fini(struct seqc_once *once)
{
    for (size_t i = 0; i < SEQC_ONCE_SHARDS; i++) {
        pthread_mutex_destroy(&once->shards[i].mutex);
        seqc_records_fini(&once->shards[i].records);
    }
}

void
seqc_once_after_fork(struct seqc_once *once)
{
    for (size_t i = 0; i < SEQC_ONCE_SHARDS; i++) {
        pthread_mutex_init(&once->shards[i].mutex, NULL);
    }
}

/* The id is of seeds of its own for key and token: two pairs that look alike
 * when one is written behind the other have nothing in common. */
static void
begin_record(const struct seqc_once *once,
             const struct seqc_once_call *call,
             struct seqc_record *out_record)
{
    *out_record = (struct seqc_record){.count = call->by};
    if (__builtin_add_overflow(
            call->now_ns, call->ttl_ns, &out_record->until_ns)) {
        out_record->until_ns = INT64_MAX;
    }
    for (size_t i = 0; i < 2; i++) {
        out_record->id[i] =
            seqc_hash_bytes(&once->key_seeds[i], call->key, call->len) ^
            seqc_hash_bytes(
                &once->token_seeds[i], call->token, call->token_len);
    }
}

/* Under the lock of the records. */
SEQC_CHECK static seqc_status
increase_and_record(struct seqc_records *records,
                    const struct seqc_once_call *call,
                    struct seqc_record *record)
{
    seqc_status status = seqc_records_reserve(records, call->now_ns);

    if (!status) {
        status = call->increase(call->context, &record->last);
    }
    if (!status) {
        seqc_records_add(records, record);
    }
    return status;
}

seqc_status
seqc_once_increase(struct seqc_once *once,
                   const struct seqc_once_call *call,
                   int64_t *out_seq)
{
    struct seqc_record record;
    seqc_status status = SEQC_OK;

    begin_record(once, call, &record);
    struct seqc_once_shard *shard =
        &once->shards[record.id[1] % SEQC_ONCE_SHARDS];
    pthread_mutex_lock(&shard->mutex);
    const struct seqc_record *found =
        seqc_records_find(&shard->records, record.id, call->now_ns);
    if (found) {
        record = *found;
    } else {
        status = increase_and_record(&shard->records, call, &record);
    }
    pthread_mutex_unlock(&shard->mutex);
    if (status) {
        return status;
    }
    if (record.count != call->by) {
        *out_seq = record.count;
        return SEQC_TOKEN_CONFLICT;
    }
    *out_seq = record.last;
    return SEQC_OK;
}
