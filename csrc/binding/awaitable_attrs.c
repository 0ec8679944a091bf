/* SPDX-License-Identifier: MIT */
/* The awaitable's attributes, as asyncio's Future has them. */
#include "binding/awaitable_object.h"

static PyObject *
call_weak_loop(PyObject *reference, PyObject *unused)
{
    PyObject *loop = weak_target(reference);

    (void)unused;
    if (!loop) {
        PyErr_SetString(PyExc_RuntimeError, "the event loop is gone");
        return NULL;
    }
    return loop;
}

static PyObject *
call_loop(PyObject *loop, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(loop);
}

static PyMethodDef weak_loop_method = {
    "get_loop",
    call_weak_loop,
    METH_NOARGS,
    "get_loop()\n--\n\nThe event loop.",
};

static PyMethodDef loop_method = {
    "get_loop",
    call_loop,
    METH_NOARGS,
    "get_loop()\n--\n\nThe event loop.",
};

/* The function for `loop`, kept for the next who asks. */
static PyObject *
make_loop_getter(struct awaitable_state *state, PyObject *loop)
{
    PyObject *reference;
    PyObject *getter;

    if (!PyType_SUPPORTS_WEAKREFS(Py_TYPE(loop))) {
        return PyCFunction_New(&loop_method, loop);
    }
    reference = PyWeakref_NewRef(loop, NULL);
    if (!reference) {
        return NULL;
    }
    getter = PyCFunction_New(&weak_loop_method, reference);
    if (getter) {
        Py_XSETREF(state->loop_getter, Py_NewRef(getter));
        Py_XSETREF(state->loop_getter_ref, Py_NewRef(reference));
    }
    Py_DECREF(reference);
    return getter;
}

/* A task asks once an await: an attribute that is a shared function saves it
   the making of a bound method. */
static PyObject *
awaitable_get_loop(PyObject *object, void *unused)
{
    AwaitableObject *self = (AwaitableObject *)object;
    struct awaitable_state *state = self->state;

    (void)unused;
    if (awaitable_check_initialized(self) < 0) {
        return NULL;
    }
    if (state->loop_getter &&
        is_weak_reference_to(state->loop_getter_ref, self->loop)) {
        return Py_NewRef(state->loop_getter);
    }
    return make_loop_getter(state, self->loop);
}

static PyObject *
none_if_null(PyObject *object)
{
    return Py_NewRef(object ? object : Py_None);
}

static PyObject *
awaitable_get_blocking(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((AwaitableObject *)object)->blocking);
}

static int
awaitable_set_blocking(PyObject *object, PyObject *value, void *unused)
{
    int truth;

    (void)unused;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    truth = PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    ((AwaitableObject *)object)->blocking = truth > 0;
    return 0;
}

static PyObject *
awaitable_get_loop_attribute(PyObject *object, void *unused)
{
    (void)unused;
    return none_if_null(((AwaitableObject *)object)->loop);
}

static PyObject *
awaitable_get_state(PyObject *object, void *unused)
{
    uint8_t status = ((AwaitableObject *)object)->status;

    (void)unused;
    return PyUnicode_FromString(status == AWAITABLE_PENDING     ? "PENDING"
                                : status == AWAITABLE_CANCELLED ? "CANCELLED"
                                                                : "FINISHED");
}

static PyObject *
awaitable_get_callbacks(PyObject *object, void *unused)
{
    (void)unused;
    return awaitable_list_callbacks((AwaitableObject *)object);
}

static PyObject *
awaitable_get_result(PyObject *object, void *unused)
{
    AwaitableObject *self = (AwaitableObject *)object;

    (void)unused;
    if (self->status == AWAITABLE_INTEGER ||
        self->status == AWAITABLE_RESULT) {
        return awaitable_take_result(self);
    }
    Py_RETURN_NONE;
}

static PyObject *
awaitable_get_exception(PyObject *object, void *unused)
{
    AwaitableObject *self = (AwaitableObject *)object;

    (void)unused;
    if (self->status != AWAITABLE_FAILED) {
        Py_RETURN_NONE;
    }
    return Py_NewRef(self->value.object);
}

static PyObject *
awaitable_get_log_traceback(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((AwaitableObject *)object)->log_traceback);
}

static int
awaitable_set_log_traceback(PyObject *object, PyObject *value, void *unused)
{
    int truth;

    (void)unused;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    truth = PyObject_IsTrue(value);
    if (truth > 0) {
        PyErr_SetString(PyExc_ValueError,
                        "_log_traceback can only be set to False");
    }
    if (truth != 0) {
        return -1;
    }
    ((AwaitableObject *)object)->log_traceback = false;
    return 0;
}

static bool
has_message(AwaitableObject *self)
{
    return self->status == AWAITABLE_PENDING ||
           self->status == AWAITABLE_CANCELLED;
}

static PyObject *
awaitable_get_cancel_message(PyObject *object, void *unused)
{
    AwaitableObject *self = (AwaitableObject *)object;

    (void)unused;
    return none_if_null(has_message(self) ? self->value.object : NULL);
}

/* A finished one has no place for a message, and no use for it. */
static int
awaitable_set_cancel_message(PyObject *object, PyObject *value, void *unused)
{
    AwaitableObject *self = (AwaitableObject *)object;

    (void)unused;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    if (has_message(self)) {
        Py_XSETREF(self->value.object, Py_NewRef(value));
    }
    return 0;
}

static PyObject *
awaitable_get_source_traceback(PyObject *object, void *unused)
{
    (void)unused;
    return none_if_null(((AwaitableObject *)object)->source_traceback);
}

/* 3.14's call graph follows asyncio's own futures only. */
static PyObject *
awaitable_get_awaited_by(PyObject *object, void *unused)
{
    (void)object;
    (void)unused;
    Py_RETURN_NONE;
}

PyGetSetDef awaitable_getset[] = {
    {"get_loop", awaitable_get_loop, NULL, "The event loop: call it.", NULL},
    {"_asyncio_future_blocking",
     awaitable_get_blocking,
     awaitable_set_blocking,
     NULL,
     NULL},
    {"_loop", awaitable_get_loop_attribute, NULL, NULL, NULL},
    {"_state", awaitable_get_state, NULL, NULL, NULL},
    {"_callbacks", awaitable_get_callbacks, NULL, NULL, NULL},
    {"_result", awaitable_get_result, NULL, NULL, NULL},
    {"_exception", awaitable_get_exception, NULL, NULL, NULL},
    {"_log_traceback",
     awaitable_get_log_traceback,
     awaitable_set_log_traceback,
     NULL,
     NULL},
    {"_cancel_message",
     awaitable_get_cancel_message,
     awaitable_set_cancel_message,
     NULL,
     NULL},
    {"_source_traceback", awaitable_get_source_traceback, NULL, NULL, NULL},
    {"_asyncio_awaited_by", awaitable_get_awaited_by, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
