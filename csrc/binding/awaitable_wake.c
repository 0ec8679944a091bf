/* SPDX-License-Identifier: MIT */
/* Callbacks, and the end of an awaitable: who is woken, and how. */
#include "binding/awaitable_object.h"

#include <string.h>

int
awaitable_call_soon(AwaitableObject *self, PyObject *fn, PyObject *ctx)
{
    struct awaitable_state *state = self->state;
    PyObject *args[] = {self->loop, fn, (PyObject *)self, ctx};
    PyObject *handle = PyObject_VectorcallMethod(
        state->str_call_soon, args, 3, state->context_names);

    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

static int
append_pair(PyObject *list, PyObject *fn, PyObject *ctx)
{
    PyObject *pair = PyTuple_Pack(2, fn, ctx);
    int failed = pair ? PyList_Append(list, pair) : -1;

    Py_XDECREF(pair);
    return failed;
}

/* From the single slot to a list. */
static int
make_list(AwaitableObject *self)
{
    PyObject *list = PyList_New(0);

    if (!list || append_pair(list, self->callback, self->context) < 0) {
        Py_XDECREF(list);
        return -1;
    }
    Py_SETREF(self->callback, list);
    Py_CLEAR(self->context);
    return 0;
}

int
awaitable_add_callback(AwaitableObject *self, PyObject *fn, PyObject *ctx)
{
    if (self->status != AWAITABLE_PENDING) {
        return awaitable_call_soon(self, fn, ctx);
    }
    if (!self->callback) {
        self->callback = Py_NewRef(fn);
        self->context = Py_NewRef(ctx);
        return 0;
    }
    if (self->context && make_list(self) < 0) {
        return -1;
    }
    return append_pair(self->callback, fn, ctx);
}

PyObject *
awaitable_list_callbacks(AwaitableObject *self)
{
    PyObject *list;

    if (!self->callback) {
        Py_RETURN_NONE;
    }
    if (!self->context) {
        return PyList_GetSlice(self->callback, 0, PY_SSIZE_T_MAX);
    }
    list = PyList_New(0);
    if (list && append_pair(list, self->callback, self->context) < 0) {
        Py_CLEAR(list);
    }
    return list;
}

static Py_ssize_t
remove_single(AwaitableObject *self, PyObject *fn)
{
    PyObject *callback = Py_NewRef(self->callback);
    int equal = PyObject_RichCompareBool(callback, fn, Py_EQ);

    /* The comparison may have run anything: look again. */
    if (equal > 0 && self->context && self->callback == callback) {
        Py_CLEAR(self->callback);
        Py_CLEAR(self->context);
    }
    Py_DECREF(callback);
    return equal;
}

/* Drops the pairs of `list` that hold fn; their number, or -1. */
static Py_ssize_t
remove_from_list(PyObject *list, PyObject *fn)
{
    Py_ssize_t removed = 0;

    /* The size is asked each time: the comparison may change the list. */
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list);) {
        PyObject *pair = Py_NewRef(PyList_GET_ITEM(list, i));
        int equal =
            PyObject_RichCompareBool(PyTuple_GET_ITEM(pair, 0), fn, Py_EQ);
        bool still =
            i < PyList_GET_SIZE(list) && PyList_GET_ITEM(list, i) == pair;

        Py_DECREF(pair);
        if (equal < 0) {
            return -1;
        }
        if (!equal) {
            i++;
        } else if (still) {
            if (PyList_SetSlice(list, i, i + 1, NULL) < 0) {
                return -1;
            }
            removed++;
        }
    }
    return removed;
}

Py_ssize_t
awaitable_remove_callback(AwaitableObject *self, PyObject *fn)
{
    PyObject *list;
    Py_ssize_t removed;

    if (!self->callback) {
        return 0;
    }
    if (self->context) {
        return remove_single(self, fn);
    }
    list = Py_NewRef(self->callback);
    removed = remove_from_list(list, fn);
    if (self->callback == list && PyList_GET_SIZE(list) == 0) {
        Py_CLEAR(self->callback);
    }
    Py_DECREF(list);
    return removed;
}

/* Gives every callback to the loop; stops at the first that it refuses. */
static int
schedule_callbacks(AwaitableObject *self)
{
    PyObject *callback = self->callback;
    PyObject *context = self->context;
    int failed = 0;

    self->callback = NULL;
    self->context = NULL;
    if (!callback) {
        return 0;
    }
    if (context) {
        failed = awaitable_call_soon(self, callback, context);
        Py_DECREF(context);
    } else {
        for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(callback); i++) {
            PyObject *pair = PyList_GET_ITEM(callback, i);

            failed = awaitable_call_soon(
                self, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
        }
    }
    Py_DECREF(callback);
    return failed;
}

int
awaitable_cancel(AwaitableObject *self, PyObject *message)
{
    PyObject *link;
    int failed;

    self->log_traceback = false;
    if (self->status != AWAITABLE_PENDING) {
        return 0;
    }
    self->status = AWAITABLE_CANCELLED;
    Py_XSETREF(self->value.object, Py_XNewRef(message));
    link = self->link;
    self->link = NULL;
    if (self->abandon) {
        self->abandon(link, self->call);
    }
    failed = schedule_callbacks(self);
    Py_XDECREF(link);
    return failed ? -1 : 1;
}

/* asyncio's C task waits with a function "task_wakeup" bound to it.  Its
   definition is one static object, remembered at the first sight.  Another
   bound method of a task (say task.cancel) is none.  It takes one argument, so
   it can be called without the frame that Python has around a call. */
static bool
is_task_wakeup(struct awaitable_state *state, PyObject *callback)
{
    const PyMethodDef *definition;
    PyObject *task;

    if (!PyCFunction_CheckExact(callback)) {
        return false;
    }
    definition = ((PyCFunctionObject *)callback)->m_ml;
    if (definition == state->task_wakeup) {
        return true;
    }
    task = PyCFunction_GET_SELF(callback);
    if (state->task_wakeup || !task ||
        !PyObject_TypeCheck(task, state->task_type) ||
        definition->ml_flags != METH_O ||
        strcmp(definition->ml_name, "task_wakeup") != 0) {
        return false;
    }
    state->task_wakeup = definition;
    return true;
}

/* Tells the loop, as it does with what its callbacks raise. */
static void
report_error(PyObject *loop, PyObject *subject, PyObject *error)
{
    PyObject *context = Py_BuildValue("{s:s,s:O,s:O}",
                                      "message",
                                      "Exception in callback of a future",
                                      "exception",
                                      error,
                                      "future",
                                      subject);
    PyObject *done = NULL;

    if (context) {
        done = PyObject_CallMethod(
            loop, "call_exception_handler", "(O)", context);
        Py_DECREF(context);
    }
    if (!done) {
        PyErr_WriteUnraisable(subject);
    }
    Py_XDECREF(done);
}

int
awaitable_settle_error(PyObject *loop, PyObject *subject)
{
    PyObject *error;
    PyObject *closed;

    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ||
        PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return -1;
    }
    error = PyErr_GetRaisedException();
    closed = PyObject_CallMethod(loop, "is_closed", NULL);
    if (closed != Py_True) {
        PyErr_Clear();
        report_error(loop, subject, error);
    } /* else nobody is left to be woken: exit with calls in flight is silent
       */
    Py_XDECREF(closed);
    Py_DECREF(error);
    return 0;
}

/* The task goes on before we return, in its own context. */
static int
wake_task(AwaitableObject *self)
{
    PyObject *callback = self->callback;
    PyObject *context = self->context;
    PyObject *subject = (PyObject *)self;
    PyObject *done;

    if (PyContext_Enter(context) < 0) {
        PyErr_Clear(); /* somebody is in it: the task's turn comes later */
        return schedule_callbacks(self);
    }
    self->callback = NULL;
    self->context = NULL;
    if (self->status != AWAITABLE_FAILED) {
        /* The wake-up asks an exact Future without a method call; the
           value is taken when the coroutine goes on. */
        subject = self->state->done_future;
    }
    done = PyCFunction_GET_FUNCTION(callback)(PyCFunction_GET_SELF(callback),
                                              subject);
    Py_DECREF(callback);
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(done);
    }
    Py_DECREF(context);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* `status` and value are set. */
static int
finish(AwaitableObject *self, bool direct)
{
    PyObject *link = self->link;
    int failed = 0;

    self->link = NULL;
    if (self->callback) {
        if (direct && self->context &&
            is_task_wakeup(self->state, self->callback)) {
            failed = wake_task(self);
        } else {
            failed = schedule_callbacks(self);
        }
        if (failed) {
            failed = awaitable_settle_error(self->loop, (PyObject *)self);
        }
    }
    Py_XDECREF(link);
    return failed;
}

int
awaitable_finish_int(AwaitableObject *self, int64_t value, bool direct)
{
    PyObject *message = self->value.object; /* set while it was pending */

    self->status = AWAITABLE_INTEGER;
    self->value.integer = value;
    Py_XDECREF(message);
    return finish(self, direct);
}

int
awaitable_finish_steal(AwaitableObject *self,
                       enum awaitable_status status,
                       PyObject *value,
                       bool direct)
{
    PyObject *message = self->value.object;

    self->status = (uint8_t)status;
    self->value.object = value;
    Py_XDECREF(message);
    if (status == AWAITABLE_FAILED) {
        self->traceback = PyException_GetTraceback(value);
        self->log_traceback = true;
    }
    return finish(self, direct);
}

PyObject *
awaitable_callback(PyObject *awaitable)
{
    return awaitable_is_ours(awaitable)
               ? ((AwaitableObject *)awaitable)->callback
               : NULL;
}

bool
awaitable_is_done(PyObject *awaitable)
{
    if (!awaitable_is_ours(awaitable)) {
        return awaitable_plain_is_done(awaitable);
    }
    return ((AwaitableObject *)awaitable)->status != AWAITABLE_PENDING;
}

int
awaitable_resolve_int(struct awaitable_state *state,
                      PyObject *awaitable,
                      int64_t value,
                      bool direct)
{
    PyObject *number;

    if (awaitable_is_ours(awaitable)) {
        AwaitableObject *self = (AwaitableObject *)awaitable;

        return self->status == AWAITABLE_PENDING
                   ? awaitable_finish_int(self, value, direct)
                   : 0;
    }
    number = PyLong_FromLongLong(value);
    return awaitable_resolve_steal(state, awaitable, number, direct);
}

/* One body for results and exceptions. */
static int
resolve(struct awaitable_state *state,
        PyObject *awaitable,
        enum awaitable_status status,
        PyObject *value,
        bool direct)
{
    AwaitableObject *self = (AwaitableObject *)awaitable;
    int failed = 0;

    if (!value) {
        return -1; /* what made it has set MemoryError */
    }
    if (!awaitable_is_ours(awaitable)) {
        failed = awaitable_plain_finish(
            state, awaitable, value, status == AWAITABLE_FAILED);
        Py_DECREF(value);
    } else if (self->status == AWAITABLE_PENDING) {
        failed = awaitable_finish_steal(self, status, value, direct);
    } else {
        Py_DECREF(value);
    }
    return failed;
}

int
awaitable_resolve_steal(struct awaitable_state *state,
                        PyObject *awaitable,
                        PyObject *result,
                        bool direct)
{
    return resolve(state, awaitable, AWAITABLE_RESULT, result, direct);
}

int
awaitable_fail_steal(struct awaitable_state *state,
                     PyObject *awaitable,
                     PyObject *exception,
                     bool direct)
{
    return resolve(state, awaitable, AWAITABLE_FAILED, exception, direct);
}
