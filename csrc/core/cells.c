/* SPDX-License-Identifier: MIT */
#include "core/cells.h"

#include <pthread.h>
#include <stdatomic.h>

#include "core/alloc.h"
#include "core/memory.h"
#include "core/regress.h"
#include "core/table.h"

/* As in memory.c: the leading bits of a key's hash choose the shard. */
#define SHARD_BITS 6
#define SHARDS     (1u << SHARD_BITS)
#define REST_BITS  (64 - SHARD_BITS)

/* In front of each number of a table; all 0 in a new entry. */
struct cell {
    int64_t end;     /* ceiling + 1; 0: nothing was granted */
    int64_t low;     /* tell at this number that more is needed */
    uint32_t grants; /* of which of seqc_cells_forget's times they are */
    uint32_t line;   /* requests that have a place in it */
};

struct shard {
    pthread_mutex_t mutex; /* rank: last */
    struct seqc_table table;
};

struct seqc_cells {
    atomic_int refs;
    _Atomic int64_t lease_ns;
    _Atomic uint32_t grants; /* changed by seqc_cells_forget */
    struct seqc_hash_seed seed;
    struct shard shards[SHARDS];
    struct seqc_once once;
};

/* What a shard, locked, has of a key. */
struct place {
    struct shard *shard;
    struct seqc_table_key key;
    int64_t *number;   /* NULL: there is no entry */
    struct cell *cell; /* in front of it */
    bool granted;
};

static inline struct cell *
cell_of(int64_t *number)
{
    return (struct cell *)(void *)number - 1;
}

/* Unlock with unlock_place. */
static inline void
lock_place(seqc_cells *cells,
           const char *bytes,
           size_t len,
           struct place *out_place)
{
    uint64_t hash = seqc_hash_bytes(&cells->seed, bytes, len);
    struct shard *shard = &cells->shards[hash >> REST_BITS];

    *out_place = (struct place){
        .shard = shard,
        .key = {.bytes = bytes, .len = len, .hash = hash << SHARD_BITS},
    };
    pthread_mutex_lock(&shard->mutex);
    int64_t *number = seqc_table_find(&shard->table, &out_place->key);
    if (number) {
        struct cell *cell = cell_of(number);
        out_place->number = number;
        out_place->cell = cell;
        out_place->granted =
            cell->end &&
            cell->grants ==
                atomic_load_explicit(&cells->grants, memory_order_relaxed);
    }
}

static inline void
unlock_place(const struct place *place)
{
    pthread_mutex_unlock(&place->shard->mutex);
}

/* Makes the entry of a key that has none. */
SEQC_CHECK static seqc_status
add_cell(struct place *place)
{
    seqc_status status = seqc_table_add(&place->shard->table, &place->key, 0);

    if (!status) {
        place->number = seqc_table_find(&place->shard->table, &place->key);
        place->cell = cell_of(place->number);
    }
    return status;
}

/* ---- life ---- */

seqc_cells *
seqc_cells_new(void)
{
    seqc_cells *cells = seqc_malloc(sizeof *cells);

    if (!cells) {
        return NULL;
    }
    atomic_init(&cells->refs, 1);
    atomic_init(&cells->lease_ns, SEQC_CELLS_FOR_EVER);
    atomic_init(&cells->grants, 0);
    seqc_hash_seed_draw(&cells->seed);
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&cells->shards[i].mutex, NULL);
        seqc_table_init(&cells->shards[i].table, sizeof(struct cell));
    }
    seqc_once_init(&cells->once);
    return cells;
}

seqc_cells *
seqc_cells_ref(seqc_cells *cells)
{
    atomic_fetch_add_explicit(&cells->refs, 1, memory_order_relaxed);
    return cells;
}

void
seqc_cells_unref(seqc_cells *cells)
{
    if (!cells || atomic_fetch_sub_explicit(
                      &cells->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&cells->shards[i].mutex);
        seqc_table_fini(&cells->shards[i].table);
    }
    seqc_once_fini(&cells->once);
    seqc_free(cells);
}

void
seqc_cells_after_fork(seqc_cells *cells)
{
    atomic_store(&cells->lease_ns, SEQC_CELLS_SEALED);
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &cells->shards[i];
        /* Held: by a thread that does not exist here. */
        if (pthread_mutex_trylock(&shard->mutex) != 0) {
            seqc_table_recount(&shard->table);
        }
        pthread_mutex_init(&shard->mutex, NULL);
    }
    seqc_once_after_fork(&cells->once);
}

/* Once this returns, whoever holds a shard has seen what was stored before. */
static void
pass_all(seqc_cells *cells)
{
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&cells->shards[i].mutex);
        pthread_mutex_unlock(&cells->shards[i].mutex);
    }
}

/* ---- whether numbers may be given at all ---- */

int64_t
seqc_cells_lease(const seqc_cells *cells)
{
    return atomic_load_explicit(&cells->lease_ns, memory_order_relaxed);
}

static bool
is_sealed(const seqc_cells *cells)
{
    return seqc_cells_lease(cells) == SEQC_CELLS_SEALED;
}

void
seqc_cells_set_lease(seqc_cells *cells, int64_t until_ns)
{
    int64_t before = atomic_load(&cells->lease_ns);

    while (
        before != SEQC_CELLS_SEALED &&
        !atomic_compare_exchange_weak(&cells->lease_ns, &before, until_ns)) {
    }
}

void
seqc_cells_seal(seqc_cells *cells)
{
    atomic_store(&cells->lease_ns, SEQC_CELLS_SEALED);
    pass_all(cells);
}

void
seqc_cells_forget(seqc_cells *cells)
{
    atomic_fetch_add(&cells->grants, 1);
    pass_all(cells);
}

/* ---- requests ---- */

/* Whether the request is served now, if there is room. */
static bool
is_next(const seqc_cells *cells,
        const struct place *place,
        const struct seqc_cells_ask *ask)
{
    return place->granted && !is_sealed(cells) &&
           (!place->cell->line || ask->first ||
            (ask->in_line && *ask->in_line));
}

/* It was answered: its place in line is free. */
static void
leave_line(const struct place *place, const struct seqc_cells_ask *ask)
{
    if (ask->in_line && *ask->in_line) {
        *ask->in_line = false;
        place->cell->line--;
    }
}

SEQC_CHECK static seqc_status
join_line(const seqc_cells *cells,
          struct place *place,
          const struct seqc_cells_ask *ask)
{
    seqc_status status;

    if (!ask->in_line || *ask->in_line || is_sealed(cells)) {
        return SEQC_CEILING;
    }
    status = place->number ? SEQC_OK : add_cell(place);
    if (status) {
        return status;
    }
    place->cell->line++;
    *ask->in_line = true;
    return SEQC_CEILING;
}

/* The number moves on to `seq`, which is below the end. */
static void
move_on(const struct place *place, int64_t seq, bool *out_low)
{
    struct cell *cell = place->cell;

    *place->number = seq;
    if (seq >= cell->low) {
        /* Again at half of what is left, in case nobody cares. */
        cell->low = seq + (cell->end - seq) / 2;
        *out_low = true;
    }
}

seqc_status
seqc_cells_increase(seqc_cells *cells,
                    const struct seqc_cells_ask *ask,
                    int64_t *out_seq,
                    bool *out_low)
{
    struct place place;
    seqc_status status;

    lock_place(cells, ask->key, ask->len, &place);
    int64_t seq = place.number ? *place.number : 0;
    if (ask->amount > SEQC_CELLS_LAST - seq) {
        leave_line(&place, ask);
        status = SEQC_OVERFLOW;
    } else if (is_next(cells, &place, ask) &&
               ask->amount < place.cell->end - seq) {
        seq += ask->amount;
        *out_low = false;
        move_on(&place, seq, out_low);
        leave_line(&place, ask);
        *out_seq = seq;
        status = SEQC_OK;
    } else {
        status = join_line(cells, &place, ask);
    }
    unlock_place(&place);
    return status;
}

struct seqc_once *
seqc_cells_once_view(seqc_cells *cells)
{
    return &cells->once;
}

seqc_status
seqc_cells_raise(seqc_cells *cells,
                 const struct seqc_cells_ask *ask,
                 int64_t *out_seq,
                 bool *out_low)
{
    struct place place;
    seqc_status status;

    *out_low = false;
    if (ask->amount <= 0) {
        return seqc_cells_get(cells, ask, out_seq);
    }
    lock_place(cells, ask->key, ask->len, &place);
    int64_t seq = place.number ? *place.number : 0;
    if (ask->amount > SEQC_CELLS_LAST) {
        leave_line(&place, ask);
        status = SEQC_OVERFLOW;
    } else if (is_next(cells, &place, ask) && ask->amount < place.cell->end) {
        if (seq < ask->amount) {
            seq = ask->amount;
            move_on(&place, seq, out_low);
        }
        leave_line(&place, ask);
        *out_seq = seq;
        status = SEQC_OK;
    } else {
        status = join_line(cells, &place, ask);
    }
    unlock_place(&place);
    return status;
}

seqc_status
seqc_cells_get(seqc_cells *cells,
               const struct seqc_cells_ask *ask,
               int64_t *out_seq)
{
    struct place place;
    seqc_status status = SEQC_CEILING;

    lock_place(cells, ask->key, ask->len, &place);
    if (is_next(cells, &place, ask)) {
        *out_seq = *place.number;
        leave_line(&place, ask);
        status = SEQC_OK;
    } else if (place.number) {
        status = join_line(cells, &place, ask);
    }
    unlock_place(&place);
    return status;
}

void
seqc_cells_leave(seqc_cells *cells, const char *key, size_t len)
{
    struct place place;

    lock_place(cells, key, len, &place);
    if (place.cell && place.cell->line) {
        place.cell->line--;
    }
    unlock_place(&place);
}

/* ---- grants ---- */

seqc_status
seqc_cells_grant(seqc_cells *cells,
                 const char *key,
                 size_t len,
                 const struct seqc_cells_grant *grant)
{
    struct place place;
    seqc_status status = SEQC_OK;

    lock_place(cells, key, len, &place);
    if (!place.number) {
        status = add_cell(&place);
    }
    if (!status) {
        struct cell *cell = place.cell;
        int64_t end = place.granted ? cell->end : 0;
        cell->end = end > grant->ceiling ? end : grant->ceiling + 1;
        cell->low = grant->low;
        cell->grants = atomic_load(&cells->grants);
        if (*place.number < grant->base) {
            *place.number = grant->base;
        }
    }
    unlock_place(&place);
    return status;
}

bool
seqc_cells_look(seqc_cells *cells,
                const char *key,
                size_t len,
                int64_t *out_seq,
                int64_t *out_ceiling)
{
    struct place place;

    lock_place(cells, key, len, &place);
    if (place.granted) {
        *out_seq = *place.number;
        *out_ceiling = place.cell->end - 1;
    }
    unlock_place(&place);
    return place.granted;
}

/* ---- pages ---- */

seqc_status
seqc_cells_page(seqc_cells *cells,
                uint64_t *cursor,
                struct seqc_buf *page,
                size_t max)
{
    struct seqc_table_walk walk = {
        .page = page,
        .items_left = max ? max : 1,
        .steps_left = SIZE_MAX,
        .place = *cursor << SHARD_BITS,
    };
    size_t len_before = seqc_buf_len(page);
    uint64_t number = *cursor >> REST_BITS;
    struct shard *shard = &cells->shards[number];

    pthread_mutex_lock(&shard->mutex);
    seqc_status status = seqc_table_walk_on(&shard->table, &walk);
    pthread_mutex_unlock(&shard->mutex);
    if (status) {
        seqc_buf_truncate(page, seqc_buf_len(page) - len_before);
        return status;
    }
    number += walk.place == 0;
    *cursor = number << REST_BITS | walk.place >> SHARD_BITS;
    return SEQC_OK;
}
