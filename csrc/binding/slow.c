/* SPDX-License-Identifier: MIT */
/* Durable calls that go on in Python: what is said of them, and their end. */
#include "binding/fast.h"

#include "binding/errors.h"
#include "core/park.h"

/* ---- telling ---- */

static const char *
op_name(const struct seqc_call *call)
{
    switch ((enum seqc_op)call->requests[0].op) {
    case SEQC_OP_INCREASE:
    case SEQC_OP_INCREASE_ONCE:
        return "incr";
    case SEQC_OP_RAISE:
        return "raise";
    case SEQC_OP_GET:
    case SEQC_OP_MGET:
    case SEQC_OP_DELETE:
    case SEQC_OP_RAW:
    case SEQC_OP_COUNT:
        break;
    }
    return "get";
}

/* A list of what `make` says of each request. */
static PyObject *
list_of(const struct seqc_call *call,
        PyObject *(*make)(const struct seqc_request *request))
{
    PyObject *list = PyList_New((Py_ssize_t)call->count);

    for (uint32_t i = 0; list && i < call->count; i++) {
        PyObject *item = make(&call->requests[i]);
        if (!item) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static PyObject *
key_of(const struct seqc_request *request)
{
    return PyBytes_FromStringAndSize(request->key,
                                     (Py_ssize_t)request->key_len);
}

static PyObject *
amount_of(const struct seqc_request *request)
{
    return PyLong_FromLongLong(request->amount);
}

static PyObject *
token_of(const struct seqc_call *call)
{
    if (!call->token_len) {
        Py_RETURN_NONE;
    }
    return PyBytes_FromStringAndSize(seqc_call_token(call), call->token_len);
}

/* The number, the verdict, or the error in its place. */
static PyObject *
answer_of(EngineObject *engine, const struct seqc_request *request)
{
    if (request->status == SEQC_OK) {
        return PyLong_FromLongLong(request->u.value);
    }
    return request->status == SEQC_VERDICT
               ? errors_tree(engine->state, request->u.tree)
               : errors_make(engine, request);
}

/* The answers to what was sent in one epoch, in the dict of all; borrowed. */
static PyObject *
answers_of_epoch(PyObject *told, const struct seqc_epoch *epoch)
{
    PyObject *token = PyUnicode_DecodeUTF8(
        epoch ? epoch->token : "", epoch ? (Py_ssize_t)epoch->len : 0, NULL);
    PyObject *answers = token ? PyDict_GetItemWithError(told, token) : NULL;

    if (token && !answers && !PyErr_Occurred()) {
        answers = PyDict_New();
        if (answers && PyDict_SetItem(told, token, answers)) {
            Py_CLEAR(answers);
        }
        Py_XDECREF(answers); /* the dict has it */
    }
    Py_XDECREF(token);
    return answers;
}

static int
tell_answer(EngineObject *engine,
            PyObject *told,
            const struct seqc_request *request,
            uint32_t index)
{
    PyObject *answers = answers_of_epoch(told, request->epoch);
    PyObject *place = answers ? PyLong_FromUnsignedLong(index) : NULL;
    PyObject *answer = place ? answer_of(engine, request) : NULL;
    int failed = answer ? PyDict_SetItem(answers, place, answer) : -1;

    Py_XDECREF(place);
    Py_XDECREF(answer);
    return failed;
}

/* {token: {place: answer}} of what was sent. */
static PyObject *
told_of(EngineObject *engine, const struct seqc_call *call)
{
    PyObject *told = PyDict_New();

    for (uint32_t i = 0; told && i < call->count; i++) {
        const struct seqc_request *request = &call->requests[i];
        bool is_unsent = request->status == SEQC_VERDICT && !request->u.tree;
        if (!is_unsent && tell_answer(engine, told, request, i)) {
            Py_CLEAR(told);
        }
    }
    return told;
}

static PyObject *
seconds_left(const struct seqc_call *call)
{
    if (call->deadline_ns == SEQC_TIME_NEVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)(call->deadline_ns - seqc_now_ns()) /
                              1e9);
}

/* slow(slow_call or None, method, operation, bytes of the prefix, keys,
 *      amounts, token or None, {epoch: {place: answer}}, seconds left or
 *      None): see Request in seqcache/durable/calls.py. */
PyObject *
slow_tell(EngineObject *engine,
          FastPathObject *fast,
          const struct seqc_call *call,
          PyObject *slow_call)
{
    PyObject *keys = list_of(call, key_of);
    PyObject *amounts = keys ? list_of(call, amount_of) : NULL;
    PyObject *token = amounts ? token_of(call) : NULL;
    PyObject *told = token ? told_of(engine, call) : NULL;
    PyObject *left = told ? seconds_left(call) : NULL;
    /* close() lets go of it, and the collector of all */
    PyObject *slow = fast ? Py_XNewRef(fast->slow) : NULL;
    PyObject *result = NULL;

    if (left && slow) {
        result = PyObject_CallFunction(slow,
                                       "OssiOOOOO",
                                       slow_call,
                                       errors_method(call),
                                       op_name(call),
                                       (int)call->prefix_len,
                                       keys,
                                       amounts,
                                       token,
                                       told,
                                       left);
    } else if (left) {
        (void)errors_closed(engine, errors_method(call));
    }
    Py_XDECREF(slow);
    Py_XDECREF(keys);
    Py_XDECREF(amounts);
    Py_XDECREF(token);
    Py_XDECREF(told);
    Py_XDECREF(left);
    return result;
}

/* ---- statistics ---- */

void
slow_count_errors(EngineObject *engine, const struct seqc_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        uint8_t status = call->requests[i].status;
        seqc_stats_add(&engine->stats.errors[status], status != SEQC_OK);
    }
}

void
slow_count_end(EngineObject *engine, int64_t start_ns)
{
    engine->slow_count--;
    seqc_stats_latency(&engine->stats, seqc_now_ns() - start_ns);
}

/* ---- threads ---- */

PyObject *
slow_result(EngineObject *engine, struct seqc_call *call)
{
    FastPathObject *fast;
    PyObject *result;

    if (seqc_durable_is_over(call)) {
        slow_count_errors(engine, call);
        return errors_result(engine, call);
    }
    if (!engine->durable) { /* collected under us */
        return errors_closed(engine, errors_method(call));
    }
    fast = (FastPathObject *)Py_NewRef(engine->durable);
    engine->slow_count++;
    result = slow_tell(engine, fast, call, Py_None);
    slow_count_end(engine, call->start_ns);
    Py_DECREF(fast);
    return result;
}
