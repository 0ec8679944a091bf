/* SPDX-License-Identifier: MIT */
#include "binding/args.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "binding/errors.h"

/* Elements of one MGET: the server answers nobody else meanwhile. */
#define MGET_SPAN 1024

/* ---- single arguments ---- */

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

/* ---- calls ---- */

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

    if (args_user_id(state, user_id, &id)) {
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
        if (!object || args_user_id(source->state, object, &id)) {
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

    if (!object || args_user_id(source->state, object, &id)) {
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
