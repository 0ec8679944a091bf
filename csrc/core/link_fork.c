/* SPDX-License-Identifier: MIT */
/* A link in a forked child. */
#include "core/link.h"

static void
drop_foreign(struct seqc_list *list, uint64_t thread)
{
    struct seqc_request *next;

    for (struct seqc_request *request = list->head; request; request = next) {
        struct seqc_call *call = request->call;
        next = request->next;
        if (call->thread == thread) {
            continue;
        }
        seqc_list_remove(list, request);
        call->waiting -= request->span;
        call->next_done = NULL;
        if (!call->waiting) { /* the holder's reference, then the link's */
            if (!call->abandoned) {
                seqc_call_unref(call);
            }
            seqc_call_unref(call);
        }
    }
}

static void
drop_done(struct seqc_link *link, uint64_t thread)
{
    struct seqc_call *call = seqc_link_take_done(link);

    while (call) {
        struct seqc_call *next = call->next_done;
        if (call->thread != thread) {
            seqc_call_unref(call); /* the holder's */
        }
        seqc_call_unref(call);
        call = next;
    }
}

void
seqc_link_after_fork(struct seqc_link *link, uint64_t thread)
{
    drop_foreign(&link->sent, thread);
    drop_foreign(&link->unsent, thread);
    for (int i = 0; i < SEQC_DELAY_LENGTHS; i++) {
        drop_foreign(&link->delays.lists[i], thread);
    }
    drop_done(link, thread);
    seqc_link_fail(link, SEQC_CONNECT, "the process was forked");
}
