/* SPDX-License-Identifier: MIT */
#include "binding/loop.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>

#include "binding/errors.h"
#include "binding/fast.h"
#include "binding/loop_connect.h"
#include "core/alloc.h"
#include "core/park.h"

/* Tasks woken in one callback; the rest waits for its turn in the loop behind
 * other handles (1000 tasks take about 0.5 ms). */
#define WAKE_MAX 512

/* Fewer calls than these are not worth a write of their own. */
#define PORTION_MIN 32

/* ---- calls ---- */

void
loop_drop_context(struct seqc_call *call)
{
    PyObject *context = call->context;

    call->context = NULL;
    Py_XDECREF(context);
}

static void
release_owner(struct seqc_call *call)
{
    PyObject *owner = call->owner;

    if (owner) {
        call->owner = NULL;
        loop_drop_context(call);
        seqc_call_unref(call);
        Py_DECREF(owner);
    }
}

/* The awaitable was cancelled. */
static void
abandon_call(PyObject *link, void *call_pointer)
{
    LoopLinkObject *self = (LoopLinkObject *)link;
    struct seqc_call *call = call_pointer;

    seqc_timers_remove(&self->timers, call);
    seqc_link_abandon(&self->link, call, SEQC_TIMEOUT);
    release_owner(call);
}

static int
schedule_flush(LoopLinkObject *self)
{
    PyObject *handle;

    if (self->in_reader || self->flush_scheduled) {
        return 0;
    }
    handle = PyObject_CallOneArg(self->call_soon, self->on_flush);
    if (!handle) {
        return -1;
    }
    Py_DECREF(handle);
    self->flush_scheduled = true;
    return 0;
}

/* A pending awaitable for the call, which the timers have.  NULL with an
 * exception; NULL without one: the link was closed under it. */
static PyObject *
new_awaitable(LoopLinkObject *self, struct seqc_call *call)
{
    struct awaitable_state *state = &self->engine->state->awaitable;
    bool keeps_context = self->fast && self->engine->state->keeps_contexts;
    PyObject *awaitable;

    if (loop_arm(self, call->deadline_ns) || schedule_flush(self)) {
        return NULL;
    }
    awaitable =
        awaitable_new(state, self->loop, (PyObject *)self, call, abandon_call);
    if (awaitable && keeps_context && !call->context) {
        call->context = PyContext_CopyCurrent();
    }
    if (awaitable && keeps_context && !call->context) {
        awaitable_detach(state, awaitable);
        Py_CLEAR(awaitable);
    }
    /* The last look: nothing that allocates, and so may collect and run a
     * finalizer, comes between this and the link's queue. */
    if (awaitable && self->closed) {
        awaitable_detach(state, awaitable);
        Py_CLEAR(awaitable);
    }
    return awaitable;
}

/* What runs while a call is submitted, a finalizer say, may close the link:
 * the next one takes the call. */
static PyObject *
submit_anew_steal(LoopLinkObject *self,
                  struct seqc_call *call,
                  bool is_default_timeout)
{
    LoopLinkObject *link = NULL;

    if (self->engine->closed) {
        (void)errors_closed(self->engine, "a call");
    } else {
        link = loop_link_of(self->engine, self->loop);
    }
    if (!link) {
        seqc_call_unref(call);
        return NULL;
    }
    return loop_submit_steal(link, call, is_default_timeout);
}

static PyObject *
submit_steal(LoopLinkObject *self,
             struct seqc_call *call,
             bool is_default_timeout)
{
    PyObject *awaitable;

    if (seqc_timers_add(&self->timers, call, is_default_timeout)) {
        seqc_call_unref(call);
        return PyErr_NoMemory();
    }
    awaitable = new_awaitable(self, call);
    if (!awaitable) {
        seqc_timers_remove(&self->timers, call);
        loop_drop_context(call);
        if (!PyErr_Occurred()) {
            return submit_anew_steal(self, call, is_default_timeout);
        }
        seqc_call_unref(call);
        return NULL;
    }
    call->owner = Py_NewRef(awaitable);
    seqc_link_submit(&self->link, call);
    if (self->is_debug &&
        awaitable_note_source(&self->engine->state->awaitable, awaitable)) {
        Py_CLEAR(awaitable); /* the call is under way all the same */
    }
    return awaitable;
}

PyObject *
loop_submit_steal(LoopLinkObject *self,
                  struct seqc_call *call,
                  bool is_default_timeout)
{
    PyObject *awaitable;

    Py_INCREF(self); /* its holders may change their mind meanwhile */
    awaitable = submit_steal(self, call, is_default_timeout);
    Py_DECREF(self);
    return awaitable;
}

/* ---- waking ---- */

/* Gives the awaitable its result; -1 as awaitable_resolve_int. */
static int
finish_awaitable(LoopLinkObject *self, struct seqc_call *call, bool direct)
{
    struct awaitable_state *state = &self->engine->state->awaitable;
    PyObject *owner = call->owner; // borrowed, the caller holds it
    PyObject *result;
    PyObject *error;
    int64_t value;

    if (errors_is_plain_int(call, &value)) {
        return awaitable_resolve_int(state, owner, value, direct);
    }
    if (call->is_slow || (call->durable && call->abandoned)) {
        int taken = slow_take_over(self->engine, self->fast, call, owner);
        if (taken) {
            return taken < 0 ? -1 : 0;
        }
    }
    result = errors_result(self->engine, call);
    if (result) {
        return awaitable_resolve_steal(state, owner, result, direct);
    }
    error = PyErr_GetRaisedException();
    return awaitable_fail_steal(state, owner, error, direct);
}

/* Ends a call that is done or abandoned, with its awaitable. */
int
loop_settle(LoopLinkObject *self, struct seqc_call *call, bool direct)
{
    PyObject *owner = Py_XNewRef((PyObject *)call->owner);
    int failed = 0;

    seqc_timers_remove(&self->timers, call);
    if (owner) {
        failed = finish_awaitable(self, call, direct);
        release_owner(call);
        Py_DECREF(owner);
    }
    return failed;
}

void
loop_take_ready(LoopLinkObject *self)
{
    struct seqc_call *done = seqc_link_take_done(&self->link);

    if (!done) {
        return;
    }
    if (self->ready_tail) {
        self->ready_tail->next_done = done;
    } else {
        self->ready_head = done;
    }
    self->ready_count++;
    while (done->next_done) {
        done = done->next_done;
        self->ready_count++;
    }
    self->ready_tail = done;
}

static struct seqc_call *
pop_ready(LoopLinkObject *self)
{
    struct seqc_call *call = self->ready_head;

    if (call) {
        self->ready_head = call->next_done;
        self->ready_count--;
        if (!self->ready_head) {
            self->ready_tail = NULL;
        }
    }
    return call;
}

/* 1: tasks may be stepped from here: none runs, and it is not debug mode,
 * where asyncio's own bookkeeping is wanted.  -1: a signal handler raised. */
static int
may_wake_directly(LoopLinkObject *self)
{
    struct awaitable_state *state = &self->engine->state->awaitable;
    PyObject *current;
    int debug;

    if (state->plain) {
        return 0;
    }
    debug = awaitable_loop_is_debug(self->loop);
    if (debug) {
        return debug < 0 ? -1 : 0;
    }
    current = PyObject_CallOneArg(state->current_task, self->loop);
    if (!current) {
        return -1;
    }
    Py_DECREF(current);
    return current == Py_None;
}

/* After how many woken tasks what they issued is written: half of what is
 * under way, so that the server works at one half while we wake the other
 * (100 calls in flight: rate 1.5 times, CPU 1.15 times; of durable calls, at
 * which the server works longer, more).  Few are written at the end alone. */
static size_t
portion(const LoopLinkObject *self)
{
    size_t half = (self->ready_count + self->link.in_flight) / 2;
    return half < PORTION_MIN ? SIZE_MAX : half;
}

int
loop_wake(LoopLinkObject *self, bool from_loop)
{
    size_t most, unwritten = 0;
    int direct = 0;
    int failed = 0;

    loop_take_ready(self);
    if (!self->ready_head) {
        return 0;
    }
    direct = from_loop ? may_wake_directly(self) : 0;
    failed = direct < 0 ? -1 : 0;
    most = direct ? portion(self) : SIZE_MAX;
    for (int woken = 0; woken < WAKE_MAX && !failed; woken++) {
        struct seqc_call *call = pop_ready(self);
        if (!call) {
            return 0;
        }
        loop_prefetch(self->ready_head);
        failed = loop_settle(self, call, direct != 0);
        seqc_call_unref(call);
        if (++unwritten == most && self->ready_head && !failed) {
            failed = loop_flush(self);
            unwritten = 0;
        }
    }
    return failed;
}

/* ---- the turn ---- */

static int
arm_next(LoopLinkObject *self)
{
    int64_t next = seqc_link_next_ns(&self->link);
    int64_t late = seqc_timers_earliest(&self->timers);

    return loop_arm(self, next < late ? next : late);
}

void
loop_set_aside(LoopLinkObject *self)
{
    if (self->raised) {
        PyErr_WriteUnraisable((PyObject *)self);
    } else {
        self->raised = PyErr_GetRaisedException();
    }
}

int
loop_raise(LoopLinkObject *self)
{
    PyObject *raised = self->raised;

    if (!raised) {
        return 0;
    }
    self->raised = NULL;
    PyErr_SetRaisedException(raised);
    return -1;
}

bool
loop_is_idle(const LoopLinkObject *self)
{
    return !self->link.sent.head && !self->link.unsent.head &&
           seqc_delays_earliest(&self->link.delays) == SEQC_TIME_NEVER &&
           !self->link.done_head && !self->ready_head;
}

/* Ends everything that the link has. */
static void
end_link(LoopLinkObject *self)
{
    struct seqc_call *call;

    self->closed = true;
    loop_stop_waiting(self);
    seqc_link_close(&self->link);
    loop_take_ready(self);
    while ((call = pop_ready(self))) {
        if (loop_settle(self, call, false)) {
            loop_set_aside(self);
        }
        seqc_call_unref(call);
    }
}

/* Wake, then write what the woken issued.  Whatever raises, a task that let
 * SystemExit through or a Ctrl-C in between, all is done or in its turn
 * again before that passes on. */
int
loop_finish_turn(LoopLinkObject *self, bool from_loop)
{
    bool again = false;

    self->in_reader = true;
    if (loop_wake(self, from_loop)) {
        loop_set_aside(self);
    }
    self->in_reader = false;
    if (loop_flush(self)) {
        loop_set_aside(self);
    }
    if (self->fast && fast_attend(self->fast)) {
        loop_set_aside(self);
    }
    self->heard_ns = 0;
    if (arm_next(self)) {
        loop_set_aside(self);
        again = true; /* the flush arms it */
    }
    loop_take_ready(self); /* what a lost connection ended */
    if ((self->ready_head || again) && schedule_flush(self)) {
        loop_set_aside(self);
    }
    if (self->closing && !self->closed && loop_is_idle(self)) {
        end_link(self);
    }
    return loop_raise(self);
}

/* ---- callbacks of the loop ---- */

static PyObject *
loop_on_flush(LoopLinkObject *self, PyObject *Py_UNUSED(ignored))
{
    self->flush_scheduled = false;
    return loop_none_or_null(loop_finish_turn(self, true));
}

static PyObject *
loop_on_readable(LoopLinkObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->closed) {
        loop_drop_socket(self);
        return loop_none_or_null(loop_raise(self));
    }
    if (self->fd >= 0) {
        loop_receive(self);
    }
    return loop_none_or_null(loop_finish_turn(self, true));
}

static PyObject *
loop_on_writable(LoopLinkObject *self, PyObject *Py_UNUSED(ignored))
{
    return loop_none_or_null(loop_finish_turn(self, true));
}

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Ends the link in its own loop; waiting calls get ClosedError.");

static PyObject *
loop_close(LoopLinkObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->closed) {
        Py_RETURN_NONE;
    }
    end_link(self);
    return loop_none_or_null(loop_raise(self));
}

static PyMethodDef loop_methods[] = {
    {"_on_flush", (PyCFunction)loop_on_flush, METH_NOARGS, NULL},
    {"_on_readable", (PyCFunction)loop_on_readable, METH_NOARGS, NULL},
    {"_on_writable", (PyCFunction)loop_on_writable, METH_NOARGS, NULL},
    {"_on_timer", (PyCFunction)loop_on_timer, METH_NOARGS, NULL},
    {"_on_connected", (PyCFunction)loop_on_connected, METH_O, NULL},
    {"close", (PyCFunction)loop_close, METH_NOARGS, close_doc},
    {0},
};

static PyMemberDef loop_members[] = {
    {"loop",
     T_OBJECT_EX,
     offsetof(LoopLinkObject, loop),
     READONLY,
     "The event loop."},
    {"__weaklistoffset__",
     T_PYSSIZET,
     offsetof(LoopLinkObject, weakrefs),
     READONLY,
     NULL},
    {0},
};

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, (void *)"The link of one event loop."},
    {Py_tp_dealloc, loop_dealloc},
    {Py_tp_traverse, loop_traverse},
    {Py_tp_clear, loop_clear},
    {Py_tp_methods, loop_methods},
    {Py_tp_members, loop_members},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "seqcache._native.LoopLink",
    .basicsize = sizeof(LoopLinkObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = loop_slots,
};

int
loop_setup_type(PyObject *module, struct module_state *state)
{
    state->loop_link_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &loop_spec, NULL);
    return state->loop_link_type
               ? PyModule_AddType(module, state->loop_link_type)
               : -1;
}
