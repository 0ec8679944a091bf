/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "binding/loop.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>
#include <sys/socket.h>
#include <unistd.h>

#include "binding/errors.h"
#include "binding/loop_connect.h"
#include "core/alloc.h"
#include "core/park.h"

/* Tasks woken in one callback; the rest waits for its turn in the loop behind
 * other handles (1000 tasks take about 0.5 ms). */
#define WAKE_MAX 512

/* ---- calls ---- */

static void
release_owner(struct seqc_call *call)
{
    PyObject *owner = call->owner;

    if (owner) {
        call->owner = NULL;
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

PyObject *
loop_submit_steal(LoopLinkObject *self,
                  struct seqc_call *call,
                  bool is_default_timeout)
{
    PyObject *awaitable;

    if (seqc_timers_add(&self->timers, call, is_default_timeout)) {
        seqc_call_unref(call);
        return PyErr_NoMemory();
    }
    if (loop_arm(self, call->deadline_ns) || schedule_flush(self)) {
        goto fail;
    }
    awaitable = awaitable_new(&self->engine->state->awaitable,
                              self->loop,
                              (PyObject *)self,
                              call,
                              abandon_call);
    if (!awaitable) {
        goto fail;
    }
    call->owner = Py_NewRef(awaitable);
    seqc_link_submit(&self->link, call);
    if (self->is_debug &&
        awaitable_note_source(&self->engine->state->awaitable, awaitable)) {
        Py_CLEAR(awaitable); /* the call is under way all the same */
    }
    return awaitable;
fail:
    seqc_timers_remove(&self->timers, call);
    seqc_call_unref(call);
    return NULL;
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
    while (done->next_done) {
        done = done->next_done;
    }
    self->ready_tail = done;
}

static struct seqc_call *
pop_ready(LoopLinkObject *self)
{
    struct seqc_call *call = self->ready_head;

    if (call) {
        self->ready_head = call->next_done;
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

int
loop_wake(LoopLinkObject *self, bool from_loop)
{
    int direct = 0;
    int failed = 0;

    loop_take_ready(self);
    if (!self->ready_head) {
        return 0;
    }
    direct = from_loop ? may_wake_directly(self) : 0;
    failed = direct < 0 ? -1 : 0;
    for (int woken = 0; woken < WAKE_MAX && !failed; woken++) {
        struct seqc_call *call = pop_ready(self);
        if (!call) {
            return 0;
        }
        failed = loop_settle(self, call, direct != 0);
        seqc_call_unref(call);
    }
    return failed;
}

/* ---- the socket ---- */

void
loop_lose(LoopLinkObject *self, seqc_status cause, const char *why)
{
    loop_drop_socket(self);
    seqc_backoff_lost(&self->backoff, &self->link, seqc_now_ns());
    seqc_link_fail(&self->link, cause, why);
}

/* One recv; what came is fed. */
void
loop_receive(LoopLinkObject *self)
{
    struct seqc_loss loss;
    seqc_status status;
    ssize_t got;
    int error;
    int fd = self->fd;

    Py_BEGIN_ALLOW_THREADS
    got = recv(fd, self->input, SEQC_INPUT_BYTES, MSG_DONTWAIT);
    error = errno;
    Py_END_ALLOW_THREADS
    if (self->fd != fd) {
        return;
    }
    status = seqc_socket_received(
        &self->link, self->input, got, error, seqc_now_ns(), &loss);
    if (status && status != SEQC_PENDING) {
        loop_lose(self, loss.cause, loss.why);
    }
}

/* True: there is more to write and the socket takes it. */
static bool
send_some(LoopLinkObject *self)
{
    struct seqc_loss loss;
    seqc_status status;
    const char *data;
    size_t len;
    ssize_t sent;
    int error;
    int fd = self->fd;

    if (seqc_link_output(&self->link, &data, &len)) {
        loop_lose(self, SEQC_NOMEM, "out of memory");
        return false;
    }
    if (!len) {
        return false;
    }
    Py_BEGIN_ALLOW_THREADS
    sent = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    error = errno;
    Py_END_ALLOW_THREADS
    if (self->fd != fd) {
        return false;
    }
    status =
        seqc_socket_sent(&self->link, len, sent, error, seqc_now_ns(), &loss);
    if (status == SEQC_PENDING) {
        self->wants_write = true;
    } else if (status) {
        loop_lose(self, loss.cause, loss.why);
    }
    return !status;
}

/* Writes what is queued, or sees to it that there will be a connection. */
static int
flush(LoopLinkObject *self)
{
    bool wanted_write = self->wants_write;

    if (self->closed) {
        return 0;
    }
    if (self->link.up && !self->link.in_flight && self->link.unsent.head) {
        loop_receive(self); /* the end of the connection, before it is written to */
    }
    self->wants_write = false;
    while (self->link.up && send_some(self)) {
    }
    if (self->link.up && wanted_write != self->wants_write &&
        loop_watch_writable(self)) {
        return -1;
    }
    if (!self->link.up && self->link.unsent.head && loop_connect(self)) {
        return -1;
    }
    return loop_arm(self, seqc_link_next_ns(&self->link));
}

/* The end of every callback: wake, then write what the woken issued.  If a
 * task let SystemExit through, the rest is done in the next turn. */
int
loop_finish_turn(LoopLinkObject *self, bool from_loop)
{
    PyObject *raised = NULL;
    int failed;

    self->in_reader = true;
    failed = loop_wake(self, from_loop);
    self->in_reader = false;
    if (failed) {
        raised = PyErr_GetRaisedException();
    }
    if (flush(self)) {
        failed = -1;
    }
    loop_take_ready(self); /* what a lost connection ended */
    if (self->ready_head && schedule_flush(self)) {
        failed = -1;
    }
    if (raised) {
        if (PyErr_Occurred()) {
            PyErr_Clear();
        }
        PyErr_SetRaisedException(raised);
    }
    return failed;
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
        Py_RETURN_NONE;
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
    int failed = 0;

    if (self->closed) {
        Py_RETURN_NONE;
    }
    self->closed = true;
    loop_stop_waiting(self);
    seqc_link_close(&self->link);
    loop_take_ready(self);
    while (self->ready_head) {
        struct seqc_call *call = pop_ready(self);
        if (loop_settle(self, call, false)) {
            failed = -1;
        }
        seqc_call_unref(call);
    }
    return loop_none_or_null(failed);
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
