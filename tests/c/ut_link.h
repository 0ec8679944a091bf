/* SPDX-License-Identifier: MIT */
/* Calls and links for the unit programs. */
#ifndef SEQC_UT_LINK_H
#define SEQC_UT_LINK_H

#include <string.h>

#include "core/link.h"

#include "ut_check.h"

#define MS 1000000LL

/* `count` requests on the keys "k0", "k1" ...; a GET with more than one is an
 * MGET of all. */
static inline struct seqc_call *
ut_call(enum seqc_op op, uint32_t count)
{
    struct seqc_call *call = seqc_call_new(count, (size_t)count * 8);
    struct seqc_call_filler filler;
    char key[16];

    if (!call) {
        return NULL;
    }
    seqc_call_fill(&filler, call);
    for (uint32_t i = 0; i < count; i++) {
        int len = snprintf(key, sizeof key, "k%u", i);
        seqc_call_add_key(&filler, op, "", 0, key, (size_t)len)->amount = 1;
    }
    if (op == SEQC_OP_MGET) {
        call->requests[0].span = count;
    }
    call->counting = op == SEQC_OP_INCREASE || op == SEQC_OP_DELETE
        || op == SEQC_OP_INCREASE_ONCE;
    call->repeatable = !call->counting || op == SEQC_OP_INCREASE_ONCE;
    return call;
}

/* A raw command of one request, already encoded. */
static inline struct seqc_call *
ut_raw_call(const char *command)
{
    struct seqc_call *call = seqc_call_new(1, strlen(command));
    struct seqc_call_filler filler;

    if (call) {
        seqc_call_fill(&filler, call);
        seqc_call_add_key(&filler, SEQC_OP_RAW, "", 0, command,
                          strlen(command));
        call->repeatable = true;
    }
    return call;
}

/* Whether request `i` ended so. */
static inline int
ut_ended(const struct seqc_call *call,
         uint32_t i,
         seqc_status status,
         seqc_executed executed)
{
    const struct seqc_request *request = &call->requests[i];

    return request->status == status
        && (status == SEQC_OK || request->executed == executed);
}

#endif
