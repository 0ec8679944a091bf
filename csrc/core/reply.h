/* SPDX-License-Identifier: MIT */
/* Bytes from the server -> replies, through hiredis's redisReader with an
 * object table of ours that builds no tree for the hot commands.
 *
 * The receiver names, before each reply, what the reply is for: a scalar (one
 * integer, string, nil or error), the elements of an MGET, or a tree. */
#ifndef SEQC_REPLY_H
#define SEQC_REPLY_H

#include <stdint.h>

#include "core/number.h"
#include "core/status.h"

/* A reply as a tree, for everything rare. */
enum seqc_value_type {
    SEQC_VALUE_NIL,
    SEQC_VALUE_INTEGER,
    SEQC_VALUE_STRING, /* bulk, simple or verbatim string, big number */
    SEQC_VALUE_ERROR,
    SEQC_VALUE_DOUBLE,
    SEQC_VALUE_BOOL,
    SEQC_VALUE_ARRAY, /* and set */
    SEQC_VALUE_MAP,   /* keys and values in turn */
};

typedef struct seqc_value seqc_value;

struct seqc_value {
    enum seqc_value_type type;
    int64_t integer; /* of an integer or a bool */
    double real;
    char *text;                /* owned, NUL behind the last byte */
    size_t len;                /* bytes of text, or items */
    struct seqc_value **items; /* owned; an item is NULL until it came */
};

void seqc_value_free(struct seqc_value *value); /* NULL is fine */

/* One scalar of the hot path. */
struct seqc_scalar {
    enum seqc_value_type type; /* none of ARRAY and MAP */
    int64_t integer;           /* also of a string that is a 64-bit integer */
    bool is_integer;
    const char *text; /* borrowed while the callback runs */
    size_t len;
};

enum seqc_reply_shape {
    SEQC_SHAPE_SCALAR,
    SEQC_SHAPE_ELEMENTS, /* `count` scalars */
    SEQC_SHAPE_TREE,
    SEQC_SHAPE_VERDICTS, /* a scalar; or `count` (3 and more) scalars and
                            arrays, which come as trees; or another array, as
                            a whole */
};

/* Who gets the parts of a reply.  `expect` is asked when a reply begins and
 * says what must come (false: nobody waits for one, an error of the peer);
 * `scalar` gets the scalar, or element `index` of `count` (`count` 0: the
 * scalar is the whole reply), and says whether it is of a kind that may
 * answer (false: the peer is broken); `tree` does so with a tree, which it
 * owns: the whole reply (`count` 0) or the next of `count` elements.
 * `number` (may be NULL) is offered a reply that is nothing but one plain
 * number, an integer or a string, before anything else is asked; false: it is
 * read in the ordinary way.  `numbers` is offered what may be an array of
 * such, and returns where it ends, NULL as `number` false. */
struct seqc_reply_target {
    bool (*expect)(void *context,
                   enum seqc_reply_shape *out_shape,
                   size_t *out_count);
    bool (*scalar)(void *context,
                   const struct seqc_scalar *scalar,
                   size_t index,
                   size_t count);
    bool (*tree)(void *context, struct seqc_value *value, size_t count);
    bool (*number)(void *context, enum seqc_value_type type, int64_t value);
    const char *(*numbers)(void *context, const char *at, const char *end);
    void *context;
};

/* Caps on what a peer may make us hold. */
#define SEQC_REPLY_ELEMENTS_MAX (1 << 20)
#define SEQC_REPLY_DEPTH_MAX    8
#define SEQC_REPLY_BYTES_MAX    (1 << 20) /* of one part not yet complete */
#define SEQC_REPLY_TREE_MAX     (64 << 20)
#define SEQC_REPLY_VERDICT_MAX  (4 << 10) /* each, of a batch */

struct seqc_replies {
    struct redisReader *reader; /* owned */
    struct seqc_reply_target target;
    enum seqc_reply_shape shape;
    bool is_dropped;         /* a push message, or attributes before a reply */
    size_t count;            /* elements expected, then announced */
    size_t tree_bytes;       /* memory of the trees of the reply */
    size_t tree_limit;       /* which they may reach so far */
    struct seqc_value *root; /* tree being built, owned */
    size_t root_count;       /* it is one of so many, 0: the whole reply */
    seqc_status failure;
    const char *why; /* static text behind `failure` */
};

seqc_status seqc_replies_init(struct seqc_replies *replies,
                              struct seqc_reply_target target) SEQC_CHECK;
void seqc_replies_fini(struct seqc_replies *replies);

/* Forgets everything read: for a new connection. */
seqc_status seqc_replies_reset(struct seqc_replies *replies) SEQC_CHECK;

/* Consumes all of `data`; the target gets each complete reply.  PROTOCOL with
 * `why` set when the peer does not speak RESP; nothing can be read after
 * it. */
seqc_status seqc_replies_feed(struct seqc_replies *replies,
                              const char *data,
                              size_t len) SEQC_CHECK;

#endif
