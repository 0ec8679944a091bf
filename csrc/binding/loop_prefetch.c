/* SPDX-License-Identifier: MIT */
#include "binding/loop_connect.h"

#ifdef __GNUC__
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

/* With a thousand calls in flight whatever a wake-up touches has left the
 * nearest caches.  What belongs to the next few is fetched while one runs, a
 * pointer further at each step: call, awaitable, its callback, the task. */
void
loop_prefetch(const struct seqc_call *call)
{
    PyObject *callback;

    if (!call) {
        return;
    }
    if (call->owner) {
        callback = awaitable_callback(call->owner); // borrowed
        if (callback && PyCFunction_CheckExact(callback)) {
            PREFETCH(PyCFunction_GET_SELF(callback));
            PREFETCH((char *)PyCFunction_GET_SELF(callback) + 64);
        }
    }
    call = call->next_done;
    if (!call) {
        return;
    }
    if (call->owner) {
        PREFETCH(awaitable_callback(call->owner));
    }
    call = call->next_done;
    if (!call) {
        return;
    }
    if (call->owner) {
        PREFETCH((char *)call->owner - 16);
        PREFETCH((char *)call->owner + 48);
    }
    call = call->next_done;
    if (call) {
        PREFETCH(call);
        PREFETCH((char *)call + 64);
        PREFETCH((char *)call + 128);
        PREFETCH((char *)call + 192);
    }
}
