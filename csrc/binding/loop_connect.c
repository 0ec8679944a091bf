/* SPDX-License-Identifier: MIT */
#include "binding/loop_connect.h"

#include <unistd.h>

#include "binding/fast.h"
#include "core/alloc.h"
#include "core/park.h"

/* ---- small helpers ---- */

static bool
loop_is_closed(PyObject *loop)
{
    PyObject *answer = PyObject_CallMethod(loop, "is_closed", NULL);
    bool closed = !answer || PyObject_IsTrue(answer) != 0;

    Py_XDECREF(answer);
    PyErr_Clear();
    return closed;
}

/* loop.<name>(fd), or loop.<name>(fd, self.<method>) */
static int
call_with_fd(LoopLinkObject *self, const char *name, const char *method)
{
    PyObject *callback;
    PyObject *result;

    if (!method) {
        return loop_drop_result(
            PyObject_CallMethod(self->loop, name, "i", self->fd));
    }
    callback = PyObject_GetAttrString((PyObject *)self, method);
    if (!callback) {
        return -1;
    }
    result = PyObject_CallMethod(self->loop, name, "iO", self->fd, callback);
    Py_DECREF(callback);
    return loop_drop_result(result);
}

int
loop_watch_writable(LoopLinkObject *self)
{
    return self->wants_write ? call_with_fd(self, "add_writer", "_on_writable")
                             : call_with_fd(self, "remove_writer", NULL);
}

/* ---- connecting ---- */

static void
cancel_connect(LoopLinkObject *self)
{
    if (self->connect_task && !loop_is_closed(self->loop) &&
        loop_drop_result(
            PyObject_CallMethod(self->connect_task, "cancel", NULL))) {
        loop_set_aside(self);
    }
}

/* Makes the task; its end is told to `_on_connected`. */
static int
start_task(LoopLinkObject *self)
{
    PyObject *coroutine =
        PyObject_CallFunctionObjArgs(self->engine->connect, Py_None, NULL);
    PyObject *callback = NULL;
    int failed = -1;

    if (coroutine) {
        self->connect_task =
            PyObject_CallMethod(self->loop, "create_task", "O", coroutine);
        Py_DECREF(coroutine);
    }
    if (self->connect_task) {
        callback = PyObject_GetAttrString((PyObject *)self, "_on_connected");
    }
    if (callback) {
        failed = loop_drop_result(PyObject_CallMethod(
            self->connect_task, "add_done_callback", "O", callback));
        Py_DECREF(callback);
    }
    return failed;
}

/* The raised exception, an Exception, says why there is no connection. */
static void
take_refusal(LoopLinkObject *self)
{
    seqc_status status = engine_take_connect_error(self->engine);
    PyObject *text;
    const char *why;

    if (status == SEQC_OK) { /* unexpected: callers see it as the cause */
        Py_XSETREF(self->engine->last_error, PyErr_GetRaisedException());
    }
    seqc_backoff_failed(&self->backoff, seqc_now_ns());
    if (status == SEQC_AUTH) {
        text = PyObject_Str(self->engine->last_error);
        why = text ? PyUnicode_AsUTF8(text) : NULL;
        PyErr_Clear();
        seqc_link_refuse(&self->link, status, why ? why : "refused");
        Py_XDECREF(text);
    }
}

/* As take_refusal; a Ctrl-C or the like that came in between passes on. */
static void
take_failure(LoopLinkObject *self)
{
    if (PyErr_ExceptionMatches(PyExc_Exception)) {
        take_refusal(self);
    } else {
        loop_set_aside(self);
        seqc_backoff_failed(&self->backoff, seqc_now_ns());
    }
}

static void
start_connect(LoopLinkObject *self)
{
    self->is_connecting = true; /* what runs here may come here */
    if (start_task(self)) {
        take_failure(self);
        cancel_connect(self);
        Py_CLEAR(self->connect_task);
        self->is_connecting = false;
    } else if (self->closed) {
        cancel_connect(self);
    }
}

int
loop_connect(LoopLinkObject *self)
{
    if (self->is_connecting || self->closed) {
        return 0;
    }
    if (seqc_now_ns() >= self->backoff.retry_ns) {
        start_connect(self);
    }
    return self->is_connecting ? 0 : loop_arm(self, self->backoff.retry_ns);
}

int
loop_adopt(LoopLinkObject *self, int fd)
{
    if (self->closed || self->fd >= 0) {
        close(fd);
        return 0;
    }
    if (seqc_link_up(&self->link, seqc_now_ns())) {
        close(fd);
        PyErr_NoMemory();
        return -1;
    }
    self->fd = fd;
    if (call_with_fd(self, "add_reader", "_on_readable")) {
        PyObject *error = PyErr_GetRaisedException();
        loop_lose(self, SEQC_CONNECT, "the loop does not watch the link");
        PyErr_SetRaisedException(error);
        return -1;
    }
    self->backoff.retry_ns = 0;
    seqc_stats_add(&self->stats.reconnects, self->was_up);
    self->was_up = true;
    return 0;
}

/* The connect task ended: with a descriptor, an exception, or cancelled (the
 * loop is being shut down, or somebody cancels all tasks). */
PyObject *
loop_on_connected(LoopLinkObject *self, PyObject *task)
{
    PyObject *answer = PyObject_CallMethod(task, "result", NULL);
    int fd;

    Py_CLEAR(self->connect_task);
    self->is_connecting = false;
    if (answer) {
        fd = (int)PyLong_AsLong(answer);
        Py_DECREF(answer);
        if ((fd == -1 && PyErr_Occurred()) || loop_adopt(self, fd)) {
            take_failure(self);
        }
    } else if (PyErr_ExceptionMatches(
                   self->engine->state->awaitable.cancelled_error)) {
        PyErr_Clear();
        seqc_backoff_failed(&self->backoff, seqc_now_ns());
    } else {
        take_refusal(self); /* what is no Exception the task let through */
    }
    return loop_none_or_null(loop_finish_turn(self, true));
}

/* ---- the end ---- */

void
loop_drop_socket(LoopLinkObject *self)
{
    if (self->fd < 0) {
        return;
    }
    if (!loop_is_closed(self->loop) &&
        (call_with_fd(self, "remove_reader", NULL) ||
         call_with_fd(self, "remove_writer", NULL))) {
        loop_set_aside(self);
    }
    close(self->fd);
    self->fd = -1;
    self->wants_write = false;
}

void
loop_stop_waiting(LoopLinkObject *self)
{
    loop_cancel_timer(self);
    cancel_connect(self);
    loop_drop_socket(self);
}

/* Lets go of every awaitable without a word: their loop is gone. */
static void
drop_calls(LoopLinkObject *self)
{
    struct seqc_call *call = self->ready_head;

    self->ready_head = self->ready_tail = NULL;
    self->ready_count = 0;
    seqc_timers_fini(&self->timers);
    seqc_link_close(&self->link);
    for (int round = 0; round < 2; round++) {
        while (call) {
            struct seqc_call *next = call->next_done;
            PyObject *owner = call->owner;
            call->owner = NULL;
            loop_drop_context(call);
            seqc_call_unref(call); /* the link's */
            if (owner) {
                awaitable_detach(&self->engine->state->awaitable, owner);
                seqc_call_unref(call); /* the holder's */
                Py_DECREF(owner);
            }
            call = next;
        }
        call = seqc_link_take_done(&self->link);
    }
}

static bool
is_pending(const struct seqc_request *request)
{
    return request->state == SEQC_REQUEST_UNSENT ||
           request->state == SEQC_REQUEST_SENT ||
           request->state == SEQC_REQUEST_DELAYED;
}

/* Each call once, though a bulk has many requests in the lists. */
static bool
is_first_pending(const struct seqc_request *request)
{
    const struct seqc_request *first = &request->call->requests[0];

    while (request > first) {
        request--;
        if (is_pending(request)) {
            return false;
        }
    }
    return true;
}

static int
visit_owners(const struct seqc_list *list, visitproc visit, void *arg)
{
    for (struct seqc_request *r = list->head; r; r = r->next) {
        if (r->call->owner && is_first_pending(r)) {
            Py_VISIT((PyObject *)r->call->owner);
            Py_VISIT((PyObject *)r->call->context);
        }
    }
    return 0;
}

int
loop_traverse(PyObject *object, visitproc visit, void *arg)
{
    LoopLinkObject *self = (LoopLinkObject *)object;
    int stop = 0;

    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->engine);
    Py_VISIT(self->loop);
    Py_VISIT(self->call_soon);
    Py_VISIT(self->on_flush);
    Py_VISIT(self->timer);
    Py_VISIT(self->connect_task);
    Py_VISIT(self->raised);
    Py_VISIT(self->fast);
    for (struct seqc_call *c = self->ready_head; c; c = c->next_done) {
        Py_VISIT((PyObject *)c->owner);
        Py_VISIT((PyObject *)c->context);
    }
    stop = visit_owners(&self->link.unsent, visit, arg);
    stop = stop ? stop : visit_owners(&self->link.sent, visit, arg);
    for (int i = 0; i < SEQC_DELAY_LENGTHS && !stop; i++) {
        stop = visit_owners(&self->link.delays.lists[i], visit, arg);
    }
    return stop;
}

int
loop_clear(PyObject *object)
{
    LoopLinkObject *self = (LoopLinkObject *)object;

    self->closed = true;
    drop_calls(self);
    Py_CLEAR(self->call_soon);
    Py_CLEAR(self->on_flush);
    Py_CLEAR(self->timer);
    Py_CLEAR(self->connect_task);
    Py_CLEAR(self->raised);
    Py_CLEAR(self->fast);
    return 0;
}

static void
join_engine(LoopLinkObject *self, EngineObject *engine)
{
    self->engine = (EngineObject *)Py_NewRef((PyObject *)engine);
    self->next_link = engine->links;
    if (self->next_link) {
        self->next_link->prev_link = self;
    }
    engine->links = self;
}

/* What it counted stays with the engine. */
static void
leave_engine(LoopLinkObject *self)
{
    seqc_stats_merge(&self->engine->stats, &self->stats);
    if (self->next_link) {
        self->next_link->prev_link = self->prev_link;
    }
    if (self->prev_link) {
        self->prev_link->next_link = self->next_link;
    } else {
        self->engine->links = self->next_link;
    }
}

void
loop_dealloc(PyObject *object)
{
    LoopLinkObject *self = (LoopLinkObject *)object;
    PyTypeObject *type = Py_TYPE(object);

    PyObject_GC_UnTrack(object);
    if (self->weakrefs) {
        PyObject_ClearWeakRefs(object);
    }
    (void)loop_clear(object);
    if (self->fd >= 0) {
        close(self->fd);
    }
    if (self->engine) {
        leave_engine(self);
    }
    seqc_link_fini(&self->link);
    seqc_free(self->input);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->engine);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- finding it ---- */

static LoopLinkObject *
new_link(EngineObject *engine, PyObject *loop)
{
    PyTypeObject *type = engine->state->loop_link_type;
    LoopLinkObject *self = (LoopLinkObject *)type->tp_alloc(type, 0);
    int debug;

    if (!self) {
        return NULL;
    }
    self->fd = -1;
    join_engine(self, engine);
    self->loop = Py_NewRef(loop);
    seqc_timers_init(&self->timers);
    self->input = seqc_malloc(SEQC_INPUT_BYTES);
    if (!self->input ||
        seqc_link_init(
            &self->link, engine->options, engine->regress, &self->stats)) {
        Py_DECREF(self);
        PyErr_NoMemory();
        return NULL;
    }
    if (engine->is_durable) {
        self->fast = fast_of_loop(engine);
        if (!self->fast) {
            Py_DECREF(self);
            return NULL;
        }
        seqc_durable_attach(&self->link, self->fast->belief);
    }
    self->call_soon = PyObject_GetAttrString(loop, "call_soon");
    self->on_flush = PyObject_GetAttrString((PyObject *)self, "_on_flush");
    debug = awaitable_loop_is_debug(loop);
    if (!self->call_soon || !self->on_flush || debug < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->is_debug = debug != 0;
    return self;
}

/* Takes the link out of the dict; -1 only if that fails.  Another thread may
 * have been here first. */
static int
forget_loop(EngineObject *engine, PyObject *loop)
{
    PyObject *link = PyDict_GetItemWithError(engine->loops, loop);
    int failed;

    if (!link) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(link);
    failed = PyDict_DelItem(engine->loops, loop);
    if (!failed) { /* cuts link <-> awaitables of calls under way */
        (void)loop_clear(link);
    }
    Py_DECREF(link);
    return failed;
}

/* Links of loops that were closed since: their descriptors go with them. */
static int
forget_closed_loops(EngineObject *engine)
{
    PyObject *keys = PyDict_Keys(engine->loops);
    int failed = keys ? 0 : -1;

    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(keys); i++) {
        PyObject *loop = PyList_GET_ITEM(keys, i); // borrowed
        if (loop_is_closed(loop)) {
            failed = forget_loop(engine, loop);
        }
    }
    Py_XDECREF(keys);
    return failed;
}

LoopLinkObject *
loop_link_of(EngineObject *engine, PyObject *loop)
{
    LoopLinkObject *link = (LoopLinkObject *)PyDict_GetItemWithError(
        engine->loops, loop); // borrowed

    if ((link && !link->closed) || PyErr_Occurred()) {
        return link;
    }
    if (forget_closed_loops(engine)) {
        return NULL;
    }
    link = new_link(engine, loop);
    if (link && PyDict_SetItem(engine->loops, loop, (PyObject *)link)) {
        Py_CLEAR(link);
    }
    Py_XDECREF(link);
    return link;
}

/* `loop.remove_reader` here would delete the parent's registration. */
void
loop_after_fork(EngineObject *engine)
{
    PyObject *loop;
    PyObject *object;
    Py_ssize_t at = 0;

    while (engine->loops && PyDict_Next(engine->loops, &at, &loop, &object)) {
        LoopLinkObject *self = (LoopLinkObject *)object;
        self->closed = true;
        if (self->fast) {
            fast_after_fork((PyObject *)self->fast);
        }
        if (self->fd >= 0) {
            close(self->fd);
            self->fd = -1;
        }
    }
}
