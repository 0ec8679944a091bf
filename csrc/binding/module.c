/* SPDX-License-Identifier: MIT */
/* The extension module: its state, its types, the fork hooks. */
#include "binding/aclient.h"
#include "binding/args.h"
#include "binding/cells.h"
#include "binding/codec.h"
#include "binding/fast.h"
#include "binding/lease.h"
#include "binding/loop.h"

static struct PyModuleDef module_def;

struct module_state *
state_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &module_def);

    return module ? PyModule_GetState(module) : NULL;
}

/* ---- for backends in Python ---- */

/* One truth about user ids: what the engine takes, the others take. */
static PyObject *
module_check_user_id(PyObject *module, PyObject *args)
{
    struct module_state *state = PyModule_GetState(module);
    struct args_prefix prefix = {0};
    struct user_id id;
    PyObject *object, *bytes;

    if (!PyArg_ParseTuple(args, "O|z#", &object, &prefix.data, &prefix.len)) {
        return NULL;
    }
    if (prefix.data ? args_key(state, prefix, object, &id)
                    : args_user_id(state, object, &id)) {
        return NULL;
    }
    bytes = PyBytes_FromStringAndSize(id.data, id.len);
    args_user_id_fini(&id);
    return bytes;
}

static PyObject *
module_keep_contexts(PyObject *module, PyObject *object)
{
    struct module_state *state = PyModule_GetState(module);
    int truth = PyObject_IsTrue(object);

    if (truth < 0) {
        return NULL;
    }
    state->keeps_contexts = truth != 0;
    Py_RETURN_NONE;
}

/* ---- fork ---- */

static PyObject *
module_before_fork(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    engine_before_fork(PyModule_GetState(module));
    Py_RETURN_NONE;
}

static PyObject *
module_after_fork_parent(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    engine_after_fork_parent(PyModule_GetState(module));
    Py_RETURN_NONE;
}

static PyObject *
module_after_fork_child(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    engine_after_fork_child(PyModule_GetState(module));
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"check_user_id",
     module_check_user_id,
     METH_VARARGS,
     "check_user_id($module, user_id, prefix=None, /)\n--\n\n"
     "The bytes of a user id; TypeError or UserIdError as of every call. "
     "Behind a\nprefix, a key among seqcache's own is refused, too."},
    {"_keep_contexts",
     module_keep_contexts,
     METH_O,
     "_keep_contexts($module, on, /)\n--\n\n"
     "For telemetry: durable calls on asyncio do their SQL in the context "
     "that they\nwere made in, not in that of the task that waits."},
    {"_before_fork",
     module_before_fork,
     METH_NOARGS,
     "_before_fork($module, /)\n--\n\nFor os.register_at_fork."},
    {"_after_fork_parent",
     module_after_fork_parent,
     METH_NOARGS,
     "_after_fork_parent($module, /)\n--\n\nFor os.register_at_fork."},
    {"_after_fork_child",
     module_after_fork_child,
     METH_NOARGS,
     "_after_fork_child($module, /)\n--\n\nFor os.register_at_fork."},
    {0},
};

/* ---- life ---- */

static int
module_exec(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);

    pthread_mutex_init(&state->fork_mutex, NULL);
    if (awaitable_setup_type(module, &state->awaitable) ||
        store_setup_type(module, state) || codec_setup_types(module, state) ||
        cells_setup_type(module, state) || stalled_setup_type(module, state) ||
        fast_setup_type(module, state) ||
        slow_call_setup_type(module, state) ||
        engine_setup_type(module, state) || loop_setup_type(module, state) ||
        client_setup_type(module, state) ||
        aclient_setup_type(module, state) ||
        lease_setup_types(module, state)) {
        return -1;
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);

    Py_VISIT(state->engine_type);
    Py_VISIT(state->client_type);
    Py_VISIT(state->aclient_type);
    Py_VISIT(state->loop_link_type);
    Py_VISIT(state->codec_type);
    Py_VISIT(state->reply_error_type);
    Py_VISIT(state->store_type);
    Py_VISIT(state->cells_type);
    Py_VISIT(state->stalled_type);
    Py_VISIT(state->fast_path_type);
    Py_VISIT(state->slow_call_type);
    Py_VISIT(state->errors);
    Py_VISIT(state->get_running_loop);
    return awaitable_state_traverse(&state->awaitable, visit, arg);
}

static int
module_clear(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);

    Py_CLEAR(state->engine_type);
    Py_CLEAR(state->client_type);
    Py_CLEAR(state->aclient_type);
    Py_CLEAR(state->loop_link_type);
    Py_CLEAR(state->codec_type);
    Py_CLEAR(state->reply_error_type);
    Py_CLEAR(state->store_type);
    Py_CLEAR(state->cells_type);
    Py_CLEAR(state->stalled_type);
    Py_CLEAR(state->fast_path_type);
    Py_CLEAR(state->slow_call_type);
    Py_CLEAR(state->errors);
    Py_CLEAR(state->get_running_loop);
    awaitable_state_clear(&state->awaitable);
    return 0;
}

static void
module_free(void *module)
{
    struct module_state *state = PyModule_GetState(module);

    (void)module_clear(module);
    seqc_call_pool_fini(&state->calls);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    /* All Python state is the module's, and the core has none of its own.
     * Proven by tests/isolated/subinterpreters.py. */
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "seqcache._native",
    .m_doc = "The engine; use seqcache.",
    .m_size = sizeof(struct module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&module_def);
}
