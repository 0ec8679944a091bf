/* SPDX-License-Identifier: MIT */
/* Any command, from Python words: for what is rare. */
#include "binding/args.h"
#include "core/encode.h"

struct words {
    PyObject *items;   /* tuple of bytes, owned */
    const char **data; /* owned; borrowed from items */
    size_t *lengths;   /* owned */
    size_t count;
};

static void
words_fini(struct words *words)
{
    Py_CLEAR(words->items);
    PyMem_Free(words->data);
    PyMem_Free(words->lengths);
}

/* str, bytes or int -> bytes; a new reference. */
static PyObject *
word_bytes(PyObject *word)
{
    PyObject *text;
    PyObject *bytes;

    if (PyBytes_Check(word)) {
        return Py_NewRef(word);
    }
    if (PyUnicode_Check(word)) {
        return PyUnicode_AsUTF8String(word);
    }
    if (!PyIndex_Check(word)) {
        PyErr_Format(PyExc_TypeError,
                     "a word of a command is str, bytes or int, not %.100s",
                     Py_TYPE(word)->tp_name);
        return NULL;
    }
    text = PyObject_Str(word);
    bytes = text ? PyUnicode_AsUTF8String(text) : NULL;
    Py_XDECREF(text);
    return bytes;
}

static int
words_init(struct words *words, PyObject *sequence)
{
    PyObject *given = PySequence_Tuple(sequence);
    Py_ssize_t count;

    *words = (struct words){0};
    if (!given) {
        return -1;
    }
    count = PyTuple_GET_SIZE(given);
    if (!count) { /* the server would never answer it */
        Py_DECREF(given);
        PyErr_SetString(PyExc_ValueError, "a command has at least one word");
        return -1;
    }
    words->items = PyTuple_New(count);
    words->data = PyMem_New(const char *, (size_t)count + 1);
    words->lengths = PyMem_New(size_t, (size_t)count + 1);
    words->count = (size_t)count;
    if (!words->items || !words->data || !words->lengths) {
        PyErr_NoMemory();
        goto fail;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *bytes = word_bytes(PyTuple_GET_ITEM(given, i));
        if (!bytes) {
            goto fail;
        }
        PyTuple_SET_ITEM(words->items, i, bytes);
        words->data[i] = PyBytes_AS_STRING(bytes);
        words->lengths[i] = (size_t)PyBytes_GET_SIZE(bytes);
    }
    Py_DECREF(given);
    return 0;
fail:
    Py_DECREF(given);
    words_fini(words);
    return -1;
}

struct seqc_call *
args_command(PyObject *sequence)
{
    struct words words;
    struct seqc_call *call = NULL;
    size_t size;

    if (words_init(&words, sequence)) {
        return NULL;
    }
    size = seqc_encode_raw_size(words.count, words.lengths);
    call = size < UINT32_MAX ? seqc_call_new(1, size) : NULL;
    if (call) {
        struct seqc_request *request = &call->requests[0];
        char *key = (char *)&call->requests[1];
        seqc_encode_raw(key, words.count, words.data, words.lengths);
        request->call = call;
        request->key = key;
        request->key_len = (uint32_t)size;
        request->op = SEQC_OP_RAW;
        request->span = 1;
    } else {
        PyErr_NoMemory();
    }
    words_fini(&words);
    return call;
}

PyObject *
args_encode(PyObject *sequence)
{
    struct words words;
    PyObject *bytes;
    size_t size;

    if (words_init(&words, sequence)) {
        return NULL;
    }
    size = seqc_encode_raw_size(words.count, words.lengths);
    bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes) {
        seqc_encode_raw(
            PyBytes_AS_STRING(bytes), words.count, words.data, words.lengths);
    }
    words_fini(&words);
    return bytes;
}

/* `parts`: encoded commands. */
static struct seqc_call *
call_of_parts(PyObject *parts)
{
    Py_ssize_t count = PyList_GET_SIZE(parts);
    size_t size = 0;
    struct seqc_call *call = NULL;
    struct seqc_call_filler filler;

    for (Py_ssize_t i = 0; i < count; i++) {
        size += (size_t)PyBytes_GET_SIZE(PyList_GET_ITEM(parts, i));
    }
    if (size < UINT32_MAX && count < INT_MAX) {
        call = seqc_call_new((uint32_t)count, size);
    }
    if (!call) {
        PyErr_NoMemory();
        return NULL;
    }
    seqc_call_fill(&filler, call);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *part = PyList_GET_ITEM(parts, i);
        seqc_call_add_key(&filler,
                          SEQC_OP_RAW,
                          "",
                          0,
                          PyBytes_AS_STRING(part),
                          (size_t)PyBytes_GET_SIZE(part));
    }
    return call;
}

struct seqc_call *
args_commands(PyObject *commands)
{
    PyObject *given = PySequence_Tuple(commands);
    PyObject *parts = given ? PyList_New(0) : NULL;
    struct seqc_call *call = NULL;
    int failed = parts ? 0 : -1;

    for (Py_ssize_t i = 0; !failed && i < PyTuple_GET_SIZE(given); i++) {
        PyObject *part = args_encode(PyTuple_GET_ITEM(given, i));
        failed = part ? PyList_Append(parts, part) : -1;
        Py_XDECREF(part);
    }
    if (!failed) {
        call = call_of_parts(parts);
    }
    Py_XDECREF(given);
    Py_XDECREF(parts);
    return call;
}
