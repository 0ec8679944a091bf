/* SPDX-License-Identifier: MIT */
#include "core/reply.h"

#include <string.h>

#include "ut_check.h"

/* What the target got, written as text: one line for each part. */
static char seen[8192];
static size_t seen_len;
static enum seqc_reply_shape wanted = SEQC_SHAPE_TREE;
static size_t wanted_count;
static int owed; /* replies that are waited for */
static struct seqc_replies replies;

static void
note(const char *text, size_t len)
{
    CHECK(seen_len + len < sizeof seen);
    memcpy(seen + seen_len, text, len);
    seen_len += len;
    seen[seen_len] = '\0';
}

static void
note_number(int64_t value)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%lld", (long long)value);

    note(text, (size_t)len);
}

static void
note_value(const struct seqc_value *value)
{
    static const char *const names[] = {"nil", "int ", "str ", "err ",
                                        "double ", "bool ", "[", "{"};

    note(names[value->type], strlen(names[value->type]));
    switch (value->type) {
    case SEQC_VALUE_NIL:
        break;
    case SEQC_VALUE_INTEGER:
    case SEQC_VALUE_BOOL:
        note_number(value->integer);
        break;
    case SEQC_VALUE_STRING:
    case SEQC_VALUE_ERROR:
        CHECK(value->text[value->len] == '\0');
        note(value->text, value->len);
        break;
    case SEQC_VALUE_DOUBLE:
        note_number((int64_t)(value->real * 100));
        break;
    case SEQC_VALUE_ARRAY:
    case SEQC_VALUE_MAP:
        for (size_t i = 0; i < value->len; i++) {
            note_value(value->items[i]);
            note(i + 1 < value->len ? "," : "", i + 1 < value->len);
        }
        note(value->type == SEQC_VALUE_MAP ? "}" : "]", 1);
        break;
    }
}

static bool
expect(void *context, enum seqc_reply_shape *out_shape, size_t *out_count)
{
    (void)context;
    *out_shape = wanted;
    *out_count = wanted_count;
    return owed-- > 0;
}

static bool
take_scalar(void *context,
            const struct seqc_scalar *scalar,
            size_t index,
            size_t count)
{
    (void)context;
    CHECK(count == 0 || (count == wanted_count && index < count));
    if (scalar->type == SEQC_VALUE_DOUBLE) {
        return false;
    }
    note_number((int64_t)index);
    note(scalar->is_integer ? "=" : ":", 1);
    if (scalar->is_integer) {
        note_number(scalar->integer);
    }
    else {
        note(scalar->text, scalar->len);
    }
    note(";", 1);
    return true;
}

static bool
take_tree(void *context, struct seqc_value *value, size_t count)
{
    bool good = value->type != SEQC_VALUE_STRING || strcmp(value->text, "bad");

    (void)context;
    CHECK(count == 0 || count == wanted_count);
    note(count ? "+" : "", count != 0);
    note_value(value);
    note(";", 1);
    seqc_value_free(value);
    return good;
}

static bool takes_numbers; /* offered ones, without a question */
static size_t numbers_taken;

static bool
take_number(void *context, enum seqc_value_type type, int64_t value)
{
    struct seqc_scalar scalar = {
        .type = type, .integer = value, .is_integer = true};

    if (!takes_numbers || wanted != SEQC_SHAPE_SCALAR || owed <= 0) {
        return false;
    }
    CHECK(type == SEQC_VALUE_INTEGER || type == SEQC_VALUE_STRING);
    owed--;
    numbers_taken++;
    return take_scalar(context, &scalar, 0, 0);
}

static const char *
take_numbers(void *context, const char *at, const char *end)
{
    int64_t values[3];

    if (!takes_numbers || wanted != SEQC_SHAPE_VERDICTS || owed <= 0
        || !(at = seqc_read_numbers(at, end, wanted_count, values))) {
        return NULL;
    }
    owed--;
    for (size_t i = 0; i < wanted_count; i++) {
        struct seqc_scalar scalar = {
            .type = SEQC_VALUE_INTEGER, .integer = values[i],
            .is_integer = true};
        numbers_taken++;
        CHECK(take_scalar(context, &scalar, i, wanted_count));
    }
    return at;
}

static void
start(enum seqc_reply_shape shape, size_t count)
{
    wanted = shape;
    wanted_count = count;
    owed = 1000000;
    seen_len = 0;
    seen[0] = '\0';
    CHECK(!seqc_replies_reset(&replies));
}

static seqc_status
feed(const char *data, size_t len)
{
    /* a block of its own size, so that ASan sees a byte too far */
    char *copy = malloc(len + !len);

    memcpy(copy, data, len);
    seqc_status status = seqc_replies_feed(&replies, copy, len);
    free(copy);
    return status;
}

/* Fed whole, byte by byte, and cut in two at every byte. */
static void
check_reply(enum seqc_reply_shape shape,
            size_t count,
            const char *data,
            const char *expected)
{
    size_t len = strlen(data);

    for (size_t i = 0; i <= len * 2 + 1; i++) {
        size_t cut = i / 2;
        takes_numbers = i % 2; /* what is seen is the same */
        start(shape, count);
        CHECK(!feed(data, cut));
        CHECK(!feed(data + cut, len - cut));
        CHECK(strcmp(seen, expected) == 0);
    }
    start(shape, count);
    for (size_t i = 0; i < len; i++) {
        CHECK(!feed(data + i, 1));
    }
    CHECK(strcmp(seen, expected) == 0);
}

static void
check_refused(enum seqc_reply_shape shape, size_t count, const char *data)
{
    for (size_t i = 0; i <= strlen(data) * 2 + 1; i++) {
        size_t cut = i / 2;
        takes_numbers = i % 2;
        start(shape, count);
        seqc_status status = feed(data, cut);
        status = status ? status : feed(data + cut, strlen(data) - cut);
        CHECK(status == SEQC_PROTOCOL);
        CHECK(replies.why && replies.why[0]);
        /* nothing can be read after it */
        CHECK(feed(":1\r\n", 4) == SEQC_PROTOCOL);
    }
}

static void
every_type_becomes_a_tree(void)
{
    check_reply(SEQC_SHAPE_TREE, 0,
                ":-5\r\n+OK\r\n-ERR no\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n_\r\n"
                ",1.25\r\n#t\r\n#f\r\n(123456789012345678901\r\n"
                "=7\r\ntxt:abc\r\n$0\r\n\r\n*0\r\n%0\r\n",
                "int -5;str OK;err ERR no;str a\r\n;nil;nil;nil;double 125;"
                "bool 1;bool 0;str 123456789012345678901;str abc;str ;[];{};");
    check_reply(SEQC_SHAPE_TREE, 0,
                "*3\r\n:1\r\n%1\r\n+k\r\n~2\r\n:1\r\n$1\r\nx\r\n$-1\r\n",
                "[int 1,{str k,[int 1,str x]},nil];");
}

static void
scalars_need_no_tree(void)
{
    check_reply(SEQC_SHAPE_SCALAR, 0,
                ":9223372036854775807\r\n$2\r\n42\r\n$-1\r\n+no\r\n-ERR x\r\n"
                "$20\r\n-9223372036854775808\r\n$19\r\n9223372036854775808\r\n"
                "$2\r\n-0\r\n$2\r\n01\r\n$0\r\n\r\n$1\r\n-\r\n$2\r\n1 \r\n",
                "0=9223372036854775807;0=42;0:;0:no;0:ERR x;"
                "0=-9223372036854775808;0:9223372036854775808;0:-0;0:01;0:;"
                "0:-;0:1 ;");
}

/* How many of the replies are taken without the reader; the rest, and all
 * behind the first of them, go through it. */
static void
check_short_way(const char *data, size_t count)
{
    takes_numbers = true;
    numbers_taken = 0;
    start(SEQC_SHAPE_SCALAR, 0);
    CHECK(!feed(data, strlen(data)));
    CHECK(numbers_taken == count);
}

static void
plain_numbers_take_the_short_way(void)
{
    check_short_way(":1\r\n:0\r\n:999999999999999999\r\n$1\r\n7\r\n"
                    "$18\r\n123456789012345678\r\n", 5);
    check_short_way(":1\r\n:1000000000000000000\r\n:2\r\n", 1);
    check_short_way(":-1\r\n", 0);
    check_short_way("$2\r\n-1\r\n", 0);
    check_short_way("$2\r\n01\r\n", 0);
    check_short_way("$2\r\n1 \r\n", 0);
    check_short_way("$4\r\n1\r\n2\r\n", 0); /* "1\r\n2" is one string */
    check_short_way("$-1\r\n", 0);
    check_short_way("+1\r\n", 0);
    check_short_way(":12", 0);
    takes_numbers = true; /* of the array nothing is offered */
    numbers_taken = 0;
    start(SEQC_SHAPE_ELEMENTS, 1);
    CHECK(!feed("*1\r\n", 4));
    wanted = SEQC_SHAPE_SCALAR;
    CHECK(!feed("$1\r\n7\r\n:2\r\n", 11) && !numbers_taken);
}

/* Three numbers are due. */
static void
check_array(const char *data, size_t taken)
{
    takes_numbers = true;
    numbers_taken = 0;
    start(SEQC_SHAPE_VERDICTS, 3);
    CHECK(!feed(data, strlen(data)));
    CHECK(numbers_taken == taken);
}

static void
plain_arrays_take_the_short_way(void)
{
    check_array("*3\r\n:1\r\n:0\r\n:999999999999999999\r\n", 3);
    CHECK(!strcmp(seen, "0=1;1=0;2=999999999999999999;"));
    check_array("*3\r\n:1\r\n:2\r\n:3\r\n*3\r\n:4\r\n:5\r\n:6\r\n", 6);
    check_array("*3\r\n:1\r\n:1000000000000000000\r\n:3\r\n", 0);
    CHECK(!strcmp(seen, "0=1;1=1000000000000000000;2=3;"));
    check_array("*3\r\n:1\r\n*1\r\n+x\r\n:3\r\n*3\r\n:4\r\n:5\r\n:6\r\n", 0);
    CHECK(!strcmp(seen, "0=1;+[str x];2=3;0=4;1=5;2=6;"));
    check_array("*2\r\n:1\r\n:2\r\n", 0);
    check_array("*3\r\n:1\r\n:2\r\n:3", 0);
    check_array("*3\r\n:1\r\n", 0);
    check_array("*3\r\n", 0);
    check_array("*3", 0);
    check_array("*3\r\n$1\r\n1\r\n:2\r\n:3\r\n", 0);
}

static void
elements_come_with_their_index(void)
{
    check_reply(SEQC_SHAPE_ELEMENTS, 3, "*3\r\n$1\r\n7\r\n$-1\r\n+x\r\n",
                "0=7;1:;2:x;");
    check_reply(SEQC_SHAPE_ELEMENTS, 3, "-LOADING\r\n", "0:LOADING;");
}

static void
verdicts_are_numbers_with_trees_among_them(void)
{
    check_reply(SEQC_SHAPE_VERDICTS, 3,
                "*3\r\n:7\r\n*3\r\n$3\r\nlow\r\n:8\r\n*1\r\n+x\r\n"
                ":9\r\n*3\r\n*1\r\n:1\r\n*0\r\n*1\r\n+y\r\n-ERR z\r\n",
                "0=7;+[str low,int 8,[str x]];2=9;"
                "+[int 1];+[];+[str y];0:ERR z;");
    check_reply(SEQC_SHAPE_VERDICTS, 3,
                "*2\r\n$5\r\nepoch\r\n$1\r\ne\r\n*0\r\n"
                "*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n",
                "[str epoch,str e];[];[int 1,int 2,int 3,int 4];");
    check_reply(SEQC_SHAPE_VERDICTS, 2, "*2\r\n:1\r\n*1\r\n+x\r\n",
                "[int 1,[str x]];");
    check_reply(SEQC_SHAPE_VERDICTS, 1, ":1\r\n*1\r\n+x\r\n:2\r\n",
                "0=1;[str x];0=2;");
    check_reply(SEQC_SHAPE_VERDICTS, 3,
                ">2\r\n+a\r\n*1\r\n+b\r\n*3\r\n*1\r\n+c\r\n:2\r\n:3\r\n",
                "+[str c];1=2;2=3;");
    check_refused(SEQC_SHAPE_VERDICTS, 3, "*3\r\n:1\r\n,1.5\r\n:2\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "+bad\r\n");
}

static void
pushes_and_attributes_are_dropped(void)
{
    check_reply(SEQC_SHAPE_SCALAR, 0,
                ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n:1\r\n"
                "|1\r\n+ttl\r\n:3600\r\n:2\r\n>0\r\n:3\r\n",
                "0=1;0=2;0=3;");
    check_reply(SEQC_SHAPE_TREE, 0, ">1\r\n%1\r\n+a\r\n_\r\n+OK\r\n",
                "str OK;");
    CHECK(owed == 1000000 - 1);
}

static void
array_of_a_wrong_length_is_refused(void)
{
    check_refused(SEQC_SHAPE_ELEMENTS, 3, "*2\r\n:1\r\n:2\r\n");
    check_refused(SEQC_SHAPE_ELEMENTS, 3, "*4\r\n");
    check_refused(SEQC_SHAPE_ELEMENTS, 3, "*3\r\n*0\r\n");
    check_refused(SEQC_SHAPE_SCALAR, 0, "*1\r\n:1\r\n");
    check_refused(SEQC_SHAPE_SCALAR, 0, ",1.5\r\n");
}

/* hiredis counts a nested attribute as an element: the last element would be
 * taken for the next reply. */
static void
attribute_within_a_reply_is_refused(void)
{
    check_refused(SEQC_SHAPE_TREE, 0, "*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "*2\r\n>1\r\n+a\r\n:1\r\n:2\r\n");
    check_refused(SEQC_SHAPE_SCALAR, 0, ">2\r\n|1\r\n+a\r\n+b\r\n:1\r\n");
}

static void
garbage_is_refused(void)
{
    check_refused(SEQC_SHAPE_TREE, 0, "HTTP/1.1 400 Bad Request\r\n\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, ":\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, ":12a\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, ":9223372036854775808\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "$x\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "$-2\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "$1\r\nab\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "=3\r\nabc\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "=4\r\nabcd\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "#x\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "*-2\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "%-2\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "*2147483648\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "%9223372036854775807\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "*18446744073709551616\r\n");
    check_refused(SEQC_SHAPE_TREE, 0, "$18446744073709551616\r\n");
}

/* Returns what the peer's bytes, repeated until `total`, end in. */
static seqc_status
feed_repeatedly(const char *piece, size_t total)
{
    char block[4096];
    size_t len = strlen(piece);
    size_t many = sizeof block / len;
    seqc_status status = SEQC_OK;

    for (size_t i = 0; i < many; i++) {
        memcpy(block + i * len, piece, len);
    }
    for (size_t fed = 0; fed < total && !status; fed += many * len) {
        status = feed(block, many * len);
    }
    return status;
}

static void
what_a_peer_can_make_us_hold_is_bounded(void)
{
    start(SEQC_SHAPE_TREE, 0); /* announced, not sent */
    CHECK(!feed("$2147483647\r\n", 13));
    CHECK(ut_largest < 1 << 20);
    CHECK(feed_repeatedly("x", 64 << 20) == SEQC_PROTOCOL);
    CHECK(ut_largest < 8 << 20);
    start(SEQC_SHAPE_TREE, 0); /* an endless line */
    CHECK(!feed("+", 1));
    CHECK(feed_repeatedly("x", 64 << 20) == SEQC_PROTOCOL);
    CHECK(ut_largest < 8 << 20);
    start(SEQC_SHAPE_TREE, 0);
    CHECK(feed_repeatedly("*1\r\n", 400000) == SEQC_PROTOCOL);
    start(SEQC_SHAPE_SCALAR, 0);
    CHECK(feed_repeatedly(">1\r\n", 400000) == SEQC_PROTOCOL);
    start(SEQC_SHAPE_TREE, 0); /* arrays in arrays, all of them huge */
    CHECK(feed_repeatedly("*1000000\r\n", 400000) == SEQC_PROTOCOL);
    CHECK(ut_largest <= SEQC_REPLY_TREE_MAX);
    start(SEQC_SHAPE_TREE, 0); /* elements that cost more than they weigh */
    CHECK(!feed("*1048576\r\n", 10));
    CHECK(feed_repeatedly("$0\r\n\r\n", 64 << 20) == SEQC_PROTOCOL);
    CHECK(!seqc_replies_reset(&replies));
}

/* Feeds `before`, and a verdict of so many empty strings, 88 bytes each. */
static seqc_status
feed_verdict(const char *before, int count)
{
    char data[4096];
    char *end = data + sprintf(data, "%s*%d\r\n", before, count);

    for (int i = 0; i < count; i++) {
        memcpy(end, "$0\r\n\r\n", 6);
        end += 6;
    }
    return feed(data, (size_t)(end - data));
}

static void
verdicts_are_small(void)
{
    takes_numbers = false;
    start(SEQC_SHAPE_VERDICTS, 3);
    CHECK(!feed_verdict("*3\r\n:1\r\n", 40));
    CHECK(!feed_verdict("", 40)); /* each for itself */
    start(SEQC_SHAPE_VERDICTS, 3);
    CHECK(feed_verdict("*3\r\n:1\r\n", 50) == SEQC_PROTOCOL);
    start(SEQC_SHAPE_VERDICTS, 3);
    CHECK(!feed_verdict("*3\r\n:1\r\n", 40));
    CHECK(feed_verdict("", 50) == SEQC_PROTOCOL);
    start(SEQC_SHAPE_VERDICTS, 2); /* both come as one tree */
    CHECK(!feed_verdict("*2\r\n", 40) && !feed_verdict("", 40));
    start(SEQC_SHAPE_VERDICTS, 1);
    CHECK(feed_verdict("", 100) == SEQC_PROTOCOL);
    start(SEQC_SHAPE_TREE, 0);
    CHECK(!feed_verdict("", 200));
    start(SEQC_SHAPE_VERDICTS, 3); /* but the last one's was larger */
    CHECK(feed_verdict("", 100) == SEQC_PROTOCOL);
}

static void
reply_that_nobody_asked_for_is_refused(void)
{
    start(SEQC_SHAPE_SCALAR, 0);
    owed = 1;
    CHECK(feed(":1\r\n:2\r\n", 8) == SEQC_PROTOCOL);
    CHECK(strcmp(seen, "0=1;") == 0);
    start(SEQC_SHAPE_SCALAR, 0);
    owed = 0;
    CHECK(!feed(">1\r\n+x\r\n", 8)); /* pushes always may */
    CHECK(feed("*1\r\n", 4) == SEQC_PROTOCOL);
}

static void
reset_forgets_half_a_reply(void)
{
    start(SEQC_SHAPE_TREE, 0);
    CHECK(!feed("*2\r\n$3\r\nabc\r\n$5\r\nab", 20));
    start(SEQC_SHAPE_TREE, 0);
    CHECK(!feed(":1\r\n", 4));
    CHECK(strcmp(seen, "int 1;") == 0);
}

static void
without_memory_it_says_so(void)
{
    static const char data[] =
        "*3\r\n:1\r\n%1\r\n+k\r\n*2\r\n:1\r\n$4\r\nlong\r\n$-1\r\n";
    seqc_status status = SEQC_NOMEM;

    for (long n = 1; status; n++) {
        seqc_replies_fini(&replies);
        long live = ut_live;
        owed = 10;
        seen_len = 0;
        wanted = SEQC_SHAPE_TREE;
        ut_fail_at(n);
        status = seqc_replies_reset(&replies);
        status = status ? status
                        : seqc_replies_feed(&replies, data, sizeof data - 1);
        CHECK(status == (ut_has_failed() ? SEQC_NOMEM : SEQC_OK));
        ut_fail_at(0);
        seqc_replies_fini(&replies);
        CHECK(ut_live == live);
    }
    CHECK(strcmp(seen, "[int 1,{str k,[int 1,str long]},nil];") == 0);
}

int
main(void)
{
    static const struct seqc_reply_target target = {
        .expect = expect,
        .scalar = take_scalar,
        .tree = take_tree,
        .number = take_number,
        .numbers = take_numbers,
    };

    ut_watch();
    CHECK(!seqc_replies_init(&replies, target));
    RUN(every_type_becomes_a_tree);
    RUN(scalars_need_no_tree);
    RUN(plain_numbers_take_the_short_way);
    RUN(plain_arrays_take_the_short_way);
    RUN(elements_come_with_their_index);
    RUN(verdicts_are_numbers_with_trees_among_them);
    RUN(pushes_and_attributes_are_dropped);
    RUN(array_of_a_wrong_length_is_refused);
    RUN(attribute_within_a_reply_is_refused);
    RUN(garbage_is_refused);
    RUN(what_a_peer_can_make_us_hold_is_bounded);
    RUN(verdicts_are_small);
    RUN(reply_that_nobody_asked_for_is_refused);
    RUN(reset_forgets_half_a_reply);
    RUN(without_memory_it_says_so);
    seqc_replies_fini(&replies);
    CHECK(ut_live == 0);
    return ut_finish();
}
