/* SPDX-License-Identifier: MIT */
#include "core/reply.h"

#include <hiredis/read.h>
#include <string.h>

#include "core/alloc.h"

#define SLICE_BYTES 4096
/* What two blocks, the value and its text, cost beside their contents. */
#define ALLOCATOR_BYTES 32

/* What the reader gets for an object that needs none. */
static char token;

static void *
refuse(struct seqc_replies *replies, seqc_status status, const char *why)
{
    replies->failure = status;
    replies->why = why;
    return NULL; /* hiredis takes it for lack of memory and stops */
}

/* ---- trees ---- */

static struct seqc_value *
attach_value(struct seqc_replies *replies,
             const redisReadTask *task,
             size_t bytes,
             enum seqc_value_type type)
{
    struct seqc_value *value = NULL;

    replies->tree_bytes += bytes + sizeof *value + ALLOCATOR_BYTES;
    if (replies->tree_bytes > replies->tree_limit) {
        return refuse(replies, SEQC_PROTOCOL, "the reply is too large");
    }
    value = seqc_calloc(1, sizeof *value);
    if (!value) {
        return refuse(replies, SEQC_NOMEM, "out of memory");
    }
    value->type = type;
    if (task->parent && task->parent->obj != &token) {
        struct seqc_value *parent = task->parent->obj;
        parent->items[task->idx] = value;
    } else {
        replies->root = value;
        replies->root_count = task->parent ? replies->count : 0;
    }
    return value;
}

static void *
add_text(struct seqc_replies *replies,
         const redisReadTask *task,
         enum seqc_value_type type,
         const char *text,
         size_t len)
{
    struct seqc_value *value = attach_value(replies, task, len, type);

    if (!value) {
        return NULL;
    }
    value->text = seqc_malloc(len + 1);
    if (!value->text) {
        return refuse(replies, SEQC_NOMEM, "out of memory");
    }
    memcpy(value->text, text, len);
    value->text[len] = '\0';
    value->len = len;
    return value;
}

static void *
add_container(struct seqc_replies *replies,
              const redisReadTask *task,
              size_t count)
{
    enum seqc_value_type type =
        task->type == REDIS_REPLY_MAP ? SEQC_VALUE_MAP : SEQC_VALUE_ARRAY;
    struct seqc_value *value =
        attach_value(replies, task, count * sizeof(void *), type);

    if (!value || !count) {
        return value;
    }
    value->items = seqc_calloc(count, sizeof *value->items);
    if (!value->items) {
        return refuse(replies, SEQC_NOMEM, "out of memory");
    }
    value->len = count;
    return value;
}

/* The tree is whole.  False: stop reading. */
static bool
deliver_tree(struct seqc_replies *replies)
{
    struct seqc_reply_target *target = &replies->target;
    struct seqc_value *tree = replies->root;

    replies->root = NULL;
    if (tree && !target->tree(target->context, tree, replies->root_count)) {
        (void)refuse(replies, SEQC_PROTOCOL, "an answer of the wrong kind");
        return false;
    }
    return true;
}

/* ---- the reader's object table ---- */

/* Whether the object is an element of the reply itself. */
static bool
is_element(const redisReadTask *task)
{
    return task->parent && !task->parent->parent;
}

/* Asks, at the root of a reply, what it is for.  False: stop reading. */
static bool
begin_reply(struct seqc_replies *replies, const redisReadTask *task)
{
    struct seqc_reply_target *target = &replies->target;

    if (replies->shape == SEQC_SHAPE_VERDICTS && is_element(task)) {
        replies->tree_limit = replies->tree_bytes + SEQC_REPLY_VERDICT_MAX;
        return deliver_tree(replies); /* the element before is whole */
    }
    if (task->parent) {
        return true;
    }
    replies->tree_bytes = 0;
    replies->is_dropped =
        task->type == REDIS_REPLY_PUSH || task->type == REDIS_REPLY_ATTR;
    if (replies->is_dropped) {
        return true;
    }
    if (!target->expect(target->context, &replies->shape, &replies->count)) {
        (void)refuse(replies, SEQC_PROTOCOL, "a reply that nobody asked for");
        return false;
    }
    /* two verdicts come as one tree */
    replies->tree_limit = replies->shape == SEQC_SHAPE_VERDICTS
                              ? 2 * SEQC_REPLY_VERDICT_MAX
                              : SEQC_REPLY_TREE_MAX;
    return true;
}

/* Whether what is no container belongs to a tree. */
static bool
is_of_tree(const struct seqc_replies *replies, const redisReadTask *task)
{
    return replies->shape == SEQC_SHAPE_TREE ||
           (replies->shape == SEQC_SHAPE_VERDICTS && task->parent &&
            task->parent->parent);
}

static void *
deliver_scalar(struct seqc_replies *replies,
               const redisReadTask *task,
               const struct seqc_scalar *scalar)
{
    struct seqc_reply_target *target = &replies->target;
    size_t index = task->parent ? (size_t)task->idx : 0;
    size_t count = task->parent ? replies->count : 0;

    if (!target->scalar(target->context, scalar, index, count)) {
        return refuse(replies, SEQC_PROTOCOL, "an answer of the wrong kind");
    }
    return &token;
}

static void *
create_string(const redisReadTask *task, char *text, size_t len)
{
    struct seqc_replies *replies = task->privdata;
    bool is_error = task->type == REDIS_REPLY_ERROR;
    struct seqc_scalar scalar = {
        .type = is_error ? SEQC_VALUE_ERROR : SEQC_VALUE_STRING,
        .text = text,
        .len = len,
    };

    /* hiredis has these two bytes in its buffer, and takes any for them */
    if (text[len] != '\r' || text[len + 1] != '\n') {
        return refuse(replies, SEQC_PROTOCOL, "a string without its end");
    }
    if (!begin_reply(replies, task)) {
        return NULL;
    }
    if (task->type == REDIS_REPLY_VERB) { /* "txt:" goes before the text */
        scalar.text += 4;
        scalar.len -= 4;
    }
    if (replies->is_dropped) {
        return &token;
    }
    if (is_of_tree(replies, task)) {
        return add_text(replies, task, scalar.type, scalar.text, scalar.len);
    }
    scalar.is_integer =
        !is_error &&
        seqc_parse_integer(scalar.text, scalar.len, &scalar.integer);
    return deliver_scalar(replies, task, &scalar);
}

static int
task_depth(const redisReadTask *task)
{
    int depth = 0;

    for (; task->parent; task = task->parent) {
        depth++;
    }
    return depth;
}

/* An array where verdicts are due: of one for each call, or one for all. */
static void *
begin_verdicts(struct seqc_replies *replies,
               const redisReadTask *task,
               size_t count)
{
    if (task->parent) {
        return add_container(replies, task, count);
    }
    if (count == replies->count && count > 2) {
        return &token;
    }
    replies->shape = SEQC_SHAPE_TREE;
    return add_container(replies, task, count);
}

static void *
create_array(const redisReadTask *task, size_t count)
{
    struct seqc_replies *replies = task->privdata;

    if (task_depth(task) >= SEQC_REPLY_DEPTH_MAX) {
        return refuse(replies, SEQC_PROTOCOL, "the reply nests too deep");
    }
    /* hiredis counts them as elements, which shifts all that follow. */
    if (task->parent &&
        (task->type == REDIS_REPLY_ATTR || task->type == REDIS_REPLY_PUSH)) {
        return refuse(replies, SEQC_PROTOCOL, "a push within a reply");
    }
    if (!begin_reply(replies, task)) {
        return NULL;
    }
    if (replies->is_dropped) {
        return &token;
    }
    if (replies->shape == SEQC_SHAPE_TREE) {
        return add_container(replies, task, count);
    }
    if (replies->shape == SEQC_SHAPE_VERDICTS) {
        return begin_verdicts(replies, task, count);
    }
    if (replies->shape == SEQC_SHAPE_SCALAR || task->parent ||
        count != replies->count) {
        return refuse(replies,
                      SEQC_PROTOCOL,
                      "an array where none belongs, or of a wrong length");
    }
    return &token;
}

/* What is neither text nor a container. */
static void *
create_plain(const redisReadTask *task, struct seqc_scalar scalar, double real)
{
    struct seqc_replies *replies = task->privdata;
    struct seqc_value *value;

    if (!begin_reply(replies, task)) {
        return NULL;
    }
    if (replies->is_dropped) {
        return &token;
    }
    if (!is_of_tree(replies, task)) {
        return deliver_scalar(replies, task, &scalar);
    }
    value = attach_value(replies, task, 0, scalar.type);
    if (value) {
        value->integer = scalar.integer;
        value->real = real;
    }
    return value;
}

static void *
create_integer(const redisReadTask *task, long long integer)
{
    struct seqc_scalar scalar = {SEQC_VALUE_INTEGER, integer, true, "", 0};

    return create_plain(task, scalar, 0);
}

static void *
create_double(const redisReadTask *task, double real, char *text, size_t len)
{
    struct seqc_scalar scalar = {SEQC_VALUE_DOUBLE, 0, false, text, len};

    return create_plain(task, scalar, real);
}

static void *
create_nil(const redisReadTask *task)
{
    struct seqc_scalar scalar = {SEQC_VALUE_NIL, 0, false, "", 0};

    return create_plain(task, scalar, 0);
}

static void *
create_bool(const redisReadTask *task, int truth)
{
    struct seqc_scalar scalar = {SEQC_VALUE_BOOL, truth, false, "", 0};

    return create_plain(task, scalar, 0);
}

/* Trees are freed through `root`: hiredis would free only what is whole. */
static void
free_object(void *object)
{
    (void)object;
}

static redisReplyObjectFunctions object_table = {
    create_string,
    create_array,
    create_integer,
    create_double,
    create_nil,
    create_bool,
    free_object,
};

/* ---- reading ---- */

seqc_status
seqc_replies_init(struct seqc_replies *replies,
                  struct seqc_reply_target target)
{
    *replies = (struct seqc_replies){.target = target};
    return seqc_replies_reset(replies);
}

static void
drop_tree(struct seqc_replies *replies)
{
    seqc_value_free(replies->root);
    replies->root = NULL;
}

void
seqc_replies_fini(struct seqc_replies *replies)
{
    if (replies->reader) {
        redisReaderFree(replies->reader);
        replies->reader = NULL;
    }
    drop_tree(replies);
}

seqc_status
seqc_replies_reset(struct seqc_replies *replies)
{
    seqc_replies_fini(replies);
    replies->failure = SEQC_OK;
    replies->why = NULL;
    replies->reader = redisReaderCreateWithFunctions(&object_table);
    if (!replies->reader) {
        return SEQC_NOMEM;
    }
    replies->reader->privdata = replies;
    replies->reader->maxbuf = 0; /* keep the buffer: bulks fill it again */
    replies->reader->maxelements = SEQC_REPLY_ELEMENTS_MAX;
    return SEQC_OK;
}

static seqc_status
reader_failure(struct seqc_replies *replies)
{
    if (!replies->failure) {
        bool oom = replies->reader->err == REDIS_ERR_OOM;
        (void)refuse(replies,
                     oom ? SEQC_NOMEM : SEQC_PROTOCOL,
                     replies->reader->errstr);
    }
    return replies->failure;
}

static seqc_status
feed_slice(struct seqc_replies *replies, const char *data, size_t len)
{
    redisReader *reader = replies->reader;
    void *object = NULL;

    if (redisReaderFeed(reader, data, len) != REDIS_OK) {
        return reader_failure(replies);
    }
    do {
        object = NULL;
        if (redisReaderGetReply(reader, &object) != REDIS_OK) {
            return reader_failure(replies);
        }
        if (object && !deliver_tree(replies)) {
            return replies->failure;
        }
    } while (object);
    if (reader->len - reader->pos > SEQC_REPLY_BYTES_MAX) {
        (void)refuse(replies, SEQC_PROTOCOL, "a line or string is too long");
        return SEQC_PROTOCOL;
    }
    return SEQC_OK;
}

/* ---- plain numbers, without the reader ---- */

/* Takes the plain numbers at the front: nearly all that ever comes, at a
 * third of what the reader takes.  Returns where they end. */
static const char *
take_numbers(struct seqc_replies *replies, const char *at, const char *end)
{
    const struct seqc_reply_target *target = &replies->target;
    enum seqc_value_type type;
    bool is_string;
    int64_t value;

    for (;;) {
        const char *next = seqc_read_number(at, end, &is_string, &value);
        type = is_string ? SEQC_VALUE_STRING : SEQC_VALUE_INTEGER;
        if (next && !target->number(target->context, type, value)) {
            return at;
        }
        next = next ? next : target->numbers(target->context, at, end);
        if (!next) {
            return at;
        }
        at = next;
    }
}

/* Asked once too often it begins an item, and has not read its type. */
static bool
is_between_replies(const redisReader *reader)
{
    return reader->pos == reader->len &&
           (reader->ridx == -1 ||
            (reader->ridx == 0 && reader->task[0]->type == -1));
}

seqc_status
seqc_replies_feed(struct seqc_replies *replies, const char *data, size_t len)
{
    const char *end = data + len;
    seqc_status status = SEQC_OK;

    if (!replies->reader || replies->failure) {
        return replies->failure ? replies->failure : SEQC_NOMEM;
    }
    while (data < end && !status) {
        if (replies->target.number && is_between_replies(replies->reader)) {
            data = take_numbers(replies, data, end);
        }
        /* hiredis moves the rest of its buffer to the front after every KB
         * that it parsed: small slices keep that rest small. */
        size_t left = (size_t)(end - data);
        size_t slice = left < SLICE_BYTES ? left : SLICE_BYTES;
        if (slice) {
            status = feed_slice(replies, data, slice);
            data += slice;
        }
    }
    return status;
}
