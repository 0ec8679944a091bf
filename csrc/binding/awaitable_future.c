/* SPDX-License-Identifier: MIT */
/* The future half of the awaitable: methods and attributes as asyncio's. */
#include "binding/awaitable_object.h"

int
awaitable_check_initialized(AwaitableObject *self)
{
    if (self->loop) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, "Future object is not initialized.");
    return -1;
}

/* The value of the one keyword `name`, borrowed, or NULL. */
static int
parse_keyword(const char *function,
              const char *name,
              PyObject *names,
              PyObject *const *values,
              PyObject **out_value)
{
    *out_value = NULL;
    if (!names || PyTuple_GET_SIZE(names) == 0) {
        return 0;
    }
    if (PyTuple_GET_SIZE(names) > 1 ||
        PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), name)) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got an unexpected keyword argument",
                     function);
        return -1;
    }
    *out_value = values[0];
    return 0;
}

/* A task comes with the same tuple of names each time. */
static int
parse_context(struct awaitable_state *state,
              PyObject *names,
              PyObject *const *values,
              PyObject **out_context)
{
    if (names && names == state->context_names_seen) {
        *out_context = values[0];
        return 0;
    }
    if (parse_keyword(
            "add_done_callback", "context", names, values, out_context) < 0) {
        return -1;
    }
    if (*out_context) {
        Py_XSETREF(state->context_names_seen, Py_NewRef(names));
    }
    return 0;
}

static PyObject *
awaitable_result(PyObject *object, PyObject *unused)
{
    (void)unused;
    return awaitable_take_result((AwaitableObject *)object);
}

static PyObject *
awaitable_exception(PyObject *object, PyObject *unused)
{
    AwaitableObject *self = (AwaitableObject *)object;

    (void)unused;
    if (self->status == AWAITABLE_PENDING) {
        PyErr_SetString(self->state->invalid_state_error,
                        "Exception is not set.");
        return NULL;
    }
    if (self->status == AWAITABLE_CANCELLED) {
        return awaitable_raise_cancelled(self);
    }
    self->log_traceback = false;
    if (self->status == AWAITABLE_FAILED) {
        return Py_NewRef(self->value.object);
    }
    Py_RETURN_NONE;
}

static PyObject *
awaitable_done(PyObject *object, PyObject *unused)
{
    AwaitableObject *self = (AwaitableObject *)object;

    (void)unused;
    return PyBool_FromLong(self->status != AWAITABLE_PENDING);
}

static PyObject *
awaitable_cancelled(PyObject *object, PyObject *unused)
{
    AwaitableObject *self = (AwaitableObject *)object;

    (void)unused;
    return PyBool_FromLong(self->status == AWAITABLE_CANCELLED);
}

static PyObject *
awaitable_cancel_method(PyObject *object,
                        PyObject *const *args,
                        Py_ssize_t count,
                        PyObject *names)
{
    AwaitableObject *self = (AwaitableObject *)object;
    PyObject *message;
    int cancelled;

    if (count > 1 || (count == 1 && names && PyTuple_GET_SIZE(names))) {
        PyErr_SetString(PyExc_TypeError, "cancel() takes at most 1 argument");
        return NULL;
    }
    if (parse_keyword("cancel", "msg", names, args + count, &message) < 0 ||
        awaitable_check_initialized(self) < 0) {
        return NULL;
    }
    cancelled = awaitable_cancel(self, count ? args[0] : message);
    return cancelled < 0 ? NULL : PyBool_FromLong(cancelled);
}

static PyObject *
awaitable_add_done_callback(PyObject *object,
                            PyObject *const *args,
                            Py_ssize_t count,
                            PyObject *names)
{
    AwaitableObject *self = (AwaitableObject *)object;
    PyObject *context;
    int failed;

    if (count != 1) {
        PyErr_SetString(
            PyExc_TypeError,
            "add_done_callback() takes exactly 1 positional argument");
        return NULL;
    }
    if (parse_context(self->state, names, args + 1, &context) < 0 ||
        awaitable_check_initialized(self) < 0) {
        return NULL;
    }
    if (context && context != Py_None) {
        Py_INCREF(context);
    } else {
        context = PyContext_CopyCurrent();
        if (!context) {
            return NULL;
        }
    }
    failed = awaitable_add_callback(self, args[0], context);
    Py_DECREF(context);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *
awaitable_remove_done_callback(PyObject *object, PyObject *fn)
{
    AwaitableObject *self = (AwaitableObject *)object;
    Py_ssize_t removed;

    if (awaitable_check_initialized(self) < 0) {
        return NULL;
    }
    removed = awaitable_remove_callback(self, fn);
    return removed < 0 ? NULL : PyLong_FromSsize_t(removed);
}

static PyObject *
awaitable_make_cancelled_error(PyObject *object, PyObject *unused)
{
    (void)unused;
    (void)awaitable_raise_cancelled((AwaitableObject *)object);
    return PyErr_GetRaisedException();
}

/* As a generator's: nothing here catches it. */
static int
set_thrown(PyObject *type, PyObject *value, PyObject *traceback)
{
    if (traceback == Py_None) {
        traceback = NULL;
    } else if (traceback && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError,
                        "throw() third argument must be a traceback");
        return -1;
    }
    if (PyExceptionClass_Check(type)) {
        PyErr_Restore(
            Py_NewRef(type), Py_XNewRef(value), Py_XNewRef(traceback));
        return 0;
    }
    if (!PyExceptionInstance_Check(type)) {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes or instances deriving from "
                     "BaseException, not %s",
                     Py_TYPE(type)->tp_name);
        return -1;
    }
    if (value && value != Py_None) {
        PyErr_SetString(PyExc_TypeError,
                        "instance exception may not have a separate value");
        return -1;
    }
    if (traceback && PyException_SetTraceback(type, traceback) < 0) {
        return -1;
    }
    PyErr_SetRaisedException(Py_NewRef(type));
    return 0;
}

/* A task that is cancelled before its first step throws without having
   waited: nobody would see the answer, so the call is given up. */
static PyObject *
give_up(AwaitableObject *self)
{
    PyObject *error = PyErr_GetRaisedException();

    if (awaitable_cancel(self, NULL) < 0) {
        Py_DECREF(error);
        return NULL;
    }
    PyErr_SetRaisedException(error);
    return NULL;
}

static PyObject *
awaitable_throw(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    AwaitableObject *self = (AwaitableObject *)object;

    if (count < 1 || count > 3) {
        PyErr_SetString(PyExc_TypeError,
                        "throw() takes from 1 to 3 arguments");
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030c0000
    if (count > 1 &&
        PyErr_WarnEx(PyExc_DeprecationWarning,
                     "the (type, exc, tb) signature of throw() is deprecated, "
                     "use the single-arg signature instead.",
                     1) < 0) {
        return NULL;
    }
#endif
    if (set_thrown(args[0],
                   count > 1 ? args[1] : NULL,
                   count > 2 ? args[2] : NULL) == 0 &&
        self->status == AWAITABLE_PENDING && !self->callback && self->loop &&
        PyErr_ExceptionMatches(self->state->cancelled_error)) {
        return give_up(self);
    }
    return NULL;
}

static PyObject *
awaitable_send(PyObject *object, PyObject *unused)
{
    (void)unused;
    return Py_TYPE(object)->tp_iternext(object);
}

/* Whoever closes stops waiting; the others, and the call, go on. */
static PyObject *
awaitable_close(PyObject *object, PyObject *unused)
{
    (void)object;
    (void)unused;
    Py_RETURN_NONE;
}

#define FASTCALL(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef awaitable_methods[] = {
    {"result",
     awaitable_result,
     METH_NOARGS,
     "result($self, /)\n--\n\n"
     "The result, or raises the exception or CancelledError;\n"
     "InvalidStateError when it is not done."},
    {"exception",
     awaitable_exception,
     METH_NOARGS,
     "exception($self, /)\n--\n\n"
     "The exception, or None if there is a result; raises CancelledError\n"
     "or, when it is not done, InvalidStateError."},
    {"done",
     awaitable_done,
     METH_NOARGS,
     "done($self, /)\n--\n\nWhether it has ended, by whatever way."},
    {"cancelled",
     awaitable_cancelled,
     METH_NOARGS,
     "cancelled($self, /)\n--\n\nWhether it was cancelled."},
    {"cancel",
     FASTCALL(awaitable_cancel_method),
     METH_FASTCALL | METH_KEYWORDS,
     "cancel($self, /, msg=None)\n--\n\n"
     "Give up waiting: a call of which no byte was written is never sent,\n"
     "another one may still be executed.  False if it was done."},
    {"add_done_callback",
     FASTCALL(awaitable_add_done_callback),
     METH_FASTCALL | METH_KEYWORDS,
     "add_done_callback($self, fn, /, *, context=<unrepresentable>)\n--\n\n"
     "Have the loop call fn(self) when it is done."},
    {"remove_done_callback",
     awaitable_remove_done_callback,
     METH_O,
     "remove_done_callback($self, fn, /)\n--\n\n"
     "Forget all instances of fn; returns their number."},
    {"_make_cancelled_error",
     awaitable_make_cancelled_error,
     METH_NOARGS,
     "_make_cancelled_error($self, /)\n--\n\nFor asyncio."},
    {"send",
     awaitable_send,
     METH_O,
     "send($self, value, /)\n--\n\nAs a coroutine's; for tasks."},
    {"throw",
     FASTCALL(awaitable_throw),
     METH_FASTCALL,
     "throw($self, type, value=None, traceback=None, /)\n--\n\n"
     "As a coroutine's; for tasks."},
    {"close",
     awaitable_close,
     METH_NOARGS,
     "close($self, /)\n--\n\nAs a coroutine's; the call goes on."},
    {"__class_getitem__",
     Py_GenericAlias,
     METH_O | METH_CLASS,
     "See PEP 585."},
    {NULL, NULL, 0, NULL},
};
