/* SPDX-License-Identifier: MIT */
#include "core/delay.h"

#define DELAY_FIRST_NS 10000000

static uint64_t
mix_bits(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15u;
    return x ^ (x >> 29);
}

/* The list of a request that was tried `attempts` times before. */
static unsigned
length_after(unsigned attempts)
{
    return attempts < SEQC_DELAY_LENGTHS ? attempts : SEQC_DELAY_LENGTHS - 1;
}

int64_t
seqc_delays_due_ns(const struct seqc_delays *delays,
                   const struct seqc_request *request,
                   int64_t now_ns)
{
    unsigned length = length_after(request->attempts);
    const struct seqc_request *last = delays->lists[length].tail;
    int64_t half = (int64_t)DELAY_FIRST_NS << length >> 1;
    /* By link and moment: what one read refused is tried together. */
    uint64_t chance = mix_bits((uint64_t)now_ns ^ (uint64_t)(uintptr_t)delays);
    int64_t due = now_ns + half + (int64_t)(chance % (uint64_t)half);

    return last && last->u.due_ns > due ? last->u.due_ns : due;
}

void
seqc_delays_add(struct seqc_delays *delays,
                struct seqc_request *request,
                int64_t due_ns)
{
    seqc_list_push(&delays->lists[length_after(request->attempts)], request);
    request->attempts++;
    request->u.due_ns = due_ns;
    request->state = SEQC_REQUEST_DELAYED;
}

void
seqc_delays_remove(struct seqc_delays *delays, struct seqc_request *request)
{
    unsigned length = length_after(request->attempts - 1u);

    seqc_list_remove(&delays->lists[length], request);
}

static struct seqc_request *
find_earliest(const struct seqc_delays *delays)
{
    struct seqc_request *earliest = NULL;

    for (unsigned i = 0; i < SEQC_DELAY_LENGTHS; i++) {
        struct seqc_request *head = delays->lists[i].head;
        if (head && (!earliest || head->u.due_ns < earliest->u.due_ns)) {
            earliest = head;
        }
    }
    return earliest;
}

int64_t
seqc_delays_earliest(const struct seqc_delays *delays)
{
    const struct seqc_request *earliest = find_earliest(delays);

    return earliest ? earliest->u.due_ns : SEQC_TIME_NEVER;
}

struct seqc_request *
seqc_delays_expired(struct seqc_delays *delays, int64_t now_ns)
{
    struct seqc_request *earliest = find_earliest(delays);

    if (!earliest || earliest->u.due_ns > now_ns) {
        return NULL;
    }
    seqc_delays_remove(delays, earliest);
    return earliest;
}
