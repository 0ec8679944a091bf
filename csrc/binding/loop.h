/* SPDX-License-Identifier: MIT */
/* The asyncio driver: one non-blocking link per event loop, all in the loop.
 *
 * A call is submitted and its awaitable returned; a flush, once a turn, writes
 * what was issued; the reader callback receives, wakes the tasks whose answers
 * came and flushes what these issued.  One timer a link.
 *
 * Everything here needs the GIL and the thread of the loop.
 *
 * Owners: seqc_call.owner is a strong reference to the awaitable and stands
 * for the holder's reference of the call; both end together (release_owner),
 * when the awaitable was finished or gave up.  So does seqc_call.context, a
 * strong reference to the caller's context, of durable calls if the module
 * keeps contexts, else NULL. */
#ifndef SEQCACHE_LOOP_H
#define SEQCACHE_LOOP_H

#include "binding/engine.h"

#include "core/socket.h"
#include "core/timers.h"

typedef struct LoopLinkObject {
    PyObject_HEAD
    EngineObject *engine; /* owned */
    struct LoopLinkObject *next_link; /* of the engine's list; borrowed */
    struct LoopLinkObject *prev_link; /* NULL: it is the first; borrowed */
    PyObject *loop;                   /* owned */
    /* bound methods, owned; made once because a bound method costs 60 ns */
    PyObject *call_soon;
    PyObject *on_flush;
    struct FastPathObject *fast; /* owned; NULL: not durable */
    struct seqc_link link;
    struct seqc_stats stats;
    struct seqc_timers timers;
    struct seqc_call *ready_head; /* finished, to be woken */
    struct seqc_call *ready_tail;
    size_t ready_count;
    PyObject *timer;        /* handle of the armed timer, or NULL */
    int64_t timer_ns;       /* when it fires */
    PyObject *connect_task; /* while connecting */
    PyObject *raised;       /* passes on at the end of the turn, or NULL */
    int64_t heard_ns;       /* bytes came in this turn; 0: none */
    char *input;            /* owned */
    int fd;                 /* owned; -1 without a connection */
    struct seqc_backoff backoff;
    bool in_reader; /* its end will flush */
    bool flush_scheduled;
    bool wants_write;   /* a writer is registered */
    bool is_connecting; /* a connect is under way, or being started */
    bool was_up;
    bool closing; /* to be closed when the last call has ended */
    bool closed;
    bool is_debug; /* the loop was, when the link was made */
    PyObject *weakrefs;
} LoopLinkObject;

int loop_setup_type(PyObject *module, struct module_state *state);

/* The link of `loop`, made when it is the first call there; borrowed from
 * engine->loops.  NULL with an exception. */
LoopLinkObject *loop_link_of(EngineObject *engine, PyObject *loop);

/* Submits the call (prepared; its reference is consumed, also on failure) and
 * returns its awaitable.  New reference, NULL with an exception. */
PyObject *loop_submit_steal(LoopLinkObject *self,
                            struct seqc_call *call,
                            bool is_default_timeout);

/* Gives the link the connection `fd`, which it owns from here on. -1 with an
 * exception. */
int loop_adopt(LoopLinkObject *self, int fd);

/* No call is under way. */
bool loop_is_idle(const LoopLinkObject *self);

/* The time for new calls: read once per batch inside the reader callback. */
int64_t loop_now_ns(const LoopLinkObject *self);

/* In a forked child: closes descriptors, nothing else; the loops are the
 * parent's. */
void loop_after_fork(EngineObject *engine);

/* Engine methods that deal with links. */
PyObject *engine_stats(EngineObject *engine, PyObject *ignored);
PyObject *engine_take_links(EngineObject *engine, PyObject *ignored);
PyObject *engine_let_go(EngineObject *engine, PyObject *ignored);
extern const char engine_stats_doc[];
extern const char engine_take_links_doc[];
extern const char engine_let_go_doc[];

#endif
