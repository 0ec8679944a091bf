/* SPDX-License-Identifier: MIT */
#include "binding/args.h"

#include <math.h>
#include <string.h>

#include "binding/errors.h"

/* What the keys of durable mode and of tokens begin with. */
static const char RESERVED[] = "sqc:";

static int
take_text(struct module_state *state, PyObject *object, struct user_id *id)
{
    if (PyBytes_Check(object)) {
        id->data = PyBytes_AS_STRING(object);
        id->len = PyBytes_GET_SIZE(object);
        return 0;
    }
    if (PyUnicode_IS_COMPACT_ASCII(object)) { /* its bytes are its UTF-8 */
        id->data = PyUnicode_DATA(object);
        id->len = PyUnicode_GET_LENGTH(object);
        return 0;
    }
    id->data = PyUnicode_AsUTF8AndSize(object, &id->len);
    if (id->data) {
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_Clear();
        errors_user_id(state,
                       "the user id has lone surrogates, which UTF-8 "
                       "cannot carry");
    }
    return -1;
}

/* The decimal form of whatever has __index__. */
static int
take_integer(struct module_state *state, PyObject *object, struct user_id *id)
{
    int overflow = 0;
    PyObject *index = PyNumber_Index(object);
    long long value;

    if (!index) {
        return -1;
    }
    value = PyLong_AsLongLongAndOverflow(index, &overflow);
    if (!overflow) {
        Py_DECREF(index);
        id->len = PyOS_snprintf(id->digits, sizeof id->digits, "%lld", value);
        id->data = id->digits;
        return 0;
    }
    id->keep = PyObject_Str(index);
    Py_DECREF(index);
    if (!id->keep) {
        return errors_digits(state);
    }
    id->data = PyUnicode_AsUTF8AndSize(id->keep, &id->len);
    return id->data ? 0 : -1;
}

static inline bool
is_fit(Py_ssize_t len)
{
    return len >= 1 && len <= USER_ID_MAX_BYTES;
}

int
args_user_id(struct module_state *state,
             PyObject *object,
             struct user_id *out_id)
{
    int failed;

    out_id->keep = NULL;
    if (PyUnicode_CheckExact(object) && PyUnicode_IS_COMPACT_ASCII(object) &&
        is_fit(PyUnicode_GET_LENGTH(object))) {
        out_id->data = PyUnicode_DATA(object);
        out_id->len = PyUnicode_GET_LENGTH(object);
        return 0; /* as nearly all are */
    }
    if (PyUnicode_Check(object) || PyBytes_Check(object)) {
        failed = take_text(state, object, out_id);
    } else if (PyIndex_Check(object) && !PyBool_Check(object)) {
        failed = take_integer(state, object, out_id);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "a user id is str, bytes or int, not %.100s",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    if (!failed && !is_fit(out_id->len)) {
        errors_user_id(state,
                       out_id->len < 1
                           ? "the user id is empty"
                           : "the user id is longer than 512 bytes");
        failed = -1;
    }
    if (failed) {
        args_user_id_fini(out_id);
    }
    return failed;
}

/* Does the key of this id lie among our own?  Its prefix does not, but may be
 * the first letters of them. */
static bool
is_reserved(struct args_prefix prefix, const struct user_id *id)
{
    size_t rest = sizeof RESERVED - 1 - (size_t)prefix.len;

    return (size_t)id->len >= rest &&
           !memcmp(prefix.data, RESERVED, (size_t)prefix.len) &&
           !memcmp(id->data, RESERVED + prefix.len, rest);
}

int
args_key(struct module_state *state,
         struct args_prefix prefix,
         PyObject *object,
         struct user_id *out_id)
{
    if (args_user_id(state, object, out_id)) {
        return -1;
    }
    if (prefix.len < (Py_ssize_t)sizeof RESERVED - 1 &&
        is_reserved(prefix, out_id)) {
        args_user_id_fini(out_id);
        errors_user_id(state,
                       "behind this prefix the user id is a key that begins "
                       "with sqc:, which is reserved");
        return -1;
    }
    return 0;
}

int
args_amount(struct module_state *state,
            PyObject *object,
            const char *name,
            int64_t least,
            int64_t *out_amount)
{
    int overflow = 0;
    PyObject *index = PyNumber_Index(object);
    long long value;

    if (!index) {
        return -1;
    }
    value = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (overflow > 0) {
        errors_overflow(state, name);
        return -1;
    }
    if (overflow < 0 || value < least) {
        PyErr_Format(PyExc_ValueError,
                     "%s must be at least %lld",
                     name,
                     (long long)least);
        return -1;
    }
    *out_amount = value;
    return 0;
}

int
args_timeout(PyObject *object, int64_t *out_ns)
{
    double seconds;

    if (object == Py_None) {
        *out_ns = SEQC_TIME_NEVER;
        return 0;
    }
    seconds = PyFloat_AsDouble(object);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(seconds > 0) || isinf(seconds)) {
        PyErr_SetString(PyExc_ValueError,
                        "timeout must be a positive number of seconds or "
                        "None");
        return -1;
    }
    /* a year and longer is as good as never, and does not overflow */
    *out_ns = seconds > 3e7 ? SEQC_TIME_NEVER : (int64_t)(seconds * 1e9);
    return 0;
}

int
args_token(PyObject *object, struct args_token *out_token)
{
    *out_token = (struct args_token){0};
    if (object == Py_None) {
        return 0;
    }
    if (PyBytes_Check(object)) {
        out_token->data = PyBytes_AS_STRING(object);
        out_token->len = PyBytes_GET_SIZE(object);
    } else if (PyUnicode_Check(object)) {
        out_token->data = PyUnicode_AsUTF8AndSize(object, &out_token->len);
        if (!out_token->data) {
            return errors_token_text();
        }
    } else {
        PyErr_Format(PyExc_TypeError,
                     "token must be str or bytes, not %.100s",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    if (out_token->len < 1 || out_token->len > TOKEN_MAX_BYTES) {
        PyErr_Format(PyExc_ValueError,
                     "a token has 1 to %d bytes, not %zd",
                     TOKEN_MAX_BYTES,
                     out_token->len);
        return -1;
    }
    return 0;
}

static int
find_name(const char *const *names, PyObject *keyword)
{
    for (int i = 0; names[i]; i++) {
        if (PyUnicode_CompareWithASCIIString(keyword, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int
take_keyword(const struct args_spec *spec,
             PyObject *keyword,
             PyObject *value,
             PyObject **out_values)
{
    int at = find_name(spec->names, keyword);

    if (at < 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got an unexpected keyword argument '%U'",
                     spec->method,
                     keyword);
        return -1;
    }
    if (out_values[at]) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got multiple values for argument '%U'",
                     spec->method,
                     keyword);
        return -1;
    }
    out_values[at] = value;
    return 0;
}

int
args_parse(const struct args_spec *spec,
           PyObject *const *args,
           Py_ssize_t count,
           PyObject *keyword_names,
           PyObject **out_values)
{
    Py_ssize_t keywords = keyword_names ? PyTuple_GET_SIZE(keyword_names) : 0;

    if (count > spec->positional) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most %d positional arguments (%zd given)",
                     spec->method,
                     spec->positional,
                     count);
        return -1;
    }
    for (int i = 0; spec->names[i]; i++) {
        out_values[i] = i < count ? args[i] : NULL;
    }
    for (Py_ssize_t i = 0; i < keywords; i++) {
        if (take_keyword(spec,
                         PyTuple_GET_ITEM(keyword_names, i),
                         args[count + i],
                         out_values)) {
            return -1;
        }
    }
    for (int i = 0; i < spec->required; i++) {
        if (!out_values[i]) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing required argument: '%s'",
                         spec->method,
                         spec->names[i]);
            return -1;
        }
    }
    return 0;
}
