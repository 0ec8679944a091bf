/* SPDX-License-Identifier: MIT */
/* Private to awaitable*.c: the object, and what the files share. */
#ifndef SEQCACHE_AWAITABLE_OBJECT_H
#define SEQCACHE_AWAITABLE_OBJECT_H

#include "binding/awaitable.h"

enum awaitable_status {
    AWAITABLE_PENDING = 0,
    AWAITABLE_CANCELLED,
    AWAITABLE_INTEGER, /* finished, no Python int made yet */
    AWAITABLE_RESULT,
    AWAITABLE_FAILED,
};

/* 112 bytes, 128 with the collector's header: one size class of pymalloc.
   Pointers are owned unless said otherwise, and may be NULL. */
typedef struct {
    PyObject_HEAD
    struct awaitable_state *state; /* of the module, which we keep, too */
    PyObject *loop;                /* NULL: __init__ was not called */
    PyObject *link;                /* until done */
    void *call;                    /* borrowed, opaque */
    awaitable_abandon_fn abandon;
    PyObject *callback; /* the only one, or, without `context`, a list of */
    PyObject *context;  /* (callback, context) pairs */

    union {
        int64_t integer;
        PyObject *object; /* result or exception; else the cancel message */
    } value;

    PyObject *traceback;        /* the exception's, when it was set */
    PyObject *source_traceback; /* where it was made, in debug mode */
    PyObject *weakrefs;         /* borrowed, as in every type */
    uint8_t status;
    bool blocking;      /* asyncio: yielded, and the task has not seen it */
    bool log_traceback; /* the exception was not looked at yet */
} AwaitableObject;

/* Ours, and not a plain future: who inherits from it inherits the slot. */
bool awaitable_is_ours(PyObject *object);

/* awaitable_future.c and awaitable_attrs.c, for the type */
extern PyMethodDef awaitable_methods[];
extern PyGetSetDef awaitable_getset[];
/* -1 with RuntimeError: a subclass may have forgotten super().__init__(). */
int awaitable_check_initialized(AwaitableObject *self);

/* awaitable_value.c.  The result as a new reference, or NULL with the error
   that a caller of result() is to see. */
PyObject *awaitable_take_result(AwaitableObject *self);
/* A new CancelledError with the message, raised; always NULL. */
PyObject *awaitable_raise_cancelled(AwaitableObject *self);
/* Sets StopIteration with the integer; always NULL. */
PyObject *awaitable_stop_int(struct awaitable_state *state, int64_t value);
/* Sets StopIteration with the value, which it steals; always NULL. */
PyObject *awaitable_stop_steal(PyObject *value);

/* awaitable_wake.c */
int awaitable_call_soon(AwaitableObject *self, PyObject *fn, PyObject *ctx);
int awaitable_add_callback(AwaitableObject *self, PyObject *fn, PyObject *ctx);
Py_ssize_t awaitable_remove_callback(AwaitableObject *self, PyObject *fn);
PyObject *awaitable_list_callbacks(AwaitableObject *self);
/* The message is borrowed.  1 cancelled, 0 was done, -1 error. */
int awaitable_cancel(AwaitableObject *self, PyObject *message);
/* Sets `value` from a finished status on: wakes who waits. */
int awaitable_finish_int(AwaitableObject *self, int64_t value, bool direct);
int awaitable_finish_steal(AwaitableObject *self,
                           enum awaitable_status status,
                           PyObject *value,
                           bool direct);
/* What a callback of `loop` left as exception, treated as the loop would: 0
   when it was reported, -1 when it is to pass. */
int awaitable_settle_error(PyObject *loop, PyObject *subject);

/* awaitable_plain.c */
int awaitable_setup_hook(PyObject *module, struct awaitable_state *state);
PyObject *awaitable_plain_new(struct awaitable_state *state,
                              PyObject *loop,
                              PyObject *link,
                              void *call,
                              awaitable_abandon_fn abandon);
PyObject *awaitable_plain_done(PyObject *loop, PyObject *value, bool failed);
void awaitable_plain_rebind(struct awaitable_state *state,
                            PyObject *future,
                            PyObject *link,
                            void *call,
                            awaitable_abandon_fn abandon);
void awaitable_plain_detach(struct awaitable_state *state, PyObject *future);
bool awaitable_plain_is_done(PyObject *future);
int awaitable_plain_finish(struct awaitable_state *state,
                           PyObject *future,
                           PyObject *value,
                           bool failed);

/* awaitable_test.c */
int awaitable_setup_test_type(PyObject *module, struct awaitable_state *state);

#endif
