/* SPDX-License-Identifier: MIT */
/* What the two client types have in common: an engine and a prefix. */
#include "binding/client.h"

#include <stddef.h>
#include <structmember.h>

#include "binding/loop.h"

/* Keys in a page of memory://. */
#define PAGE_KEYS 1000

PyObject *
client_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct module_state *state = state_of_type(type);
    PyObject *engine = NULL;
    PyObject *prefix = NULL;
    ClientObject *client;

    (void)kwargs; /* __init__ of the Python class has its own */
    if (!state) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) >= 2) {
        engine = PyTuple_GET_ITEM(args, 0);
        prefix = PyTuple_GET_ITEM(args, 1);
    }
    if (!engine || !PyObject_TypeCheck(engine, state->engine_type) ||
        !PyBytes_Check(prefix) ||
        PyBytes_GET_SIZE(prefix) > PREFIX_MAX_BYTES) {
        PyErr_SetString(PyExc_TypeError,
                        "open a cache with seqcache.cache() or "
                        "seqcache.acache()");
        return NULL;
    }
    client = (ClientObject *)type->tp_alloc(type, 0);
    if (client) {
        client->engine = (EngineObject *)Py_NewRef(engine);
        client->prefix = Py_NewRef(prefix);
        client->prefix_data = PyBytes_AS_STRING(prefix);
        client->prefix_len = PyBytes_GET_SIZE(prefix);
    }
    return (PyObject *)client;
}

int
client_traverse(PyObject *self, visitproc visit, void *arg)
{
    ClientObject *client = (ClientObject *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(client->engine);
    Py_VISIT(client->link);
    return 0;
}

/* The engine stays: methods may still be called while a cycle is taken
 * apart, and it has no way back to us. */
int
client_clear(PyObject *self)
{
    ClientObject *client = (ClientObject *)self;

    client->loop = NULL;
    Py_CLEAR(client->link);
    return 0;
}

void
client_dealloc(PyObject *self)
{
    ClientObject *client = (ClientObject *)self;
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    if (client->weakrefs) {
        PyObject_ClearWeakRefs(self);
    }
    (void)client_clear(self);
    Py_CLEAR(client->engine);
    Py_CLEAR(client->prefix);
    type->tp_free(self);
    Py_DECREF(type);
}

PyMemberDef client_members[] = {
    {"_engine", T_OBJECT_EX, offsetof(ClientObject, engine), READONLY, NULL},
    {"_prefix", T_OBJECT_EX, offsetof(ClientObject, prefix), READONLY, NULL},
    {"_closed", T_BOOL, offsetof(ClientObject, closed), 0, NULL},
    {"__weaklistoffset__",
     T_PYSSIZET,
     offsetof(ClientObject, weakrefs),
     READONLY,
     NULL},
    {0},
};

static int
append_item(PyObject *list, const struct seqc_store_item *item)
{
    PyObject *pair = Py_BuildValue(
        "(y#L)", item->key, (Py_ssize_t)item->key_len, (long long)item->seq);
    int failed = pair ? PyList_Append(list, pair) : -1;

    Py_XDECREF(pair);
    return failed;
}

PyObject *
client_scan_memory(PyObject *self, PyObject *argument)
{
    ClientObject *client = (ClientObject *)self;
    uint64_t cursor = PyLong_AsUnsignedLongLong(argument);
    struct seqc_store_item item;
    struct seqc_buf page;
    PyObject *list;

    if (PyErr_Occurred()) {
        return NULL;
    }
    if (!client->engine->store) {
        PyErr_SetString(PyExc_RuntimeError, "not a store in memory");
        return NULL;
    }
    seqc_buf_init(&page);
    if (seqc_store_page(client->engine->store, &cursor, &page, PAGE_KEYS)) {
        seqc_buf_fini(&page);
        return PyErr_NoMemory();
    }
    list = PyList_New(0);
    while (list && seqc_store_page_next(&page, &item)) {
        if (append_item(list, &item)) {
            Py_CLEAR(list);
        }
    }
    seqc_buf_fini(&page);
    return list ? Py_BuildValue("(KN)", (unsigned long long)cursor, list)
                : NULL;
}
