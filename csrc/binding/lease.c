/* SPDX-License-Identifier: MIT */
#include "binding/lease.h"

#include <stddef.h>
#include <structmember.h>

#include "binding/aclient.h"
#include "core/blocks.h"

typedef struct LeaseObject {
    PyObject_HEAD
    ClientObject *client; /* owned */
    struct seqc_blocks blocks;
    PyObject *weakrefs;
} LeaseObject;

/* Around whatever reads or writes the numbers; leave it before Python runs. */
#ifdef Py_GIL_DISABLED
#define LEASE_LOCK(self)   Py_BEGIN_CRITICAL_SECTION(self)
#define LEASE_UNLOCK(self) Py_END_CRITICAL_SECTION()
#else
#define LEASE_LOCK(self)   {
#define LEASE_UNLOCK(self) }
#endif

static inline bool
is_open(const LeaseObject *self)
{
    return !self->blocks.closed && !self->client->closed &&
           !self->client->engine->closed;
}

static void
count_one(const LeaseObject *self, size_t counter)
{
    atomic_fetch_add_explicit(&self->client->engine->leases[counter],
                              1,
                              memory_order_relaxed);
}

/* ---- one number ---- */

/* No number when there is more to do. */
static inline bool
give_quickly(LeaseObject *self, int64_t *out_number)
{
    bool given = false;

    LEASE_LOCK(self);
    given = is_open(self) && seqc_blocks_give(&self->blocks, out_number);
    LEASE_UNLOCK(self);
    return given;
}

static int
call_method(LeaseObject *self, const char *name)
{
    PyObject *answer = PyObject_CallMethod((PyObject *)self, name, NULL);

    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

static int
take_step(LeaseObject *self, enum seqc_blocks_step *out_step)
{
    if (!is_open(self)) {
        return call_method(self, "_refuse");
    }
    LEASE_LOCK(self);
    *out_step = seqc_blocks_step(&self->blocks);
    if (*out_step == SEQC_BLOCKS_MORE && self->blocks.has_top) {
        count_one(self, LEASE_WAITS);
    }
    LEASE_UNLOCK(self);
    return 0;
}

/* 1: a number; 0: none is left; -1: an exception. */
static int
give_slowly(LeaseObject *self, int64_t *out_number)
{
    enum seqc_blocks_step step = SEQC_BLOCKS_GIVE;

    while (!give_quickly(self, out_number)) {
        if (take_step(self, &step)) {
            return -1;
        }
        if (step == SEQC_BLOCKS_REFILL && call_method(self, "_refill")) {
            return -1;
        }
        if (step == SEQC_BLOCKS_MORE) {
            return 0;
        }
    }
    return 1;
}

static PyObject *
lease_iternext(PyObject *object)
{
    LeaseObject *self = (LeaseObject *)object;
    int64_t number;
    int given;

    if (give_quickly(self, &number)) {
        return PyLong_FromLongLong(number);
    }
    while ((given = give_slowly(self, &number)) == 0) {
        if (call_method(self, "_more")) {
            return NULL;
        }
    }
    return given > 0 ? PyLong_FromLongLong(number) : NULL;
}

PyDoc_STRVAR(next_doc,
             "next($self, /)\n--\n\n"
             "The next number, as an awaitable.\n\n"
             "It is done at once, and awaiting it does not suspend, unless "
             "the lease has to\nwait for its next block.\n\n"
             "Returns\n-------\nint\n    Greater than every number of this "
             "lease before it.\n\n"
             "Raises\n------\nClosedError\n    Or the errors of `reserve`, "
             "when no number is left.");

static PyObject *
async_lease_next(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    LeaseObject *self = (LeaseObject *)object;
    PyObject *loop = aclient_running_loop(self->client, "lease.next");
    int64_t number;
    int given;

    if (!loop) {
        return NULL;
    }
    given = give_quickly(self, &number) ? 1 : give_slowly(self, &number);
    if (given > 0) {
        return awaitable_new_done_int(
            &self->client->engine->state->awaitable, loop, number);
    }
    return given < 0 ? NULL : PyObject_CallMethod(object, "_more", NULL);
}

static PyObject *
async_lease_anext(PyObject *object)
{
    return async_lease_next(object, NULL);
}

/* ---- several numbers ---- */

PyDoc_STRVAR(take_doc,
             "_take($self, count, /)\n--\n\n"
             "That many numbers in a row, or None.");

static PyObject *
lease_take(PyObject *object, PyObject *argument)
{
    LeaseObject *self = (LeaseObject *)object;
    int64_t count, last = 0;
    bool taken = false, refill = false;

    if (args_amount(
            self->client->engine->state, argument, "count", 1, &count)) {
        return NULL;
    }
    if (!is_open(self) && call_method(self, "_refuse")) {
        return NULL;
    }
    LEASE_LOCK(self);
    taken = seqc_blocks_take(&self->blocks, count, &last, &refill);
    LEASE_UNLOCK(self);
    if (refill && call_method(self, "_refill")) {
        return NULL;
    }
    return taken ? errors_range(last, count) : Py_NewRef(Py_None);
}

/* ---- blocks ---- */

PyDoc_STRVAR(begin_doc,
             "_begin($self, /)\n--\n\n"
             "To be called before a block is reserved, and handed to _put or "
             "_fail with what\ncomes.");

static PyObject *
lease_begin(LeaseObject *self, PyObject *Py_UNUSED(ignored))
{
    struct seqc_blocks_stamp stamp;

    LEASE_LOCK(self);
    stamp = seqc_blocks_begin(&self->blocks);
    LEASE_UNLOCK(self);
    return Py_BuildValue("(KLi)", stamp.epoch, stamp.top, stamp.has_top);
}

PyDoc_STRVAR(put_doc,
             "_put($self, last, count, stamp, /)\n--\n\n"
             "A block came.");

static PyObject *
lease_put(LeaseObject *self, PyObject *args)
{
    long long last, left;
    struct seqc_blocks_stamp stamp;

    if (!PyArg_ParseTuple(args,
                          "LL(KLi)",
                          &last,
                          &left,
                          &stamp.epoch,
                          &stamp.top,
                          &stamp.has_top)) {
        return NULL;
    }
    count_one(self, LEASE_BLOCKS);
    LEASE_LOCK(self);
    seqc_blocks_put(&self->blocks, (struct seqc_block){last, left}, &stamp);
    LEASE_UNLOCK(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fail_doc,
             "_fail($self, stamp, /)\n--\n\n"
             "No block came; it is asked for again when half of what is left "
             "is used.");

static PyObject *
lease_fail(LeaseObject *self, PyObject *args)
{
    struct seqc_blocks_stamp stamp;

    if (!PyArg_ParseTuple(
            args, "(KLi)", &stamp.epoch, &stamp.top, &stamp.has_top)) {
        return NULL;
    }
    count_one(self, LEASE_FAILURES);
    LEASE_LOCK(self);
    seqc_blocks_fail(&self->blocks, &stamp);
    LEASE_UNLOCK(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(drop_doc,
             "_drop($self, /)\n--\n\n"
             "Forgets all numbers, and what is on its way.");

static PyObject *
lease_drop(LeaseObject *self, PyObject *Py_UNUSED(ignored))
{
    LEASE_LOCK(self);
    seqc_blocks_drop(&self->blocks);
    LEASE_UNLOCK(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(end_doc,
             "_end($self, /)\n--\n\n"
             "Closes it: what was not used is a gap.");

static PyObject *
lease_end(LeaseObject *self, PyObject *Py_UNUSED(ignored))
{
    LEASE_LOCK(self);
    seqc_blocks_close(&self->blocks);
    LEASE_UNLOCK(self);
    Py_RETURN_NONE;
}

static PyObject *
lease_get_remaining(LeaseObject *self, void *Py_UNUSED(closure))
{
    int64_t left = 0;

    LEASE_LOCK(self);
    if (is_open(self)) {
        left = self->blocks.now.left + self->blocks.spare.left;
    }
    LEASE_UNLOCK(self);
    return PyLong_FromLongLong(left);
}

static PyObject *
lease_get_closed(LeaseObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(!is_open(self));
}

/* ---- the types ---- */

/* (client, refill): the client, and of how many left the next is asked. */
static PyObject *
lease_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct module_state *state = state_of_type(type);
    PyObject *client;
    long long refill;
    LeaseObject *self;

    (void)kwargs; /* __init__ of the Python class has its own */
    if (!state || !PyArg_ParseTuple(args, "OL", &client, &refill)) {
        return NULL;
    }
    if (!PyObject_TypeCheck(client, state->client_type) &&
        !PyObject_TypeCheck(client, state->aclient_type)) {
        PyErr_SetString(PyExc_TypeError, "make a lease with cache.lease()");
        return NULL;
    }
    self = (LeaseObject *)type->tp_alloc(type, 0);
    if (self) {
        self->client = (ClientObject *)Py_NewRef(client);
        self->blocks.refill_left = refill;
    }
    return (PyObject *)self;
}

static int
lease_traverse(LeaseObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->client);
    return 0;
}

/* The client stays until the end: methods may still be called while a cycle
 * is taken apart, and it has no way back to us. */
static void
lease_dealloc(LeaseObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    if (self->weakrefs) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    Py_CLEAR(self->client);
    type->tp_free(self);
    Py_DECREF(type);
}

#define COMMON_METHODS                                                        \
    {"_take", lease_take, METH_O, take_doc},                                  \
        {"_begin", (PyCFunction)lease_begin, METH_NOARGS, begin_doc},         \
        {"_put", (PyCFunction)lease_put, METH_VARARGS, put_doc},              \
        {"_fail", (PyCFunction)lease_fail, METH_VARARGS, fail_doc},           \
        {"_drop", (PyCFunction)lease_drop, METH_NOARGS, drop_doc},            \
        {"_end", (PyCFunction)lease_end, METH_NOARGS, end_doc}

static PyMethodDef lease_methods[] = {COMMON_METHODS, {0}};

static PyMethodDef async_lease_methods[] = {
    {"next", async_lease_next, METH_NOARGS, next_doc},
    COMMON_METHODS,
    {0},
};

static PyGetSetDef lease_getset[] = {
    {"remaining",
     (getter)lease_get_remaining,
     NULL,
     "How many numbers it has now.",
     NULL},
    {"closed",
     (getter)lease_get_closed,
     NULL,
     "Whether it, or its cache, was closed.",
     NULL},
    {0},
};

static PyMemberDef lease_members[] = {
    {"_client", T_OBJECT_EX, offsetof(LeaseObject, client), READONLY, NULL},
    {"__weaklistoffset__",
     T_PYSSIZET,
     offsetof(LeaseObject, weakrefs),
     READONLY,
     NULL},
    {0},
};

static PyType_Slot lease_slots[] = {
    {Py_tp_doc, (void *)"The blocking lease; see seqcache.Lease."},
    {Py_tp_new, lease_new},
    {Py_tp_dealloc, lease_dealloc},
    {Py_tp_traverse, lease_traverse},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, lease_iternext},
    {Py_tp_methods, lease_methods},
    {Py_tp_getset, lease_getset},
    {Py_tp_members, lease_members},
    {0, NULL},
};

static PyType_Slot async_lease_slots[] = {
    {Py_tp_doc, (void *)"The asyncio lease; see seqcache.AsyncLease."},
    {Py_tp_new, lease_new},
    {Py_tp_dealloc, lease_dealloc},
    {Py_tp_traverse, lease_traverse},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, async_lease_anext},
    {Py_tp_methods, async_lease_methods},
    {Py_tp_getset, lease_getset},
    {Py_tp_members, lease_members},
    {0, NULL},
};

static PyType_Spec lease_spec = {
    .name = "seqcache._native.Lease",
    .basicsize = sizeof(LeaseObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = lease_slots,
};

static PyType_Spec async_lease_spec = {
    .name = "seqcache._native.AsyncLease",
    .basicsize = sizeof(LeaseObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = async_lease_slots,
};

/* The module keeps them; nothing in C asks for them. */
static int
add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;

    Py_XDECREF(type);
    return failed;
}

int
lease_setup_types(PyObject *module, struct module_state *state)
{
    (void)state;
    return add_type(module, &lease_spec) ||
                   add_type(module, &async_lease_spec)
               ? -1
               : 0;
}
