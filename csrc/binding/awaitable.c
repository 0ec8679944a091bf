/* SPDX-License-Identifier: MIT */
/* The awaitable's life, and its coroutine half: what `await` and a task do
   with it.  The future half is in awaitable_future.c. */
#include "binding/awaitable_object.h"

#include <string.h>
#include <structmember.h>

static AwaitableObject *
new_untracked(struct awaitable_state *state, PyObject *loop)
{
    AwaitableObject *self;

    if (state->spare_count) {
        self = state->spares[--state->spare_count];
        PyObject_Init((PyObject *)self, state->type);
    } else {
        self = PyObject_GC_New(AwaitableObject, state->type);
    }
    if (!self) {
        return NULL;
    }
    /* All but the head, which is filled. */
    memset(
        (char *)self + sizeof(PyObject), 0, sizeof(*self) - sizeof(PyObject));
    self->state = state;
    Py_INCREF(state->module);
    self->loop = Py_NewRef(loop);
    return self;
}

PyObject *
awaitable_new(struct awaitable_state *state,
              PyObject *loop,
              PyObject *link,
              void *call,
              awaitable_abandon_fn abandon)
{
    AwaitableObject *self;

    if (state->plain) {
        return awaitable_plain_new(state, loop, link, call, abandon);
    }
    self = new_untracked(state, loop);
    if (!self) {
        return NULL;
    }
    self->link = Py_XNewRef(link);
    self->call = call;
    self->abandon = abandon;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

void
awaitable_detach(struct awaitable_state *state, PyObject *awaitable)
{
    AwaitableObject *self = (AwaitableObject *)awaitable;

    if (!awaitable_is_ours(awaitable)) {
        awaitable_plain_detach(state, awaitable);
        return;
    }
    self->abandon = NULL;
    self->call = NULL;
    Py_CLEAR(self->link);
}

void
awaitable_rebind(struct awaitable_state *state,
                 PyObject *awaitable,
                 PyObject *link,
                 void *call,
                 awaitable_abandon_fn abandon)
{
    AwaitableObject *self = (AwaitableObject *)awaitable;

    if (!awaitable_is_ours(awaitable)) {
        awaitable_plain_rebind(state, awaitable, link, call, abandon);
        return;
    }
    self->abandon = abandon;
    self->call = call;
    Py_XSETREF(self->link, Py_XNewRef(link));
}

PyObject *
awaitable_waiter_context(PyObject *awaitable)
{
    PyObject *context = awaitable_is_ours(awaitable)
                            ? ((AwaitableObject *)awaitable)->context
                            : NULL;

    return context ? PyContext_Copy(context) : NULL;
}

PyObject *
awaitable_new_done_int(struct awaitable_state *state,
                       PyObject *loop,
                       int64_t value)
{
    AwaitableObject *self;

    if (state->plain) {
        PyObject *number = PyLong_FromLongLong(value);
        PyObject *future = NULL;

        if (number) {
            future = awaitable_plain_done(loop, number, false);
            Py_DECREF(number);
        }
        return future;
    }
    self = new_untracked(state, loop);
    if (!self) {
        return NULL;
    }
    self->status = AWAITABLE_INTEGER;
    self->value.integer = value;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyObject *
awaitable_new_done(struct awaitable_state *state,
                   PyObject *loop,
                   PyObject *result_or_exception,
                   bool is_exception)
{
    AwaitableObject *self;

    if (state->plain) {
        return awaitable_plain_done(loop, result_or_exception, is_exception);
    }
    self = new_untracked(state, loop);
    if (!self) {
        return NULL;
    }
    PyObject_GC_Track(self);
    /* Nobody waits yet: this calls nothing and cannot fail. */
    (void)awaitable_finish_steal(self,
                                 is_exception ? AWAITABLE_FAILED
                                              : AWAITABLE_RESULT,
                                 Py_NewRef(result_or_exception),
                                 false);
    return (PyObject *)self;
}

static int
awaitable_traverse(PyObject *object, visitproc visit, void *arg)
{
    AwaitableObject *self = (AwaitableObject *)object;

    Py_VISIT(Py_TYPE(object));
    if (self->state) {
        Py_VISIT(self->state->module);
    }
    Py_VISIT(self->loop);
    Py_VISIT(self->link);
    Py_VISIT(self->callback);
    Py_VISIT(self->context);
    if (self->status != AWAITABLE_INTEGER) {
        Py_VISIT(self->value.object);
    }
    Py_VISIT(self->traceback);
    Py_VISIT(self->source_traceback);
    return 0;
}

static int
awaitable_clear(PyObject *object)
{
    AwaitableObject *self = (AwaitableObject *)object;

    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    if (self->status != AWAITABLE_INTEGER) {
        Py_CLEAR(self->value.object);
    }
    Py_CLEAR(self->traceback);
    Py_CLEAR(self->source_traceback);
    Py_CLEAR(self->link);
    Py_CLEAR(self->loop);
    return 0;
}

static bool
is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* One record for an exception that nobody looked at; never the loop, which
   may be closed, in another thread, or gone. */
static int
log_never_retrieved(AwaitableObject *self)
{
    PyObject *exception = self->value.object;
    PyObject *name = PyType_GetName(Py_TYPE(self));
    PyObject *text = NULL;
    PyObject *info = NULL;
    PyObject *error = PyObject_GetAttrString(self->state->logger, "error");
    PyObject *done = NULL;

    if (name && error) {
        text = PyUnicode_FromFormat(
            "%U exception was never retrieved\nfuture: %R", name, self);
        info = Py_BuildValue("{s:(OOO)}",
                             "exc_info",
                             Py_TYPE(exception),
                             exception,
                             self->traceback ? self->traceback : Py_None);
    }
    if (text && info) {
        done = PyObject_VectorcallDict(error, &text, 1, info);
    }
    Py_XDECREF(name);
    Py_XDECREF(text);
    Py_XDECREF(info);
    Py_XDECREF(error);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static void
awaitable_finalize(PyObject *object)
{
    AwaitableObject *self = (AwaitableObject *)object;
    PyObject *pending;

    if (!self->log_traceback || is_finalizing()) {
        return;
    }
    self->log_traceback = false;
    if (self->status != AWAITABLE_FAILED || !self->value.object ||
        !self->state->logger) {
        return;
    }
    pending = PyErr_GetRaisedException();
    if (log_never_retrieved(self) < 0) {
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(object));
    }
    if (pending) {
        PyErr_SetRaisedException(pending);
    }
}

/* Gives the memory back, or keeps it.  A finalized object has a mark in its
   collector's header that the next one must not inherit. */
static void
free_or_keep(AwaitableObject *self)
{
    PyObject *object = (PyObject *)self;
    struct awaitable_state *state = self->state;

    if (Py_IS_TYPE(object, state->type) &&
        state->spare_count < AWAITABLE_SPARE_MAX &&
        !PyObject_GC_IsFinalized(object)) {
        state->spares[state->spare_count++] = self;
    } else {
        Py_TYPE(object)->tp_free(object);
    }
}

static void
awaitable_dealloc(PyObject *object)
{
    AwaitableObject *self = (AwaitableObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject *module = self->state ? self->state->module : NULL;

    /* The finalizer does nothing without the flag: save the call. */
    if (self->log_traceback && PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    PyObject_GC_UnTrack(object);
    if (self->weakrefs) {
        PyObject_ClearWeakRefs(object);
    }
    (void)awaitable_clear(object);
    free_or_keep(self);
    Py_DECREF(type);
    Py_XDECREF(module);
}

/* The task must see the object once, then wait for it. */
static PyObject *
yield_self(AwaitableObject *self)
{
    if (self->blocking) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return NULL;
    }
    self->blocking = true;
    return Py_NewRef((PyObject *)self);
}

/* What `await` runs: an answer is delivered as StopIteration. */
static PyObject *
awaitable_iternext(PyObject *object)
{
    AwaitableObject *self = (AwaitableObject *)object;
    PyObject *result;

    if (self->status == AWAITABLE_PENDING) {
        return yield_self(self);
    }
    if (self->status == AWAITABLE_INTEGER) {
        return awaitable_stop_int(self->state, self->value.integer);
    }
    result = awaitable_take_result(self);
    return result ? awaitable_stop_steal(result) : NULL;
}

/* What a task runs whose coroutine we are: no StopIteration is needed. */
static PySendResult
awaitable_am_send(PyObject *object, PyObject *value, PyObject **out_result)
{
    AwaitableObject *self = (AwaitableObject *)object;

    (void)value;
    if (self->status == AWAITABLE_PENDING) {
        *out_result = yield_self(self);
        return *out_result ? PYGEN_NEXT : PYGEN_ERROR;
    }
    *out_result = awaitable_take_result(self);
    return *out_result ? PYGEN_RETURN : PYGEN_ERROR;
}

bool
awaitable_is_ours(PyObject *object)
{
    return Py_TYPE(object)->tp_iternext == awaitable_iternext;
}

static PyObject *
awaitable_repr(PyObject *object)
{
    AwaitableObject *self = (AwaitableObject *)object;

    return PyObject_CallOneArg(self->state->future_repr, object);
}

static PyMemberDef awaitable_members[] = {
    {"__weaklistoffset__",
     T_PYSSIZET,
     offsetof(AwaitableObject, weakrefs),
     READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(awaitable_doc,
             "What a call of AsyncSeqCache returns: an asyncio future that\n"
             "create_task() and TaskGroup.create_task() take, too.  The call "
             "is under way\nalready, awaited or not; cancel() detaches from "
             "it.  asyncio.wait() refuses\nwhatever looks like a coroutine: "
             "wrap it with asyncio.create_task().");

static PyType_Slot awaitable_slots[] = {
    {Py_tp_doc, (void *)awaitable_doc},
    {Py_tp_traverse, awaitable_traverse},
    {Py_tp_clear, awaitable_clear},
    {Py_tp_finalize, awaitable_finalize},
    {Py_tp_dealloc, awaitable_dealloc},
    {Py_tp_repr, awaitable_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, awaitable_iternext},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, awaitable_am_send},
    {Py_tp_methods, awaitable_methods},
    {Py_tp_getset, awaitable_getset},
    {Py_tp_members, awaitable_members},
    {0, NULL},
};

/* BASETYPE is for _TestAwaitable: without tp_new nobody makes another. */
static PyType_Spec awaitable_spec = {
    .name = "seqcache._native.Awaitable",
    .basicsize = sizeof(AwaitableObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = awaitable_slots,
};

int
awaitable_setup_type(PyObject *module, struct awaitable_state *state)
{
    state->module = module;
    state->type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &awaitable_spec, NULL);
    if (!state->type || PyModule_AddType(module, state->type) < 0 ||
        awaitable_setup_hook(module, state) < 0) {
        return -1;
    }
    return awaitable_setup_test_type(module, state);
}
