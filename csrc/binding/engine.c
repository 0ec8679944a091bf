/* SPDX-License-Identifier: MIT */
#include "binding/engine.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>

#include "binding/cells.h"
#include "binding/errors.h"
#include "binding/fast.h"
#include "binding/loop.h"
#include "binding/once.h"
#include "core/alloc.h"

/* Silence of a link that owes answers, at least so long. */
#define PATIENCE_LEAST_NS 1000000000

/* ---- the list of all engines, for fork ---- */

static void
list_engine(EngineObject *engine)
{
    engine->next = engine->state->engines;
    engine->prev = NULL;
    if (engine->next) {
        engine->next->prev = engine;
    }
    engine->state->engines = engine;
}

static void
unlist_engine(EngineObject *engine)
{
    if (engine->prev) {
        engine->prev->next = engine->next;
    } else if (engine->state->engines == engine) {
        engine->state->engines = engine->next;
    }
    if (engine->next) {
        engine->next->prev = engine->prev;
    }
}

/* ---- life ---- */

static int
make_groups(EngineObject *engine, size_t count)
{
    engine->groups = seqc_calloc(count, sizeof *engine->groups);
    for (size_t i = 0; engine->groups && i < count; i++) {
        engine->groups[i] = seqc_group_new(engine->options, engine->regress);
        if (!engine->groups[i]) {
            break;
        }
        engine->group_count = i + 1;
    }
    if (engine->group_count < count) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static void
set_options(EngineObject *engine, Py_ssize_t max_pending, const char *retry)
{
    int64_t patience = engine->timeout_ns;

    if (patience < PATIENCE_LEAST_NS) {
        patience = PATIENCE_LEAST_NS;
    }
    engine->options = (struct seqc_link_options){
        .max_pending = (size_t)max_pending,
        .patience_ns = patience,
        .repeat = strcmp(retry, "never") != 0,
    };
    engine->gap = strcmp(retry, "gap") == 0;
}

static int
engine_fill(EngineObject *engine,
            PyObject *timeout,
            Py_ssize_t max_pending,
            const char *retry,
            Py_ssize_t connections)
{
    if (args_timeout(timeout, &engine->timeout_ns)) {
        return -1;
    }
    if (max_pending < 1 || connections < 0) {
        PyErr_SetString(PyExc_ValueError, "max_pending or connections");
        return -1;
    }
    set_options(engine, max_pending, retry);
    if (engine->on_regress) {
        engine->regress = seqc_regress_new(SEQC_REGRESS_ENTRIES);
        if (!engine->regress) {
            PyErr_NoMemory();
            return -1;
        }
    }
    engine->loops = PyDict_New();
    return engine->loops ? make_groups(engine, (size_t)connections) : -1;
}

static PyObject *
none_to_null(PyObject *object)
{
    return object == Py_None ? NULL : Py_XNewRef(object);
}

/* Engine(where, connect, timeout, max_pending, retry, on_regress,
 *        connections, store, token_ttl) */
static PyObject *
engine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *where, *connect, *timeout, *on_regress, *store;
    Py_ssize_t max_pending, connections;
    unsigned int token_ttl_s;
    const char *retry;
    struct module_state *state = state_of_type(type);
    EngineObject *engine;

    if (kwargs && PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Engine takes no keywords");
        return NULL;
    }
    if (!state || !PyArg_ParseTuple(args,
                                    "UOOnsOnOI",
                                    &where,
                                    &connect,
                                    &timeout,
                                    &max_pending,
                                    &retry,
                                    &on_regress,
                                    &connections,
                                    &store,
                                    &token_ttl_s)) {
        return NULL;
    }
    if (store != Py_None && !PyObject_TypeCheck(store, state->store_type)) {
        PyErr_SetString(PyExc_TypeError, "store must be a Store or None");
        return NULL;
    }
    if ((connections || connect != Py_None) && !PyCallable_Check(connect)) {
        PyErr_SetString(PyExc_TypeError, "connect must be callable");
        return NULL;
    }
    engine = (EngineObject *)type->tp_alloc(type, 0);
    if (!engine) {
        return NULL;
    }
    engine->module = Py_NewRef(PyType_GetModule(type));
    engine->state = state;
    engine->where = Py_NewRef(where);
    engine->connect = none_to_null(connect);
    engine->on_regress = none_to_null(on_regress);
    engine->token_ttl_s = token_ttl_s;
    if (store != Py_None) {
        engine->store = seqc_store_ref(((StoreObject *)store)->store);
    }
    list_engine(engine);
    if (engine_fill(engine, timeout, max_pending, retry, connections)) {
        Py_DECREF(engine);
        return NULL;
    }
    return (PyObject *)engine;
}

static int
engine_traverse(EngineObject *engine, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(engine));
    Py_VISIT(engine->module);
    Py_VISIT(engine->connect);
    Py_VISIT(engine->where);
    Py_VISIT(engine->on_regress);
    Py_VISIT(engine->last_error);
    Py_VISIT(engine->loops);
    Py_VISIT(engine->keeper);
    Py_VISIT(engine->durable);
    return 0;
}

static int
engine_clear(EngineObject *engine)
{
    Py_CLEAR(engine->connect);
    Py_CLEAR(engine->where);
    Py_CLEAR(engine->on_regress);
    Py_CLEAR(engine->last_error);
    Py_CLEAR(engine->loops);
    Py_CLEAR(engine->keeper);
    Py_CLEAR(engine->durable);
    return 0;
}

static void
close_groups(EngineObject *engine)
{
    bool out = engine_fork_step_out(engine);

    if (!engine->group_count) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < engine->group_count; i++) {
        seqc_group_close(engine->groups[i]);
    }
    Py_END_ALLOW_THREADS
    engine_fork_step_in(engine, out);
}

/* While the engine is still listed, so that whoever locked it unlocks it;
 * with the GIL from the last look on. */
static void
end_groups(EngineObject *engine)
{
    do {
        close_groups(engine);
        (void)engine_fork_step_out(engine);
    } while (engine->fork_locked);
}

static void
engine_dealloc(EngineObject *engine)
{
    PyTypeObject *type = Py_TYPE(engine);
    PyObject *module = engine->module;

    PyObject_GC_UnTrack(engine);
    if (engine->weakrefs) {
        PyObject_ClearWeakRefs((PyObject *)engine);
    }
    end_groups(engine);
    unlist_engine(engine);
    (void)engine_clear(engine);
    for (size_t i = 0; i < engine->group_count; i++) {
        seqc_group_free(engine->groups[i]);
    }
    seqc_free(engine->groups);
    seqc_regress_free(engine->regress);
    seqc_store_unref(engine->store);
    seqc_cells_unref(engine->cells);
    type->tp_free(engine);
    Py_DECREF(type);
    Py_DECREF(module);
}

/* ---- calls ---- */

void
engine_prepare_call(EngineObject *engine,
                    struct seqc_call *call,
                    uint8_t shape,
                    int64_t timeout_ns,
                    int64_t now_ns)
{
    enum seqc_op op = call->count ? call->requests[0].op : SEQC_OP_GET;

    call->shape = shape;
    call->token_ttl_s = engine->token_ttl_s;
    call->counting = op == SEQC_OP_INCREASE || op == SEQC_OP_INCREASE_ONCE ||
                     op == SEQC_OP_DELETE || call->once;
    call->repeatable = !call->counting || op == SEQC_OP_INCREASE_ONCE ||
                       (engine->gap && op == SEQC_OP_INCREASE);
    call->start_ns = now_ns;
    call->deadline_ns =
        timeout_ns == SEQC_TIME_NEVER ? SEQC_TIME_NEVER : now_ns + timeout_ns;
    if (engine->is_durable) {
        fast_prepare(engine, call);
    }
}

struct stored_request {
    seqc_store *store;
    struct seqc_request *request;
};

static seqc_status
increase_stored(void *context, int64_t *out_seq)
{
    const struct stored_request *stored = context;
    const struct seqc_request *request = stored->request;

    return seqc_store_increase(stored->store,
                               request->key,
                               request->key_len,
                               request->amount,
                               out_seq);
}

static seqc_status
run_one(seqc_store *store, struct seqc_request *request)
{
    const char *key = request->key;
    size_t len = request->key_len;
    struct stored_request stored = {store, request};
    bool existed;

    switch ((enum seqc_op)request->op) {
    case SEQC_OP_GET:
    case SEQC_OP_MGET:
        seqc_store_get(store, key, len, &request->u.value);
        return SEQC_OK;
    case SEQC_OP_INCREASE:
        return seqc_store_increase(
            store, key, len, request->amount, &request->u.value);
    case SEQC_OP_RAISE:
        return seqc_store_raise(
            store, key, len, request->amount, &request->u.value);
    case SEQC_OP_DELETE:
        seqc_store_delete(store, key, len, &existed);
        request->u.value = existed;
        return SEQC_OK;
    case SEQC_OP_INCREASE_ONCE:
        return once_run(
            seqc_store_once_view(store), increase_stored, &stored, request);
    case SEQC_OP_RAW:
    case SEQC_OP_COUNT:
        break;
    }
    return SEQC_SERVER;
}

void
engine_run_in_memory(EngineObject *engine, struct seqc_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        struct seqc_request *request = &call->requests[i];
        request->status = (uint8_t)run_one(engine->store, request);
        request->executed = SEQC_EXECUTED_NO; /* of an error */
        seqc_stats_add(&engine->stats.calls[request->op], 1);
        seqc_stats_add(&engine->stats.errors[request->status], 1);
    }
}

/* An exception that says why there is no connection: of ours, or OSError. */
static bool
is_connect_error(EngineObject *engine, PyObject *error, bool *out_auth)
{
    PyObject *errors = PyImport_ImportModule("seqcache.errors");
    PyObject *base = NULL;
    PyObject *auth = NULL;
    bool ours = false;

    (void)engine;
    if (errors) {
        base = PyObject_GetAttrString(errors, "SeqCacheError");
        auth = PyObject_GetAttrString(errors, "AuthError");
    }
    if (base && auth) {
        ours = PyObject_IsInstance(error, base) == 1 ||
               PyObject_IsInstance(error, PyExc_OSError) == 1;
        *out_auth = PyObject_IsInstance(error, auth) == 1;
    }
    Py_XDECREF(errors);
    Py_XDECREF(base);
    Py_XDECREF(auth);
    return ours;
}

seqc_status
engine_take_connect_error(EngineObject *engine)
{
    bool auth = false;
    PyObject *error = PyErr_GetRaisedException();

    if (!is_connect_error(engine, error, &auth)) {
        PyErr_SetRaisedException(error);
        return SEQC_OK;
    }
    Py_XSETREF(engine->last_error, error);
    return auth ? SEQC_AUTH : SEQC_CONNECT;
}

/* ---- methods ---- */

PyDoc_STRVAR(adopt_doc,
             "adopt($self, descriptor, /)\n--\n\n"
             "Gives the first blocking link the connection that the factory "
             "made.");

static PyObject *
engine_adopt(EngineObject *engine, PyObject *argument)
{
    int fd = (int)PyLong_AsLong(argument);
    bool out;

    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (!engine->group_count) {
        PyErr_SetString(PyExc_RuntimeError, "no blocking links");
        return NULL;
    }
    out = engine_fork_step_out(engine);
    Py_BEGIN_ALLOW_THREADS
    seqc_group_connected(engine->groups[0], fd);
    Py_END_ALLOW_THREADS
    engine_fork_step_in(engine, out);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(engine_close_doc,
             "close($self, /)\n--\n\n"
             "Ends every blocking link; waiting calls get ClosedError.");

static PyObject *
engine_close(EngineObject *engine, PyObject *Py_UNUSED(ignored))
{
    engine->closed = true;
    close_groups(engine);
    Py_RETURN_NONE;
}

static PyMethodDef engine_methods[] = {
    {"adopt", (PyCFunction)engine_adopt, METH_O, adopt_doc},
    {"close", (PyCFunction)engine_close, METH_NOARGS, engine_close_doc},
    {"keep", (PyCFunction)engine_keep, METH_VARARGS, engine_keep_doc},
    {"stats", (PyCFunction)engine_stats, METH_NOARGS, engine_stats_doc},
    {"take_links",
     (PyCFunction)engine_take_links,
     METH_NOARGS,
     engine_take_links_doc},
    {"make_durable",
     (PyCFunction)engine_make_durable,
     METH_O,
     engine_make_durable_doc},
    {"let_go", (PyCFunction)engine_let_go, METH_NOARGS, engine_let_go_doc},
    {0},
};

static PyMemberDef engine_members[] = {
    {"closed",
     T_BOOL,
     offsetof(EngineObject, closed),
     READONLY,
     "Whether the engine was closed."},
    {"is_durable",
     T_BOOL,
     offsetof(EngineObject, is_durable),
     READONLY,
     "Whether calls go the durable way."},
    {"where",
     T_OBJECT_EX,
     offsetof(EngineObject, where),
     READONLY,
     "Where the server is, for messages."},
    {"__weaklistoffset__",
     T_PYSSIZET,
     offsetof(EngineObject, weakrefs),
     READONLY,
     NULL},
    {0},
};

static PyType_Slot engine_slots[] = {
    {Py_tp_doc, (void *)"What all views of one cache share."},
    {Py_tp_new, engine_new},
    {Py_tp_dealloc, engine_dealloc},
    {Py_tp_traverse, engine_traverse},
    {Py_tp_clear, engine_clear},
    {Py_tp_methods, engine_methods},
    {Py_tp_members, engine_members},
    {0, NULL},
};

static PyType_Spec engine_spec = {
    .name = "seqcache._native.Engine",
    .basicsize = sizeof(EngineObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = engine_slots,
};

int
engine_setup_type(PyObject *module, struct module_state *state)
{
    state->engine_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &engine_spec, NULL);
    return state->engine_type ? PyModule_AddType(module, state->engine_type)
                              : -1;
}
