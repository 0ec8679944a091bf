/* SPDX-License-Identifier: MIT */
#include "binding/operations.h"

#define VALUES_MAX 4

static const char *const id_names[] = {"user_id", "timeout", NULL};
static const char *const id_by_names[] = {
    "user_id", "by", "timeout", "token", NULL};
static const char *const id_count_names[] = {
    "user_id", "count", "timeout", "token", NULL};
static const char *const id_to_names[] = {"user_id", "to", "timeout", NULL};
static const char *const ids_names[] = {"user_ids", "timeout", NULL};
static const char *const ids_by_names[] = {
    "user_ids", "by", "timeout", "token", NULL};
static const char *const pairs_names[] = {"pairs", "timeout", NULL};
static const char *const words_names[] = {"words", "timeout", NULL};
static const char *const once_names[] = {
    "commands", "connection", "timeout", NULL};

const struct operation operations[OPERATION_COUNT] = {
    [OPERATION_GET_SEQ] = {{"get_seq", id_names, 1, 1},
                           FORM_SINGLE,
                           SEQC_OP_GET,
                           RESULT_INT,
                           0,
                           0,
                           1,
                           0},
    [OPERATION_INCREASE_SEQ] = {{"increase_seq", id_by_names, 2, 1},
                                FORM_SINGLE,
                                SEQC_OP_INCREASE,
                                RESULT_INT,
                                1,
                                1,
                                2,
                                3},
    [OPERATION_RESERVE] = {{"reserve", id_count_names, 2, 2},
                           FORM_SINGLE,
                           SEQC_OP_INCREASE,
                           RESULT_RANGE,
                           1,
                           1,
                           2,
                           3},
    [OPERATION_RAISE_SEQ] = {{"raise_seq", id_to_names, 2, 2},
                             FORM_SINGLE,
                             SEQC_OP_RAISE,
                             RESULT_INT,
                             1,
                             0,
                             2,
                             0},
    [OPERATION_GET_SEQS] = {{"get_seqs", ids_names, 1, 1},
                            FORM_BULK,
                            SEQC_OP_MGET,
                            RESULT_LIST,
                            0,
                            0,
                            1,
                            0},
    [OPERATION_INCREASE_SEQS] = {{"increase_seqs", ids_by_names, 2, 1},
                                 FORM_BULK,
                                 SEQC_OP_INCREASE,
                                 RESULT_LIST,
                                 1,
                                 1,
                                 2,
                                 3},
    [OPERATION_DELETE] = {{"delete_seq", id_names, 1, 1},
                          FORM_SINGLE,
                          SEQC_OP_DELETE,
                          RESULT_BOOL,
                          0,
                          0,
                          1,
                          0},
    [OPERATION_RAISE_BATCH] = {{"raise_seqs", pairs_names, 1, 1},
                               FORM_PAIRS,
                               SEQC_OP_RAISE,
                               RESULT_COUNT,
                               0,
                               0,
                               1,
                               0},
    [OPERATION_EXECUTE] = {{"_execute", words_names, 1, 1},
                           FORM_COMMAND,
                           SEQC_OP_RAW,
                           RESULT_TREE,
                           0,
                           0,
                           1,
                           0},
    [OPERATION_EXECUTE_ONCE] = {{"_execute_once", once_names, 2, 2},
                                FORM_COMMANDS_ONCE,
                                SEQC_OP_RAW,
                                RESULT_SENT_LIST,
                                1,
                                0,
                                2,
                                0},
};

/* Sent at most once, whatever the server says; on that connection alone, if
 * it is not 0. */
static struct seqc_call *
bind_call(struct seqc_call *call, int64_t connection)
{
    if (call) {
        call->once = true;
        call->bound = connection != 0;
        call->connection = (uint64_t)connection;
    }
    return call;
}

static struct seqc_call *
build_call(const struct operation *operation,
           struct module_state *state,
           struct args_prefix prefix,
           PyObject *subject,
           const struct args_work *work)
{
    switch (operation->form) {
    case FORM_SINGLE:
        return args_single(state, prefix, work, subject);
    case FORM_BULK:
        return args_bulk(state, prefix, work, subject);
    case FORM_PAIRS:
        return args_pairs(state, prefix, subject);
    case FORM_COMMAND:
        return args_command(subject);
    case FORM_COMMANDS_ONCE:
        return bind_call(args_commands(subject), work->amount);
    }
    return NULL;
}

struct seqc_call *
operation_call(const struct operation *operation,
               struct module_state *state,
               struct args_prefix prefix,
               PyObject *const *args,
               Py_ssize_t count,
               PyObject *keyword_names,
               int64_t *timeout_ns)
{
    PyObject *values[VALUES_MAX];
    PyObject *amount_given;
    PyObject *token_given;
    struct args_work work = {.op = operation->op, .amount = 1};

    if (count == 1 && !keyword_names && operation->spec.required == 1) {
        return build_call(operation, state, prefix, args[0], &work);
    }
    if (args_parse(&operation->spec, args, count, keyword_names, values)) {
        return NULL;
    }
    amount_given = operation->amount ? values[operation->amount] : NULL;
    if (amount_given && args_amount(state,
                                    amount_given,
                                    operation->spec.names[operation->amount],
                                    operation->least,
                                    &work.amount)) {
        return NULL;
    }
    token_given = operation->token ? values[operation->token] : NULL;
    if (token_given && args_token(token_given, &work.token)) {
        return NULL;
    }
    if (work.token.len) {
        work.op = SEQC_OP_INCREASE_ONCE;
    }
    if (values[operation->timeout] &&
        args_timeout(values[operation->timeout], timeout_ns)) {
        return NULL;
    }
    return build_call(operation, state, prefix, values[0], &work);
}

const char operation_get_seq_doc[] =
    "get_seq($self, /, user_id, *, timeout=...)\n--\n\n"
    "The number that was given last.\n\n"
    "Parameters\n----------\n"
    "user_id : str, bytes or int\n    1 to 512 bytes; 42 and \"42\" are one "
    "key.\n"
    "timeout : float or None\n    Seconds for the whole call, instead of the "
    "cache's.\n\n"
    "Returns\n-------\nint\n    0 when nothing was given yet.  An error "
    "raises, it never reads as 0.\n\n"
    "Raises\n------\nCallTimeout, ConnectError, NotASequence, ServerError, "
    "UserIdError";

const char operation_increase_seq_doc[] =
    "increase_seq($self, /, user_id, by=1, *, token=None, timeout=...)\n--\n\n"
    "Takes the next number.\n\n"
    "Without a token it is sent at most once: when no answer comes, "
    "OutcomeUnknown says\nthat it may have been counted.\n\n"
    "Parameters\n----------\n"
    "user_id : str, bytes or int\n    1 to 512 bytes; 42 and \"42\" are one "
    "key.\n"
    "by : int\n    How many numbers to take, at least 1.\n"
    "token : str, bytes or None\n"
    "    1 to 512 bytes, the message's id.  For token_ttl seconds the same\n"
    "    token gets the same number, so the call may be repeated, and the\n"
    "    cache repeats it by itself; with another ``by`` it is a\n"
    "    TokenConflict.\n"
    "timeout : float or None\n    Seconds for the whole call, instead of the "
    "cache's.\n\n"
    "Returns\n-------\nint\n    The new value; the first one is 1.\n\n"
    "Raises\n------\nOutcomeUnknown, CallTimeout, ConnectError, NotASequence, "
    "SequenceOverflow,\nServerError, TokenConflict, UserIdError, ValueError";

const char operation_reserve_doc[] =
    "reserve($self, /, user_id, count, *, token=None, timeout=...)\n--\n\n"
    "Takes consecutive numbers in one round trip.\n\n"
    "Parameters\n----------\n"
    "user_id : str, bytes or int\n    1 to 512 bytes.\n"
    "count : int\n    How many, at least 1.\n"
    "token : str, bytes or None\n"
    "    1 to 512 bytes, the message's id.  For token_ttl seconds the same\n"
    "    token gets the same range, so the call may be repeated, and the\n"
    "    cache repeats it by itself; with another ``count`` it is a\n"
    "    TokenConflict.\n"
    "timeout : float or None\n    Seconds for the whole call, instead of the "
    "cache's.\n\n"
    "Returns\n-------\nrange\n    The numbers.\n\n"
    "Raises\n------\nOutcomeUnknown, CallTimeout, ConnectError, NotASequence, "
    "SequenceOverflow,\nServerError, TokenConflict, UserIdError, ValueError";

const char operation_raise_seq_doc[] =
    "raise_seq($self, /, user_id, to, *, timeout=...)\n--\n\n"
    "Moves the sequence forward to a number, never back; atomic.\n\n"
    "Parameters\n----------\n"
    "user_id : str, bytes or int\n    1 to 512 bytes.\n"
    "to : int\n    0 to 2**63 - 1, exact.\n"
    "timeout : float or None\n    Seconds for the whole call, instead of the "
    "cache's.\n\n"
    "Returns\n-------\nint\n    The value that now holds.\n\n"
    "Raises\n------\nCallTimeout, ConnectError, NotASequence, "
    "SequenceOverflow, ServerError,\nUserIdError, ValueError";

const char operation_get_seqs_doc[] =
    "get_seqs($self, /, user_ids, *, timeout=...)\n--\n\n"
    "The numbers that were given last, for many ids.\n\n"
    "Parameters\n----------\n"
    "user_ids : iterable of str, bytes or int\n    In any order, duplicates "
    "allowed.\n"
    "timeout : float or None\n    Seconds for the whole call, instead of the "
    "cache's.\n\n"
    "Returns\n-------\nlist of int\n    In the order of the ids.\n\n"
    "Raises\n------\nBulkError\n    When only some ids failed; else the "
    "errors of `get_seq`.";

const char operation_increase_seqs_doc[] =
    "increase_seqs($self, /, user_ids, by=1, *, token=None, timeout=...)\n"
    "--\n\n"
    "Takes the next number of many ids; an id named twice counts twice.\n\n"
    "Parameters\n----------\n"
    "user_ids : iterable of str, bytes or int\n    In any order.\n"
    "by : int\n    How many numbers to take of each, at least 1.\n"
    "token : str, bytes or None\n"
    "    As in increase_seq, for each id by itself: one message's id serves\n"
    "    all members of a group, and an id named twice gets one number.\n"
    "timeout : float or None\n    Seconds for the whole call, instead of the "
    "cache's.\n\n"
    "Returns\n-------\nlist of int\n    The new values in the order of the "
    "ids.\n\n"
    "Raises\n------\nBulkError\n    With each id's own outcome, or the errors "
    "of `increase_seq`.";

const char operation_delete_doc[] =
    "_delete_key($self, /, user_id, *, timeout=...)\n--\n\n"
    "Deletes the key; was there one?";

const char operation_raise_batch_doc[] =
    "_raise_batch($self, /, pairs, *, timeout=...)\n--\n\n"
    "raise_seq for one batch of (user id, number) tuples; returns their "
    "count.";

const char operation_execute_doc[] =
    "_execute($self, /, words, *, timeout=...)\n--\n\n"
    "Any command that may be repeated; returns its reply.";

const char operation_execute_once_doc[] =
    "_execute_once($self, /, commands, connection, *, timeout=...)\n--\n\n"
    "Any commands, in one go, none repeated; returns (replies, number of the "
    "connection\nof the first of them), an exception in the place of a reply "
    "that did not come.  A\nconnection other than 0 is the only one they may "
    "travel on.";

const char operation_scan_memory_doc[] =
    "_scan_memory($self, cursor, /)\n--\n\n"
    "A page of memory://: (next cursor, list of (key bytes, number)).";
