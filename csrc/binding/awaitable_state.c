/* SPDX-License-Identifier: MIT */
/* What the awaitable needs from asyncio, taken when it is first needed. */
#include "binding/awaitable_object.h"

#include <stdlib.h>
#include <string.h>

/* Minor versions of Python 3 on which `python -m tests.asyncio_suite` passes.
   Anywhere else plain futures are handed out. */
static const int proven_minor[] = {11, 12, 13};

static bool
is_proven(void)
{
#if defined(Py_GIL_DISABLED) || defined(PYPY_VERSION)
    return false;
#else
    for (size_t i = 0; i < Py_ARRAY_LENGTH(proven_minor); i++) {
        if (proven_minor[i] == PY_MINOR_VERSION) {
            return true;
        }
    }
    return false;
#endif
}

static bool
is_plain_forced(void)
{
    const char *value = getenv("SEQCACHE_PLAIN_FUTURES");

    return value && *value && strcmp(value, "0") != 0;
}

static int
import_into(PyObject **out_object, const char *module_name, const char *name)
{
    PyObject *module;

    if (*out_object) {
        return 0;
    }
    module = PyImport_ImportModule(module_name);
    if (!module) {
        return -1;
    }
    *out_object = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return *out_object ? 0 : -1;
}

/* Something with a get_debug() that says no: all that a future asks of its
   loop until it has callbacks. */
static PyObject *
make_idle_loop(void)
{
    PyObject *types = PyImport_ImportModule("types");
    PyObject *loop = NULL;

    if (types) {
        loop = PyObject_CallMethod(types, "SimpleNamespace", NULL);
        Py_DECREF(types);
    }
    if (loop && PyObject_SetAttrString(
                    loop, "get_debug", (PyObject *)&PyBool_Type) < 0) {
        Py_CLEAR(loop);
    }
    return loop;
}

static PyObject *
make_future(PyObject *loop)
{
    PyObject *type = NULL;
    PyObject *args = PyTuple_New(0);
    PyObject *kwargs = Py_BuildValue("{s:O}", "loop", loop);
    PyObject *future = NULL;

    if (args && kwargs && import_into(&type, "_asyncio", "Future") == 0) {
        future = PyObject_Call(type, args, kwargs);
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(type);
    return future;
}

/* A finished C future of no loop, with result None. */
static PyObject *
make_done_future(void)
{
    PyObject *loop = make_idle_loop();
    PyObject *future = loop ? make_future(loop) : NULL;
    PyObject *done = NULL;

    Py_XDECREF(loop);
    if (future) {
        done = PyObject_CallMethod(future, "set_result", "O", Py_None);
    }
    if (!done) {
        Py_CLEAR(future);
    }
    Py_XDECREF(done);
    return future;
}

static int
prepare_names(struct awaitable_state *state)
{
    if (!state->str_call_soon) {
        state->str_call_soon = PyUnicode_InternFromString("call_soon");
    }
    if (!state->str_context) {
        state->str_context = PyUnicode_InternFromString("context");
    }
    if (!state->context_names && state->str_context) {
        state->context_names = PyTuple_Pack(1, state->str_context);
    }
    return state->str_call_soon && state->context_names ? 0 : -1;
}

static int
prepare_logger(struct awaitable_state *state)
{
    PyObject *get_logger = NULL;

    if (state->logger) {
        return 0;
    }
    if (import_into(&get_logger, "logging", "getLogger") < 0) {
        return -1;
    }
    state->logger = PyObject_CallFunction(get_logger, "s", "seqcache");
    Py_DECREF(get_logger);
    return state->logger ? 0 : -1;
}

/* All that our own awaitable takes from asyncio. */
static int
prepare_own(struct awaitable_state *state)
{
    PyObject *task_type = (PyObject *)state->task_type;
    int failed =
        import_into(&task_type, "_asyncio", "Task") < 0 ||
        import_into(&state->invalid_state_error,
                    "asyncio.exceptions",
                    "InvalidStateError") < 0 ||
        import_into(
            &state->future_repr, "asyncio.base_futures", "_future_repr") < 0 ||
        import_into(&state->extract_stack,
                    "asyncio.format_helpers",
                    "extract_stack") < 0 ||
        import_into(
            &state->get_event_loop, "asyncio.events", "get_event_loop") < 0 ||
        import_into(&state->current_task, "asyncio.tasks", "current_task") <
            0 ||
        prepare_logger(state) < 0;

    state->task_type = (PyTypeObject *)task_type;
    if (!failed && !state->done_future) {
        state->done_future = make_done_future();
    }
    return failed || !state->done_future ? -1 : 0;
}

int
awaitable_prepare(struct awaitable_state *state)
{
    if (state->ready) {
        return 0;
    }
    if (prepare_names(state) < 0 || import_into(&state->cancelled_error,
                                                "asyncio.exceptions",
                                                "CancelledError") < 0) {
        return -1;
    }
    state->plain = !is_proven() || is_plain_forced();
    if (prepare_own(state) < 0) {
        /* Another asyncio than the proven ones may lack any of it. */
        if (!PyErr_ExceptionMatches(PyExc_ImportError) &&
            !PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        state->plain = true;
    }
    state->ready = true;
    return 0;
}

int
awaitable_state_traverse(struct awaitable_state *state,
                         visitproc visit,
                         void *arg)
{
    Py_VISIT(state->type);
    Py_VISIT(state->test_type);
    Py_VISIT(state->hook_type);
    Py_VISIT(state->task_type);
    Py_VISIT(state->done_future);
    Py_VISIT(state->stop_iteration);
    Py_VISIT(state->loop_getter);
    Py_VISIT(state->loop_getter_ref);
    Py_VISIT(state->cancelled_error);
    Py_VISIT(state->invalid_state_error);
    Py_VISIT(state->future_repr);
    Py_VISIT(state->extract_stack);
    Py_VISIT(state->get_event_loop);
    Py_VISIT(state->current_task);
    Py_VISIT(state->logger);
    Py_VISIT(state->str_call_soon);
    Py_VISIT(state->str_context);
    Py_VISIT(state->context_names);
    Py_VISIT(state->context_names_seen);
    return 0;
}

void
awaitable_state_clear(struct awaitable_state *state)
{
    while (state->spare_count) {
        PyObject_GC_Del(state->spares[--state->spare_count]);
    }
    Py_CLEAR(state->type); /* from here on nothing is kept */
    Py_CLEAR(state->test_type);
    Py_CLEAR(state->hook_type);
    Py_CLEAR(state->task_type);
    Py_CLEAR(state->done_future);
    Py_CLEAR(state->stop_iteration);
    Py_CLEAR(state->loop_getter);
    Py_CLEAR(state->loop_getter_ref);
    Py_CLEAR(state->cancelled_error);
    Py_CLEAR(state->invalid_state_error);
    Py_CLEAR(state->future_repr);
    Py_CLEAR(state->extract_stack);
    Py_CLEAR(state->get_event_loop);
    Py_CLEAR(state->current_task);
    Py_CLEAR(state->logger);
    Py_CLEAR(state->str_call_soon);
    Py_CLEAR(state->str_context);
    Py_CLEAR(state->context_names);
    Py_CLEAR(state->context_names_seen);
    state->task_wakeup = NULL;
    state->ready = false;
}

int
awaitable_loop_is_debug(PyObject *loop)
{
    PyObject *answer = PyObject_CallMethod(loop, "get_debug", NULL);
    int truth = answer ? PyObject_IsTrue(answer) : -1;

    Py_XDECREF(answer);
    return truth;
}

int
awaitable_note_source(struct awaitable_state *state, PyObject *awaitable)
{
    AwaitableObject *self = (AwaitableObject *)awaitable;
    PyObject *stack;

    if (!awaitable_is_ours(awaitable)) {
        return 0;
    }
    stack = PyObject_CallNoArgs(state->extract_stack);
    if (!stack) {
        return -1;
    }
    Py_XSETREF(self->source_traceback, stack);
    return 0;
}
