/* SPDX-License-Identifier: MIT */
/* A call of a loop on its slow way: Python finishes it. */
#include "binding/fast.h"

#include <structmember.h>

typedef struct SlowCallObject {
    PyObject_HEAD
    EngineObject *engine; /* owned */
    PyObject *awaitable;  /* owned, NULL once done */
    PyObject *on_cancel;  /* (), owned or NULL */
    int64_t start_ns;
} SlowCallObject;

/* Takes the awaitable, which is to be let go of; NULL if it was done. */
static PyObject *
end_slow_call(SlowCallObject *self)
{
    PyObject *awaitable = self->awaitable;

    self->awaitable = NULL;
    if (awaitable) {
        slow_count_end(self->engine, self->start_ns);
    }
    return awaitable;
}

/* The awaitable was cancelled. */
static void
abandon_slow_call(PyObject *object, void *unused)
{
    SlowCallObject *self = (SlowCallObject *)object;
    PyObject *awaitable = end_slow_call(self);
    PyObject *on_cancel = self->on_cancel;
    PyObject *result;

    (void)unused;
    self->on_cancel = NULL;
    if (awaitable && on_cancel) {
        result = PyObject_CallNoArgs(on_cancel);
        if (!result) {
            PyErr_WriteUnraisable(object);
        }
        Py_XDECREF(result);
    }
    Py_XDECREF(on_cancel);
    Py_XDECREF(awaitable);
}

/* New reference, NULL with an exception. */
static SlowCallObject *
new_slow_call(EngineObject *engine,
              const struct seqc_call *call,
              PyObject *awaitable)
{
    PyTypeObject *type = engine->state->slow_call_type;
    SlowCallObject *self = (SlowCallObject *)type->tp_alloc(type, 0);

    if (self) {
        self->engine = (EngineObject *)Py_NewRef(engine);
        self->awaitable = Py_NewRef(awaitable);
        self->start_ns = call->start_ns;
        engine->slow_count++;
        awaitable_rebind(&engine->state->awaitable,
                         awaitable,
                         (PyObject *)self,
                         NULL,
                         abandon_slow_call);
    }
    return self;
}

/* What the call does from here on belongs to who made it: its spans, say.
 * Each call would have to pay for keeping its caller's context, so that is
 * done for telemetry alone; else it is that of the task that waits. */
static PyObject *
call_in_context(EngineObject *engine,
                FastPathObject *fast,
                const struct seqc_call *call,
                SlowCallObject *self)
{
    PyObject *context = call->context
                            ? Py_NewRef((PyObject *)call->context)
                            : awaitable_waiter_context(self->awaitable);
    PyObject *result = NULL;
    PyObject *error = NULL;

    if (!context) {
        return PyErr_Occurred()
                   ? NULL
                   : slow_tell(engine, fast, call, (PyObject *)self);
    }
    if (!PyContext_Enter(context)) {
        result = slow_tell(engine, fast, call, (PyObject *)self);
        error = PyErr_GetRaisedException();
        if (PyContext_Exit(context)) {
            Py_CLEAR(result);
        } else if (error) {
            PyErr_SetRaisedException(Py_NewRef(error));
        }
        Py_XDECREF(error);
    }
    Py_DECREF(context);
    return result;
}

int
slow_take_over(EngineObject *engine,
               FastPathObject *fast,
               struct seqc_call *call,
               PyObject *awaitable)
{
    struct awaitable_state *state = &engine->state->awaitable;
    SlowCallObject *self;
    PyObject *result;
    int failed = 0;

    if (awaitable_is_done(awaitable)) { /* cancelled, a plain future */
        awaitable_detach(state, awaitable);
        return 1;
    }
    if (seqc_durable_is_over(call)) {
        slow_count_errors(engine, call);
        return 0;
    }
    self = new_slow_call(engine, call, awaitable);
    result = self ? call_in_context(engine, fast, call, self) : NULL;
    if (!result) {
        failed = awaitable_fail_steal(
            state, awaitable, PyErr_GetRaisedException(), false);
        Py_XDECREF(self ? end_slow_call(self) : NULL);
    }
    Py_XDECREF(result);
    Py_XDECREF(self);
    return failed ? -1 : 1;
}

static int
slow_call_traverse(SlowCallObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->engine);
    Py_VISIT(self->awaitable);
    Py_VISIT(self->on_cancel);
    return 0;
}

static int
slow_call_clear(SlowCallObject *self)
{
    Py_XDECREF(end_slow_call(self));
    Py_CLEAR(self->on_cancel);
    return 0;
}

static void
slow_call_dealloc(SlowCallObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)slow_call_clear(self);
    Py_CLEAR(self->engine);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(finish_doc,
             "finish($self, result, /)\n--\n\n"
             "Gives the caller its result, unless it left.");

static PyObject *
slow_call_finish(SlowCallObject *self, PyObject *result)
{
    PyObject *awaitable = end_slow_call(self);
    int failed = 0;

    if (awaitable) {
        failed = awaitable_resolve_steal(&self->engine->state->awaitable,
                                         awaitable,
                                         Py_NewRef(result),
                                         false);
        Py_DECREF(awaitable);
    }
    return failed ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(fail_doc,
             "fail($self, error, /)\n--\n\n"
             "Raises the error at the caller, unless it left.");

static PyObject *
slow_call_fail(SlowCallObject *self, PyObject *error)
{
    PyObject *awaitable;
    int failed = 0;

    if (!PyExceptionInstance_Check(error)) {
        PyErr_SetString(PyExc_TypeError, "not an exception");
        return NULL;
    }
    awaitable = end_slow_call(self);
    if (awaitable) {
        failed = awaitable_fail_steal(&self->engine->state->awaitable,
                                      awaitable,
                                      Py_NewRef(error),
                                      false);
        Py_DECREF(awaitable);
    }
    return failed ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(cancel_doc,
             "cancel($self, /)\n--\n\n"
             "Cancels the caller's awaitable, unless it is done.");

static PyObject *
slow_call_cancel(SlowCallObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *awaitable = Py_XNewRef(self->awaitable);
    PyObject *answer = NULL;

    if (!awaitable) {
        Py_RETURN_NONE;
    }
    answer = PyObject_CallMethod(awaitable, "cancel", NULL);
    Py_DECREF(awaitable);
    Py_XDECREF(answer);
    return answer ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
slow_call_done(SlowCallObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(!self->awaitable);
}

static PyMethodDef slow_call_methods[] = {
    {"finish", (PyCFunction)slow_call_finish, METH_O, finish_doc},
    {"fail", (PyCFunction)slow_call_fail, METH_O, fail_doc},
    {"cancel", (PyCFunction)slow_call_cancel, METH_NOARGS, cancel_doc},
    {0},
};

static PyGetSetDef slow_call_getset[] = {
    {"done",
     (getter)slow_call_done,
     NULL,
     "Whether it ended, or the caller left.",
     NULL},
    {0},
};

static PyMemberDef slow_call_members[] = {
    {"on_cancel",
     T_OBJECT,
     offsetof(SlowCallObject, on_cancel),
     0,
     "Called without arguments when the caller leaves."},
    {0},
};

static PyType_Slot slow_call_slots[] = {
    {Py_tp_doc, (void *)"A call of a loop on its slow way."},
    {Py_tp_dealloc, slow_call_dealloc},
    {Py_tp_traverse, slow_call_traverse},
    {Py_tp_clear, slow_call_clear},
    {Py_tp_methods, slow_call_methods},
    {Py_tp_getset, slow_call_getset},
    {Py_tp_members, slow_call_members},
    {0, NULL},
};

static PyType_Spec slow_call_spec = {
    .name = "seqcache._native.SlowCall",
    .basicsize = sizeof(SlowCallObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slow_call_slots,
};

int
slow_call_setup_type(PyObject *module, struct module_state *state)
{
    state->slow_call_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &slow_call_spec, NULL);
    return state->slow_call_type
               ? PyModule_AddType(module, state->slow_call_type)
               : -1;
}
