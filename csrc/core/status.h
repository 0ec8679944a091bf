/* SPDX-License-Identifier: MIT */
/* Statuses: what a core operation ended with.
 *
 * One table yields the codes, their names and the name of the Python
 * exception (binding/errors.c walks it), so that a status cannot be
 * half-added. */
#ifndef SEQC_STATUS_H
#define SEQC_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__GNUC__) || defined(__clang__)
#define SEQC_CHECK __attribute__((warn_unused_result))
#else
#define SEQC_CHECK
#endif

/* X(code, exception class in seqcache.errors, text) */
#define SEQC_STATUS_MAP(X)                                                    \
    X(OK, "", "done")                                                         \
    X(PENDING, "", "under way")                                               \
    X(VERDICT, "", "durable: for the state machine to go on with")            \
    X(NOMEM, "MemoryError", "out of memory")                                  \
    X(CLOSED, "ClosedError", "the cache is closed")                           \
    X(CONNECT, "ConnectError", "no connection before the deadline")           \
    X(AUTH, "AuthError", "the server refused the credentials or the right")   \
    X(TIMEOUT, "CallTimeout", "the deadline passed")                          \
    X(BUSY, "BusyError", "max_pending commands are in flight")                \
    X(UNKNOWN, "OutcomeUnknown", "the call was sent and no answer came")      \
    X(SERVER, "ServerError", "the server answered with an error")             \
    X(NOT_A_SEQUENCE, "NotASequence", "the key holds no 64-bit integer")      \
    X(OVERFLOW, "SequenceOverflow", "the sequence would pass 2^63-1")         \
    X(PROTOCOL, "ProtocolError", "the peer does not speak RESP")              \
    X(REGRESSED, "SequenceRegressed", "the server lost numbers")              \
    X(CEILING, "CeilingError", "the ceiling store grants no numbers")         \
    X(TOKEN_CONFLICT, "TokenConflict", "the token came with another amount")

typedef enum seqc_status {

#define SEQC_STATUS_ENUM(code, cls, text) SEQC_##code,
    SEQC_STATUS_MAP(SEQC_STATUS_ENUM)
#undef SEQC_STATUS_ENUM
        SEQC_STATUS_COUNT
} seqc_status;

/* Whether the server counted: the `executed` attribute of an error. */
typedef enum seqc_executed {
    SEQC_EXECUTED_NO,
    SEQC_EXECUTED_YES,
    SEQC_EXECUTED_UNKNOWN,
} seqc_executed;

/* Static strings; never NULL, also not for a number out of range. */
const char *seqc_status_name(seqc_status status);
const char *seqc_status_class(seqc_status status);
const char *seqc_status_text(seqc_status status);

/* What a server's error text means.  `not_run` says that the command was
 * certainly not executed and may be sent again after a while (LOADING,
 * READONLY, MOVED ...); `no_script` that a script must be sent in full. */
struct seqc_verdict {
    seqc_status status;
    bool not_run;
    bool no_script;
};

struct seqc_verdict seqc_error_classify(const char *text, size_t len);

#endif
