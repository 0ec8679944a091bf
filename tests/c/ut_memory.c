/* SPDX-License-Identifier: MIT */
#include "core/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/table.h"

#include "ut_check.h"

#define MANY 20000

static int64_t
get(seqc_store *store, const char *key)
{
    int64_t seq = -1;
    seqc_store_get(store, key, strlen(key), &seq);
    return seq;
}

static int64_t
increase(seqc_store *store, const char *key, int64_t by)
{
    int64_t seq = -1;
    CHECK(!seqc_store_increase(store, key, strlen(key), by, &seq));
    return seq;
}

static int64_t
raise_to(seqc_store *store, const char *key, int64_t to)
{
    int64_t seq = -1;
    CHECK(!seqc_store_raise(store, key, strlen(key), to, &seq));
    return seq;
}

static bool
delete_key(seqc_store *store, const char *key)
{
    bool existed;
    seqc_store_delete(store, key, strlen(key), &existed);
    return existed;
}

/* "seq:NUMBER", and back. */
static const char *
name(size_t number)
{
    static _Thread_local char text[32];
    snprintf(text, sizeof text, "seq:%zu", number);
    return text;
}

static size_t
number_of(const struct seqc_store_item *item)
{
    char text[32] = {0};
    CHECK(item->key_len > 4 && item->key_len < sizeof text);
    CHECK(memcmp(item->key, "seq:", 4) == 0);
    memcpy(text, item->key + 4, item->key_len - 4);
    return strtoul(text, NULL, 10);
}

static void
missing_key_is_0_and_stays_missing(void)
{
    seqc_store *store = seqc_store_new();

    CHECK(get(store, "seq:a") == 0);
    CHECK(raise_to(store, "seq:a", 0) == 0);
    CHECK(raise_to(store, "seq:a", -7) == 0);
    CHECK(!delete_key(store, "seq:a"));
    CHECK(seqc_store_count(store) == 0);
    seqc_store_unref(store);
}

static void
increase_counts_from_1(void)
{
    seqc_store *store = seqc_store_new();

    CHECK(increase(store, "seq:a", 1) == 1);
    CHECK(increase(store, "seq:a", 1) == 2);
    CHECK(increase(store, "seq:b", 100) == 100);
    CHECK(increase(store, "seq:a", 40) == 42);
    CHECK(get(store, "seq:a") == 42);
    CHECK(get(store, "seq:b") == 100);
    CHECK(seqc_store_count(store) == 2);
    seqc_store_unref(store);
}

static void
overflow_leaves_the_number(void)
{
    seqc_store *store = seqc_store_new();
    int64_t seq = -5;

    CHECK(increase(store, "a", INT64_MAX - 1) == INT64_MAX - 1);
    CHECK(seqc_store_increase(store, "a", 1, 2, &seq) == SEQC_OVERFLOW);
    CHECK(seq == -5 && get(store, "a") == INT64_MAX - 1);
    CHECK(increase(store, "a", 1) == INT64_MAX);
    CHECK(seqc_store_increase(store, "a", 1, 1, &seq) == SEQC_OVERFLOW);
    CHECK(seqc_store_increase(store, "a", 1, INT64_MAX, &seq)
          == SEQC_OVERFLOW);
    CHECK(seq == -5 && get(store, "a") == INT64_MAX);
    seqc_store_unref(store);
}

static void
raise_goes_forward_only(void)
{
    seqc_store *store = seqc_store_new();

    CHECK(raise_to(store, "a", 10) == 10);
    CHECK(raise_to(store, "a", 9) == 10);
    CHECK(raise_to(store, "a", 10) == 10);
    CHECK(raise_to(store, "a", INT64_MIN) == 10);
    CHECK(raise_to(store, "a", INT64_MAX) == INT64_MAX);
    CHECK(get(store, "a") == INT64_MAX);
    seqc_store_unref(store);
}

static void
delete_starts_again(void)
{
    seqc_store *store = seqc_store_new();

    CHECK(increase(store, "a", 5) == 5);
    CHECK(delete_key(store, "a"));
    CHECK(!delete_key(store, "a"));
    CHECK(get(store, "a") == 0 && seqc_store_count(store) == 0);
    CHECK(increase(store, "a", 1) == 1);
    CHECK(seqc_store_count(store) == 1);
    seqc_store_unref(store);
}

static void
keys_are_bytes(void)
{
    seqc_store *store = seqc_store_new();
    char key[600] = {0};
    int64_t seq;

    for (size_t len = 0; len <= sizeof key; len++) { /* zeros, by length */
        CHECK(!seqc_store_increase(store, key, len, 1 + (int64_t)len, &seq));
        CHECK(seq == 1 + (int64_t)len);
    }
    for (size_t i = 0; i < sizeof key; i++) { /* one bit, anywhere */
        key[i] = 1;
        seqc_store_get(store, key, sizeof key, &seq);
        CHECK(seq == 0);
        key[i] = 0;
    }
    CHECK(seqc_store_count(store) == sizeof key + 1);
    seqc_store_unref(store);
}

/* Against a plain array, with many deletes, so that tables are rebuilt at the
 * same size and grow. */
static void
agrees_with_a_model(void)
{
    static int64_t model[3000];
    static bool there[3000];
    seqc_store *store = seqc_store_new();
    unsigned random = 1;
    size_t count = 0;

    memset(model, 0, sizeof model);
    for (int i = 0; i < 300000; i++) {
        size_t reach = i < 100000 ? 300 : 3000;
        size_t key = ut_random(&random) % reach;
        int64_t amount = 1 + (int64_t)(ut_random(&random) % 1000);
        switch (ut_random(&random) % 4) {
        case 0:
            CHECK(delete_key(store, name(key)) == there[key]);
            count -= there[key];
            there[key] = false;
            model[key] = 0;
            break;
        case 1:
            model[key] = model[key] > amount ? model[key] : amount;
            CHECK(raise_to(store, name(key), amount) == model[key]);
            count += !there[key];
            there[key] = true;
            break;
        case 2:
            model[key] += amount;
            CHECK(increase(store, name(key), amount) == model[key]);
            count += !there[key];
            there[key] = true;
            break;
        case 3:
            CHECK(get(store, name(key)) == model[key]);
            break;
        }
    }
    CHECK(seqc_store_count(store) == count);
    for (size_t key = 0; key < 3000; key++) {
        CHECK(get(store, name(key)) == model[key]);
    }
    seqc_store_unref(store);
}

/* A key that comes and goes must not make its table grow. */
static void
deleted_keys_cost_no_memory(void)
{
    seqc_store *store = seqc_store_new();

    for (size_t i = 0; i < 200; i++) {
        CHECK(increase(store, name(i), 1) == 1);
    }
    ut_fail_at(0);
    for (size_t i = 200; i < 50000; i++) {
        CHECK(increase(store, name(i), 1) == 1);
        CHECK(delete_key(store, name(i)));
    }
    CHECK(ut_largest < 2048);
    CHECK(ut_live < 200 + 64 + 2);
    seqc_store_unref(store);
}

/* Adds one to seen[number] for each item; returns the items. */
static size_t
take_page(struct seqc_buf *page, unsigned char *seen)
{
    struct seqc_store_item item;
    size_t items = 0;

    while (seqc_store_page_next(page, &item)) {
        size_t number = number_of(&item);
        CHECK(number < 4 * MANY);
        CHECK(item.seq == (int64_t)number + 1);
        seen[number] = seen[number] ? 2 : 1;
        items++;
    }
    CHECK(seqc_buf_len(page) == 0);
    return items;
}

static void
pages_return_each_key_once(void)
{
    static const size_t sizes[] = {0, 1, 2, 7, 100, 5000, SIZE_MAX};
    seqc_store *store = seqc_store_new();
    struct seqc_buf page;

    seqc_buf_init(&page);
    for (size_t i = 0; i < MANY; i++) {
        increase(store, name(i), (int64_t)i + 1);
    }
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        static unsigned char seen[4 * MANY];
        uint64_t cursor = 0;
        size_t total = 0;
        memset(seen, 0, sizeof seen);
        do {
            CHECK(!seqc_store_page(store, &cursor, &page, sizes[s]));
            size_t items = take_page(&page, seen);
            CHECK(sizes[s] >= MANY || items <= sizes[s] + 64);
            total += items;
        } while (cursor);
        CHECK(total == MANY);
        for (size_t i = 0; i < MANY; i++) {
            CHECK(seen[i] == 1);
        }
    }
    seqc_buf_fini(&page);
    seqc_store_unref(store);
}

static void
page_of_an_empty_store_is_the_end(void)
{
    seqc_store *store = seqc_store_new();
    struct seqc_buf page;
    struct seqc_store_item item;
    uint64_t cursor = 0;

    seqc_buf_init(&page);
    CHECK(!seqc_store_page(store, &cursor, &page, 10));
    CHECK(cursor == 0 && !seqc_store_page_next(&page, &item));
    seqc_buf_fini(&page);
    seqc_store_unref(store);
}

/* Between pages the store grows eightfold, and others are deleted. */
static void
pages_miss_nothing_while_the_store_changes(void)
{
    static unsigned char seen[4 * MANY];
    seqc_store *store = seqc_store_new();
    struct seqc_buf page;
    uint64_t cursor = 0;
    size_t added = MANY / 2;
    size_t deleted = 1;

    memset(seen, 0, sizeof seen);
    seqc_buf_init(&page);
    for (size_t i = 0; i < MANY / 2; i++) {
        increase(store, name(i), (int64_t)i + 1);
    }
    do {
        CHECK(!seqc_store_page(store, &cursor, &page, 50));
        take_page(&page, seen);
        for (size_t i = 0; i < 500 && added < 4 * MANY; i++, added++) {
            increase(store, name(added), (int64_t)added + 1);
        }
        for (size_t i = 0; i < 20 && deleted < MANY / 2; i++, deleted += 2) {
            CHECK(delete_key(store, name(deleted))); /* odd ones only */
        }
    } while (cursor);
    CHECK(added == 4 * MANY && deleted > MANY / 2);
    for (size_t i = 0; i < MANY / 2; i += 2) {
        CHECK(seen[i]);
    }
    seqc_buf_fini(&page);
    seqc_store_unref(store);
}

/* One page returns a bounded part of a large store, and looks at a bounded
 * part of one that was large once. */
static void
pages_are_short(void)
{
    static unsigned char seen[4 * MANY];
    seqc_store *store = seqc_store_new();
    struct seqc_buf page;
    uint64_t cursor = 0;
    int pages = 0;

    memset(seen, 0, sizeof seen);
    seqc_buf_init(&page);
    for (size_t i = 0; i < 4 * MANY; i++) {
        increase(store, name(i), (int64_t)i + 1);
    }
    CHECK(!seqc_store_page(store, &cursor, &page, SIZE_MAX));
    size_t items = take_page(&page, seen);
    CHECK(items > SEQC_STORE_PAGE_MAX / 2);
    CHECK(items <= SEQC_STORE_PAGE_MAX + 64);
    cursor = 0;
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < 4 * MANY; i++) {
        CHECK(i == 777 || delete_key(store, name(i)));
    }
    do {
        CHECK(!seqc_store_page(store, &cursor, &page, 10));
        take_page(&page, seen);
        pages++;
    } while (cursor);
    CHECK(seen[777] == 1 && pages > 20);
    seqc_buf_fini(&page);
    seqc_store_unref(store);
}

/* Which keys share a slot cannot be known from outside. */
static void
order_differs_from_store_to_store(void)
{
    struct seqc_buf pages[2];

    for (size_t s = 0; s < 2; s++) {
        seqc_store *store = seqc_store_new();
        uint64_t cursor = 0;
        seqc_buf_init(&pages[s]);
        for (size_t i = 100; i < 200; i++) {
            increase(store, name(i), 1);
        }
        CHECK(!seqc_store_page(store, &cursor, &pages[s], 1000));
        CHECK(cursor == 0);
        seqc_store_unref(store);
    }
    CHECK(seqc_buf_len(&pages[0]) == seqc_buf_len(&pages[1]));
    CHECK(memcmp(pages[0].data, pages[1].data, seqc_buf_len(&pages[0])));
    seqc_buf_fini(&pages[0]);
    seqc_buf_fini(&pages[1]);
}

static void
references_keep_the_store(void)
{
    long live = ut_live;
    seqc_store *store = seqc_store_new();

    CHECK(seqc_store_ref(store) == store);
    increase(store, "a", 3);
    seqc_store_unref(store);
    CHECK(get(store, "a") == 3);
    seqc_store_unref(store);
    seqc_store_unref(NULL);
    CHECK(ut_live == live);
}

/* Fills with new keys and reads all in one page; what fails has changed
 * nothing.  Returns whether all of it went well. */
static bool
fill_without_memory(seqc_store *store)
{
    struct seqc_buf page;
    uint64_t cursor = 0;
    bool is_well = true;

    seqc_buf_init(&page);
    for (size_t i = 0; i < 400; i++) {
        const char *key = name(i);
        size_t before = seqc_store_count(store);
        int64_t seq = -5;
        seqc_status status = i % 2
            ? seqc_store_increase(store, key, strlen(key), 3, &seq)
            : seqc_store_raise(store, key, strlen(key), 3, &seq);
        CHECK(status == SEQC_OK || status == SEQC_NOMEM);
        CHECK(seq == (status ? -5 : 3));
        CHECK(seqc_store_count(store) == before + !status);
        CHECK(get(store, key) == (status ? 0 : 3));
        is_well = is_well && !status;
    }
    seqc_status status = seqc_store_page(store, &cursor, &page, 1000);
    CHECK(status == SEQC_OK || status == SEQC_NOMEM);
    CHECK(!status || (seqc_buf_len(&page) == 0 && cursor == 0));
    seqc_buf_fini(&page);
    return is_well && !status;
}

static void
nth_allocation_fails_and_nothing_changes(void)
{
    long live = ut_live;

    for (long n = 1;; n++) {
        bool is_well = false;
        ut_fail_at(n);
        seqc_store *store = seqc_store_new();
        if (store) {
            is_well = fill_without_memory(store);
        }
        bool has_failed = ut_has_failed();
        ut_fail_at(0);
        CHECK(is_well == !has_failed);
        seqc_store_unref(store);
        CHECK(ut_live == live);
        if (!has_failed) {
            CHECK(n > 400);
            return;
        }
    }
}

/* The allocators of the sanitizers do not survive a fork with threads (libc's
 * does), so the fork test brings one that does: an arena, and free lists by
 * size of which each thread has its own. */
#define ARENA_BYTES ((size_t)256 << 20)
#define ARENA_HEAD  16

static char *arena;
static atomic_size_t arena_used;
static _Thread_local void *arena_free_lists[32];

static unsigned
size_class(size_t size)
{
    unsigned log2 = 5;
    while (((size_t)1 << log2) < size) {
        log2++;
    }
    return log2;
}

static void *
arena_malloc(size_t size)
{
    size_t bytes = (size_t)1 << size_class(size + ARENA_HEAD);
    void **list = &arena_free_lists[size_class(size + ARENA_HEAD)];
    char *block = *list;

    if (block) {
        memcpy(list, block, sizeof *list);
    }
    else {
        size_t start = atomic_fetch_add(&arena_used, bytes);
        CHECK(start + bytes <= ARENA_BYTES);
        block = arena + start + ARENA_HEAD;
    }
    memcpy(block - ARENA_HEAD, &size, sizeof size);
    return block;
}

static void
arena_free(void *block)
{
    size_t size;

    if (!block) {
        return;
    }
    memcpy(&size, (char *)block - ARENA_HEAD, sizeof size);
    void **list = &arena_free_lists[size_class(size + ARENA_HEAD)];
    memset(block, 0xdd, size);
    memcpy(block, list, sizeof *list);
    *list = block;
}

static void *
arena_calloc(size_t count, size_t size)
{
    void *block = arena_malloc(count * size);
    return memset(block, 0, count * size);
}

static void *
arena_realloc(void *block, size_t size)
{
    size_t before = 0;
    void *moved = arena_malloc(size);

    if (block) {
        memcpy(&before, (char *)block - ARENA_HEAD, sizeof before);
        memcpy(moved, block, before < size ? before : size);
    }
    arena_free(block);
    return moved;
}

static void
use_arena(void)
{
    static const struct seqc_allocator allocator = {
        arena_malloc,
        arena_calloc,
        arena_realloc,
        arena_free,
    };

    arena = mmap(NULL,
                 ARENA_BYTES,
                 PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1,
                 0);
    CHECK(arena != MAP_FAILED);
    seqc_alloc_use(&allocator);
}

/* Two keys of one hash, which no store of ours will ever see. */
static void
keys_of_one_hash_are_two(void)
{
    static const struct seqc_table_key a = {"seq:a", 5, 12345};
    static const struct seqc_table_key b = {"seq:b", 5, 12345};
    struct seqc_table table;

    seqc_table_init(&table, 0);
    CHECK(!seqc_table_add(&table, &a, 1));
    CHECK(!seqc_table_find(&table, &b));
    CHECK(!seqc_table_add(&table, &b, 2));
    CHECK(*seqc_table_find(&table, &a) == 1);
    CHECK(*seqc_table_find(&table, &b) == 2);
    CHECK(seqc_table_remove(&table, &a));
    CHECK(!seqc_table_remove(&table, &a));
    CHECK(*seqc_table_find(&table, &b) == 2);
    seqc_table_fini(&table);
}

/* A run of used slots may go on at the start of the table. */
static void
keys_at_the_end_of_the_table_are_found_and_walked(void)
{
    struct seqc_table table;
    struct seqc_buf page;
    struct seqc_table_walk walk = {&page, 100, 100, 0};
    char bytes[] = "0";

    seqc_table_init(&table, 0);
    seqc_buf_init(&page);
    for (uint64_t i = 0; i < 9; i++, bytes[0]++) {
        struct seqc_table_key key = {bytes, 1, UINT64_MAX - i};
        CHECK(!seqc_table_add(&table, &key, (int64_t)i));
        CHECK(*seqc_table_find(&table, &key) == (int64_t)i);
    }
    CHECK(!seqc_table_walk_on(&table, &walk));
    CHECK(walk.place == 0 && walk.items_left == 100 - 9);
    seqc_buf_fini(&page);
    seqc_table_fini(&table);
}

static seqc_store *forked_store;
static long forks;
static int check_after_fork(seqc_store *store);

/* As if another thread forked at this moment: the child has a lock that is
 * held, and a change half made. */
static void
fork_and_check(void)
{
    seqc_store *store = forked_store;
    int status;

    if (!store || forks++ % 8) {
        return;
    }
    forked_store = NULL;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(check_after_fork(store));
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    forked_store = store;
}

static void *
forking_malloc(size_t size)
{
    fork_and_check();
    return malloc(size);
}

static void *
forking_calloc(size_t count, size_t size)
{
    fork_and_check();
    return calloc(count, size);
}

static void
forking_free(void *block)
{
    fork_and_check();
    free(block);
    fork_and_check(); /* nothing may use the block any more */
}

/* Every allocation of a change is made with the lock held. */
static void
fork_within_a_change_leaves_a_whole_store(void)
{
    static const struct seqc_allocator allocator = {
        forking_malloc,
        forking_calloc,
        realloc,
        forking_free,
    };
    seqc_alloc_use(&allocator);
    seqc_store *store = seqc_store_new();

    for (size_t i = 0; i < 2000; i += 2) {
        increase(store, name(i), 7);
    }
    forked_store = store;
    for (size_t i = 1; i < 600; i += 2) {
        increase(store, name(i), 1);
        if (i % 4 == 1) {
            delete_key(store, name(i));
        }
    }
    forked_store = NULL;
    CHECK(forks > 400);
    seqc_store_unref(store);
}

struct hammer {
    seqc_store *store;
    atomic_bool stop;
};

/* Adds and deletes odd keys; even ones stay. */
static void *
hammer_store(void *argument)
{
    struct hammer *hammer = argument;
    size_t i = 1;

    while (!atomic_load(&hammer->stop)) {
        increase(hammer->store, name(i), 1);
        delete_key(hammer->store, name(i < 1000 ? i : i - 998));
        i = i < 40000 ? i + 2 : 1;
    }
    return NULL;
}

/* In the child: exit code 0 if the store is whole. */
static int
check_after_fork(seqc_store *store)
{
    struct seqc_buf page;
    struct seqc_store_item item;
    uint64_t cursor = 0;
    size_t items = 0;

    alarm(60); /* a lock that nobody opens ends the child */
    seqc_store_after_fork(store);
    seqc_buf_init(&page);
    do {
        CHECK(!seqc_store_page(store, &cursor, &page, 1000));
        while (seqc_store_page_next(&page, &item)) {
            int64_t seq;
            seqc_store_get(store, item.key, item.key_len, &seq);
            CHECK(seq > 0 && seq == item.seq);
            items++;
        }
    } while (cursor);
    seqc_buf_fini(&page);
    CHECK(items == seqc_store_count(store));
    for (size_t i = 0; i < 2000; i += 2) {
        CHECK(get(store, name(i)) == 7);
        CHECK(increase(store, name(i), 1) == 8);
    }
    for (size_t i = 1; i < 3000; i += 2) {
        delete_key(store, name(i));
        CHECK(increase(store, name(i), 1) == 1);
    }
    return 0;
}

static void
fork_during_writes_leaves_a_whole_store(void)
{
    struct hammer hammer = {0};
    pthread_t threads[2];

    use_arena();
    hammer.store = seqc_store_new();
    for (size_t i = 0; i < 2000; i += 2) {
        increase(hammer.store, name(i), 7);
    }
    for (size_t t = 0; t < 2; t++) {
        CHECK(!pthread_create(&threads[t], NULL, hammer_store, &hammer));
    }
    for (int i = 0; i < 60; i++) {
        int status;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            _exit(check_after_fork(hammer.store));
        }
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    atomic_store(&hammer.stop, true);
    for (size_t t = 0; t < 2; t++) {
        CHECK(!pthread_join(threads[t], NULL));
    }
    seqc_store_unref(hammer.store);
}

int
main(void)
{
    ut_watch();
    RUN(missing_key_is_0_and_stays_missing);
    RUN(increase_counts_from_1);
    RUN(overflow_leaves_the_number);
    RUN(raise_goes_forward_only);
    RUN(delete_starts_again);
    RUN(keys_are_bytes);
    RUN(agrees_with_a_model);
    RUN(deleted_keys_cost_no_memory);
    RUN(pages_return_each_key_once);
    RUN(page_of_an_empty_store_is_the_end);
    RUN(pages_miss_nothing_while_the_store_changes);
    RUN(pages_are_short);
    RUN(order_differs_from_store_to_store);
    RUN(references_keep_the_store);
    RUN(nth_allocation_fails_and_nothing_changes);
    RUN(keys_of_one_hash_are_two);
    RUN(keys_at_the_end_of_the_table_are_found_and_walked);
    RUN(fork_within_a_change_leaves_a_whole_store);
    RUN(fork_during_writes_leaves_a_whole_store);
    return ut_finish();
}
