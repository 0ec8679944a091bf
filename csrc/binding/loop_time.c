/* SPDX-License-Identifier: MIT */
/* The time of a loop's link: its one timer, and calls that are late. */
#include "binding/loop_connect.h"

#include "core/park.h"

int64_t
loop_now_ns(const LoopLinkObject *self)
{
    return self->in_reader ? self->link.now_ns : seqc_now_ns();
}

/* ---- the timer ---- */

void
loop_cancel_timer(LoopLinkObject *self)
{
    PyObject *timer = self->timer;

    self->timer = NULL;
    if (timer) {
        if (loop_drop_result(PyObject_CallMethod(timer, "cancel", NULL))) {
            PyErr_WriteUnraisable((PyObject *)self);
        }
        Py_DECREF(timer);
    }
}

int
loop_arm(LoopLinkObject *self, int64_t at_ns)
{
    int64_t left;
    PyObject *callback;

    if (at_ns == SEQC_TIME_NEVER || self->closed ||
        (self->timer && self->timer_ns <= at_ns)) {
        return 0;
    }
    loop_cancel_timer(self);
    callback = PyObject_GetAttrString((PyObject *)self, "_on_timer");
    if (!callback) {
        return -1;
    }
    left = at_ns - seqc_now_ns();
    self->timer_ns = at_ns;
    self->timer = PyObject_CallMethod(self->loop,
                                      "call_later",
                                      "dO",
                                      left > 0 ? (double)left / 1e9 : 0.0,
                                      callback);
    Py_DECREF(callback);
    return self->timer ? 0 : -1;
}

/* ---- late calls ---- */

void
loop_expire(LoopLinkObject *self, int64_t now)
{
    struct seqc_call *call;

    while ((call = seqc_timers_expired(&self->timers, now))) {
        seqc_call_ref(call);
        seqc_link_abandon(
            &self->link, call, seqc_link_late_status(&self->link));
        if (loop_settle(self, call, false)) {
            PyErr_WriteUnraisable((PyObject *)self);
        }
        seqc_call_unref(call);
    }
}

PyObject *
loop_on_timer(LoopLinkObject *self, PyObject *Py_UNUSED(ignored))
{
    int64_t now = seqc_now_ns();

    Py_CLEAR(self->timer);
    if (self->closed) {
        Py_RETURN_NONE;
    }
    if (self->fd >= 0) {
        loop_receive(self); /* an answer that is there was in time */
        loop_take_ready(self);
    }
    loop_expire(self, now);
    seqc_link_tick(&self->link, now);
    if (seqc_link_is_dead(&self->link, now)) {
        loop_lose(self, SEQC_TIMEOUT, "the link was silent for too long");
    }
    if (loop_finish_turn(self, true)) {
        return NULL;
    }
    return loop_none_or_null(
        loop_arm(self, seqc_timers_earliest(&self->timers)));
}
