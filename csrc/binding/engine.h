/* SPDX-License-Identifier: MIT */
/* What all views of one cache share: where to connect and how, the links,
 * the numbers seen, the store of memory://. */
#ifndef SEQCACHE_ENGINE_H
#define SEQCACHE_ENGINE_H

#include "binding/args.h"

#include "core/cells.h"
#include "core/group.h"
#include "core/memory.h"

/* What all leases of an engine count. */
enum lease_counter {
    LEASE_BLOCKS,   /* that came */
    LEASE_WAITS,    /* for another block: it did not come in time */
    LEASE_FAILURES, /* blocks that did not come */
    LEASE_COUNTERS,
};

typedef struct EngineObject {
    PyObject_HEAD
    PyObject *module; /* owned, so that the state outlives us: a collection may
                         take the type's own reference first */
    struct module_state *state;   /* borrowed, of the module */
    PyObject *connect;            /* (seconds or None) -> descriptor; asyncio:
                                     a coroutine function of the same */
    PyObject *where;              /* str, for messages */
    PyObject *on_regress;         /* (method, user id, seen, got), or NULL */
    PyObject *last_error;         /* why the last connect failed, or NULL */
    PyObject *loops;              /* dict: event loop -> its link */
    struct LoopLinkObject *links; /* all that live, those taken out of `loops`
                                     as well: they still count; borrowed */
    PyObject *durable; /* the FastPath of the groups, or what returns that of
                          a loop; NULL: not durable, or collected */
    seqc_store *store;            /* memory://, else NULL */
    seqc_cells *cells;            /* the same with ceilings, else NULL */
    PyObject *keeper;             /* of the cells, see cells.h */
    bool keeps_tokens;            /* it does, not the cells */
    struct seqc_regress *regress; /* owned; NULL: off */
    struct seqc_group **groups;   /* owned; the blocking links */
    size_t group_count;
    struct seqc_link_options options;
    seqc_counter leases[LEASE_COUNTERS];
    struct seqc_stats stats; /* of memory://, and of links that are gone */
    int64_t timeout_ns;      /* default of a call */
    uint32_t token_ttl_s;    /* how long a token is remembered */
    bool gap;                /* retry="gap": counting calls are repeated too */
    size_t slow_count;       /* durable calls that are in Python */
    bool is_durable;
    bool closed;
    bool fork_locked;          /* its groups are, by the thread that forks */
    struct EngineObject *next; /* all engines, for fork */
    struct EngineObject *prev;
    PyObject *weakrefs;
} EngineObject;

int engine_setup_type(PyObject *module, struct module_state *state);

/* The store of memory://: `_native.Store()`. */
typedef struct StoreObject {
    PyObject_HEAD
    seqc_store *store;
} StoreObject;

int store_setup_type(PyObject *module, struct module_state *state);

/* Fills in what every call of the engine has: kind, deadline, start. */
void engine_prepare_call(EngineObject *engine,
                         struct seqc_call *call,
                         uint8_t shape,
                         int64_t timeout_ns,
                         int64_t now_ns);

/* Runs a call on the store of memory://: it is done afterwards. */
void engine_run_in_memory(EngineObject *engine, struct seqc_call *call);

/* Keeps the raised exception as the engine's last error and clears it.
 * SEQC_CONNECT, or SEQC_AUTH for refused credentials; SEQC_OK if it is not
 * about the connection at all and stays raised. */
seqc_status engine_take_connect_error(EngineObject *engine);

/* Around what takes a lock of the engine's groups, without the GIL held in
 * between.  Hooks of others run while a thread forks with all groups locked:
 * if it is this very thread, the locks are lifted for the while.  The answer
 * of the first is for the second. */
bool engine_fork_step_out(EngineObject *engine);
void engine_fork_step_in(EngineObject *engine, bool stepped_out);

/* Around fork, for all engines of the module. */
void engine_before_fork(struct module_state *state);
void engine_after_fork_parent(struct module_state *state);
void engine_after_fork_child(struct module_state *state);

#endif
