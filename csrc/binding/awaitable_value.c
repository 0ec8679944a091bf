/* SPDX-License-Identifier: MIT */
/* What an awaitable holds, and the ways in which it hands it out. */
#include "binding/awaitable_object.h"

PyObject *
awaitable_raise_cancelled(AwaitableObject *self)
{
    PyObject *message = self->value.object;
    PyObject *error;

    if (message && message != Py_None) {
        error = PyObject_CallOneArg(self->state->cancelled_error, message);
    } else {
        error = PyObject_CallNoArgs(self->state->cancelled_error);
    }
    if (error) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

static PyObject *
raise_failure(AwaitableObject *self)
{
    PyObject *exception = self->value.object;
    PyObject *traceback = self->traceback ? self->traceback : Py_None;

    self->log_traceback = false;
    /* Back to where it was set, or each await would add its frames. */
    if (PyException_SetTraceback(exception, traceback) < 0) {
        return NULL;
    }
    PyErr_SetRaisedException(Py_NewRef(exception));
    return NULL;
}

PyObject *
awaitable_take_result(AwaitableObject *self)
{
    switch ((enum awaitable_status)self->status) {
    case AWAITABLE_INTEGER:
        return PyLong_FromLongLong(self->value.integer);
    case AWAITABLE_RESULT:
        return Py_NewRef(self->value.object);
    case AWAITABLE_FAILED:
        return raise_failure(self);
    case AWAITABLE_CANCELLED:
        return awaitable_raise_cancelled(self);
    case AWAITABLE_PENDING:
        break;
    }
    PyErr_SetString(self->state->invalid_state_error, "Result is not set.");
    return NULL;
}

PyObject *
awaitable_stop_steal(PyObject *value)
{
    /* As an instance: a tuple or an exception as bare value would be taken
       for the arguments. */
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);

    Py_DECREF(value);
    if (stop) {
        PyErr_SetRaisedException(stop);
    }
    return NULL;
}

#if PY_VERSION_HEX < 0x030c0000

/* 3.11 makes the instance only when somebody looks. */
PyObject *
awaitable_stop_int(struct awaitable_state *state, int64_t value)
{
    PyObject *number = PyLong_FromLongLong(value);

    (void)state;
    if (number) {
        PyErr_Restore(Py_NewRef(PyExc_StopIteration), number, NULL);
    }
    return NULL;
}

#elif defined(Py_GIL_DISABLED)

PyObject *
awaitable_stop_int(struct awaitable_state *state, int64_t value)
{
    PyObject *number = PyLong_FromLongLong(value);

    (void)state;
    return number ? awaitable_stop_steal(number) : NULL;
}

#else

/* Whether it is as new: nobody has it, and nobody left a mark on it. */
static bool
is_reusable(PyObject *object)
{
    PyStopIterationObject *stop = (PyStopIterationObject *)object;

    return stop && Py_REFCNT(object) == 1 && !stop->dict && !stop->notes &&
           !stop->traceback && !stop->context && !stop->cause &&
           !stop->suppress_context && stop->args &&
           Py_REFCNT(stop->args) == 1 && PyTuple_GET_SIZE(stop->args) == 1;
}

/* `await` takes the value out of the instance and drops it: one instance
   serves all, as long as nobody else holds it. */
PyObject *
awaitable_stop_int(struct awaitable_state *state, int64_t value)
{
    PyObject *number = PyLong_FromLongLong(value);
    PyStopIterationObject *stop;
    PyObject *old;

    if (!number) {
        return NULL;
    }
    if (!is_reusable(state->stop_iteration)) {
        PyObject *fresh = PyObject_CallOneArg(PyExc_StopIteration, number);

        Py_DECREF(number);
        if (!fresh) {
            return NULL;
        }
        Py_XSETREF(state->stop_iteration, fresh);
    } else {
        stop = (PyStopIterationObject *)state->stop_iteration;
        old = PyTuple_GET_ITEM(stop->args, 0);
        PyTuple_SET_ITEM(stop->args, 0, Py_NewRef(number));
        Py_DECREF(old);
        Py_XSETREF(stop->value, number);
    }
    PyErr_SetRaisedException(Py_NewRef(state->stop_iteration));
    return NULL;
}

#endif
