/* SPDX-License-Identifier: MIT */
#include "binding/errors_bulk.h"

#include <string.h>

void
errors_pattern_fini(struct errors_pattern *pattern)
{
    Py_CLEAR(pattern->error);
    Py_CLEAR(pattern->before);
    Py_CLEAR(pattern->after);
    Py_CLEAR(pattern->id_name);
    pattern->request = NULL;
}

static bool
pattern_fits(const struct errors_pattern *pattern,
             const struct seqc_request *other)
{
    const struct seqc_request *request = pattern->request;

    return request && request->status == other->status &&
           request->cause == other->cause &&
           request->executed == other->executed &&
           request->amount == other->amount &&
           (request->error == other->error ||
            (request->error && other->error &&
             !strcmp(request->error, other->error)));
}

/* Every message begins with method(id): see _outcome.make. */
static int
pattern_split(struct errors_pattern *pattern, PyObject *user_id)
{
    PyObject *args = ((PyBaseExceptionObject *)pattern->error)->args;
    PyObject *message = PyTuple_GetItem(args, 0);
    const char *method = errors_method(pattern->request->call);
    PyObject *id = user_id ? PyObject_Repr(user_id) : NULL;
    Py_ssize_t at = (Py_ssize_t)strlen(method) + 1;

    if (id && message) {
        pattern->before = PyUnicode_Substring(message, 0, at);
        pattern->after = PyUnicode_Substring(
            message, at + PyUnicode_GET_LENGTH(id), PY_SSIZE_T_MAX);
    }
    Py_XDECREF(id);
    pattern->id_name = PyUnicode_InternFromString("user_id");
    if (pattern->id_name &&
        !PyObject_HasAttr(pattern->error, pattern->id_name)) {
        Py_CLEAR(pattern->id_name);
    }
    return pattern->before && pattern->after ? 0 : -1;
}

/* The same fields and cause, its own text and user id: what the class's
 * __init__ would set, without calling it. */
static int
copy_fields(PyObject *error,
            const struct errors_pattern *pattern,
            PyObject *user_id)
{
    PyBaseExceptionObject *to = (PyBaseExceptionObject *)error;
    PyBaseExceptionObject *from = (PyBaseExceptionObject *)pattern->error;
    PyObject *text = PyUnicode_FromFormat(
        "%U%R%U", pattern->before, user_id, pattern->after);
    PyObject *args = text ? PyTuple_Pack(1, text) : NULL;
    PyObject *cause = PyException_GetCause(pattern->error);

    Py_XDECREF(text);
    if (cause) {
        PyException_SetCause(error, cause); /* steals */
    }
    if (!args) {
        return -1;
    }
    Py_XSETREF(to->args, args);
    if (!from->dict) {
        return 0;
    }
    Py_XSETREF(to->dict, PyDict_Copy(from->dict));
    if (!to->dict) {
        return -1;
    }
    return pattern->id_name
               ? PyDict_SetItem(to->dict, pattern->id_name, user_id)
               : 0;
}

static PyObject *
copy_error(const struct errors_pattern *pattern,
           const struct seqc_request *request)
{
    PyTypeObject *type = Py_TYPE(pattern->error);
    PyObject *user_id = errors_id_of(request);
    PyObject *none = user_id ? PyTuple_New(0) : NULL;
    PyObject *error = none ? type->tp_new(type, none, NULL) : NULL;

    if (error && copy_fields(error, pattern, user_id)) {
        Py_CLEAR(error);
    }
    Py_XDECREF(none);
    Py_XDECREF(user_id);
    return error;
}

PyObject *
errors_like(EngineObject *engine,
            const struct seqc_request *request,
            struct errors_pattern *pattern)
{
    PyObject *user_id;
    int failed;

    if (pattern_fits(pattern, request)) {
        return copy_error(pattern, request);
    }
    errors_pattern_fini(pattern);
    pattern->error = errors_make(engine, request);
    if (!pattern->error) {
        return NULL;
    }
    pattern->request = request;
    user_id = errors_id_of(request);
    failed = pattern_split(pattern, user_id);
    Py_XDECREF(user_id);
    return failed ? NULL : Py_NewRef(pattern->error);
}

PyObject *
errors_sent_list(EngineObject *engine, const struct seqc_call *call)
{
    PyObject *list = PyList_New((Py_ssize_t)call->count);

    for (uint32_t i = 0; list && i < call->count; i++) {
        const struct seqc_request *request = &call->requests[i];
        PyObject *item = request->status
                             ? errors_make(engine, request)
                             : errors_tree(engine->state, request->u.tree);
        if (!item) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list ? Py_BuildValue(
                      "(NK)", list, (unsigned long long)call->connection)
                : NULL;
}
