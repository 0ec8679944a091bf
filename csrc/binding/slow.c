/* SPDX-License-Identifier: MIT */
/* Durable calls that go on in Python: what is said of them, and their end. */
#include "binding/fast.h"

#include <structmember.h>

#include "binding/errors.h"
#include "core/park.h"

/* ---- telling ---- */

static const char *
op_name(const struct seqc_call *call)
{
    switch ((enum seqc_op)call->requests[0].op) {
    case SEQC_OP_INCREASE:
        return "incr";
    case SEQC_OP_RAISE:
        return "raise";
    case SEQC_OP_GET:
    case SEQC_OP_MGET:
    case SEQC_OP_DELETE:
    case SEQC_OP_RAW:
    case SEQC_OP_COUNT:
        break;
    }
    return "get";
}

/* A list of what `make` says of each request. */
static PyObject *
list_of(const struct seqc_call *call,
        PyObject *(*make)(const struct seqc_request *request))
{
    PyObject *list = PyList_New((Py_ssize_t)call->count);

    for (uint32_t i = 0; list && i < call->count; i++) {
        PyObject *item = make(&call->requests[i]);
        if (!item) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static PyObject *
key_of(const struct seqc_request *request)
{
    return PyBytes_FromStringAndSize(request->key,
                                     (Py_ssize_t)request->key_len);
}

static PyObject *
amount_of(const struct seqc_request *request)
{
    return PyLong_FromLongLong(request->amount);
}

/* The number, the verdict, or the error in its place. */
static PyObject *
answer_of(EngineObject *engine, const struct seqc_request *request)
{
    if (request->status == SEQC_OK) {
        return PyLong_FromLongLong(request->u.value);
    }
    return request->status == SEQC_VERDICT
               ? errors_tree(engine->state, request->u.tree)
               : errors_make(engine, request);
}

/* The answers to what was sent in one epoch, in the dict of all; borrowed. */
static PyObject *
answers_of_epoch(PyObject *told, const struct seqc_epoch *epoch)
{
    PyObject *token = PyUnicode_DecodeUTF8(
        epoch ? epoch->token : "", epoch ? (Py_ssize_t)epoch->len : 0, NULL);
    PyObject *answers = token ? PyDict_GetItemWithError(told, token) : NULL;

    if (token && !answers && !PyErr_Occurred()) {
        answers = PyDict_New();
        if (answers && PyDict_SetItem(told, token, answers)) {
            Py_CLEAR(answers);
        }
        Py_XDECREF(answers); /* the dict has it */
    }
    Py_XDECREF(token);
    return answers;
}

static int
tell_answer(EngineObject *engine,
            PyObject *told,
            const struct seqc_request *request,
            uint32_t index)
{
    PyObject *answers = answers_of_epoch(told, request->epoch);
    PyObject *place = answers ? PyLong_FromUnsignedLong(index) : NULL;
    PyObject *answer = place ? answer_of(engine, request) : NULL;
    int failed = answer ? PyDict_SetItem(answers, place, answer) : -1;

    Py_XDECREF(place);
    Py_XDECREF(answer);
    return failed;
}

/* {token: {place: answer}} of what was sent. */
static PyObject *
told_of(EngineObject *engine, const struct seqc_call *call)
{
    PyObject *told = PyDict_New();

    for (uint32_t i = 0; told && i < call->count; i++) {
        const struct seqc_request *request = &call->requests[i];
        bool is_unsent = request->status == SEQC_VERDICT && !request->u.tree;
        if (!is_unsent && tell_answer(engine, told, request, i)) {
            Py_CLEAR(told);
        }
    }
    return told;
}

static PyObject *
seconds_left(const struct seqc_call *call)
{
    if (call->deadline_ns == SEQC_TIME_NEVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)(call->deadline_ns - seqc_now_ns()) /
                              1e9);
}

/* slow(slow_call or None, method, operation, bytes of the prefix, keys,
 *      amounts, token or None, {epoch: {place: answer}}, seconds left or
 *      None): see Request in seqcache/durable/calls.py. */
static PyObject *
call_slow(EngineObject *engine,
          FastPathObject *fast,
          const struct seqc_call *call,
          PyObject *slow_call)
{
    PyObject *keys = list_of(call, key_of);
    PyObject *amounts = keys ? list_of(call, amount_of) : NULL;
    PyObject *told = amounts ? told_of(engine, call) : NULL;
    PyObject *left = told ? seconds_left(call) : NULL;
    /* close() lets go of it, and the collector of all */
    PyObject *slow = fast ? Py_XNewRef(fast->slow) : NULL;
    PyObject *result = NULL;

    if (left && slow) {
        result = PyObject_CallFunction(slow,
                                       "OssiOOOOO",
                                       slow_call,
                                       errors_method(call),
                                       op_name(call),
                                       (int)call->prefix_len,
                                       keys,
                                       amounts,
                                       Py_None,
                                       told,
                                       left);
    } else if (left) {
        (void)errors_closed(engine, errors_method(call));
    }
    Py_XDECREF(slow);
    Py_XDECREF(keys);
    Py_XDECREF(amounts);
    Py_XDECREF(told);
    Py_XDECREF(left);
    return result;
}

/* ---- statistics ---- */

/* A call that ends here: its errors were not counted by the link. */
static void
count_errors(EngineObject *engine, const struct seqc_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        uint8_t status = call->requests[i].status;
        seqc_stats_add(&engine->stats.errors[status], status != SEQC_OK);
    }
}

static void
count_end(EngineObject *engine, int64_t start_ns)
{
    engine->slow_count--;
    seqc_stats_latency(&engine->stats, seqc_now_ns() - start_ns);
}

/* ---- threads ---- */

PyObject *
slow_result(EngineObject *engine, struct seqc_call *call)
{
    FastPathObject *fast;
    PyObject *result;

    if (seqc_durable_is_over(call)) {
        count_errors(engine, call);
        return errors_result(engine, call);
    }
    if (!engine->durable) { /* collected under us */
        return errors_closed(engine, errors_method(call));
    }
    fast = (FastPathObject *)Py_NewRef(engine->durable);
    engine->slow_count++;
    result = call_slow(engine, fast, call, Py_None);
    count_end(engine, call->start_ns);
    Py_DECREF(fast);
    return result;
}

/* ---- loops ---- */

/* A call of a loop on its slow way: Python finishes it. */
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
        count_end(self->engine, self->start_ns);
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
        count_errors(engine, call);
        return 0;
    }
    self = new_slow_call(engine, call, awaitable);
    result = self ? call_slow(engine, fast, call, (PyObject *)self) : NULL;
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
slow_setup_type(PyObject *module, struct module_state *state)
{
    state->slow_call_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &slow_call_spec, NULL);
    return state->slow_call_type
               ? PyModule_AddType(module, state->slow_call_type)
               : -1;
}
