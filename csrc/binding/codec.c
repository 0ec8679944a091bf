/* SPDX-License-Identifier: MIT */
#include "binding/codec.h"

#include <stddef.h>
#include <structmember.h>

#include "binding/args.h"
#include "binding/errors.h"
#include "core/reply.h"

/* ---- ReplyError: a server's error as a value ---- */

typedef struct {
    PyObject_HEAD
    PyObject *text;
    PyObject *code;
} ReplyErrorObject;

static PyObject *
reply_error_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const char *data;
    Py_ssize_t len;
    Py_ssize_t code = 0;
    ReplyErrorObject *self;

    (void)kwargs;
    if (!PyArg_ParseTuple(args, "s#", &data, &len)) {
        return NULL;
    }
    while (code < len && data[code] != ' ') {
        code++;
    }
    self = (ReplyErrorObject *)type->tp_alloc(type, 0);
    if (!self) {
        return NULL;
    }
    self->text = PyUnicode_DecodeUTF8(data, len, "backslashreplace");
    self->code = PyUnicode_DecodeUTF8(data, code, "backslashreplace");
    if (!self->text || !self->code) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static void
reply_error_dealloc(PyObject *object)
{
    ReplyErrorObject *self = (ReplyErrorObject *)object;
    PyTypeObject *type = Py_TYPE(object);

    Py_CLEAR(self->text);
    Py_CLEAR(self->code);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *
reply_error_str(PyObject *object)
{
    return Py_NewRef(((ReplyErrorObject *)object)->text);
}

static PyObject *
reply_error_repr(PyObject *object)
{
    return PyUnicode_FromFormat("ReplyError(%R)",
                                ((ReplyErrorObject *)object)->text);
}

static PyMemberDef reply_error_members[] = {
    {"text",
     T_OBJECT_EX,
     offsetof(ReplyErrorObject, text),
     READONLY,
     "What the server said."},
    {"code",
     T_OBJECT_EX,
     offsetof(ReplyErrorObject, code),
     READONLY,
     "Its first word."},
    {0},
};

static PyType_Slot reply_error_slots[] = {
    {Py_tp_doc,
     (void *)"ReplyError(text, /)\n--\n\nA server's error, as a value."},
    {Py_tp_new, reply_error_new},
    {Py_tp_dealloc, reply_error_dealloc},
    {Py_tp_str, reply_error_str},
    {Py_tp_repr, reply_error_repr},
    {Py_tp_members, reply_error_members},
    {0, NULL},
};

static PyType_Spec reply_error_spec = {
    .name = "seqcache._native.ReplyError",
    .basicsize = sizeof(ReplyErrorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = reply_error_slots,
};

/* ---- Codec ---- */

typedef struct {
    PyObject_HEAD
    struct module_state *state; /* borrowed */
    struct seqc_replies replies;
    PyObject *list; /* of the feed under way; borrowed */
    bool failed;    /* a Python object could not be made */
} CodecObject;

static bool
codec_expect(void *context,
             enum seqc_reply_shape *out_shape,
             size_t *out_count)
{
    (void)context;
    *out_shape = SEQC_SHAPE_TREE;
    *out_count = 0;
    return true;
}

/* Never called: every reply is a tree. */
static bool
codec_scalar(void *context,
             const struct seqc_scalar *scalar,
             size_t index,
             size_t count)
{
    (void)context;
    (void)scalar;
    (void)index;
    (void)count;
    return false;
}

static bool
codec_tree(void *context, struct seqc_value *value, size_t count)
{
    CodecObject *self = context;
    PyObject *object = self->failed ? NULL : errors_tree(self->state, value);

    (void)count;
    if (!object || PyList_Append(self->list, object)) {
        self->failed = true;
    }
    Py_XDECREF(object);
    seqc_value_free(value);
    return true;
}

static PyObject *
codec_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    CodecObject *self;
    struct module_state *state = state_of_type(type);
    struct seqc_reply_target target = {
        .expect = codec_expect,
        .scalar = codec_scalar,
        .tree = codec_tree,
    };

    (void)kwargs;
    if (!state || !PyArg_ParseTuple(args, "")) {
        return NULL;
    }
    self = (CodecObject *)type->tp_alloc(type, 0);
    if (!self) {
        return NULL;
    }
    self->state = state;
    target.context = self;
    if (seqc_replies_init(&self->replies, target)) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void
codec_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    seqc_replies_fini(&((CodecObject *)object)->replies);
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(encode_doc,
             "encode($self, words, /)\n--\n\n"
             "A command from str, bytes and int, as bytes.");

static PyObject *
codec_encode(PyObject *Py_UNUSED(self), PyObject *words)
{
    return args_encode(words);
}

static void
raise_protocol(const char *why)
{
    PyObject *errors = PyImport_ImportModule("seqcache.errors");
    PyObject *type =
        errors ? PyObject_GetAttrString(errors, "ProtocolError") : NULL;

    if (type) {
        PyErr_Format(type, "the peer does not speak RESP: %s", why);
    }
    Py_XDECREF(type);
    Py_XDECREF(errors);
}

PyDoc_STRVAR(feed_doc,
             "feed($self, data, /)\n--\n\n"
             "Takes bytes of the server; returns the list of the replies that "
             "are complete.\n\nRaises ProtocolError on anything but RESP.");

static PyObject *
codec_feed(PyObject *object, PyObject *argument)
{
    CodecObject *self = (CodecObject *)object;
    Py_buffer data;
    seqc_status status;

    if (self->list) { /* from a finalizer, say, while replies are made */
        PyErr_SetString(PyExc_RuntimeError, "feed() is under way");
        return NULL;
    }
    if (PyObject_GetBuffer(argument, &data, PyBUF_SIMPLE)) {
        return NULL;
    }
    self->list = PyList_New(0);
    self->failed = !self->list;
    status =
        self->failed
            ? SEQC_NOMEM
            : seqc_replies_feed(&self->replies, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    if (self->failed || status) {
        Py_CLEAR(self->list);
    }
    if (!self->failed && status == SEQC_NOMEM) {
        PyErr_NoMemory();
    } else if (!self->failed && status) {
        raise_protocol(self->replies.why);
    }
    object = self->list;
    self->list = NULL;
    return object;
}

static PyMethodDef codec_methods[] = {
    {"encode", codec_encode, METH_O, encode_doc},
    {"feed", codec_feed, METH_O, feed_doc},
    {0},
};

static PyType_Slot codec_slots[] = {
    {Py_tp_doc, (void *)"Codec()\n--\n\nRESP without I/O."},
    {Py_tp_new, codec_new},
    {Py_tp_dealloc, codec_dealloc},
    {Py_tp_methods, codec_methods},
    {0, NULL},
};

static PyType_Spec codec_spec = {
    .name = "seqcache._native.Codec",
    .basicsize = sizeof(CodecObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = codec_slots,
};

int
codec_setup_types(PyObject *module, struct module_state *state)
{
    state->reply_error_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &reply_error_spec, NULL);
    if (!state->reply_error_type ||
        PyModule_AddType(module, state->reply_error_type)) {
        return -1;
    }
    state->codec_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &codec_spec, NULL);
    return state->codec_type ? PyModule_AddType(module, state->codec_type)
                             : -1;
}
