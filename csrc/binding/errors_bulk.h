/* SPDX-License-Identifier: MIT */
/* The errors of a bulk call.
 *
 * Thousands of ids fail for one reason: the first error is made with all
 * care, and is the pattern of the others, which differ in the user id. */
#ifndef SEQCACHE_ERRORS_BULK_H
#define SEQCACHE_ERRORS_BULK_H

#include "binding/errors.h"

/* All zero at first. */
struct errors_pattern {
    const struct seqc_request *request; /* NULL: none yet; borrowed */
    PyObject *error;                    /* owned, and so the rest */
    PyObject *before;                   /* text around the user id */
    PyObject *after;
    PyObject *id_name; /* "user_id", if the error has that field */
};

void errors_pattern_fini(struct errors_pattern *pattern);

/* The exception of a request that failed, not raised, after the pattern if it
 * fits; else it is the new pattern.  New reference. */
PyObject *errors_like(EngineObject *engine,
                      const struct seqc_request *request,
                      struct errors_pattern *pattern);

/* ([reply, or the exception in its place], number of the connection).  New
 * reference. */
PyObject *errors_sent_list(EngineObject *engine, const struct seqc_call *call);

#endif
