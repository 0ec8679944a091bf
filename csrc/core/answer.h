/* SPDX-License-Identifier: MIT */
/* What a reply means for the request at the head of a link's stream: done,
 * failed, or to be sent again because the server did not run it. */
#ifndef SEQC_ANSWER_H
#define SEQC_ANSWER_H

#include "core/link.h"

/* Routes the replies of the link's reader to its requests. */
struct seqc_reply_target seqc_answer_target(struct seqc_link *link);

/* How a request ends. */
struct seqc_outcome {
    seqc_status status;
    seqc_executed executed;
    seqc_status cause; /* what took the answer away, else SEQC_OK */
    const char *text;  /* copied; may be NULL */
    size_t len;
};

/* A request that was sent before, on a link that was lost, may have run then,
 * whatever becomes of its repeat: corrects an outcome that says it did not. */
void seqc_answer_doubt(const struct seqc_request *request,
                       struct seqc_outcome *outcome);

/* Ends a request that is in no list any more.
 * When it was the last of its call, the call goes to the link's done list, or
 * is let go if it was abandoned. */
void seqc_answer_finish(struct seqc_link *link,
                        struct seqc_request *request,
                        const struct seqc_outcome *outcome);

/* The same of one that went well. */
void seqc_answer_finish_good(struct seqc_link *link,
                             struct seqc_request *request);

#endif
