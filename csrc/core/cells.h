/* SPDX-License-Identifier: MIT */
/* Counters under ceilings: what durable mode keeps in this process.
 *
 * A key has a cell once a database was asked for it: its number, and the
 * ceiling up to which the database has committed that it may go.  A number is
 * given at or below the ceiling only; what needs more is refused with
 * SEQC_CEILING, changes nothing, and comes again after a grant.
 *
 * Who was refused stands in line: until it came again, nobody else is served
 * from that cell, so that calls keep their order and a small one cannot take
 * again and again what was granted to a large one.
 *
 * Threads: as in memory.h. */
#ifndef SEQC_CELLS_H
#define SEQC_CELLS_H

#include <stdint.h>

#include "core/buf.h"
#include "core/once.h"
#include "core/status.h"

/* The last number of durable mode: that of Redis's Lua, here as well, so that
 * one sentence holds wherever ceilings are kept. */
#define SEQC_CELLS_LAST ((INT64_C(1) << 53) - 1)

/* Values of the end of a lease. */
#define SEQC_CELLS_FOR_EVER INT64_MAX
#define SEQC_CELLS_SEALED   INT64_MIN

typedef struct seqc_cells seqc_cells;

/* The caller owns the only reference; NULL when out of memory. */
seqc_cells *seqc_cells_new(void);
seqc_cells *seqc_cells_ref(seqc_cells *cells);
void seqc_cells_unref(seqc_cells *cells); /* NULL is fine */

/* In the forked child: the ceilings are the parent's, so it is sealed. */
void seqc_cells_after_fork(seqc_cells *cells);

/* For ever: nothing is given once this has returned, and the numbers are
 * final. */
void seqc_cells_seal(seqc_cells *cells);

/* Until when numbers may be given, on the clock of whoever set it: the caller
 * compares.  Once sealed it stays so. */
int64_t seqc_cells_lease(const seqc_cells *cells);
void seqc_cells_set_lease(seqc_cells *cells, int64_t until_ns);

/* One request.  `in_line` says whether it has a place in line, before and
 * after; NULL: it will not come again. */
struct seqc_cells_ask {
    const char *key; /* borrowed */
    size_t len;
    int64_t amount; /* by, at least 1; or to, at least 0 */
    bool *in_line;
    bool first; /* goes before those in line */
};

/* SEQC_CEILING: not before a grant, also when nobody has asked the database
 * for the key yet; from now on in line.  SEQC_OVERFLOW: never.  SEQC_NOMEM.
 * out_low: whether more should be granted soon; that is told seldom. */
SEQC_CHECK seqc_status seqc_cells_increase(seqc_cells *cells,
                                           const struct seqc_cells_ask *ask,
                                           int64_t *out_seq,
                                           bool *out_low);
/* The tokens of its increases. */
struct seqc_once *seqc_cells_once_view(seqc_cells *cells);
/* Forward only, as seqc_store_raise.  To 0 it is a get. */
SEQC_CHECK seqc_status seqc_cells_raise(seqc_cells *cells,
                                        const struct seqc_cells_ask *ask,
                                        int64_t *out_seq,
                                        bool *out_low);
/* Without `amount`.  Never in line for a key that has no cell. */
SEQC_CHECK seqc_status seqc_cells_get(seqc_cells *cells,
                                      const struct seqc_cells_ask *ask,
                                      int64_t *out_seq);

/* Gives up the place in line that a request for `key` has. */
void seqc_cells_leave(seqc_cells *cells, const char *key, size_t len);

/* What a database has committed: numbers above `base`, and above the present
 * number, up to `ceiling`.  Neither goes back.  From `low` on it tells that
 * more is needed.  SEQC_NOMEM for a new cell. */
struct seqc_cells_grant {
    int64_t base;
    int64_t ceiling;
    int64_t low;
};

SEQC_CHECK seqc_status seqc_cells_grant(seqc_cells *cells,
                                        const char *key,
                                        size_t len,
                                        const struct seqc_cells_grant *grant);

/* False when there is no cell, or one that nothing was granted yet. */
bool seqc_cells_look(seqc_cells *cells,
                     const char *key,
                     size_t len,
                     int64_t *out_seq,
                     int64_t *out_ceiling);

/* Forgets all grants: somebody else may have got later ones.  Places in line
 * stay. */
void seqc_cells_forget(seqc_cells *cells);

/* All cells by pages, those without a grant included; as seqc_store_page,
 * whose seqc_store_page_next reads a page. */
SEQC_CHECK seqc_status seqc_cells_page(seqc_cells *cells,
                                       uint64_t *cursor,
                                       struct seqc_buf *page,
                                       size_t max);

#endif
