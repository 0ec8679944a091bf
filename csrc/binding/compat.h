/* SPDX-License-Identifier: MIT */
/* Python versions: what differs between 3.11 and the newest. */
#ifndef SEQCACHE_COMPAT_H
#define SEQCACHE_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x030b0000
#error "seqcache needs Python 3.11 or newer"
#endif

#if PY_VERSION_HEX < 0x030c0000
/* 3.12's pair, for 3.11: the raised exception, normalised, as one object. */
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type;
    PyObject *value;
    PyObject *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    if (!type) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback) {
        PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* Steals `exception`. */
static inline void
PyErr_SetRaisedException(PyObject *exception)
{
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)),
                  exception,
                  PyException_GetTraceback(exception));
}
#endif

#endif
