/* SPDX-License-Identifier: MIT */
/* User ids and amounts -> calls of the core. */
#include <limits.h>

#include "binding/args.h"
#include "binding/errors.h"

/* Elements of one MGET: the server answers nobody else meanwhile. */
#define MGET_SPAN 1024

/* What a new call begins with; it is passed on, or NULL with MemoryError. */
static struct seqc_call *
begin_call(struct seqc_call *call,
           struct seqc_call_filler *filler,
           struct args_prefix prefix,
           const struct args_work *work)
{
    if (!call) {
        PyErr_NoMemory();
        return NULL;
    }
    call->prefix_len = (uint16_t)prefix.len;
    if (work->token.len) {
        seqc_call_set_token(call, work->token.data, (uint16_t)work->token.len);
    }
    seqc_call_fill(filler, call);
    return call;
}

struct seqc_call *
args_single(struct module_state *state,
            struct args_prefix prefix,
            const struct args_work *work,
            PyObject *user_id)
{
    struct user_id id;
    struct seqc_call *call;
    struct seqc_call_filler filler;

    if (args_key(state, prefix, user_id, &id)) {
        return NULL;
    }
    call = seqc_call_new_single(
        prefix.pool, (size_t)(prefix.len + id.len + work->token.len));
    if (begin_call(call, &filler, prefix, work)) {
        seqc_call_add_key(&filler,
                          work->op,
                          prefix.data,
                          (size_t)prefix.len,
                          id.data,
                          (size_t)id.len)
            ->amount = work->amount;
    }
    args_user_id_fini(&id);
    return call;
}

/* Where the ids of a bulk come from: a list or tuple that nobody else can
 * change under us, and for pairs the number behind each. */
struct bulk_source {
    struct module_state *state;
    struct args_prefix prefix;
    const struct args_work *work;
    PyObject *items; /* tuple, owned by the caller */
    bool is_pairs;
};

static PyObject *
pair_item(PyObject *item, Py_ssize_t at)
{
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2) {
        PyErr_Format(PyExc_TypeError,
                     "expected pairs (user id, number), not %.100s",
                     Py_TYPE(item)->tp_name);
        return NULL;
    }
    return PyTuple_GET_ITEM(item, at); // borrowed
}

static PyObject *
source_id(const struct bulk_source *source, Py_ssize_t at)
{
    PyObject *item = PyTuple_GET_ITEM(source->items, at); // borrowed

    return source->is_pairs ? pair_item(item, 0) : item;
}

/* Bytes of all keys; every id is checked before anything is sent. */
static Py_ssize_t
measure_keys(const struct bulk_source *source)
{
    Py_ssize_t total = 0;

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(source->items); i++) {
        struct user_id id;
        PyObject *object = source_id(source, i);
        if (!object || args_key(source->state, source->prefix, object, &id)) {
            return -1;
        }
        total += source->prefix.len + id.len;
        args_user_id_fini(&id);
    }
    return total;
}

static int
add_element(const struct bulk_source *source,
            struct seqc_call_filler *filler,
            Py_ssize_t at,
            Py_ssize_t *room)
{
    struct user_id id;
    PyObject *object = source_id(source, at);
    int64_t amount = source->work->amount;

    if (!object || args_key(source->state, source->prefix, object, &id)) {
        return -1;
    }
    *room -= source->prefix.len + id.len;
    if (*room < 0) { /* an __index__ that changes its mind */
        args_user_id_fini(&id);
        PyErr_SetString(PyExc_RuntimeError, "a user id changed meanwhile");
        return -1;
    }
    struct seqc_request *request =
        seqc_call_add_key(filler,
                          source->work->op,
                          source->prefix.data,
                          (size_t)source->prefix.len,
                          id.data,
                          (size_t)id.len);
    args_user_id_fini(&id);
    if (source->is_pairs &&
        args_amount(source->state,
                    PyTuple_GET_ITEM(PyTuple_GET_ITEM(source->items, at), 1),
                    "to",
                    0,
                    &amount)) {
        return -1;
    }
    request->amount = amount;
    return 0;
}

/* Heads of MGETs; what lies between two heads belongs to the first. */
static void
mark_spans(struct seqc_call *call)
{
    for (uint32_t i = 0; i < call->count; i += MGET_SPAN) {
        uint32_t left = call->count - i;
        call->requests[i].span = left < MGET_SPAN ? left : MGET_SPAN;
    }
}

static struct seqc_call *
build_bulk(const struct bulk_source *source)
{
    Py_ssize_t count = PyTuple_GET_SIZE(source->items);
    Py_ssize_t room = measure_keys(source);
    struct seqc_call_filler filler;
    struct seqc_call *call;

    if (room < 0) {
        return NULL;
    }
    call = count < (Py_ssize_t)INT_MAX
               ? seqc_call_new((uint32_t)count,
                               (size_t)(room + source->work->token.len))
               : NULL;
    call = begin_call(call, &filler, source->prefix, source->work);
    for (Py_ssize_t i = 0; call && i < count; i++) {
        if (add_element(source, &filler, i, &room)) {
            seqc_call_unref(call);
            return NULL;
        }
    }
    if (call && source->work->op == SEQC_OP_MGET) {
        mark_spans(call);
    }
    return call;
}

static struct seqc_call *
build_from(struct bulk_source *source, PyObject *iterable)
{
    struct seqc_call *call;

    if (PyUnicode_Check(iterable) || PyBytes_Check(iterable)) {
        PyErr_Format(PyExc_TypeError,
                     "expected many user ids, got one %.100s: put it into a "
                     "list",
                     Py_TYPE(iterable)->tp_name);
        return NULL;
    }
    source->items = PySequence_Tuple(iterable);
    if (!source->items) {
        return NULL;
    }
    call = build_bulk(source);
    Py_DECREF(source->items);
    return call;
}

struct seqc_call *
args_bulk(struct module_state *state,
          struct args_prefix prefix,
          const struct args_work *work,
          PyObject *user_ids)
{
    struct bulk_source source = {
        .state = state,
        .prefix = prefix,
        .work = work,
    };

    return build_from(&source, user_ids);
}

struct seqc_call *
args_pairs(struct module_state *state,
           struct args_prefix prefix,
           PyObject *pairs)
{
    static const struct args_work work = {.op = SEQC_OP_RAISE};
    struct bulk_source source = {
        .state = state,
        .prefix = prefix,
        .work = &work,
        .is_pairs = true,
    };

    return build_from(&source, pairs);
}
