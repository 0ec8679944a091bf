/* SPDX-License-Identifier: MIT */
/* Python versions: what differs between 3.11 and the newest. */
#ifndef SEQCACHE_COMPAT_H
#define SEQCACHE_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

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

/* What a weak reference refers to: a new reference, or NULL. */
static inline PyObject *
weak_target(PyObject *reference)
{
#ifdef Py_GIL_DISABLED
    PyObject *object = NULL;

    (void)PyWeakref_GetRef(reference, &object);
    return object;
#else
    PyObject *object = ((PyWeakReference *)reference)->wr_object;

    /* 0: it is about to be deallocated */
    return object == Py_None || Py_REFCNT(object) == 0 ? NULL
                                                       : Py_NewRef(object);
#endif
}

/* For an object that is alive. */
static inline bool
is_weak_reference_to(PyObject *reference, PyObject *object)
{
    return ((PyWeakReference *)reference)->wr_object == object;
}

#endif
