/* SPDX-License-Identifier: MIT */
#include "binding/once.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/park.h"
#include "core/script.h"

static void
tell_conflict(struct seqc_request *request)
{
    char text[48];
    int len = snprintf(text,
                       sizeof text,
                       "%s %" PRId64,
                       SEQC_TOKEN_CONFLICT_WORD,
                       request->u.value);

    request->error = seqc_error_dup(text, (size_t)len);
}

seqc_status
once_run(struct seqc_once *once,
         seqc_status (*increase)(void *context, int64_t *out_seq),
         void *context,
         struct seqc_request *request)
{
    const struct seqc_call *call = request->call;
    struct seqc_once_call work = {
        .key = request->key,
        .len = request->key_len,
        .token = seqc_call_token(call),
        .token_len = call->token_len,
        .by = request->amount,
        .now_ns = seqc_now_ns(),
        .ttl_ns = call->token_ttl_s * INT64_C(1000000000),
        .increase = increase,
        .context = context,
    };
    seqc_status status = seqc_once_increase(once, &work, &request->u.value);

    if (status == SEQC_TOKEN_CONFLICT) {
        tell_conflict(request);
    }
    return status;
}
