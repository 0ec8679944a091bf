/* SPDX-License-Identifier: MIT */
/* What an asyncio call returns: future protocol and coroutine protocol in one
   object.  Threads: everything here needs the GIL, and the thread of the
   awaitable's loop.  docs/awaitable.md has the reasons. */
#ifndef SEQCACHE_AWAITABLE_H
#define SEQCACHE_AWAITABLE_H

#include "binding/compat.h"

#include <stdbool.h>
#include <stdint.h>

/* Called once, when a pending awaitable is cancelled, before its callbacks are
   scheduled (plain futures: one turn of the loop later), and never after a
   resolve or fail of that awaitable.  `link` is borrowed.  The awaitable is
   done already.  May run Python code, must leave no exception set. */
typedef void (*awaitable_abandon_fn)(PyObject *link, void *call);

struct awaitable_hook; /* awaitable_plain.c */

/* Dropped objects that are kept for the next call: one that is done at once
   is dropped before the next is made, so a few are enough. */
#define AWAITABLE_SPARE_MAX 16

/* All owned here, NULL until awaitable_prepare unless said otherwise. */
struct awaitable_state {
    PyObject *module;        /* borrowed; each object of ours keeps it */
    PyTypeObject *type;      /* from awaitable_setup_type on */
    PyTypeObject *test_type; /* from awaitable_setup_type on */
    PyTypeObject *hook_type; /* from awaitable_setup_type on */
    bool ready;              /* asyncio has been imported */
    bool plain;              /* hand out loop.create_future() instead */
    PyTypeObject *task_type; /* the C Task */
    const PyMethodDef *task_wakeup; /* what it waits with; static, once seen */
    PyObject *done_future;          /* finished; handed to every wake-up */
    PyObject *stop_iteration;       /* reused while nobody else has it */
    PyObject *loop_getter;          /* returns the loop of ... */
    PyObject *loop_getter_ref;      /* ... this weak reference */
    PyObject *cancelled_error;      /* plain ones need it, too */
    PyObject *invalid_state_error;
    PyObject *future_repr;
    PyObject *extract_stack;
    PyObject *get_event_loop;
    PyObject *current_task;
    PyObject *logger;
    PyObject *str_call_soon;
    PyObject *str_context;
    PyObject *context_names;            /* ("context",) */
    PyObject *context_names_seen;       /* an equal one, that a task has */
    struct awaitable_hook *oldest_hook; /* armed ones, a list; borrowed */
    struct awaitable_hook *newest_hook;
    void *spares[AWAITABLE_SPARE_MAX];
    int spare_count;
};

/* At module exec.  Imports nothing.  Adds the private `_TestAwaitable`. */
int awaitable_setup_type(PyObject *module, struct awaitable_state *state);

/* Imports asyncio and settles `plain`; when the first AsyncClient is made, and
   before any of the functions below.  Idempotent. */
int awaitable_prepare(struct awaitable_state *state);

int awaitable_state_traverse(struct awaitable_state *state,
                             visitproc visit,
                             void *arg);
void awaitable_state_clear(struct awaitable_state *state);

/* A pending awaitable.  Keeps `loop` for its life and `link` until it is
   done; `call` is opaque, for `abandon` (may be NULL).  New reference. */
PyObject *awaitable_new(struct awaitable_state *state,
                        PyObject *loop,
                        PyObject *link,
                        void *call,
                        awaitable_abandon_fn abandon);

/* Done at once: awaiting them suspends nothing.  New references. */
PyObject *awaitable_new_done_int(struct awaitable_state *state,
                                 PyObject *loop,
                                 int64_t value);
PyObject *awaitable_new_done(struct awaitable_state *state,
                             PyObject *loop,
                             PyObject *result_or_exception,
                             bool is_exception);

bool awaitable_is_done(PyObject *awaitable);
/* Its callback or callbacks, if it is ours and has any; borrowed. */
PyObject *awaitable_callback(PyObject *awaitable);

/* Finish it; each does nothing (but release what it steals) when it is done or
   cancelled already.  The caller keeps its own reference throughout, and has
   taken the request off its queue: a woken task may issue, cancel and close.
   `direct`: we are in a callback of the loop with no current task, and the
   loop is not in debug mode (awaitable_loop_is_debug, once a callback is
   enough).  Then a task that is the only waiter is woken before the return;
   every other waiter is woken by loop.call_soon.  -1 with an exception set
   only if a woken task let SystemExit or KeyboardInterrupt through or memory
   ran out; the awaitable is done even then. */
int awaitable_resolve_int(struct awaitable_state *state,
                          PyObject *awaitable,
                          int64_t value,
                          bool direct);
int awaitable_resolve_steal(struct awaitable_state *state,
                            PyObject *awaitable,
                            PyObject *result,
                            bool direct);
int awaitable_fail_steal(struct awaitable_state *state,
                         PyObject *awaitable,
                         PyObject *exception,
                         bool direct);

/* The call is gone and the awaitable will never be finished (its loop is
   closed): a later cancel() abandons nothing, the link is let go. */
void awaitable_detach(struct awaitable_state *state, PyObject *awaitable);

/* Another call stands behind the pending awaitable: from now on a cancel is
   told to `abandon` with this `link`, which is kept until it is done. */
void awaitable_rebind(struct awaitable_state *state,
                      PyObject *awaitable,
                      PyObject *link,
                      void *call,
                      awaitable_abandon_fn abandon);

/* A copy, not entered by anybody, of the context of the only one who waits
   for it; NULL if there is none or it cannot be told, or with an exception. */
PyObject *awaitable_waiter_context(PyObject *awaitable);

/* 1 if loop.get_debug(), 0 if not, -1 with an exception set. */
int awaitable_loop_is_debug(PyObject *loop);

/* Remembers the Python stack as the place of creation, as asyncio's futures do
   in debug mode: call it after awaitable_new when the loop is in debug mode.
   Plain futures do it on their own.  -1 with an exception set. */
int awaitable_note_source(struct awaitable_state *state, PyObject *awaitable);

#endif
