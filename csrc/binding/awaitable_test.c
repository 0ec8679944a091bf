/* SPDX-License-Identifier: MIT */
/* `_TestAwaitable`: an awaitable that Python can make and finish, so that the
   interpreter's own tests of futures run on it.  Private to our tests.  Its
   class methods hand the functions of awaitable.h to Python as they are.  In a
   subclass with `_direct = True`, set_result wakes a task at once where it
   may. */
#include "binding/awaitable_object.h"

#define STATE_NAME "seqcache._native._TestAwaitable._state"

/* The state, from any subclass: the test type's dict has it. */
static struct awaitable_state *
find_state(PyObject *type)
{
    PyObject *capsule = PyObject_GetAttrString(type, "_state_capsule");
    struct awaitable_state *state = NULL;

    if (capsule) {
        state = PyCapsule_GetPointer(capsule, STATE_NAME);
        Py_DECREF(capsule);
    }
    if (state && awaitable_prepare(state) < 0) {
        return NULL;
    }
    return state;
}

static PyObject *
test_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct awaitable_state *state = find_state((PyObject *)type);
    AwaitableObject *self;

    (void)args;
    (void)kwargs;
    if (!state) {
        return NULL;
    }
    self = (AwaitableObject *)type->tp_alloc(type, 0);
    if (self) {
        self->state = state;
        Py_INCREF(state->module);
    }
    return (PyObject *)self;
}

static int
test_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    char *names[] = {(char *)"loop", NULL};
    AwaitableObject *self = (AwaitableObject *)object;
    PyObject *loop = Py_None;
    int debug;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O", names, &loop)) {
        return -1;
    }
    if (loop == Py_None) {
        loop = PyObject_CallNoArgs(self->state->get_event_loop);
    } else {
        Py_INCREF(loop);
    }
    if (!loop) {
        return -1;
    }
    Py_XSETREF(self->loop, loop);
    debug = awaitable_loop_is_debug(loop);
    if (debug > 0) {
        return awaitable_note_source(self->state, object);
    }
    return debug;
}

/* Whether a task may be woken here: as the reader callback would know. */
static int
may_wake(AwaitableObject *self)
{
    PyObject *flag = PyObject_GetAttrString((PyObject *)self, "_direct");
    PyObject *task;
    int debug;

    Py_XDECREF(flag);
    if (flag != Py_True) {
        return flag ? 0 : -1;
    }
    debug = awaitable_loop_is_debug(self->loop);
    if (debug != 0) {
        return debug < 0 ? -1 : 0;
    }
    task = PyObject_CallNoArgs(self->state->current_task);
    if (!task) {
        if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) {
            return -1;
        }
        PyErr_Clear(); /* no loop runs in this thread */
        return 0;
    }
    Py_DECREF(task);
    return task == Py_None;
}

static int
check_pending(AwaitableObject *self)
{
    if (awaitable_check_initialized(self) < 0) {
        return -1;
    }
    if (self->status != AWAITABLE_PENDING) {
        PyErr_SetString(self->state->invalid_state_error, "invalid state");
        return -1;
    }
    return 0;
}

static PyObject *
test_set_result(PyObject *object, PyObject *result)
{
    AwaitableObject *self = (AwaitableObject *)object;
    int direct;
    int overflow = 1;
    long long value = 0;

    if (check_pending(self) < 0) {
        return NULL;
    }
    direct = may_wake(self);
    if (direct < 0) {
        return NULL;
    }
    if (PyLong_CheckExact(result)) {
        value = PyLong_AsLongLongAndOverflow(result, &overflow);
    }
    if (overflow ? awaitable_resolve_steal(
                       self->state, object, Py_NewRef(result), direct)
                 : awaitable_resolve_int(self->state, object, value, direct)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* asyncio's answer to a StopIteration, which no coroutine can let through:
   an error until 3.12, a RuntimeError caused by it since. */
static PyObject *
replace_stop_iteration(PyObject *exception)
{
    static const char text[] = "StopIteration interacts badly with generators "
                               "and cannot be raised into a Future";
    PyObject *replaced;

    if (!PyErr_GivenExceptionMatches(exception, PyExc_StopIteration)) {
        return exception;
    }
#if PY_VERSION_HEX < 0x030d0000
    PyErr_SetString(PyExc_TypeError, text);
    Py_DECREF(exception);
    replaced = NULL;
#else
    replaced = PyObject_CallFunction(PyExc_RuntimeError, "s", text);
    if (replaced) {
        PyException_SetCause(replaced, Py_NewRef(exception));
        PyException_SetContext(replaced, Py_NewRef(exception));
    }
    Py_DECREF(exception);
#endif
    return replaced;
}

static PyObject *
test_set_exception(PyObject *object, PyObject *exception)
{
    AwaitableObject *self = (AwaitableObject *)object;
    PyObject *instance;
    int direct;

    if (check_pending(self) < 0) {
        return NULL;
    }
    instance = PyExceptionClass_Check(exception)
                   ? PyObject_CallNoArgs(exception)
                   : Py_NewRef(exception);
    if (instance && !PyExceptionInstance_Check(instance)) {
        Py_DECREF(instance);
        PyErr_SetString(PyExc_TypeError, "invalid exception object");
        return NULL;
    }
    instance = instance ? replace_stop_iteration(instance) : NULL;
    direct = instance ? may_wake(self) : -1;
    if (direct < 0) {
        Py_XDECREF(instance);
        return NULL;
    }
    if (awaitable_fail_steal(self->state, object, instance, direct) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The abandon function of the tests: link.abandon(call). */
static void
call_abandon(PyObject *link, void *call)
{
    PyObject *done =
        PyObject_CallMethod(link, "abandon", "n", (Py_ssize_t)(intptr_t)call);

    if (!done) {
        PyErr_WriteUnraisable(link);
    }
    Py_XDECREF(done);
}

static PyObject *
test_make(PyObject *type, PyObject *args)
{
    struct awaitable_state *state = find_state(type);
    PyObject *loop;
    PyObject *link;
    Py_ssize_t call;

    if (!state || !PyArg_ParseTuple(args, "OOn", &loop, &link, &call)) {
        return NULL;
    }
    return awaitable_new(state,
                         loop,
                         link == Py_None ? NULL : link,
                         (void *)(intptr_t)call,
                         link == Py_None ? NULL : call_abandon);
}

static PyObject *
test_make_done_int(PyObject *type, PyObject *args)
{
    struct awaitable_state *state = find_state(type);
    PyObject *loop;
    long long value;

    if (!state || !PyArg_ParseTuple(args, "OL", &loop, &value)) {
        return NULL;
    }
    return awaitable_new_done_int(state, loop, value);
}

static PyObject *
test_make_done(PyObject *type, PyObject *args)
{
    struct awaitable_state *state = find_state(type);
    PyObject *loop;
    PyObject *value;
    int failed;

    if (!state || !PyArg_ParseTuple(args, "OOp", &loop, &value, &failed)) {
        return NULL;
    }
    return awaitable_new_done(state, loop, value, failed != 0);
}

static PyObject *
test_resolve_ints(PyObject *type, PyObject *args)
{
    struct awaitable_state *state = find_state(type);
    PyObject *list;
    long long value;
    int direct;

    if (!state || !PyArg_ParseTuple(
                      args, "O!Lp", &PyList_Type, &list, &value, &direct)) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *one = Py_NewRef(PyList_GET_ITEM(list, i));
        int failed = awaitable_resolve_int(state, one, value, direct != 0);

        Py_DECREF(one);
        if (failed) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
test_resolve(PyObject *type, PyObject *args)
{
    struct awaitable_state *state = find_state(type);
    PyObject *one;
    PyObject *value;
    int direct;

    if (!state || !PyArg_ParseTuple(args, "OOp", &one, &value, &direct) ||
        awaitable_resolve_steal(state, one, Py_NewRef(value), direct != 0) <
            0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
test_fail(PyObject *type, PyObject *args)
{
    struct awaitable_state *state = find_state(type);
    PyObject *one;
    PyObject *value;
    int direct;

    if (!state || !PyArg_ParseTuple(args, "OOp", &one, &value, &direct) ||
        awaitable_fail_steal(state, one, Py_NewRef(value), direct != 0) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
test_is_done(PyObject *type, PyObject *awaitable)
{
    (void)type;
    return PyBool_FromLong(awaitable_is_done(awaitable));
}

static PyObject *
test_set_plain(PyObject *type, PyObject *value)
{
    struct awaitable_state *state = find_state(type);
    bool before;

    if (!state) {
        return NULL;
    }
    before = state->plain;
    if (value != Py_None) {
        state->plain = value == Py_True;
    }
    return PyBool_FromLong(before);
}

static PyMethodDef test_methods[] = {
    {"set_result", test_set_result, METH_O, "As asyncio.Future's."},
    {"set_exception", test_set_exception, METH_O, "As asyncio.Future's."},
    {"make",
     test_make,
     METH_VARARGS | METH_CLASS,
     "make(loop, link, call): awaitable_new; link.abandon(call), or None."},
    {"make_done_int",
     test_make_done_int,
     METH_VARARGS | METH_CLASS,
     "make_done_int(loop, value)"},
    {"make_done",
     test_make_done,
     METH_VARARGS | METH_CLASS,
     "make_done(loop, result_or_exception, is_exception)"},
    {"resolve_ints",
     test_resolve_ints,
     METH_VARARGS | METH_CLASS,
     "resolve_ints(list, value, direct): awaitable_resolve_int on each"},
    {"resolve",
     test_resolve,
     METH_VARARGS | METH_CLASS,
     "resolve(awaitable, result, direct)"},
    {"fail",
     test_fail,
     METH_VARARGS | METH_CLASS,
     "fail(awaitable, exception, direct)"},
    {"is_done", test_is_done, METH_O | METH_CLASS, "awaitable_is_done"},
    {"set_plain",
     test_set_plain,
     METH_O | METH_CLASS,
     "set_plain(bool | None): hand out plain futures; what was before."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot test_slots[] = {
    {Py_tp_doc, (void *)"For the tests of seqcache only."},
    {Py_tp_new, test_new},
    {Py_tp_init, test_init},
    {Py_tp_methods, test_methods},
    {0, NULL},
};

static PyType_Spec test_spec = {
    .name = "seqcache._native._TestAwaitable",
    .basicsize = sizeof(AwaitableObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = test_slots,
};

int
awaitable_setup_test_type(PyObject *module, struct awaitable_state *state)
{
    PyObject *capsule = PyCapsule_New(state, STATE_NAME, NULL);
    PyObject *type = NULL;

    if (capsule) {
        type = PyType_FromModuleAndSpec(
            module, &test_spec, (PyObject *)state->type);
    }
    state->test_type = (PyTypeObject *)type;
    if (!type || PyObject_SetAttrString(type, "_state_capsule", capsule) < 0 ||
        PyObject_SetAttrString(type, "_direct", Py_False) < 0) {
        Py_XDECREF(capsule);
        return -1;
    }
    Py_DECREF(capsule);
    return PyModule_AddType(module, state->test_type);
}
