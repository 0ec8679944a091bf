/* SPDX-License-Identifier: MIT */
/* A call and its requests.
 *
 * A *request* is one command on the wire with one reply.  A *call* is what a
 * user waits for: one request, or the n requests of a bulk.  A call is one
 * block of memory: the call, its requests, their keys.
 *
 * Owners: the reference count.  The holder (a thread in a blocking call, or
 * an awaitable) has one reference, the link has one while any request of the
 * call is unanswered.  A holder that gives up *abandons* the call: from then
 * on nobody writes into it, replies that still come are consumed and dropped.
 */
#ifndef SEQC_REQUEST_H
#define SEQC_REQUEST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define SEQC_TIME_NEVER INT64_MAX

enum seqc_op {
    SEQC_OP_GET,
    SEQC_OP_INCREASE,
    SEQC_OP_RAISE,
    SEQC_OP_DELETE,
    SEQC_OP_MGET, /* head of `span` elements: this request and those behind */
    SEQC_OP_RAW,  /* `key` holds the whole command; the reply is a tree */
    SEQC_OP_INCREASE_ONCE, /* with the token of the call */
    SEQC_OP_COUNT,
};

enum seqc_request_state {
    SEQC_REQUEST_IDLE,    /* with nobody */
    SEQC_REQUEST_UNSENT,  /* queued; not one byte of it was written */
    SEQC_REQUEST_SENT,    /* encoded; sent once its first byte is written */
    SEQC_REQUEST_DELAYED, /* the server did not run it; waits for `due_ns` */
    SEQC_REQUEST_DONE,
};

struct seqc_call;
struct seqc_epoch;
struct seqc_value;

struct seqc_request {
    struct seqc_request *next; /* in the link's list of its state */
    struct seqc_request *prev;
    struct seqc_call *call; /* back pointer, borrowed */
    const char *key;        /* borrowed from the call's block */
    int64_t amount;         /* by, or to */

    union {
        uint64_t offset; /* stream offset of the first byte, while sent */
        int64_t due_ns;  /* while delayed */
        int64_t value;   /* the result, once done */
        struct seqc_value *tree; /* of a raw command, or of a SEQC_VERDICT,
                                    once done; owned */
    } u;

    union {
        int64_t floor; /* highest number known for the key when written */
        /* durable: what it was written with; borrowed from the belief */
        const struct seqc_epoch *epoch;
    };

    uint64_t hash; /* of the key, for the table behind `floor` */
    char *error;   /* what the server refused it with last; owned, or NULL */
    uint32_t key_len;
    uint32_t span;    /* elements of an MGET head, else 1 */
    uint8_t op;       /* enum seqc_op */
    uint8_t state;    /* enum seqc_request_state */
    uint8_t status;   /* seqc_status, once done */
    uint8_t executed; /* seqc_executed, once done with an error */
    uint8_t cause;    /* seqc_status: what took the answer away */
    uint8_t attempts; /* times the server said that it did not run it */
    bool regressed;   /* the answer is below `floor` */
    bool maybe_run;   /* it was sent on a link that was lost */

    union {
        uint32_t generation; /* of the table behind `floor`, when written */
        uint32_t batch; /* durable, the first of one FCALL: how many it has */
    };

    bool in_line; /* has a place in a line of cells.h */
    bool low;     /* its cell is low, see cells.h */
};

/* Memory of calls with one short key, kept for the next one: making one is the
 * rule, not the exception.  Whoever takes from a pool and whoever gives back
 * hold one lock, the same, or are one thread.  All zero bytes is the initial
 * state. */
#define SEQC_POOL_BLOCK_BYTES 256
#define SEQC_POOL_BLOCKS_MAX  64

struct seqc_call_pool {
    struct seqc_call *spares; /* owned, linked by next_done */
    uint32_t count;
};

void seqc_call_pool_fini(struct seqc_call_pool *pool);

struct seqc_call {
    atomic_int refs;
    _Atomic uint32_t word; /* what a parked thread sleeps on, see group.h */
    uint32_t count;        /* requests */
    uint32_t waiting;      /* requests (elements) without an answer */
    bool counting;         /* increases: at most once */
    bool repeatable;       /* may be sent again after a lost link */
    bool once;             /* nor after the server said that it did not run */
    bool bound;            /* to the connection `connection`, or not at all */
    bool durable;          /* carried by server functions, see durable.h */
    bool again;            /* durable: it is sent again after a lost link */
    bool is_slow;          /* durable: some request ended without a number */
    bool uncounted;        /* its end is counted elsewhere, or is no user's */
    bool abandoned;
    bool is_away;        /* its thread is not in seqc_group_wait */
    bool timed;          /* linked in a list of deadlines */
    uint8_t shape;       /* of the result; the binding's */
    uint16_t prefix_len; /* of every key, bytes; the binding's */
    uint16_t token_len;  /* bytes; 0: no token */
    int64_t deadline_ns; /* monotonic, SEQC_TIME_NEVER for none */
    int64_t start_ns;

    union {
        uint64_t thread; /* of a blocking caller, for fork */
        void *context;   /* of a durable one in a loop; see binding/loop.h */
    };

    uint64_t connection; /* of the first tree that came, or see `bound` */
    void *owner;         /* the awaitable; see binding/loop.h */
    struct seqc_call *next_done;
    uint32_t token_ttl_s; /* how long a server remembers it */
    uint32_t heap_index; /* 1 and up in the heap of timers.h, else 0 */
    struct seqc_call *timer_next; /* see timers.h */
    struct seqc_call *timer_prev;
    struct seqc_call_pool *pool; /* borrowed; where its memory goes, or NULL */
    struct seqc_request requests[];
};

/* A call with `count` requests and `key_bytes` bytes for their keys; the
 * caller owns the only reference and fills the requests with
 * seqc_call_add_key.  NULL when out of memory. */
struct seqc_call *seqc_call_new(uint32_t count, size_t key_bytes);
/* The same for one request, from `pool` if the key is short. */
struct seqc_call *seqc_call_new_single(struct seqc_call_pool *pool,
                                       size_t key_bytes);
struct seqc_call *seqc_call_ref(struct seqc_call *call);
void seqc_call_unref(struct seqc_call *call); /* NULL is fine */

/* Puts a token before the keys, whose bytes of seqc_call_new include it; to be
 * called before seqc_call_fill. */
void
seqc_call_set_token(struct seqc_call *call, const char *token, uint16_t len);
/* Its `token_len` bytes; borrowed from the call. */
const char *seqc_call_token(const struct seqc_call *call);

/* Where the next key goes.  Used while a call is filled, in order. */
struct seqc_call_filler {
    struct seqc_call *call;
    char *end; /* one past the keys written so far */
    uint32_t filled;
};

void seqc_call_fill(struct seqc_call_filler *filler, struct seqc_call *call);
struct seqc_request *seqc_call_add_key(struct seqc_call_filler *filler,
                                       enum seqc_op op,
                                       const char *prefix,
                                       size_t prefix_len,
                                       const char *id,
                                       size_t id_len);

/* A copy of `text`, cut at 512 bytes, for `error`; NULL without memory (the
 * text is lost then, the status is not).  The caller owns it. */
char *seqc_error_dup(const char *text, size_t len);

/* Doubly linked lists of requests; a request is in at most one. */
struct seqc_list {
    struct seqc_request *head;
    struct seqc_request *tail;
};

/* The two that every request passes, twice: inline. */
static inline void
seqc_list_push(struct seqc_list *list, struct seqc_request *request)
{
    struct seqc_request *tail = list->tail;

    request->next = NULL;
    request->prev = tail;
    *(tail ? &tail->next : &list->head) = request;
    list->tail = request;
}

/* Leaves next and prev of `request` as they were. */
static inline void
seqc_list_remove(struct seqc_list *list, struct seqc_request *request)
{
    struct seqc_request *next = request->next;
    struct seqc_request *prev = request->prev;

    *(prev ? &prev->next : &list->head) = next;
    *(next ? &next->prev : &list->tail) = prev;
}

void seqc_list_push_front(struct seqc_list *list,
                          struct seqc_request *request);
/* Moves all of `from` before the head of `list`, order kept. */
void seqc_list_prepend(struct seqc_list *list, struct seqc_list *from);

#endif
