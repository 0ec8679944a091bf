/* SPDX-License-Identifier: MIT */
/* Counters under ceilings as an object, so that caches can share them. */
#include "binding/cells.h"

#include <time.h>

#include "core/memory.h"
#include "core/park.h"

/* Keys in a page. */
#define PAGE_KEYS 1000

int64_t
cells_now_ns(void)
{
    struct timespec now;

#ifdef CLOCK_BOOTTIME
    clock_gettime(CLOCK_BOOTTIME, &now); /* goes on in a suspended machine */
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

bool
cells_are_open(const seqc_cells *cells)
{
    int64_t lease = seqc_cells_lease(cells);

    return lease == SEQC_CELLS_FOR_EVER || cells_now_ns() < lease;
}

/* ---- life ---- */

static PyObject *
cells_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    CellsObject *self;

    int keeps_tokens;

    (void)kwargs;
    if (!PyArg_ParseTuple(args, "p", &keeps_tokens)) {
        return NULL;
    }
    self = (CellsObject *)type->tp_alloc(type, 0);
    if (!self) {
        return NULL;
    }
    self->keeps_tokens = keeps_tokens;
    self->cells = seqc_cells_new();
    if (!self->cells) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void
cells_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    seqc_cells_unref(((CellsObject *)object)->cells);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- methods ---- */

PyDoc_STRVAR(grant_doc,
             "grant($self, key, base, ceiling, low, /)\n--\n\n"
             "What a database has committed: the number is at least base, and "
             "may go up to\nceiling; at low it tells that more is needed.");

static PyObject *
cells_grant(CellsObject *self, PyObject *args)
{
    const char *key;
    Py_ssize_t len;
    long long base, ceiling, low;

    if (!PyArg_ParseTuple(args, "y#LLL", &key, &len, &base, &ceiling, &low)) {
        return NULL;
    }
    if (base < 0 || ceiling < base || ceiling > SEQC_CELLS_LAST) {
        PyErr_SetString(PyExc_ValueError, "no such grant can be");
        return NULL;
    }
    struct seqc_cells_grant grant = {base, ceiling, low};
    if (seqc_cells_grant(self->cells, key, (size_t)len, &grant)) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    increase_doc,
    "increase($self, key, by, /)\n--\n\n"
    "Increases before those in line: (number, is it low?), None if the "
    "ceiling\nis too low.");

static PyObject *
cells_increase(CellsObject *self, PyObject *args)
{
    struct seqc_cells_ask ask = {.first = true};
    Py_ssize_t len;
    long long by;
    int64_t seq;
    bool low;

    if (!PyArg_ParseTuple(args, "y#L", &ask.key, &len, &by)) {
        return NULL;
    }
    ask.len = (size_t)len;
    ask.amount = by;
    if (by < 1 || !cells_are_open(self->cells) ||
        seqc_cells_increase(self->cells, &ask, &seq, &low)) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(LO)", (long long)seq, low ? Py_True : Py_False);
}

struct recorded {
    int64_t last;
};

static seqc_status
give_recorded(void *context, int64_t *out_seq)
{
    *out_seq = ((struct recorded *)context)->last;
    return SEQC_OK;
}

PyDoc_STRVAR(record_doc,
             "record($self, key, token, last, count, seconds, /)\n--\n\n"
             "What the database has of a token: it is answered from here.");

static PyObject *
cells_record(CellsObject *self, PyObject *args)
{
    struct seqc_once_call call = {0};
    Py_ssize_t len, token_len;
    long long last, count, seconds;
    int64_t seq;

    if (!PyArg_ParseTuple(args,
                          "y#y#LLL",
                          &call.key,
                          &len,
                          &call.token,
                          &token_len,
                          &last,
                          &count,
                          &seconds)) {
        return NULL;
    }
    struct recorded recorded = {last};
    call.len = (size_t)len;
    call.token_len = (size_t)token_len;
    call.by = count;
    call.now_ns = seqc_now_ns();
    call.ttl_ns = seconds * INT64_C(1000000000);
    call.increase = give_recorded;
    call.context = &recorded;
    if (seqc_once_increase(seqc_cells_once_view(self->cells), &call, &seq) ==
        SEQC_NOMEM) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(look_doc,
             "look($self, key, /)\n--\n\n"
             "(number, ceiling) of a key, None if nothing was granted.");

static PyObject *
cells_look(CellsObject *self, PyObject *argument)
{
    char *key;
    Py_ssize_t len;
    int64_t seq, ceiling;

    if (PyBytes_AsStringAndSize(argument, &key, &len)) {
        return NULL;
    }
    if (!seqc_cells_look(self->cells, key, (size_t)len, &seq, &ceiling)) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(LL)", (long long)seq, (long long)ceiling);
}

PyDoc_STRVAR(set_lease_doc,
             "set_lease($self, until_ns, /)\n--\n\n"
             "Until when numbers may be given, on the clock that counts "
             "suspended time; None:\nfor ever.");

static PyObject *
cells_set_lease(CellsObject *self, PyObject *argument)
{
    int64_t until_ns = SEQC_CELLS_FOR_EVER;

    if (argument != Py_None) {
        until_ns = PyLong_AsLongLong(argument);
        if (until_ns == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    seqc_cells_set_lease(self->cells, until_ns);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(forget_doc,
             "forget($self, /)\n--\n\n"
             "Whatever was granted is void: somebody else may have got more.");

static PyObject *
cells_forget(CellsObject *self, PyObject *Py_UNUSED(ignored))
{
    seqc_cells_forget(self->cells);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(seal_doc,
             "seal($self, /)\n--\n\n"
             "For ever: when this returns the numbers are final.");

static PyObject *
cells_seal(CellsObject *self, PyObject *Py_UNUSED(ignored))
{
    seqc_cells_seal(self->cells);
    Py_RETURN_NONE;
}

/* Appends (key, number) of a cell that was granted something. */
static int
append_cell(CellsObject *self,
            PyObject *list,
            const struct seqc_store_item *item)
{
    int64_t seq, ceiling;
    PyObject *pair;
    int failed;

    if (!seqc_cells_look(
            self->cells, item->key, item->key_len, &seq, &ceiling)) {
        return 0;
    }
    pair = Py_BuildValue(
        "(y#L)", item->key, (Py_ssize_t)item->key_len, (long long)seq);
    failed = pair ? PyList_Append(list, pair) : -1;
    Py_XDECREF(pair);
    return failed;
}

PyDoc_STRVAR(page_doc,
             "page($self, cursor, /)\n--\n\n"
             "(next cursor, list of (key, number)) of what was granted; 0 is "
             "the start, and\nthe end.");

static PyObject *
cells_page(CellsObject *self, PyObject *argument)
{
    uint64_t cursor = PyLong_AsUnsignedLongLong(argument);
    struct seqc_store_item item;
    struct seqc_buf page;
    PyObject *list;

    if (PyErr_Occurred()) {
        return NULL;
    }
    seqc_buf_init(&page);
    if (seqc_cells_page(self->cells, &cursor, &page, PAGE_KEYS)) {
        seqc_buf_fini(&page);
        return PyErr_NoMemory();
    }
    list = PyList_New(0);
    while (list && seqc_store_page_next(&page, &item)) {
        if (append_cell(self, list, &item)) {
            Py_CLEAR(list);
        }
    }
    seqc_buf_fini(&page);
    return list ? Py_BuildValue("(KN)", (unsigned long long)cursor, list)
                : NULL;
}

static PyMethodDef cells_methods[] = {
    {"grant", (PyCFunction)cells_grant, METH_VARARGS, grant_doc},
    {"increase", (PyCFunction)cells_increase, METH_VARARGS, increase_doc},
    {"record", (PyCFunction)cells_record, METH_VARARGS, record_doc},
    {"look", (PyCFunction)cells_look, METH_O, look_doc},
    {"set_lease", (PyCFunction)cells_set_lease, METH_O, set_lease_doc},
    {"forget", (PyCFunction)cells_forget, METH_NOARGS, forget_doc},
    {"seal", (PyCFunction)cells_seal, METH_NOARGS, seal_doc},
    {"page", (PyCFunction)cells_page, METH_O, page_doc},
    {0},
};

static PyType_Slot cells_slots[] = {
    {Py_tp_doc,
     (void *)"Cells(keeps_tokens, /)\n--\n\nCounters in this process, under "
             "ceilings.  keeps_tokens: the\ndatabase keeps the records of "
             "tokens."},
    {Py_tp_new, cells_new},
    {Py_tp_dealloc, cells_dealloc},
    {Py_tp_methods, cells_methods},
    {0, NULL},
};

static PyType_Spec cells_spec = {
    .name = "seqcache._native.Cells",
    .basicsize = sizeof(CellsObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = cells_slots,
};

int
cells_setup_type(PyObject *module, struct module_state *state)
{
    state->cells_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &cells_spec, NULL);
    return state->cells_type ? PyModule_AddType(module, state->cells_type)
                             : -1;
}
