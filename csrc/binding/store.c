/* SPDX-License-Identifier: MIT */
/* The store of memory:// as an object, so that caches can share one. */
#include "binding/engine.h"

static PyObject *
store_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    StoreObject *self;

    (void)kwargs;
    if (!PyArg_ParseTuple(args, "")) {
        return NULL;
    }
    self = (StoreObject *)type->tp_alloc(type, 0);
    if (!self) {
        return NULL;
    }
    self->store = seqc_store_new();
    if (!self->store) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void
store_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    seqc_store_unref(((StoreObject *)object)->store);
    type->tp_free(object);
    Py_DECREF(type);
}

static Py_ssize_t
store_length(PyObject *object)
{
    return (Py_ssize_t)seqc_store_count(((StoreObject *)object)->store);
}

static PyType_Slot store_slots[] = {
    {Py_tp_doc,
     (void *)"Store()\n--\n\nAn in-process store; len() counts its keys."},
    {Py_tp_new, store_new},
    {Py_tp_dealloc, store_dealloc},
    {Py_sq_length, store_length},
    {0, NULL},
};

static PyType_Spec store_spec = {
    .name = "seqcache._native.Store",
    .basicsize = sizeof(StoreObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = store_slots,
};

int
store_setup_type(PyObject *module, struct module_state *state)
{
    state->store_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &store_spec, NULL);
    return state->store_type ? PyModule_AddType(module, state->store_type)
                             : -1;
}
