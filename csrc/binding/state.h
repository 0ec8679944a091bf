/* SPDX-License-Identifier: MIT */
/* All Python state of the module, one struct per interpreter. */
#ifndef SEQCACHE_STATE_H
#define SEQCACHE_STATE_H

#include "binding/awaitable.h"
#include "binding/compat.h"
#include "core/status.h"

struct module_state {
    PyTypeObject *client_type;
    PyTypeObject *aclient_type;
    PyTypeObject *loop_link_type;
    PyTypeObject *codec_type;
    PyTypeObject *reply_error_type;
    PyTypeObject *store_type;
    struct awaitable_state awaitable;
    PyObject *errors[SEQC_STATUS_COUNT]; /* exception classes */
    PyObject *user_id_error;
    PyObject *bulk_error;
    PyObject *clients; /* weak set of all engines, for fork */
    /* asyncio, imported when the first AsyncClient is made */
    PyObject *get_running_loop;
    PyObject *str_call_soon;
    PyObject *str_call_at;
    PyObject *str_time;
    unsigned long fork_count;
};

/* The state behind an object of one of our types; borrowed. */
struct module_state *module_state_of(PyTypeObject *type);

#endif
