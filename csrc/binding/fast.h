/* SPDX-License-Identifier: MIT */
/* Durable mode in the engine: calls go the fast path of core/durable.h as
 * long as numbers come back; every other call goes on in Python, the slow
 * way (seqcache/durable). */
#ifndef SEQCACHE_FAST_H
#define SEQCACHE_FAST_H

#include "binding/engine.h"

#include "core/durable.h"

/* The belief of one state machine, and what the machine is to be told. */
typedef struct FastPathObject {
    PyObject_HEAD
    struct seqc_belief *belief; /* a reference */
    /* All owned, NULL once closed. */
    PyObject *slow;     /* see slow_call in slow.c */
    PyObject *prefetch; /* (token, key, verdict): a block runs low */
    PyObject *touch;    /* (): the cache is in use */
} FastPathObject;

int fast_setup_type(PyObject *module, struct module_state *state);

/* Marks what travels as calls of server functions. */
void fast_prepare(const EngineObject *engine, struct seqc_call *call);

/* Tells the machine what the links left for it; -1 with an exception. */
int fast_attend(FastPathObject *fast);

/* The path that the link of the running loop is to take, new reference; NULL
 * with an exception. */
FastPathObject *fast_of_loop(EngineObject *engine);

/* In a forked child: believes in nothing until the machine says so. */
void fast_after_fork(PyObject *object);

PyObject *engine_make_durable(EngineObject *engine, PyObject *source);
extern const char engine_make_durable_doc[];

/* ---- slow.c ---- */

/* Calls the machine's slow(), which gets `slow_call`; what it returns. */
PyObject *slow_tell(EngineObject *engine,
                    FastPathObject *fast,
                    const struct seqc_call *call,
                    PyObject *slow_call);

/* The errors of a call that ends without Python: the link left them out. */
void slow_count_errors(EngineObject *engine, const struct seqc_call *call);
/* The end of a call that was told. */
void slow_count_end(EngineObject *engine, int64_t start_ns);

/* The result of a durable call of a thread that is no plain number, or NULL
 * with an exception. */
PyObject *slow_result(EngineObject *engine, struct seqc_call *call);

/* ---- slow_call.c ---- */

int slow_call_setup_type(PyObject *module, struct module_state *state);

/* The same of a loop.  1: the call goes on in Python, which will finish the
 * awaitable, or needs no end; 0: it is to be finished with errors_result; -1:
 * as awaitable_fail_steal. */
int slow_take_over(EngineObject *engine,
                   FastPathObject *fast,
                   struct seqc_call *call,
                   PyObject *awaitable);

#endif
