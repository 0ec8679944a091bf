/* SPDX-License-Identifier: MIT */
#include "binding/fast.h"

#include <math.h>

#include "binding/errors.h"

/* A token of ours has 28 bytes at most: a number of 64 bits, a dot, 8. */
#define EPOCH_TOKEN_MAX 64

/* ---- calls ---- */

static bool
has_function(enum seqc_op op)
{
    switch (op) {
    case SEQC_OP_GET:
    case SEQC_OP_MGET:
    case SEQC_OP_INCREASE:
    case SEQC_OP_INCREASE_ONCE:
    case SEQC_OP_RAISE:
        return true;
    case SEQC_OP_DELETE:
    case SEQC_OP_RAW:
    case SEQC_OP_COUNT:
        break;
    }
    return false;
}

/* Each id of a bulk is a request of its own: the link puts them together. */
static void
part_spans(struct seqc_call *call)
{
    uint32_t span;

    for (uint32_t i = 0; i < call->count; i += span) {
        span = call->requests[i].span ? call->requests[i].span : 1;
        call->requests[i].span = 1;
    }
}

void
fast_prepare(const EngineObject *engine, struct seqc_call *call)
{
    enum seqc_op op = call->count ? call->requests[0].op : SEQC_OP_COUNT;

    if (!has_function(op)) {
        return;
    }
    part_spans(call);
    call->durable = true;
    call->repeatable = false;
    call->again = op == SEQC_OP_INCREASE_ONCE
                      ? engine->options.repeat
                      : engine->gap && op == SEQC_OP_INCREASE;
}

/* ---- news ---- */

/* Consumes the answer of a listener. */
static int
end_news_steal(PyObject *answer, PyObject *listener)
{
    if (!answer) {
        return errors_of_news(listener);
    }
    Py_DECREF(answer);
    return 0;
}

static int
tell_low(FastPathObject *fast, const struct seqc_low *low)
{
    struct module_state *state = state_of_type(Py_TYPE(fast));
    PyObject *prefetch = Py_XNewRef(fast->prefetch); /* close() lets it go */
    PyObject *verdict, *answer = NULL;
    int failed;

    if (!prefetch) { /* closed: the server tells another */
        return 0;
    }
    verdict = state ? errors_tree(state, low->verdict) : NULL;
    if (verdict) {
        answer = PyObject_CallFunction(prefetch,
                                       "s#y#N",
                                       low->epoch->token,
                                       (Py_ssize_t)low->epoch->len,
                                       low->key,
                                       (Py_ssize_t)low->key_len,
                                       verdict);
    }
    failed = end_news_steal(answer, prefetch);
    Py_DECREF(prefetch);
    return failed;
}

static int
tell_touch(FastPathObject *fast)
{
    PyObject *touch = Py_XNewRef(fast->touch);
    int failed = touch ? end_news_steal(PyObject_CallNoArgs(touch), touch) : 0;

    Py_XDECREF(touch);
    return failed;
}

int
fast_attend(FastPathObject *fast)
{
    struct seqc_low *lows;
    int failed = 0;

    if (!seqc_belief_has_news(fast->belief)) {
        return 0;
    }
    Py_INCREF(fast); /* the machine may let go of it */
    if (seqc_belief_take_news(fast->belief, &lows)) {
        failed = tell_touch(fast);
    }
    while (lows) {
        struct seqc_low *low = lows;
        lows = low->next;
        if (!failed) { /* else the server tells another */
            failed = tell_low(fast, low);
        }
        seqc_low_free(low);
    }
    Py_DECREF(fast);
    return failed;
}

/* ---- the engine's end ---- */

const char engine_make_durable_doc[] =
    "make_durable($self, source, /)\n--\n\n"
    "Calls go the durable way from now on: `source` is the FastPath of the "
    "blocking\nlinks, or is called for that of the running loop.";

PyObject *
engine_make_durable(EngineObject *engine, PyObject *source)
{
    bool is_path = PyObject_TypeCheck(source, engine->state->fast_path_type);

    if (engine->is_durable || (!is_path && !PyCallable_Check(source))) {
        PyErr_SetString(PyExc_TypeError,
                        "a FastPath, or what returns one, once");
        return NULL;
    }
    for (size_t i = 0; is_path && i < engine->group_count; i++) {
        seqc_group_make_durable(engine->groups[i],
                                ((FastPathObject *)source)->belief);
    }
    engine->is_durable = true;
    engine->durable = Py_NewRef(source);
    Py_RETURN_NONE;
}

FastPathObject *
fast_of_loop(EngineObject *engine)
{
    PyObject *source = Py_XNewRef(engine->durable);
    PyObject *path = source ? PyObject_CallNoArgs(source) : NULL;

    if (!source) {
        return errors_closed(engine, "a call");
    }
    Py_DECREF(source);
    if (path && !PyObject_TypeCheck(path, engine->state->fast_path_type)) {
        Py_CLEAR(path);
        PyErr_SetString(PyExc_TypeError, "not a FastPath");
    }
    return (FastPathObject *)path;
}

void
fast_after_fork(PyObject *object)
{
    seqc_belief_after_fork(((FastPathObject *)object)->belief);
}

/* ---- the type ---- */

static PyObject *
fast_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *slow, *prefetch, *touch;
    FastPathObject *self;

    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OOO", &slow, &prefetch, &touch)) {
        return NULL;
    }
    self = (FastPathObject *)type->tp_alloc(type, 0);
    if (!self) {
        return NULL;
    }
    self->slow = Py_NewRef(slow);
    self->prefetch = Py_NewRef(prefetch);
    self->touch = Py_NewRef(touch);
    self->belief = seqc_belief_new();
    if (!self->belief) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static int
fast_traverse(FastPathObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->slow);
    Py_VISIT(self->prefetch);
    Py_VISIT(self->touch);
    return 0;
}

static int
fast_clear(FastPathObject *self)
{
    Py_CLEAR(self->slow);
    Py_CLEAR(self->prefetch);
    Py_CLEAR(self->touch);
    return 0;
}

static void
fast_dealloc(FastPathObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)fast_clear(self);
    seqc_belief_unref(self->belief);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Rounded down: never later than the machine means. */
static int64_t
ns_of(double seconds)
{
    if (seconds >= (double)(INT64_MAX / 1000000000)) {
        return SEQC_TIME_NEVER;
    }
    return seconds > 0 ? (int64_t)floor(seconds * 1e9) : 0;
}

PyDoc_STRVAR(publish_doc,
             "publish($self, token, until, touch_at, /)\n--\n\n"
             "Calls are sent in the epoch `token` ('': none are) while the "
             "clock of leases,\nseqcache.durable.drive.boottime, is below "
             "`until`; at `touch_at` touch() is\ncalled once.");

static PyObject *
fast_publish(FastPathObject *self, PyObject *args)
{
    const char *token;
    Py_ssize_t len;
    double until, touch_at;

    if (!PyArg_ParseTuple(args, "s#dd", &token, &len, &until, &touch_at)) {
        return NULL;
    }
    /* What is no token of ours is for the machine alone. */
    if (seqc_belief_set(self->belief,
                        token,
                        len <= EPOCH_TOKEN_MAX ? (size_t)len : 0,
                        ns_of(until),
                        ns_of(touch_at))) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fast_close_doc,
             "close($self, /)\n--\n\n"
             "Forgets the machine: what would go the slow way is closed.");

static PyObject *
fast_close(FastPathObject *self, PyObject *Py_UNUSED(ignored))
{
    (void)fast_clear(self);
    Py_RETURN_NONE;
}

static PyMethodDef fast_methods[] = {
    {"publish", (PyCFunction)fast_publish, METH_VARARGS, publish_doc},
    {"close", (PyCFunction)fast_close, METH_NOARGS, fast_close_doc},
    {0},
};

static PyType_Slot fast_slots[] = {
    {Py_tp_doc,
     (void *)"FastPath(slow, prefetch, touch, /)\n--\n\n"
             "The belief of a durable state machine, for links to send by."},
    {Py_tp_new, fast_new},
    {Py_tp_dealloc, fast_dealloc},
    {Py_tp_traverse, fast_traverse},
    {Py_tp_clear, fast_clear},
    {Py_tp_methods, fast_methods},
    {0, NULL},
};

static PyType_Spec fast_spec = {
    .name = "seqcache._native.FastPath",
    .basicsize = sizeof(FastPathObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = fast_slots,
};

int
fast_setup_type(PyObject *module, struct module_state *state)
{
    state->fast_path_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &fast_spec, NULL);
    return state->fast_path_type
               ? PyModule_AddType(module, state->fast_path_type)
               : -1;
}
