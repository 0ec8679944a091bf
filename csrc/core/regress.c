/* SPDX-License-Identifier: MIT */
#include "core/regress.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/alloc.h"

#define WAYS     8 /* entries of a set: two cache lines, aligned */
#define LINE     64
#define SETS_MIN 8

/* Both halves of the 128-bit product, combined: each bit of either side
 * reaches all the others. */
#if SIZE_MAX > UINT32_MAX
typedef unsigned wide __attribute__((mode(TI)));

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
#else
static inline uint64_t
fold(uint64_t a, uint64_t b)
{
    uint64_t low = (a & UINT32_MAX) * (b & UINT32_MAX);
    uint64_t middle = (a >> 32) * (b & UINT32_MAX) + (low >> 32);
    uint64_t cross = (a & UINT32_MAX) * (b >> 32) + (middle & UINT32_MAX);
    uint64_t high = (a >> 32) * (b >> 32) + (middle >> 32) + (cross >> 32);
    return high ^ (cross << 32 | (low & UINT32_MAX));
}
#endif

static inline uint64_t
load_8(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint64_t
load_4(const char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Up to 8 bytes as one word; the caller adds the length. */
static inline uint64_t
load_short(const char *bytes, size_t len)
{
    if (len >= 4) {
        return load_4(bytes) << 32 | load_4(bytes + len - 4);
    }
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        word = word << 8 | (unsigned char)bytes[i];
    }
    return word;
}

void
seqc_hash_seed_draw(struct seqc_hash_seed *seed)
{
    if (getentropy(seed->words, sizeof seed->words) == 0) {
        return;
    }
    /* A sandbox without the system call: what the loader randomised is still
     * unknown to whoever chooses keys. */
    uint64_t state =
        fold((uint64_t)(uintptr_t)seed ^ 0x9e3779b97f4a7c15u,
             (uint64_t)(uintptr_t)&fold ^ (uint64_t)getpid() << 40);
    for (size_t i = 0; i < 4; i++) {
        state = fold(state + 0x9e3779b97f4a7c15u,
                     (uint64_t)(uintptr_t)&getentropy ^ 0xd1b54a32d192ed03u);
        seed->words[i] = state;
    }
}

uint64_t
seqc_hash_bytes(const struct seqc_hash_seed *seed,
                const char *bytes,
                size_t len)
{
    const uint64_t *words = seed->words;
    const char *end = bytes + len;
    uint64_t state = words[0];
    uint64_t head = 0;
    uint64_t tail = 0;

    while (end - bytes > 16) {
        state = fold(load_8(bytes) ^ words[1], load_8(bytes + 8) ^ state);
        bytes += 16;
    }
    if (len > 16) { /* the last 16 bytes; may overlap what was read */
        head = load_8(end - 16);
        tail = load_8(end - 8);
    } else if (len > 8) {
        head = load_8(bytes);
        tail = load_8(end - 8);
    } else {
        head = load_short(bytes, len);
    }
    state = fold(head ^ words[2], tail ^ state);
    return fold(state ^ words[3], (uint64_t)len ^ words[1]);
}

struct regress_entry {
    uint64_t hash; /* 0: unused */
    int64_t value;
};

/* Packed from the front, newest first.  Of most sets only the first line is
 * ever touched. */
struct regress_set {
    struct regress_entry entries[WAYS];
};

/* One block behind one pointer: a growing table is never half there. */
struct regress_table {
    size_t set_count;         /* a power of two */
    struct regress_set *sets; /* behind this struct, at a line's start */
};

struct seqc_regress {
    pthread_mutex_t lock;
    struct seqc_hash_seed seed;
    size_t sets_max;
    struct regress_table *table; /* owned */
    uint32_t deletes;            /* written and not ended */
    uint32_t generation;
};

static struct regress_table *
make_table(size_t set_count)
{
    size_t size = sizeof(struct regress_table) + LINE +
                  set_count * sizeof(struct regress_set);
    struct regress_table *table = seqc_calloc(1, size);

    if (table) {
        uintptr_t start = (uintptr_t)(table + 1);
        char *line = (char *)(table + 1) + (LINE - start % LINE) % LINE;
        table->set_count = set_count;
        table->sets = (struct regress_set *)(void *)line;
    }
    return table;
}

static inline struct regress_set *
find_set(struct regress_table *table, uint64_t hash)
{
    return &table->sets[hash & (table->set_count - 1)];
}

/* WAYS when it is not there. */
static inline size_t
find_entry(const struct regress_set *set, uint64_t hash)
{
    for (size_t i = 0; i < WAYS; i++) {
        if (set->entries[i].hash == hash) {
            return i;
        }
        if (!set->entries[i].hash) {
            break;
        }
    }
    return WAYS;
}

static inline bool
is_full(const struct regress_set *set)
{
    return set->entries[WAYS - 1].hash != 0;
}

/* Everything moves back by one; of a full set the last entry is lost. */
static void
push_entry(struct regress_set *set, uint64_t hash, int64_t value)
{
    memmove(&set->entries[1],
            &set->entries[0],
            (WAYS - 1) * sizeof set->entries[0]);
    set->entries[0] = (struct regress_entry){hash, value};
}

/* A set splits into two, so nothing is lost and the order is kept. */
static void
copy_set(const struct regress_set *set, struct regress_table *table)
{
    for (size_t i = WAYS; i-- > 0;) {
        struct regress_entry entry = set->entries[i];
        if (entry.hash) {
            push_entry(find_set(table, entry.hash), entry.hash, entry.value);
        }
    }
}

static bool
grow(struct seqc_regress *regress)
{
    struct regress_table *old = regress->table;

    if (old->set_count >= regress->sets_max) {
        return false;
    }
    struct regress_table *table = make_table(old->set_count * 2);
    if (!table) {
        return false;
    }
    for (size_t i = 0; i < old->set_count; i++) {
        copy_set(&old->sets[i], table);
    }
    regress->table = table;
    seqc_free(old);
    return true;
}

static void
add_entry(struct seqc_regress *regress, uint64_t hash, int64_t value)
{
    struct regress_set *set = find_set(regress->table, hash);

    while (is_full(set) && grow(regress)) {
        set = find_set(regress->table, hash);
    }
    push_entry(set, hash, value);
}

/* What is used goes to the head of the second line, so that the unused is
 * replaced when the set is full.  (Not one place up: two neighbours used in
 * turn would only change places, and one of them be pushed out.) */
static void
promote(struct regress_set *set, size_t i)
{
    if (i <= WAYS / 2) {
        return;
    }
    struct regress_entry entry = set->entries[i];
    memmove(&set->entries[WAYS / 2 + 1],
            &set->entries[WAYS / 2],
            (i - WAYS / 2) * sizeof entry);
    set->entries[WAYS / 2] = entry;
}

struct seqc_regress *
seqc_regress_new(size_t max_entries)
{
    struct seqc_regress *regress = seqc_malloc(sizeof *regress);

    if (!regress) {
        return NULL;
    }
    regress->table = make_table(SETS_MIN);
    if (!regress->table) {
        seqc_free(regress);
        return NULL;
    }
    regress->sets_max = SETS_MIN;
    regress->deletes = 0;
    regress->generation = 0;
    while (regress->sets_max * WAYS < max_entries &&
           regress->sets_max <= SIZE_MAX / WAYS / 2) {
        regress->sets_max *= 2;
    }
    seqc_hash_seed_draw(&regress->seed);
    pthread_mutex_init(&regress->lock, NULL);
    return regress;
}

void
seqc_regress_free(struct seqc_regress *regress)
{
    if (!regress) {
        return;
    }
    pthread_mutex_destroy(&regress->lock);
    seqc_free(regress->table);
    seqc_free(regress);
}

void
seqc_regress_after_fork(struct seqc_regress *regress)
{
    /* Held: by a thread that does not exist here, in the middle of a set. */
    if (pthread_mutex_trylock(&regress->lock) != 0) {
        memset(regress->table->sets,
               0,
               regress->table->set_count * sizeof(struct regress_set));
    }
    pthread_mutex_init(&regress->lock, NULL);
    regress->deletes = 0;
    regress->generation++;
}

uint64_t
seqc_regress_hash(const struct seqc_regress *regress,
                  const char *key,
                  size_t len)
{
    uint64_t hash = seqc_hash_bytes(&regress->seed, key, len);
    return hash ? hash : 1;
}

void
seqc_regress_lock(struct seqc_regress *regress)
{
    pthread_mutex_lock(&regress->lock);
}

void
seqc_regress_unlock(struct seqc_regress *regress)
{
    pthread_mutex_unlock(&regress->lock);
}

void
seqc_regress_prefetch(const struct seqc_regress *regress, uint64_t hash)
{
#ifdef __GNUC__
    const struct regress_set *set = find_set(regress->table, hash);

    __builtin_prefetch(set);
#else
    (void)regress;
    (void)hash;
#endif
}

int64_t
seqc_regress_floor(const struct seqc_regress *regress, uint64_t hash)
{
    const struct regress_set *set = find_set(regress->table, hash);
    size_t i = regress->deletes ? WAYS : find_entry(set, hash);

    return i < WAYS ? set->entries[i].value : SEQC_REGRESS_UNKNOWN;
}

void
seqc_regress_raise(struct seqc_regress *regress, uint64_t hash, int64_t value)
{
    struct regress_set *set = find_set(regress->table, hash);
    size_t i = find_entry(set, hash);

    if (i == WAYS) {
        add_entry(regress, hash, value);
        return;
    }
    if (set->entries[i].value < value) {
        set->entries[i].value = value;
    }
    promote(set, i);
}

void
seqc_regress_set(struct seqc_regress *regress, uint64_t hash, int64_t value)
{
    struct regress_set *set = find_set(regress->table, hash);
    size_t i = find_entry(set, hash);

    if (i == WAYS) {
        add_entry(regress, hash, value);
        return;
    }
    set->entries[i].value = value;
    promote(set, i);
}

void
seqc_regress_forget(struct seqc_regress *regress, uint64_t hash)
{
    struct regress_set *set = find_set(regress->table, hash);
    size_t i = find_entry(set, hash);

    if (i == WAYS) {
        return;
    }
    for (; i + 1 < WAYS; i++) {
        set->entries[i] = set->entries[i + 1];
    }
    set->entries[WAYS - 1].hash = 0;
}

void
seqc_regress_begin_delete(struct seqc_regress *regress, uint64_t hash)
{
    regress->deletes++;
    regress->generation++;
    seqc_regress_forget(regress, hash);
}

void
seqc_regress_end_delete(struct seqc_regress *regress, uint64_t hash)
{
    if (regress->deletes) { /* a fork forgets those that were under way */
        regress->deletes--;
    }
    regress->generation++;
    seqc_regress_forget(regress, hash);
}

uint32_t
seqc_regress_generation(const struct seqc_regress *regress)
{
    return regress->generation;
}

uint32_t
seqc_regress_deletes(const struct seqc_regress *regress)
{
    return regress->deletes;
}
