/* SPDX-License-Identifier: MIT */
/* How a call of the core ended -> Python results and exceptions.
 *
 * The only place where a status becomes an exception: the class comes from
 * the table in core/status.h, the sentence from seqcache/_outcome.py. */
#ifndef SEQCACHE_ERRORS_H
#define SEQCACHE_ERRORS_H

#include "binding/engine.h"

/* What the caller gets when all is well; kept in seqc_call.shape. */
enum result_shape {
    RESULT_INT,
    RESULT_RANGE, /* the last of `amount` numbers -> the range of them */
    RESULT_BOOL,
    RESULT_LIST,
    RESULT_COUNT, /* how many requests */
    RESULT_TREE,
    RESULT_SENT_LIST, /* of trees, with the number of their connection */
};

/* Name of the method that made the call, for messages; static. */
const char *errors_method(const struct seqc_call *call);

/* The result of a call that is done or abandoned, or NULL with its exception.
 * New reference. */
PyObject *errors_result(EngineObject *engine, struct seqc_call *call);

/* For the hot path: true if the call is one request that went well, whose
 * number is then in `out_value`. */
bool errors_is_plain_int(const struct seqc_call *call, int64_t *out_value);

/* The exception of a request that failed, not raised.  New reference. */
PyObject *errors_make(EngineObject *engine,
                      const struct seqc_request *request);

/* The id behind a key: str, or bytes where that is not UTF-8; None of a
 * command.  New reference. */
PyObject *errors_id_of(const struct seqc_request *request);

/* `count` numbers in a row of which this is the last.  New reference. */
PyObject *errors_range(int64_t last, int64_t count);

/* After an exception; returns -1 with the one that our caller is to see. */
int errors_digits(struct module_state *state);
int errors_token_text(void);

/* Each sets an exception and returns NULL. */
void *errors_closed(EngineObject *engine, const char *method);
void *errors_user_id(struct module_state *state, const char *message);
void *errors_overflow(struct module_state *state, const char *name);

/* After telling somebody something beside a call that went well: its result is
 * not thrown away because the listener failed.  An Exception goes to
 * sys.unraisablehook and 0 is returned; what must stop the program, Ctrl-C,
 * stays set: -1. */
int errors_of_news(PyObject *listener);

/* A reply as Python objects; an error reply is an instance of ReplyError.
 * New reference. */
PyObject *errors_tree(struct module_state *state,
                      const struct seqc_value *value);

#endif
