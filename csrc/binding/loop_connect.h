/* SPDX-License-Identifier: MIT */
/* The life of a loop's link: its connection, its timer, its registrations. */
#ifndef SEQCACHE_LOOP_CONNECT_H
#define SEQCACHE_LOOP_CONNECT_H

#include "binding/loop.h"

/* Each -1 with an exception set. */
int loop_arm(LoopLinkObject *self, int64_t at_ns); /* SEQC_TIME_NEVER: no */
int
loop_connect(LoopLinkObject *self); /* unless it is being tried, or early */
int loop_watch_writable(LoopLinkObject *self); /* as wants_write says */
PyObject *loop_on_connected(LoopLinkObject *self, PyObject *task);

/* Wakes finished calls and writes what they issued (loop.c). */
int loop_wake(LoopLinkObject *self, bool from_loop);
int loop_finish_turn(LoopLinkObject *self, bool from_loop);
void loop_lose(LoopLinkObject *self, seqc_status cause, const char *why);

/* Deregisters and closes the descriptor; silent when the loop is closed. */
void loop_drop_socket(LoopLinkObject *self);
/* The timer, the connect under way and the descriptor. */
void loop_stop_waiting(LoopLinkObject *self);

void loop_dealloc(PyObject *self);
int loop_traverse(PyObject *self, visitproc visit, void *arg);
int loop_clear(PyObject *self);

#endif
