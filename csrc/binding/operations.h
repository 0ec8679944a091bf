/* SPDX-License-Identifier: MIT */
/* The operations, once for both faces: names of parameters, what they mean on
 * the wire, what comes back. */
#ifndef SEQCACHE_OPERATIONS_H
#define SEQCACHE_OPERATIONS_H

#include "binding/args.h"
#include "binding/errors.h"

enum operation_index {
    OPERATION_GET_SEQ,
    OPERATION_INCREASE_SEQ,
    OPERATION_RESERVE,
    OPERATION_RAISE_SEQ,
    OPERATION_GET_SEQS,
    OPERATION_INCREASE_SEQS,
    OPERATION_DELETE,
    OPERATION_RAISE_BATCH,
    OPERATION_EXECUTE,
    OPERATION_EXECUTE_ONCE,
    OPERATION_COUNT,
};

enum operation_form {
    FORM_SINGLE,
    FORM_BULK,
    FORM_PAIRS,
    FORM_COMMAND,
    FORM_COMMANDS_ONCE,
};

struct operation {
    struct args_spec spec;
    enum operation_form form;
    enum seqc_op op;
    enum result_shape shape;
    int amount;    /* index of the parameter, 0: none */
    int64_t least; /* the amount is at least this */
    int timeout;   /* index of the parameter */
    int token;     /* index of the parameter, 0: none */
};

extern const struct operation operations[OPERATION_COUNT];

/* Parses a method's arguments into a call; *timeout_ns is overwritten if a
 * timeout was given.  NULL with an exception. */
struct seqc_call *operation_call(const struct operation *operation,
                                 struct module_state *state,
                                 struct args_prefix prefix,
                                 PyObject *const *args,
                                 Py_ssize_t count,
                                 PyObject *keyword_names,
                                 int64_t *timeout_ns);

/* Docstrings of both faces. */
extern const char operation_get_seq_doc[];
extern const char operation_increase_seq_doc[];
extern const char operation_reserve_doc[];
extern const char operation_raise_seq_doc[];
extern const char operation_get_seqs_doc[];
extern const char operation_increase_seqs_doc[];
extern const char operation_delete_doc[];
extern const char operation_raise_batch_doc[];
extern const char operation_execute_doc[];
extern const char operation_execute_once_doc[];
extern const char operation_scan_memory_doc[];

#endif
