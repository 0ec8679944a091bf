/* SPDX-License-Identifier: MIT */
/* The time of a loop's link: its one timer, and calls that are late. */
#include "binding/loop_connect.h"

#include "core/park.h"

int64_t
loop_now_ns(const LoopLinkObject *self)
{
    /* Only a receive sets the link's clock; that of a turn without is old. */
    bool fresh = self->in_reader && self->heard_ns;
    return fresh ? self->link.now_ns : seqc_now_ns();
}

/* ---- the timer ---- */

static void
cancel_handle_steal(LoopLinkObject *self, PyObject *handle)
{
    if (loop_drop_result(PyObject_CallMethod(handle, "cancel", NULL))) {
        loop_set_aside(self);
    }
    Py_DECREF(handle);
}

void
loop_cancel_timer(LoopLinkObject *self)
{
    PyObject *timer = self->timer;

    self->timer = NULL;
    if (timer) {
        cancel_handle_steal(self, timer);
    }
}

/* New reference, NULL with an exception. */
static PyObject *
start_timer(LoopLinkObject *self, int64_t at_ns)
{
    PyObject *callback = PyObject_GetAttrString((PyObject *)self, "_on_timer");
    int64_t left = at_ns - seqc_now_ns();
    PyObject *timer = NULL;

    if (callback) {
        timer = PyObject_CallMethod(self->loop,
                                    "call_later",
                                    "dO",
                                    left > 0 ? (double)left / 1e9 : 0.0,
                                    callback);
        Py_DECREF(callback);
    }
    return timer;
}

static bool
is_armed(const LoopLinkObject *self, int64_t at_ns)
{
    return self->closed || (self->timer && self->timer_ns <= at_ns);
}

/* The old timer goes when the new one is there: a failure loses none. */
int
loop_arm(LoopLinkObject *self, int64_t at_ns)
{
    PyObject *timer;

    if (at_ns == SEQC_TIME_NEVER || is_armed(self, at_ns)) {
        return 0;
    }
    timer = start_timer(self, at_ns);
    if (!timer) {
        return -1;
    }
    if (is_armed(self, at_ns)) { /* by what ran meanwhile */
        cancel_handle_steal(self, timer);
        return 0;
    }
    loop_cancel_timer(self);
    self->timer = timer;
    self->timer_ns = at_ns;
    return 0;
}

/* ---- late calls ---- */

void
loop_expire(LoopLinkObject *self, int64_t now)
{
    struct seqc_call *call;

    if (self->fd >= 0) {
        loop_receive(self); /* an answer that is there was in time */
        loop_take_ready(self);
    }
    while ((call = seqc_timers_expired(&self->timers, now))) {
        seqc_call_ref(call);
        seqc_link_abandon(
            &self->link, call, seqc_link_late_status(&self->link));
        if (loop_settle(self, call, false)) {
            loop_set_aside(self);
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
    loop_expire(self, now);
    seqc_link_tick(&self->link, now);
    if (seqc_link_is_dead(&self->link, now)) {
        loop_lose(self, SEQC_TIMEOUT, "the link was silent for too long");
    }
    return loop_none_or_null(loop_finish_turn(self, true));
}
