/* SPDX-License-Identifier: MIT */
/* Threads on one store. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core/memory.h"

#include "ut_check.h"

#define THREADS 4
#define ROUNDS  20000
#define SHARED  50

static seqc_store *store;
static atomic_int next_thread;
static atomic_int writers;

static size_t
write_name(char *text, size_t size, const char *kind, int number)
{
    return (size_t)snprintf(text, size, "seq:%s:%d", kind, number);
}

/* Shared keys are increased and must rise for each thread; each thread also
 * makes and deletes keys of its own, so that tables are rebuilt. */
static void *
write_keys(void *argument)
{
    int64_t last[SHARED] = {0};
    int thread = atomic_fetch_add(&next_thread, 1);
    char text[40];

    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t seq;
        bool existed;
        size_t len = write_name(text, sizeof text, "shared", i % SHARED);
        CHECK(!seqc_store_increase(store, text, len, 1, &seq));
        CHECK(seq > last[i % SHARED]);
        last[i % SHARED] = seq;
        seqc_store_get(store, text, len, &seq);
        CHECK(seq >= last[i % SHARED]);
        len = write_name(text, sizeof text, "own", i * THREADS + thread);
        CHECK(!seqc_store_raise(store, text, len, 9, &seq));
        CHECK(seq == 9);
        if (i % 2) {
            seqc_store_delete(store, text, len, &existed);
            CHECK(existed);
        }
        seqc_store_get(store, text, len, &seq);
        CHECK(seq == (i % 2 ? 0 : 9));
    }
    atomic_fetch_sub(&writers, 1);
    return NULL;
}

/* Every walk must return each shared key, whatever the writers do. */
static void *
walk_pages(void *argument)
{
    struct seqc_buf page;
    struct seqc_store_item item;

    (void)argument;
    seqc_buf_init(&page);
    do {
        uint64_t cursor = 0;
        int shared = 0;
        do {
            CHECK(!seqc_store_page(store, &cursor, &page, 100));
            while (seqc_store_page_next(&page, &item)) {
                shared += memcmp(item.key, "seq:sha", 7) == 0;
            }
        } while (cursor);
        CHECK(shared >= SHARED);
        CHECK(seqc_store_count(store) >= SHARED);
    } while (atomic_load(&writers));
    seqc_buf_fini(&page);
    return NULL;
}

static void
threads_lose_no_number(void)
{
    pthread_t threads[THREADS + 1];
    char text[40];
    int64_t seq;

    store = seqc_store_new();
    atomic_store(&writers, THREADS);
    for (int i = 0; i < SHARED; i++) {
        size_t len = write_name(text, sizeof text, "shared", i);
        CHECK(!seqc_store_raise(store, text, len, 1000, &seq));
    }
    for (int t = 0; t <= THREADS; t++) {
        void *(*run)(void *) = t < THREADS ? write_keys : walk_pages;
        CHECK(!pthread_create(&threads[t], NULL, run, NULL));
    }
    for (int t = 0; t <= THREADS; t++) {
        CHECK(!pthread_join(threads[t], NULL));
    }
    for (int i = 0; i < SHARED; i++) {
        size_t len = write_name(text, sizeof text, "shared", i);
        seqc_store_get(store, text, len, &seq);
        CHECK(seq == 1000 + THREADS * ROUNDS / SHARED);
    }
    CHECK(seqc_store_count(store) == SHARED + THREADS * ROUNDS / 2);
    seqc_store_unref(store);
}

#define TOKENS 3000

static int64_t numbers[THREADS][TOKENS];

static seqc_status
increase_key(void *context, int64_t *out_seq)
{
    (void)context;
    return seqc_store_increase(store, "key", 3, 1, out_seq);
}

static void *
use_all_tokens(void *argument)
{
    int64_t *mine = argument;

    for (int i = 0; i < TOKENS; i++) {
        char token[16];
        struct seqc_once_call call = {
            .key = "key",
            .len = 3,
            .token = token,
            .token_len = (size_t)snprintf(token, sizeof token, "t%d", i),
            .by = 1,
            .ttl_ns = 1,
            .increase = increase_key,
        };
        CHECK(!seqc_once_increase(seqc_store_once_view(store), &call,
                                  &mine[i]));
    }
    return NULL;
}

static void
threads_with_one_token_get_one_number(void)
{
    pthread_t threads[THREADS];
    int64_t seq;

    store = seqc_store_new();
    for (int t = 0; t < THREADS; t++) {
        CHECK(!pthread_create(&threads[t], NULL, use_all_tokens, numbers[t]));
    }
    for (int t = 0; t < THREADS; t++) {
        CHECK(!pthread_join(threads[t], NULL));
        CHECK(!memcmp(numbers[0], numbers[t], sizeof numbers[0]));
    }
    seqc_store_get(store, "key", 3, &seq);
    CHECK(seq == TOKENS);
    seqc_store_unref(store);
}

/* The last of several owners frees; the others may be anywhere before. */
static void *
drop_reference(void *argument)
{
    int64_t seq;

    CHECK(!seqc_store_increase(argument, "a", 1, 1, &seq));
    seqc_store_unref(argument);
    return NULL;
}

static void
last_reference_frees(void)
{
    for (int i = 0; i < 100; i++) {
        pthread_t threads[THREADS];
        seqc_store *shared = seqc_store_new();
        for (int t = 0; t < THREADS; t++) {
            CHECK(!pthread_create(&threads[t],
                                  NULL,
                                  drop_reference,
                                  seqc_store_ref(shared)));
        }
        seqc_store_unref(shared);
        for (int t = 0; t < THREADS; t++) {
            CHECK(!pthread_join(threads[t], NULL));
        }
    }
}

int
main(void)
{
    RUN(threads_lose_no_number);
    RUN(threads_with_one_token_get_one_number);
    RUN(last_reference_frees);
    return ut_finish();
}
