/* SPDX-License-Identifier: MIT */
/* Counters under ceilings as an object, and calls that meet a ceiling.
 *
 * An engine with cells has a *keeper*, an object in Python that knows the
 * database: keeper.low(key) when a cell should get more soon, and
 * keeper.stalled(call) with a call that cannot go on; what it returns is what
 * the caller gets, on asyncio an awaitable. */
#ifndef SEQCACHE_CELLS_H
#define SEQCACHE_CELLS_H

#include "binding/engine.h"

/* `_native.Cells(keeps_tokens)` */
typedef struct CellsObject {
    PyObject_HEAD
    seqc_cells *cells;
    bool keeps_tokens; /* the database does: see Cells.record */
} CellsObject;

int cells_setup_type(PyObject *module, struct module_state *state);
int stalled_setup_type(PyObject *module, struct module_state *state);

/* engine.keep(cells, keeper) */
PyObject *engine_keep(EngineObject *engine, PyObject *args);
extern const char engine_keep_doc[];

/* The clock of leases: CLOCK_BOOTTIME, in nanoseconds. */
int64_t cells_now_ns(void);

/* May numbers be given at the moment? */
bool cells_are_open(const seqc_cells *cells);

/* Runs what is not done yet of the call; how many requests are left, which
 * met a ceiling. */
uint32_t cells_run(EngineObject *engine, struct seqc_call *call);

/* keeper.low() for one cell, or for all that the call found low.  -1 with an
 * exception that no listener's failure is (errors_of_news): a signal came. */
int cells_tell_low_key(EngineObject *engine, const char *key, size_t len);
int cells_tell_low(EngineObject *engine, struct seqc_call *call);

/* Hands a call that did not end to the keeper; what that returns. */
PyObject *cells_stall_steal(EngineObject *engine, struct seqc_call *call);

#endif
