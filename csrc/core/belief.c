/* SPDX-License-Identifier: MIT */
#include "core/belief.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core/alloc.h"
#include "core/request.h"

#define LOWS_MAX 4096

struct seqc_belief {
    pthread_mutex_t mutex; /* rank: last */
    atomic_int refs;
    atomic_bool has_news;
    bool is_touched; /* the use of the cache is to be told */
    struct seqc_lease lease;
    int64_t until_ns;
    int64_t touch_ns;
    struct seqc_epoch *epochs; /* owned: all that were believed in */
    struct seqc_low *lows;     /* owned */
    size_t low_count;
};

struct seqc_belief *
seqc_belief_new(void)
{
    struct seqc_belief *belief = seqc_calloc(1, sizeof *belief);

    if (belief) {
        pthread_mutex_init(&belief->mutex, NULL);
        atomic_init(&belief->refs, 1);
        atomic_init(&belief->has_news, false);
    }
    return belief;
}

struct seqc_belief *
seqc_belief_ref(struct seqc_belief *belief)
{
    atomic_fetch_add_explicit(&belief->refs, 1, memory_order_relaxed);
    return belief;
}

void
seqc_low_free(struct seqc_low *low)
{
    seqc_value_free(low->verdict);
    seqc_free(low);
}

static void
drop_lows(struct seqc_belief *belief)
{
    while (belief->lows) {
        struct seqc_low *low = belief->lows;
        belief->lows = low->next;
        seqc_low_free(low);
    }
    belief->low_count = 0;
}

void
seqc_belief_unref(struct seqc_belief *belief)
{
    if (!belief || atomic_fetch_sub_explicit(
                       &belief->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    drop_lows(belief);
    while (belief->epochs) {
        struct seqc_epoch *epoch = belief->epochs;
        belief->epochs = epoch->next;
        seqc_free(epoch);
    }
    pthread_mutex_destroy(&belief->mutex);
    seqc_free(belief);
}

/* The object of a token, made when it is new; NULL without memory. */
static const struct seqc_epoch *
find_epoch(struct seqc_belief *belief, const char *token, size_t len)
{
    struct seqc_epoch *epoch;

    for (epoch = belief->epochs; epoch; epoch = epoch->next) {
        if (epoch->len == len && !memcmp(epoch->token, token, len)) {
            return epoch;
        }
    }
    epoch = seqc_malloc(sizeof *epoch + len);
    if (epoch) {
        memcpy(epoch->token, token, len);
        epoch->len = len;
        epoch->next = belief->epochs;
        belief->epochs = epoch;
    }
    return epoch;
}

seqc_status
seqc_belief_set(struct seqc_belief *belief,
                const char *token,
                size_t len,
                int64_t until_ns,
                int64_t touch_ns)
{
    const struct seqc_epoch *epoch;

    pthread_mutex_lock(&belief->mutex);
    epoch = len ? find_epoch(belief, token, len) : NULL;
    belief->lease = (struct seqc_lease){epoch, until_ns == SEQC_TIME_NEVER};
    belief->until_ns = until_ns;
    belief->touch_ns = touch_ns;
    pthread_mutex_unlock(&belief->mutex);
    return len && !epoch ? SEQC_NOMEM : SEQC_OK;
}

static void
tell(struct seqc_belief *belief)
{
    atomic_store_explicit(&belief->has_news, true, memory_order_release);
}

struct seqc_lease
seqc_belief_look(struct seqc_belief *belief, int64_t now_ns)
{
    struct seqc_lease lease;

    pthread_mutex_lock(&belief->mutex);
    lease = belief->lease;
    if (belief->until_ns != SEQC_TIME_NEVER && now_ns >= belief->until_ns) {
        lease.epoch = NULL;
    }
    if (lease.epoch && now_ns >= belief->touch_ns) {
        belief->touch_ns = SEQC_TIME_NEVER; /* told once */
        belief->is_touched = true;
        tell(belief);
    }
    pthread_mutex_unlock(&belief->mutex);
    return lease;
}

/* ---- news ---- */

void
seqc_belief_note_low_steal(struct seqc_belief *belief,
                           const struct seqc_epoch *epoch,
                           const char *key,
                           size_t key_len,
                           struct seqc_value *verdict)
{
    struct seqc_low *low = seqc_malloc(sizeof *low + key_len);
    bool fits = false;

    if (!low) {
        seqc_value_free(verdict);
        return;
    }
    low->epoch = epoch;
    low->verdict = verdict;
    low->key_len = key_len;
    memcpy(low->key, key, key_len);
    pthread_mutex_lock(&belief->mutex);
    fits = belief->low_count < LOWS_MAX;
    if (fits) {
        low->next = belief->lows;
        belief->lows = low;
        belief->low_count++;
        tell(belief);
    }
    pthread_mutex_unlock(&belief->mutex);
    if (!fits) {
        seqc_low_free(low);
    }
}

bool
seqc_belief_has_news(const struct seqc_belief *belief)
{
    return atomic_load_explicit(&belief->has_news, memory_order_relaxed);
}

bool
seqc_belief_take_news(struct seqc_belief *belief, struct seqc_low **out_lows)
{
    bool is_touched;

    pthread_mutex_lock(&belief->mutex);
    *out_lows = belief->lows;
    belief->lows = NULL;
    belief->low_count = 0;
    is_touched = belief->is_touched;
    belief->is_touched = false;
    atomic_store_explicit(&belief->has_news, false, memory_order_relaxed);
    pthread_mutex_unlock(&belief->mutex);
    return is_touched;
}

/* What another thread may have been changing is left as it is, and not looked
 * at again: a few bytes. */
void
seqc_belief_after_fork(struct seqc_belief *belief)
{
    pthread_mutex_init(&belief->mutex, NULL);
    belief->lease = (struct seqc_lease){0};
    belief->is_touched = false;
    belief->lows = NULL;
    belief->low_count = 0;
    atomic_store_explicit(&belief->has_news, false, memory_order_relaxed);
}
