/* SPDX-License-Identifier: MIT */
/* Python arguments -> calls of the core. */
#ifndef SEQCACHE_ARGS_H
#define SEQCACHE_ARGS_H

#include "binding/state.h"

#include "core/request.h"

#define USER_ID_MAX_BYTES 512

/* The bytes of a user id; data is borrowed from the object, or from `keep`,
 * or lies in `digits`. */
struct user_id {
    const char *data;
    Py_ssize_t len;
    PyObject *keep; /* owned, may be NULL */
    char digits[24];
};

/* The prefix of a view, and where the memory of a call comes from. */
struct args_prefix {
    const char *data; /* borrowed */
    Py_ssize_t len;
    struct seqc_call_pool *pool; /* NULL: of no pool */
};

/* -1 with an exception; else end it with args_user_id_fini. */
int args_user_id(struct module_state *state,
                 PyObject *object,
                 struct user_id *out_id);
/* The same for an id behind a prefix: none of our own keys. */
int args_key(struct module_state *state,
             struct args_prefix prefix,
             PyObject *object,
             struct user_id *out_id);

static inline void
args_user_id_fini(struct user_id *id)
{
    Py_CLEAR(id->keep);
}

/* An integer of [least, 2^63-1]: below is ValueError, above is
 * SequenceOverflow; `name` is the parameter's. */
int args_amount(struct module_state *state,
                PyObject *object,
                const char *name,
                int64_t least,
                int64_t *out_amount);

/* Seconds or None -> ns or SEQC_TIME_NEVER. */
int args_timeout(PyObject *object, int64_t *out_ns);

/* What a method was given, by position and by keyword: `names` are its
 * parameters, NULL-terminated; the first `positional` of them may go by
 * position, `required` of them must be there.  Missing ones are NULL; all are
 * borrowed. */
struct args_spec {
    const char *method;
    const char *const *names;
    int positional;
    int required;
};

int args_parse(const struct args_spec *spec,
               PyObject *const *args,
               Py_ssize_t count,
               PyObject *keyword_names,
               PyObject **out_values);

#define TOKEN_MAX_BYTES 512

/* The token of a call: bytes borrowed from the object; none if len is 0. */
struct args_token {
    const char *data;
    Py_ssize_t len;
};

/* `object` is a str, bytes or None. */
int args_token(PyObject *object, struct args_token *out_token);

/* What each request of a call does. */
struct args_work {
    enum seqc_op op;
    int64_t amount;
    struct args_token token; /* of an INCREASE_ONCE */
};

/* A call with one request; the caller owns it.  NULL with an exception. */
struct seqc_call *args_single(struct module_state *state,
                              struct args_prefix prefix,
                              const struct args_work *work,
                              PyObject *user_id);
/* A call with a request for each of `user_ids`, any iterable but str and
 * bytes.  An empty one gives a call without requests. */
struct seqc_call *args_bulk(struct module_state *state,
                            struct args_prefix prefix,
                            const struct args_work *work,
                            PyObject *user_ids);
/* Raises: `pairs` is a sequence of (user id, number). */
struct seqc_call *args_pairs(struct module_state *state,
                             struct args_prefix prefix,
                             PyObject *pairs);
/* Any command: a sequence of str, bytes and int. */
struct seqc_call *args_command(PyObject *words);
/* Many, from a sequence of such. */
struct seqc_call *args_commands(PyObject *commands);
/* One as bytes. */
PyObject *args_encode(PyObject *words);

#endif
