/* SPDX-License-Identifier: MIT */
/* Calls on counters under ceilings: most end at once, some have to wait. */
#include "binding/cells.h"

#include <string.h>

#include "binding/errors.h"
#include "binding/once.h"
#include "core/park.h"

/* A call that met a ceiling, for the keeper. */
typedef struct StalledObject {
    PyObject_HEAD
    EngineObject *engine;   /* owned */
    struct seqc_call *call; /* owned */
} StalledObject;

const char engine_keep_doc[] =
    "keep($self, cells, keeper, /)\n--\n\n"
    "Counters under ceilings instead of a server, and who knows the database.";

PyObject *
engine_keep(EngineObject *engine, PyObject *args)
{
    PyObject *cells, *keeper;

    if (!PyArg_ParseTuple(
            args, "O!O", engine->state->cells_type, &cells, &keeper)) {
        return NULL;
    }
    if (engine->cells || engine->store || engine->group_count) {
        PyErr_SetString(PyExc_RuntimeError, "the engine has other counters");
        return NULL;
    }
    engine->cells = seqc_cells_ref(((CellsObject *)cells)->cells);
    engine->keeps_tokens = ((CellsObject *)cells)->keeps_tokens;
    engine->keeper = Py_NewRef(keeper);
    Py_RETURN_NONE;
}

/* ---- running ---- */

static const char overflow_text[] = "ERR durable numbers end at 2^53 - 1";

static inline bool
is_left(const struct seqc_request *request)
{
    return request->state != SEQC_REQUEST_DONE;
}

static inline bool
counts(const struct seqc_request *request)
{
    return request->op == SEQC_OP_INCREASE ||
           request->op == SEQC_OP_INCREASE_ONCE;
}

static struct seqc_cells_ask
ask_of(struct seqc_request *request)
{
    return (struct seqc_cells_ask){
        .key = request->key,
        .len = request->key_len,
        .amount = request->amount,
        .in_line = &request->in_line,
    };
}

static seqc_status
increase_cell(seqc_cells *cells,
              struct seqc_request *request,
              int64_t *out_seq)
{
    struct seqc_cells_ask ask = ask_of(request);

    return seqc_cells_increase(cells, &ask, out_seq, &request->low);
}

struct celled_request {
    EngineObject *engine;
    struct seqc_request *request;
};

/* The keeper counts it and has it recorded by the database first. */
static seqc_status
await_record(seqc_cells *cells, const struct seqc_request *request)
{
    int64_t seq, ceiling;

    return seqc_cells_look(
               cells, request->key, request->key_len, &seq, &ceiling) &&
                   request->amount > SEQC_CELLS_LAST - seq
               ? SEQC_OVERFLOW
               : SEQC_CEILING;
}

static seqc_status
increase_celled(void *context, int64_t *out_seq)
{
    const struct celled_request *celled = context;

    return celled->engine->keeps_tokens
               ? await_record(celled->engine->cells, celled->request)
               : increase_cell(
                     celled->engine->cells, celled->request, out_seq);
}

static seqc_status
run_one(EngineObject *engine, struct seqc_request *request)
{
    seqc_cells *cells = engine->cells;
    struct seqc_cells_ask ask = ask_of(request);
    struct celled_request celled = {engine, request};

    switch ((enum seqc_op)request->op) {
    case SEQC_OP_GET:
    case SEQC_OP_MGET:
        return seqc_cells_get(cells, &ask, &request->u.value);
    case SEQC_OP_INCREASE:
        return increase_cell(cells, request, &request->u.value);
    case SEQC_OP_INCREASE_ONCE:
        return once_run(
            seqc_cells_once_view(cells), increase_celled, &celled, request);
    case SEQC_OP_RAISE:
        return seqc_cells_raise(cells, &ask, &request->u.value, &request->low);
    case SEQC_OP_DELETE:
    case SEQC_OP_RAW:
    case SEQC_OP_COUNT:
        break;
    }
    return SEQC_SERVER;
}

static void
end_request(EngineObject *engine,
            struct seqc_request *request,
            seqc_status status)
{
    if (status == SEQC_OVERFLOW) {
        request->error = seqc_error_dup(overflow_text, strlen(overflow_text));
    }
    request->state = SEQC_REQUEST_DONE;
    request->status = (uint8_t)status;
    request->executed = SEQC_EXECUTED_NO; /* of an error */
    if (request->in_line) {
        request->in_line = false;
        seqc_cells_leave(engine->cells, request->key, request->key_len);
    }
    seqc_stats_add(&engine->stats.calls[request->op], 1);
    seqc_stats_add(&engine->stats.errors[status], 1);
}

uint32_t
cells_run(EngineObject *engine, struct seqc_call *call)
{
    uint32_t left = 0;
    bool open = cells_are_open(engine->cells);

    for (uint32_t i = 0; i < call->count; i++) {
        struct seqc_request *request = &call->requests[i];
        if (!is_left(request)) {
            continue;
        }
        seqc_status status = open ? run_one(engine, request) : SEQC_CEILING;
        if (status == SEQC_CEILING) {
            left++;
        } else {
            end_request(engine, request, status);
        }
    }
    return left;
}

int
cells_tell_low_key(EngineObject *engine, const char *key, size_t len)
{
    PyObject *answer = PyObject_CallMethod(
        engine->keeper, "low", "y#", key, (Py_ssize_t)len);

    if (!answer) {
        return errors_of_news(engine->keeper);
    }
    Py_DECREF(answer);
    return 0;
}

int
cells_tell_low(EngineObject *engine, struct seqc_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        struct seqc_request *request = &call->requests[i];
        if (!request->low) {
            continue;
        }
        request->low = false;
        if (cells_tell_low_key(engine, request->key, request->key_len)) {
            return -1;
        }
    }
    return 0;
}

/* Others wait behind the call in the lines of its keys. */
static void
leave_lines(EngineObject *engine, struct seqc_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        struct seqc_request *request = &call->requests[i];
        if (request->in_line) {
            seqc_cells_leave(engine->cells, request->key, request->key_len);
        }
    }
}

PyObject *
cells_stall_steal(EngineObject *engine, struct seqc_call *call)
{
    StalledObject *stalled =
        PyObject_GC_New(StalledObject, engine->state->stalled_type);
    PyObject *answer;

    if (!stalled) {
        leave_lines(engine, call);
        seqc_call_unref(call);
        return NULL;
    }
    stalled->engine = (EngineObject *)Py_NewRef(engine);
    stalled->call = call;
    PyObject_GC_Track(stalled);
    answer = PyObject_CallMethod(
        engine->keeper, "stalled", "O", (PyObject *)stalled);
    Py_DECREF(stalled);
    return answer;
}

/* ---- the object ---- */

static int
stalled_traverse(StalledObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->engine);
    return 0;
}

static void
stalled_dealloc(StalledObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    leave_lines(self->engine, self->call); /* it may have given up */
    seqc_call_unref(self->call);
    Py_DECREF(self->engine);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(run_doc,
             "run($self, /)\n--\n\n"
             "Goes on with the call; whether nothing is left of it.");

static PyObject *
stalled_run(StalledObject *self, PyObject *Py_UNUSED(ignored))
{
    uint32_t left = cells_run(self->engine, self->call);

    if (cells_tell_low(self->engine, self->call)) {
        return NULL;
    }
    return PyBool_FromLong(left == 0);
}

static PyObject *
wanted_of(const struct seqc_request *request)
{
    bool increases = counts(request);
    bool raises = request->op == SEQC_OP_RAISE;

    bool has_token = request->op == SEQC_OP_INCREASE_ONCE;

    return Py_BuildValue("(y#LLy#)",
                         request->key,
                         (Py_ssize_t)request->key_len,
                         increases ? (long long)request->amount : 0,
                         raises ? (long long)request->amount : 0,
                         has_token ? seqc_call_token(request->call) : NULL,
                         (Py_ssize_t)request->call->token_len);
}

PyDoc_STRVAR(
    wanted_doc,
    "wanted($self, /)\n--\n\n"
    "[(key, by, to)] of what is left: numbers to go on by, the number "
    "to reach;\n0 and 0 of a read.");

static PyObject *
stalled_wanted(StalledObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);

    for (uint32_t i = 0; list && i < self->call->count; i++) {
        const struct seqc_request *request = &self->call->requests[i];
        if (!is_left(request)) {
            continue;
        }
        PyObject *wanted = wanted_of(request);
        if (!wanted || PyList_Append(list, wanted)) {
            Py_CLEAR(list);
        }
        Py_XDECREF(wanted);
    }
    return list;
}

static bool
is_of_key(const struct seqc_request *request, const char *key, Py_ssize_t len)
{
    return (Py_ssize_t)request->key_len == len &&
           !memcmp(request->key, key, (size_t)len);
}

PyDoc_STRVAR(absent_doc,
             "absent($self, key, /)\n--\n\n"
             "The database does not know the key: reads of it give 0.");

static PyObject *
stalled_absent(StalledObject *self, PyObject *argument)
{
    char *key;
    Py_ssize_t len;

    if (PyBytes_AsStringAndSize(argument, &key, &len)) {
        return NULL;
    }
    for (uint32_t i = 0; i < self->call->count; i++) {
        struct seqc_request *request = &self->call->requests[i];
        bool reads = !counts(request) &&
                     !(request->op == SEQC_OP_RAISE && request->amount > 0);
        if (is_left(request) && reads && is_of_key(request, key, len)) {
            request->u.value = 0;
            end_request(self->engine, request, SEQC_OK);
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(refuse_doc,
             "refuse($self, text, /)\n--\n\n"
             "What is left gets no numbers; the text begins with the reason.");

static PyObject *
stalled_refuse(StalledObject *self, PyObject *argument)
{
    Py_ssize_t len;
    const char *text = PyUnicode_AsUTF8AndSize(argument, &len);

    if (!text) {
        return NULL;
    }
    for (uint32_t i = 0; i < self->call->count; i++) {
        struct seqc_request *request = &self->call->requests[i];
        if (is_left(request)) {
            request->error = seqc_error_dup(text, (size_t)len);
            end_request(self->engine, request, SEQC_CEILING);
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(doubt_doc,
             "doubt($self, text, /)\n--\n\n"
             "The database failed in the middle: what has a token may have "
             "counted.");

static PyObject *
stalled_doubt(StalledObject *self, PyObject *argument)
{
    Py_ssize_t len;
    const char *text = PyUnicode_AsUTF8AndSize(argument, &len);

    if (!text) {
        return NULL;
    }
    for (uint32_t i = 0; i < self->call->count; i++) {
        struct seqc_request *request = &self->call->requests[i];
        if (is_left(request) && request->op == SEQC_OP_INCREASE_ONCE) {
            request->error = seqc_error_dup(text, (size_t)len);
            request->cause = SEQC_CEILING;
            end_request(self->engine, request, SEQC_UNKNOWN);
            request->executed = SEQC_EXECUTED_UNKNOWN;
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(end_doc,
             "end($self, /)\n--\n\n"
             "The cache was closed: what is left never gets an answer.");

static PyObject *
stalled_end(StalledObject *self, PyObject *Py_UNUSED(ignored))
{
    for (uint32_t i = 0; i < self->call->count; i++) {
        if (is_left(&self->call->requests[i])) {
            end_request(self->engine, &self->call->requests[i], SEQC_CLOSED);
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(result_doc,
             "result($self, /)\n--\n\n"
             "What the caller gets, or raises it, once nothing is left.");

static PyObject *
stalled_result(StalledObject *self, PyObject *Py_UNUSED(ignored))
{
    return errors_result(self->engine, self->call);
}

PyDoc_STRVAR(left_doc, "left($self, /)\n--\n\nSeconds that it has, or None.");

static PyObject *
stalled_left(StalledObject *self, PyObject *Py_UNUSED(ignored))
{
    int64_t deadline_ns = self->call->deadline_ns;

    if (deadline_ns == SEQC_TIME_NEVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)(deadline_ns - seqc_now_ns()) / 1e9);
}

static PyMethodDef stalled_methods[] = {
    {"run", (PyCFunction)stalled_run, METH_NOARGS, run_doc},
    {"wanted", (PyCFunction)stalled_wanted, METH_NOARGS, wanted_doc},
    {"absent", (PyCFunction)stalled_absent, METH_O, absent_doc},
    {"refuse", (PyCFunction)stalled_refuse, METH_O, refuse_doc},
    {"doubt", (PyCFunction)stalled_doubt, METH_O, doubt_doc},
    {"end", (PyCFunction)stalled_end, METH_NOARGS, end_doc},
    {"result", (PyCFunction)stalled_result, METH_NOARGS, result_doc},
    {"left", (PyCFunction)stalled_left, METH_NOARGS, left_doc},
    {0},
};

static PyType_Slot stalled_slots[] = {
    {Py_tp_doc, (void *)"A call that waits for a ceiling."},
    {Py_tp_dealloc, stalled_dealloc},
    {Py_tp_traverse, stalled_traverse},
    {Py_tp_methods, stalled_methods},
    {0, NULL},
};

static PyType_Spec stalled_spec = {
    .name = "seqcache._native.Stalled",
    .basicsize = sizeof(StalledObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stalled_slots,
};

int
stalled_setup_type(PyObject *module, struct module_state *state)
{
    state->stalled_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &stalled_spec, NULL);
    return state->stalled_type ? PyModule_AddType(module, state->stalled_type)
                               : -1;
}
