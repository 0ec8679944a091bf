/* SPDX-License-Identifier: MIT */
/* The asyncio client: every method returns an awaitable that is under way. */
#include "binding/aclient.h"

#include <string.h>
#include <unistd.h>

#include "binding/cells.h"
#include "binding/loop.h"
#include "core/park.h"

/* A pool without a lock: the GIL is held around all that is done to a call of
 * a loop.  Not where a block that is used after its end is to be found. */
static struct args_prefix
pooled_prefix(const ClientObject *client)
{
    struct args_prefix prefix = client_prefix(client);

#if !defined(Py_GIL_DISABLED) && !defined(__SANITIZE_ADDRESS__)
    prefix.pool = &client->engine->state->calls;
#endif
    return prefix;
}

/* ---- where the call belongs ---- */

/* asyncio's function of C is called without the frame around a call that
 * Python has for it: it looks at its thread and can do nothing else. */
static PyObject *
ask_running_loop(PyObject *function)
{
    if (PyCFunction_CheckExact(function) &&
        PyCFunction_GET_FLAGS(function) == METH_NOARGS) {
        return PyCFunction_GET_FUNCTION(function)(
            PyCFunction_GET_SELF(function), NULL);
    }
    return PyObject_CallNoArgs(function);
}

PyObject *
aclient_running_loop(ClientObject *client, const char *method)
{
    struct module_state *state = client->engine->state;
    PyObject *loop = ask_running_loop(state->get_running_loop);

    if (loop && loop != Py_None) {
        Py_DECREF(loop); /* the running loop is kept by its thread */
        return loop;
    }
    if (loop) {
        Py_DECREF(loop);
        PyErr_Format(PyExc_RuntimeError,
                     "%s() needs a running event loop, nothing was sent; "
                     "call it inside a coroutine:\n"
                     "    async def main():\n"
                     "        await %s%s(...)\n"
                     "    asyncio.run(main())",
                     method,
                     strchr(method, '.') ? "" : "cache.",
                     method);
    }
    return NULL;
}

/* The link of `loop`; borrowed, kept by the client for the next call. */
static LoopLinkObject *
link_of(ClientObject *client, PyObject *loop)
{
    LoopLinkObject *link;

    if (client->loop == loop && !client->link->closed) {
        return client->link;
    }
    link = loop_link_of(client->engine, loop);
    if (link) {
        Py_XSETREF(client->link, (LoopLinkObject *)Py_NewRef(link));
        client->loop = loop;
    }
    return link;
}

/* ---- memory:// and empty bulks: done at once ---- */

static PyObject *
finish_now_steal(ClientObject *client, PyObject *loop, struct seqc_call *call)
{
    struct awaitable_state *state = &client->engine->state->awaitable;
    PyObject *result;
    PyObject *awaitable;
    int64_t value;
    bool failed = false;

    if (client->engine->store) {
        engine_run_in_memory(client->engine, call);
    } else if (client->engine->cells && cells_tell_low(client->engine, call)) {
        seqc_call_unref(call);
        return NULL;
    }
    if (call->count && errors_is_plain_int(call, &value)) {
        seqc_call_unref(call);
        return awaitable_new_done_int(state, loop, value);
    }
    result = errors_result(client->engine, call);
    seqc_call_unref(call);
    if (!result) {
        failed = true;
        result = PyErr_GetRaisedException();
    }
    awaitable = awaitable_new_done(state, loop, result, failed);
    Py_DECREF(result);
    return awaitable;
}

/* Its time begins now: what is done at once has none. */
static PyObject *
stall_steal(EngineObject *engine, struct seqc_call *call, int64_t timeout_ns)
{
    engine_prepare_call(engine, call, call->shape, timeout_ns, seqc_now_ns());
    return cells_stall_steal(engine, call);
}

/* ---- the operations ---- */

static PyObject *
aclient_run(PyObject *self,
            const struct operation *operation,
            PyObject *const *args,
            Py_ssize_t count,
            PyObject *keyword_names)
{
    ClientObject *client = (ClientObject *)self;
    EngineObject *engine = client->engine;
    int64_t timeout_ns = engine->timeout_ns;
    PyObject *loop;
    struct seqc_call *call;
    LoopLinkObject *link;

    if (client->closed || engine->closed) {
        return errors_closed(engine, operation->spec.method);
    }
    loop = aclient_running_loop(client, operation->spec.method);
    call = loop ? operation_call(operation,
                                 engine->state,
                                 pooled_prefix(client),
                                 args,
                                 count,
                                 keyword_names,
                                 &timeout_ns)
                : NULL;
    if (!call) {
        return NULL;
    }
    if (client->closed || engine->closed) { /* by an iterator of the user's */
        seqc_call_unref(call);
        return errors_closed(engine, operation->spec.method);
    }
    if (engine->store || engine->cells || !call->count) {
        engine_prepare_call(
            engine, call, (uint8_t)operation->shape, timeout_ns, 0);
        return engine->cells && cells_run(engine, call)
                   ? stall_steal(engine, call, timeout_ns)
                   : finish_now_steal(client, loop, call);
    }
    link = link_of(client, loop);
    if (!link) {
        seqc_call_unref(call);
        return NULL;
    }
    engine_prepare_call(engine,
                        call,
                        (uint8_t)operation->shape,
                        timeout_ns,
                        loop_now_ns(link));
    return loop_submit_steal(link, call, timeout_ns == engine->timeout_ns);
}

PyDoc_STRVAR(adopt_doc,
             "_adopt($self, descriptor, /)\n--\n\n"
             "Gives the link of the running loop the connection that the "
             "factory made.");

static PyObject *
aclient_adopt(PyObject *self, PyObject *argument)
{
    ClientObject *client = (ClientObject *)self;
    int fd = (int)PyLong_AsLong(argument);
    PyObject *loop;
    LoopLinkObject *link;
    int failed;

    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    loop = aclient_running_loop(client, "_adopt");
    link = loop ? link_of(client, loop) : NULL;
    if (!link) {
        close(fd);
        return NULL;
    }
    Py_INCREF(link);
    failed = loop_adopt(link, fd);
    Py_DECREF(link);
    return failed ? NULL : Py_NewRef(Py_None);
}

#define ACLIENT_METHOD(name, index)                                           \
    static PyObject *aclient_##name(PyObject *self,                           \
                                    PyObject *const *args,                    \
                                    Py_ssize_t count,                         \
                                    PyObject *names)                          \
    {                                                                         \
        return aclient_run(self, &operations[index], args, count, names);     \
    }

ACLIENT_METHOD(get_seq, OPERATION_GET_SEQ)
ACLIENT_METHOD(increase_seq, OPERATION_INCREASE_SEQ)
ACLIENT_METHOD(reserve, OPERATION_RESERVE)
ACLIENT_METHOD(raise_seq, OPERATION_RAISE_SEQ)
ACLIENT_METHOD(get_seqs, OPERATION_GET_SEQS)
ACLIENT_METHOD(increase_seqs, OPERATION_INCREASE_SEQS)
ACLIENT_METHOD(delete_key, OPERATION_DELETE)
ACLIENT_METHOD(raise_batch, OPERATION_RAISE_BATCH)
ACLIENT_METHOD(execute, OPERATION_EXECUTE)
ACLIENT_METHOD(execute_once, OPERATION_EXECUTE_ONCE)

#define METHOD(name, function, doc)                                           \
    {name,                                                                    \
     (PyCFunction)(void (*)(void))function,                                   \
     METH_FASTCALL | METH_KEYWORDS,                                           \
     doc}

static PyMethodDef aclient_methods[] = {
    METHOD("get_seq", aclient_get_seq, operation_get_seq_doc),
    METHOD("increase_seq", aclient_increase_seq, operation_increase_seq_doc),
    METHOD("reserve", aclient_reserve, operation_reserve_doc),
    METHOD("raise_seq", aclient_raise_seq, operation_raise_seq_doc),
    METHOD("get_seqs", aclient_get_seqs, operation_get_seqs_doc),
    METHOD(
        "increase_seqs", aclient_increase_seqs, operation_increase_seqs_doc),
    METHOD("_delete_key", aclient_delete_key, operation_delete_doc),
    METHOD("_raise_batch", aclient_raise_batch, operation_raise_batch_doc),
    METHOD("_execute", aclient_execute, operation_execute_doc),
    METHOD("_execute_once", aclient_execute_once, operation_execute_once_doc),
    {"_adopt", aclient_adopt, METH_O, adopt_doc},
    {"_scan_memory", client_scan_memory, METH_O, operation_scan_memory_doc},
    {0},
};

/* The first AsyncClient imports asyncio; `import seqcache` does not. */
static PyObject *
aclient_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct module_state *state = state_of_type(type);
    PyObject *events;

    if (!state || awaitable_prepare(&state->awaitable)) {
        return NULL;
    }
    if (!state->get_running_loop) {
        events = PyImport_ImportModule("asyncio.events");
        state->get_running_loop =
            events ? PyObject_GetAttrString(events, "_get_running_loop")
                   : NULL;
        Py_XDECREF(events);
        if (!state->get_running_loop) {
            return NULL;
        }
    }
    return client_new(type, args, kwargs);
}

static PyType_Slot aclient_slots[] = {
    {Py_tp_doc, (void *)"The asyncio client; see seqcache.AsyncSeqCache."},
    {Py_tp_new, aclient_new},
    {Py_tp_dealloc, client_dealloc},
    {Py_tp_traverse, client_traverse},
    {Py_tp_clear, client_clear},
    {Py_tp_methods, aclient_methods},
    {Py_tp_members, client_members},
    {0, NULL},
};

static PyType_Spec aclient_spec = {
    .name = "seqcache._native.AsyncClient",
    .basicsize = sizeof(ClientObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = aclient_slots,
};

int
aclient_setup_type(PyObject *module, struct module_state *state)
{
    state->aclient_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &aclient_spec, NULL);
    return state->aclient_type ? PyModule_AddType(module, state->aclient_type)
                               : -1;
}
