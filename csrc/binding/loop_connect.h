/* SPDX-License-Identifier: MIT */
/* What the files of a loop's link share: its turns, its connection, its time.
 */
#ifndef SEQCACHE_LOOP_CONNECT_H
#define SEQCACHE_LOOP_CONNECT_H

#include "binding/loop.h"

/* ---- loop_time.c ---- */

/* -1 with an exception set; SEQC_TIME_NEVER: no timer. */
int loop_arm(LoopLinkObject *self, int64_t at_ns);
void loop_cancel_timer(LoopLinkObject *self);
/* Ends the calls whose deadline is not after `now`; what was answered by then
 * is taken first. */
void loop_expire(LoopLinkObject *self, int64_t now);
PyObject *loop_on_timer(LoopLinkObject *self, PyObject *ignored);

/* ---- loop_connect.c ---- */

/* Each -1 with an exception set. */
int
loop_connect(LoopLinkObject *self); /* unless it is being tried, or early */
int loop_watch_writable(LoopLinkObject *self); /* as wants_write says */
PyObject *loop_on_connected(LoopLinkObject *self, PyObject *task);

/* Deregisters and closes the descriptor; silent when the loop is closed. */
void loop_drop_socket(LoopLinkObject *self);
/* The timer, the connect under way and the descriptor. */
void loop_stop_waiting(LoopLinkObject *self);

/* Drops what a Python call returned; -1 if that is NULL. */
static inline int
loop_drop_result(PyObject *result)
{
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* What a method returns: None, or NULL when it failed. */
static inline PyObject *
loop_none_or_null(int failed)
{
    return failed ? NULL : Py_NewRef(Py_None);
}

void loop_dealloc(PyObject *self);
int loop_traverse(PyObject *self, visitproc visit, void *arg);
int loop_clear(PyObject *self);

/* ---- loop_io.c ---- */

/* The connection is lost. */
void loop_lose(LoopLinkObject *self, seqc_status cause, const char *why);
/* One recv; what came is fed. */
void loop_receive(LoopLinkObject *self);
/* Writes what is queued, or sees to it that there will be a connection.  -1
 * with an exception set. */
int loop_flush(LoopLinkObject *self);

/* ---- loop.c ---- */

/* Wakes finished calls. */
int loop_wake(LoopLinkObject *self, bool from_loop);
/* The end of every callback: wakes, and writes what the woken issued. */
int loop_finish_turn(LoopLinkObject *self, bool from_loop);
/* Keeps the raised exception until the end of the turn: the rest of the turn
 * must be done first.  Of several the first passes on, the others are shown.
 */
void loop_set_aside(LoopLinkObject *self);
/* -1 with the exception that was set aside, if there is one. */
int loop_raise(LoopLinkObject *self);
/* Moves the calls that the link has finished to those to be woken. */
void loop_take_ready(LoopLinkObject *self);
/* The context that the call keeps, if any: see Owners in loop.h. */
void loop_drop_context(struct seqc_call *call);
/* Ends a call that is done or abandoned, with its awaitable. */
int loop_settle(LoopLinkObject *self, struct seqc_call *call, bool direct);

/* Fetches what the wake-ups after this one touch; `call` is the next, or
 * NULL. */
void loop_prefetch(const struct seqc_call *call);

#endif
