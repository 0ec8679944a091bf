/* SPDX-License-Identifier: MIT */
/* All Python state of the module, one struct per interpreter. */
#ifndef SEQCACHE_STATE_H
#define SEQCACHE_STATE_H

#include "binding/compat.h"

#include <pthread.h>
#include <stdint.h>

#include "binding/awaitable.h"
#include "core/request.h"

struct engine;

struct module_state {
    PyTypeObject *engine_type;
    PyTypeObject *client_type;
    PyTypeObject *aclient_type;
    PyTypeObject *loop_link_type;
    PyTypeObject *codec_type;
    PyTypeObject *reply_error_type;
    PyTypeObject *store_type;
    PyTypeObject *cells_type;
    PyTypeObject *stalled_type;
    PyTypeObject *fast_path_type;
    PyTypeObject *slow_call_type;
    struct awaitable_state awaitable;
    struct seqc_call_pool calls;  /* of the asyncio face */
    struct EngineObject *engines; /* all of them, for fork; borrowed */
    unsigned long fork_count;     /* forks between us and the importer */
    pthread_mutex_t fork_mutex;   /* held around a fork: one at a time */
    uint64_t fork_thread;         /* that forks now; 0: none */
    int fork_pid;                 /* of the process in which it began */
    PyObject *errors;             /* seqcache._outcome, once needed */
    PyObject *get_running_loop;   /* asyncio's, once needed */
    bool keeps_contexts;          /* of durable calls, see slow_call.c */
};

/* The state behind an object of one of our types or of a subclass; borrowed.
 * NULL with an exception set if there is none. */
struct module_state *state_of_type(PyTypeObject *type);

#endif
