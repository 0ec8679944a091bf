/* SPDX-License-Identifier: MIT */
#include "binding/errors.h"

#include <string.h>

#include "binding/errors_bulk.h"
#include "core/reply.h"

/* ---- sentences: seqcache/_outcome.py ---- */

/* A function of seqcache._outcome; a new reference. */
static PyObject *
outcome_function(struct module_state *state, const char *name)
{
    if (!state->errors) {
        state->errors = PyImport_ImportModule("seqcache._outcome");
        if (!state->errors) {
            return NULL;
        }
    }
    return PyObject_GetAttrString(state->errors, name);
}

/* Raises what `name` makes of the arguments (Py_BuildValue, a tuple). */
static void *
raise_outcome(struct module_state *state, const char *name, PyObject *args)
{
    PyObject *function = args ? outcome_function(state, name) : NULL;
    PyObject *error = function ? PyObject_CallObject(function, args) : NULL;

    if (error) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    }
    Py_XDECREF(error);
    Py_XDECREF(function);
    Py_XDECREF(args);
    return NULL;
}

int
errors_of_news(PyObject *listener)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyErr_WriteUnraisable(listener);
    return 0;
}

void *
errors_closed(EngineObject *engine, const char *method)
{
    return raise_outcome(
        engine->state, "closed", Py_BuildValue("(sO)", method, engine->where));
}

void *
errors_user_id(struct module_state *state, const char *message)
{
    return raise_outcome(state, "user_id", Py_BuildValue("(s)", message));
}

int
errors_digits(struct module_state *state)
{
    if (PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear(); /* its advice is to raise a limit of Python */
        errors_user_id(state, "the user id is longer than 512 bytes");
    }
    return -1;
}

int
errors_token_text(void)
{
    if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_SetString(PyExc_ValueError,
                        "the token has lone surrogates, which UTF-8 cannot "
                        "carry");
    }
    return -1;
}

void *
errors_overflow(struct module_state *state, const char *name)
{
    return raise_outcome(state, "overflow", Py_BuildValue("(s)", name));
}

/* The method behind a command as it is written: *N $len WORD ... */
static const char *
command_method(const struct seqc_request *request)
{
    static const struct {
        char word[7];
        const char *method;
    } methods[] = {
        {"PING\r\n", "ping"}, {"SCAN\r\n", "scan"}, {"MGET\r\n", "scan"}};

    const char *at = request->key;
    const char *end = request->key + request->key_len;

    for (int line = 0; at && line < 2; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    for (size_t i = 0; at && i < sizeof methods / sizeof *methods; i++) {
        if (end - at >= 6 && !memcmp(at, methods[i].word, 6)) {
            return methods[i].method;
        }
    }
    return "command";
}

const char *
errors_method(const struct seqc_call *call)
{
    enum seqc_op op = call->count ? call->requests[0].op : SEQC_OP_COUNT;

    switch ((enum result_shape)call->shape) {
    case RESULT_INT:
        return op == SEQC_OP_GET     ? "get_seq"
               : op == SEQC_OP_RAISE ? "raise_seq"
                                     : "increase_seq";
    case RESULT_RANGE:
        return "reserve";
    case RESULT_BOOL:
        return "delete_seq";
    case RESULT_LIST:
        return op == SEQC_OP_MGET || op == SEQC_OP_GET ? "get_seqs"
                                                       : "increase_seqs";
    case RESULT_COUNT:
        return "raise_seqs";
    case RESULT_TREE:
    case RESULT_SENT_LIST:
        return call->count ? command_method(&call->requests[0]) : "command";
    }
    return "call";
}

static PyObject *
text_or_bytes(const char *data, Py_ssize_t len)
{
    PyObject *text = PyUnicode_DecodeUTF8(data, len, NULL);

    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        text = PyBytes_FromStringAndSize(data, len);
    }
    return text;
}

PyObject *
errors_id_of(const struct seqc_request *request)
{
    const struct seqc_call *call = request->call;

    if (request->op == SEQC_OP_RAW) {
        Py_RETURN_NONE;
    }
    return text_or_bytes(request->key + call->prefix_len,
                         (Py_ssize_t)request->key_len - call->prefix_len);
}

/* str, or bytes where it is not UTF-8; None without one.  New reference. */
static PyObject *
token_of(const struct seqc_call *call)
{
    if (!call->token_len) {
        Py_RETURN_NONE;
    }
    return text_or_bytes(seqc_call_token(call), call->token_len);
}

/* True, False or None; borrowed. */
static PyObject *
executed_of(const struct seqc_request *request)
{
    switch ((seqc_executed)request->executed) {
    case SEQC_EXECUTED_NO:
        return Py_False;
    case SEQC_EXECUTED_YES:
        return Py_True;
    case SEQC_EXECUTED_UNKNOWN:
        break;
    }
    return Py_None;
}

static PyObject *
timeout_of(const struct seqc_call *call)
{
    if (call->deadline_ns == SEQC_TIME_NEVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)(call->deadline_ns - call->start_ns) /
                              1e9);
}

/* What a server said, which need not be UTF-8 and may be cut; None for NULL.
 * New reference. */
static PyObject *
said(const char *text)
{
    if (!text) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeUTF8(
        text, (Py_ssize_t)strlen(text), "backslashreplace");
}

PyObject *
errors_make(EngineObject *engine, const struct seqc_request *request)
{
    struct seqc_call *call = request->call;
    PyObject *function = outcome_function(engine->state, "make");
    PyObject *user_id = errors_id_of(request);
    PyObject *timeout = timeout_of(call);
    PyObject *token = token_of(call);
    PyObject *text = said(request->error);
    PyObject *last = engine->last_error ? engine->last_error : Py_None;
    PyObject *error = NULL;

    if (function && user_id && timeout && token && text) {
        error = PyObject_CallFunction(
            function,
            "ssOOLOOsOOO",
            seqc_status_class((seqc_status)request->status),
            errors_method(call),
            engine->where,
            user_id,
            (long long)request->amount,
            executed_of(request),
            text,
            seqc_status_class((seqc_status)request->cause),
            last,
            timeout,
            token);
    }
    Py_XDECREF(function);
    Py_XDECREF(user_id);
    Py_XDECREF(timeout);
    Py_XDECREF(token);
    Py_XDECREF(text);
    return error;
}

/* ---- results ---- */

static PyObject *
tree_list(struct module_state *state, const struct seqc_value *value)
{
    PyObject *list = PyList_New((Py_ssize_t)value->len);

    for (size_t i = 0; list && i < value->len; i++) {
        PyObject *item = errors_tree(state, value->items[i]);
        if (!item) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

/* Keys and values in turn -> dict; the list itself where a key is no key. */
static PyObject *
tree_dict(PyObject *list_steal)
{
    PyObject *dict = list_steal ? PyDict_New() : NULL;
    Py_ssize_t count = list_steal ? PyList_GET_SIZE(list_steal) : 0;

    for (Py_ssize_t i = 0; dict && i + 1 < count; i += 2) {
        if (PyDict_SetItem(dict,
                           PyList_GET_ITEM(list_steal, i),
                           PyList_GET_ITEM(list_steal, i + 1))) {
            Py_CLEAR(dict);
        }
    }
    if (!dict && list_steal && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        return list_steal;
    }
    Py_XDECREF(list_steal);
    return dict;
}

PyObject *
errors_tree(struct module_state *state, const struct seqc_value *value)
{
    if (!value) {
        Py_RETURN_NONE;
    }
    switch (value->type) {
    case SEQC_VALUE_NIL:
        break;
    case SEQC_VALUE_INTEGER:
        return PyLong_FromLongLong(value->integer);
    case SEQC_VALUE_BOOL:
        return PyBool_FromLong(value->integer != 0);
    case SEQC_VALUE_DOUBLE:
        return PyFloat_FromDouble(value->real);
    case SEQC_VALUE_STRING:
        return PyBytes_FromStringAndSize(value->text, (Py_ssize_t)value->len);
    case SEQC_VALUE_ERROR:
        return PyObject_CallFunction((PyObject *)state->reply_error_type,
                                     "y#",
                                     value->text,
                                     (Py_ssize_t)value->len);
    case SEQC_VALUE_ARRAY:
        return tree_list(state, value);
    case SEQC_VALUE_MAP:
        return tree_dict(tree_list(state, value));
    }
    Py_RETURN_NONE;
}

/* The first number that the answer gave: of an increase by more than one, the
 * beginning of the block.  A server that answers nonsense gets it back. */
static int64_t
first_number(const struct seqc_request *request)
{
    int64_t value = request->u.value;
    int64_t before = request->amount - 1;

    return request->op == SEQC_OP_INCREASE && value >= INT64_MIN + before
               ? value - before
               : value;
}

/* Tells the engine's owner that the server lost numbers; -1 if that raises
 * (on_regress="raise"). */
static int
tell_regress(EngineObject *engine, const struct seqc_request *request)
{
    PyObject *user_id;
    PyObject *answer = NULL;

    if (!engine->on_regress) {
        return 0;
    }
    user_id = errors_id_of(request);
    if (user_id) {
        answer = PyObject_CallFunction(engine->on_regress,
                                       "sOLL",
                                       errors_method(request->call),
                                       user_id,
                                       (long long)request->floor,
                                       (long long)first_number(request));
        Py_DECREF(user_id);
    }
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

/* In Python's integers: a server may answer any number. */
PyObject *
errors_range(int64_t last, int64_t count)
{
    PyObject *range = NULL;
    PyObject *end = PyLong_FromLongLong(last);
    PyObject *back = PyLong_FromLongLong(count - 1);
    PyObject *one = PyLong_FromLong(1);
    PyObject *start = end && back ? PyNumber_Subtract(end, back) : NULL;
    PyObject *stop = end && one ? PyNumber_Add(end, one) : NULL;

    if (start && stop) {
        range = PyObject_CallFunctionObjArgs(
            (PyObject *)&PyRange_Type, start, stop, NULL);
    }
    Py_XDECREF(end);
    Py_XDECREF(back);
    Py_XDECREF(one);
    Py_XDECREF(start);
    Py_XDECREF(stop);
    return range;
}

/* Of a request that went well, or its exception as an object. */
static PyObject *
element_result(EngineObject *engine,
               const struct seqc_request *request,
               struct errors_pattern *pattern)
{
    if (request->status) {
        return errors_like(engine, request, pattern);
    }
    if (request->regressed && tell_regress(engine, request)) {
        return PyErr_ExceptionMatches(PyExc_Exception)
                   ? PyErr_GetRaisedException()
                   : NULL;
    }
    return PyLong_FromLongLong(request->u.value);
}

static PyObject *
single_result(EngineObject *engine, struct seqc_call *call)
{
    const struct seqc_request *request = &call->requests[0];
    PyObject *error;

    if (request->status) {
        error = errors_make(engine, request);
        if (error) {
            PyErr_SetObject((PyObject *)Py_TYPE(error), error);
            Py_DECREF(error);
        }
        return NULL;
    }
    if (request->regressed && tell_regress(engine, request)) {
        return NULL;
    }
    switch ((enum result_shape)call->shape) {
    case RESULT_RANGE:
        return errors_range(request->u.value, request->amount);
    case RESULT_BOOL:
        return PyBool_FromLong(request->u.value != 0);
    case RESULT_TREE:
        return errors_tree(engine->state, request->u.tree);
    case RESULT_INT:
    case RESULT_LIST:
    case RESULT_COUNT:
    case RESULT_SENT_LIST:
        break;
    }
    return PyLong_FromLongLong(request->u.value);
}

static PyObject *
bulk_result(EngineObject *engine, struct seqc_call *call)
{
    PyObject *list = PyList_New((Py_ssize_t)call->count);
    struct errors_pattern pattern = {0};
    bool failed = false;

    for (uint32_t i = 0; list && i < call->count; i++) {
        PyObject *item = element_result(engine, &call->requests[i], &pattern);
        if (!item) {
            Py_CLEAR(list);
            break;
        }
        failed = failed || !PyLong_CheckExact(item);
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    errors_pattern_fini(&pattern);
    if (list && failed) {
        raise_outcome(
            engine->state,
            "bulk",
            Py_BuildValue("(sON)", errors_method(call), engine->where, list));
        return NULL;
    }
    if (list && call->shape == RESULT_COUNT) {
        Py_DECREF(list);
        return PyLong_FromUnsignedLong(call->count);
    }
    return list;
}

PyObject *
errors_result(EngineObject *engine, struct seqc_call *call)
{
    switch ((enum result_shape)call->shape) {
    case RESULT_LIST:
    case RESULT_COUNT:
        return bulk_result(engine, call);
    case RESULT_SENT_LIST:
        return errors_sent_list(engine, call);
    case RESULT_INT:
    case RESULT_RANGE:
    case RESULT_BOOL:
    case RESULT_TREE:
        break;
    }
    return single_result(engine, call);
}

bool
errors_is_plain_int(const struct seqc_call *call, int64_t *out_value)
{
    const struct seqc_request *request = &call->requests[0];

    if (call->shape != RESULT_INT || request->status || request->regressed) {
        return false;
    }
    *out_value = request->u.value;
    return true;
}
