/* SPDX-License-Identifier: MIT */
/* A view: an engine and a prefix.  Both faces are made of it; they differ in
 * how they wait. */
#ifndef SEQCACHE_CLIENT_H
#define SEQCACHE_CLIENT_H

#include "binding/engine.h"
#include "binding/operations.h"

#include <structmember.h>

#define PREFIX_MAX_BYTES 1024

typedef struct ClientObject {
    PyObject_HEAD
    EngineObject *engine;    /* owned */
    PyObject *prefix;        /* bytes, owned */
    const char *prefix_data; /* borrowed from prefix */
    Py_ssize_t prefix_len;
    bool closed;
    PyObject *weakrefs;
    /* asyncio: the loop of the last call and its link, to find it at once */
    PyObject *loop;              /* borrowed from the link */
    struct LoopLinkObject *link; /* owned, may be NULL */
} ClientObject;

static inline struct args_prefix
client_prefix(const ClientObject *client)
{
    return (struct args_prefix){
        .data = client->prefix_data,
        .len = client->prefix_len,
    };
}

int client_setup_type(PyObject *module, struct module_state *state);

/* Shared by both types: Client(engine, prefix). */
PyObject *client_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
void client_dealloc(PyObject *self);
int client_traverse(PyObject *self, visitproc visit, void *arg);
int client_clear(PyObject *self);
PyObject *client_scan_memory(PyObject *self, PyObject *cursor);
extern PyMemberDef client_members[];

/* Runs one of the operations, blocking. */
PyObject *client_run(PyObject *self,
                     const struct operation *operation,
                     PyObject *const *args,
                     Py_ssize_t count,
                     PyObject *keyword_names);

#endif
