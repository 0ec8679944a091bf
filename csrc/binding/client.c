/* SPDX-License-Identifier: MIT */
/* The blocking client: what a thread calls. */
#include "binding/client.h"

#include <string.h>
#include <structmember.h>

#include "binding/cells.h"
#include "binding/errors.h"
#include "binding/fast.h"
#include "core/park.h"

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* How long Ctrl-C may stay unseen in the main thread when the signal reached
 * another one. */
#define SIGNAL_SLICE_NS 50000000

/* ---- waiting ---- */

/* Only there do signal handlers run. */
static bool
is_main_thread(void)
{
#ifdef __linux__
    return syscall(SYS_gettid) == getpid();
#else
    return true; /* looking for signals elsewhere is useless, not wrong */
#endif
}

/* The calls of one thread keep to one link, so that they stay in order. */
static struct seqc_group *
pick_group(const EngineObject *engine)
{
    unsigned long self;

    if (engine->group_count == 1) {
        return engine->groups[0];
    }
    self = PyThread_get_thread_ident();
    self ^= self >> 17;
    self *= 0x9e3779b1u;
    return engine->groups[(self >> 7) % engine->group_count];
}

/* Seconds left for a connect, or None. */
static PyObject *
seconds_left(const struct seqc_call *call)
{
    if (call->deadline_ns == SEQC_TIME_NEVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)(call->deadline_ns - seqc_now_ns()) /
                              1e9);
}

static int
take_descriptor(struct seqc_group *group, PyObject *answer)
{
    int fd = (int)PyLong_AsLong(answer);

    Py_DECREF(answer);
    if (fd == -1 && PyErr_Occurred()) {
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    seqc_group_connected(group, fd);
    Py_END_ALLOW_THREADS
    return 0;
}

/* The leader connects, through Python.  -1: an exception ends the call. */
static int
connect_link(EngineObject *engine,
             struct seqc_group *group,
             const struct seqc_call *call)
{
    PyObject *left = seconds_left(call);
    PyObject *answer;
    PyObject *text;
    const char *why;
    seqc_status status;

    answer = left ? PyObject_CallOneArg(engine->connect, left) : NULL;
    Py_XDECREF(left);
    if (answer) {
        return take_descriptor(group, answer);
    }
    status = engine_take_connect_error(engine);
    if (!status) {
        return -1;
    }
    text = PyObject_Str(engine->last_error);
    why = text ? PyUnicode_AsUTF8(text) : NULL;
    if (!why) {
        PyErr_Clear();
        why = "the connection was refused";
    }
    Py_BEGIN_ALLOW_THREADS
    seqc_group_refused(group, status, why);
    Py_END_ALLOW_THREADS
    Py_XDECREF(text);
    return 0;
}

/* Runs the call until it is done or abandoned.  -1: an exception is set (the
 * call is abandoned then, too). */
static int
run_call(EngineObject *engine, struct seqc_call *call)
{
    struct seqc_group *group;
    bool main_thread = is_main_thread();
    enum seqc_turn turn = SEQC_TURN_DONE;
    seqc_status status;
    int failed = 0;

    if (!engine->group_count || !engine->connect) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the engine has no blocking links");
        return -1;
    }
    group = pick_group(engine);
    Py_BEGIN_ALLOW_THREADS
    status = seqc_group_submit(group, call);
    if (!status) {
        turn = seqc_group_wait(
            group, call, main_thread, call->start_ns + SIGNAL_SLICE_NS);
    }
    Py_END_ALLOW_THREADS
    if (status) {
        errors_closed(engine, errors_method(call));
        return -1;
    }
    while (turn != SEQC_TURN_DONE) {
        failed = turn == SEQC_TURN_CONNECT ? connect_link(engine, group, call)
                                           : PyErr_CheckSignals();
        Py_BEGIN_ALLOW_THREADS
        if (failed) {
            seqc_group_abandon(group, call, SEQC_TIMEOUT);
            turn = SEQC_TURN_DONE;
        } else {
            turn = seqc_group_wait(
                group, call, main_thread, seqc_now_ns() + SIGNAL_SLICE_NS);
        }
        Py_END_ALLOW_THREADS
    }
    return failed;
}

/* In a hook of os.register_at_fork, too. */
static int
run_stepping_out(EngineObject *engine, struct seqc_call *call)
{
    bool out = engine_fork_step_out(engine);
    int failed = run_call(engine, call);

    engine_fork_step_in(engine, out);
    return failed;
}

/* Consumes `call` (NULL: an exception is set already). */
static PyObject *
finish_call_steal(ClientObject *client,
                  struct seqc_call *call,
                  enum result_shape shape,
                  int64_t timeout_ns)
{
    EngineObject *engine = client->engine;
    PyObject *result = NULL;
    int64_t value;

    if (!call) {
        return NULL;
    }
    engine_prepare_call(
        engine, call, (uint8_t)shape, timeout_ns, seqc_now_ns());
    if (engine->cells) {
        if (cells_run(engine, call)) {
            return cells_stall_steal(engine, call);
        }
        if (cells_tell_low(engine, call)) {
            seqc_call_unref(call);
            return NULL;
        }
    } else if (engine->store) {
        engine_run_in_memory(engine, call);
    } else if (call->count && run_stepping_out(engine, call)) {
        seqc_call_unref(call);
        return NULL;
    }
    if (call->count && errors_is_plain_int(call, &value)) {
        result = PyLong_FromLongLong(value);
    } else if (call->is_slow || (call->durable && call->abandoned)) {
        result = slow_result(engine, call);
    } else {
        result = errors_result(engine, call);
    }
    seqc_call_unref(call);
    if (result && engine->durable &&
        fast_attend((FastPathObject *)engine->durable)) {
        Py_CLEAR(result);
    }
    return result;
}

/* ---- the operations ---- */

static bool
refuse_closed(ClientObject *client, const char *method)
{
    if (client->closed || client->engine->closed) {
        errors_closed(client->engine, method);
        return true;
    }
    return false;
}

PyObject *
client_run(PyObject *self,
           const struct operation *operation,
           PyObject *const *args,
           Py_ssize_t count,
           PyObject *keyword_names)
{
    ClientObject *client = (ClientObject *)self;
    struct seqc_call *call;
    int64_t timeout_ns = client->engine->timeout_ns;

    if (refuse_closed(client, operation->spec.method)) {
        return NULL;
    }
    call = operation_call(operation,
                          client->engine->state,
                          client_prefix(client),
                          args,
                          count,
                          keyword_names,
                          &timeout_ns);
    return finish_call_steal(client, call, operation->shape, timeout_ns);
}

/* What cannot be done at once is left for the slow path: nothing happened. */
static seqc_status
increase_cell(EngineObject *engine,
              const char *key,
              size_t len,
              int64_t *out_value)
{
    struct seqc_cells_ask ask = {.key = key, .len = len, .amount = 1};
    bool low = false;
    seqc_status status;

    if (!cells_are_open(engine->cells)) {
        return SEQC_CEILING;
    }
    status = seqc_cells_increase(engine->cells, &ask, out_value, &low);
    if (low) { /* what it leaves set is seen by the caller */
        (void)cells_tell_low_key(engine, key, len);
    }
    return status;
}

/* memory://: no call object for the hot operation. */
static PyObject *
increase_in_memory(ClientObject *client, PyObject *user_id)
{
    EngineObject *engine = client->engine;
    char key[USER_ID_MAX_BYTES + PREFIX_MAX_BYTES];
    struct user_id id;
    int64_t value;
    size_t len;

    if (args_key(
            client->engine->state, client_prefix(client), user_id, &id)) {
        return NULL;
    }
    len = (size_t)(client->prefix_len + id.len);
    memcpy(key, client->prefix_data, (size_t)client->prefix_len);
    memcpy(key + client->prefix_len, id.data, (size_t)id.len);
    args_user_id_fini(&id);
    switch (engine->cells
                ? increase_cell(engine, key, len, &value)
                : seqc_store_increase(engine->store, key, len, 1, &value)) {
    case SEQC_OK:
        seqc_stats_add(&engine->stats.calls[SEQC_OP_INCREASE], 1);
        return PyErr_Occurred() ? NULL : PyLong_FromLongLong(value);
    case SEQC_NOMEM:
        return PyErr_NoMemory();
    default:
        return NULL; /* the slow path tells what it was */
    }
}

static PyObject *
client_increase_seq(PyObject *self,
                    PyObject *const *args,
                    Py_ssize_t count,
                    PyObject *keyword_names)
{
    ClientObject *client = (ClientObject *)self;

    if ((client->engine->store || client->engine->cells) && count == 1 &&
        !keyword_names && !client->closed && !client->engine->closed) {
        PyObject *value = increase_in_memory(client, args[0]);
        if (value || PyErr_Occurred()) {
            return value;
        }
    }
    return client_run(
        self, &operations[OPERATION_INCREASE_SEQ], args, count, keyword_names);
}

#define CLIENT_METHOD(name, index)                                            \
    static PyObject *client_##name(PyObject *self,                            \
                                   PyObject *const *args,                     \
                                   Py_ssize_t count,                          \
                                   PyObject *names)                           \
    {                                                                         \
        return client_run(self, &operations[index], args, count, names);      \
    }

CLIENT_METHOD(get_seq, OPERATION_GET_SEQ)
CLIENT_METHOD(reserve, OPERATION_RESERVE)
CLIENT_METHOD(raise_seq, OPERATION_RAISE_SEQ)
CLIENT_METHOD(get_seqs, OPERATION_GET_SEQS)
CLIENT_METHOD(increase_seqs, OPERATION_INCREASE_SEQS)
CLIENT_METHOD(delete_key, OPERATION_DELETE)
CLIENT_METHOD(raise_batch, OPERATION_RAISE_BATCH)
CLIENT_METHOD(execute, OPERATION_EXECUTE)
CLIENT_METHOD(execute_once, OPERATION_EXECUTE_ONCE)

#define METHOD(name, function, doc)                                           \
    {name,                                                                    \
     (PyCFunction)(void (*)(void))function,                                   \
     METH_FASTCALL | METH_KEYWORDS,                                           \
     doc}

static PyMethodDef client_methods[] = {
    METHOD("get_seq", client_get_seq, operation_get_seq_doc),
    METHOD("increase_seq", client_increase_seq, operation_increase_seq_doc),
    METHOD("reserve", client_reserve, operation_reserve_doc),
    METHOD("raise_seq", client_raise_seq, operation_raise_seq_doc),
    METHOD("get_seqs", client_get_seqs, operation_get_seqs_doc),
    METHOD("increase_seqs", client_increase_seqs, operation_increase_seqs_doc),
    METHOD("_delete_key", client_delete_key, operation_delete_doc),
    METHOD("_raise_batch", client_raise_batch, operation_raise_batch_doc),
    METHOD("_execute", client_execute, operation_execute_doc),
    METHOD("_execute_once", client_execute_once, operation_execute_once_doc),
    {"_scan_memory", client_scan_memory, METH_O, operation_scan_memory_doc},
    {0},
};

static PyType_Slot client_slots[] = {
    {Py_tp_doc, (void *)"The blocking client; see seqcache.SeqCache."},
    {Py_tp_new, client_new},
    {Py_tp_dealloc, client_dealloc},
    {Py_tp_traverse, client_traverse},
    {Py_tp_clear, client_clear},
    {Py_tp_methods, client_methods},
    {Py_tp_members, client_members},
    {0, NULL},
};

static PyType_Spec client_spec = {
    .name = "seqcache._native.Client",
    .basicsize = sizeof(ClientObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = client_slots,
};

int
client_setup_type(PyObject *module, struct module_state *state)
{
    state->client_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &client_spec, NULL);
    return state->client_type ? PyModule_AddType(module, state->client_type)
                              : -1;
}
