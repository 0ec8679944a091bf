/* How fast can a client of one connection be at all? Plain C over hiredis,
 * used as its manual says, and for the pipelined case also without it.
 *
 * usage: limits single|window|raw|mget LOAD SECONDS USERS HOST|PATH PORT|0
 * Prints one JSON object: operations a second, CPU of this process for each in
 * microseconds, and the latency of one call or of one batch.
 */
#include <hiredis/hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    KEY_BYTES = 32,
    MAX_LOAD = 10000,
    MAX_SAMPLES = 4000000,
};

struct key {
    size_t length;
    char text[KEY_BYTES];
};

struct plan {
    redisContext *link;
    long load;
    unsigned users;
    struct key *keys; /* owned; one for each user */
    unsigned chance;
    char *wire; /* owned; room for MAX_LOAD commands of the raw mode */
};

typedef void (*run_mode)(struct plan *plan);

static double
read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void
fail(const char *what)
{
    fprintf(stderr, "limits: %s\n", what);
    exit(1);
}

/* Picks the next key at random. Keys are made beforehand, as the ids are for
 * the other clients. */
static const struct key *
next_key(struct plan *plan)
{
    plan->chance = plan->chance * 1103515245u + 12345u;
    return &plan->keys[(plan->chance >> 8) % plan->users];
}

static void
expect_type(const redisReply *reply, int type)
{
    if (reply == NULL || reply->type != type) {
        fail(reply != NULL ? reply->str : "the connection broke");
    }
}

static void
run_single(struct plan *plan)
{
    const struct key *key = next_key(plan);
    const char *words[] = {"INCR", key->text};
    const size_t lengths[] = {4, key->length};
    redisReply *reply = redisCommandArgv(plan->link, 2, words, lengths);

    expect_type(reply, REDIS_REPLY_INTEGER);
    freeReplyObject(reply);
}

static void
run_window(struct plan *plan)
{
    const char *words[] = {"INCR", NULL};
    size_t lengths[] = {4, 0};

    for (long i = 0; i < plan->load; i++) {
        const struct key *key = next_key(plan);

        words[1] = key->text;
        lengths[1] = key->length;
        redisAppendCommandArgv(plan->link, 2, words, lengths);
    }
    for (long i = 0; i < plan->load; i++) {
        void *reply = NULL;

        if (redisGetReply(plan->link, &reply) != REDIS_OK) {
            fail(plan->link->errstr);
        }
        expect_type(reply, REDIS_REPLY_INTEGER);
        freeReplyObject(reply);
    }
}

static char *
put_bytes(char *end, const char *bytes, size_t length)
{
    memcpy(end, bytes, length);
    return end + length;
}

/* Writes one command; a key has 5 to 9 letters or 10 to 31. */
static char *
put_command(char *end, const struct key *key)
{
    static const char start[] = "*2\r\n$4\r\nINCR\r\n$";

    end = put_bytes(end, start, sizeof start - 1);
    if (key->length > 9) {
        *end++ = (char)('0' + key->length / 10);
    }
    *end++ = (char)('0' + key->length % 10);
    end = put_bytes(end, "\r\n", 2);
    end = put_bytes(end, key->text, key->length);
    return put_bytes(end, "\r\n", 2);
}

/* The wire itself: commands printed by hand, replies counted by their ends. */
static void
run_raw(struct plan *plan)
{
    char in[65536];
    char *end = plan->wire;

    for (long i = 0; i < plan->load; i++) {
        end = put_command(end, next_key(plan));
    }
    for (char *from = plan->wire; from < end;) {
        ssize_t sent = send(plan->link->fd, from, (size_t)(end - from), 0);

        if (sent <= 0) {
            fail("the connection broke");
        }
        from += sent;
    }
    for (long ends = 0; ends < plan->load;) {
        ssize_t got = recv(plan->link->fd, in, sizeof in, 0);

        if (got <= 0) {
            fail("the connection broke");
        }
        for (ssize_t i = 0; i < got; i++) {
            ends += in[i] == '\n';
        }
    }
}

static void
run_mget(struct plan *plan)
{
    static const char *words[MAX_LOAD + 1] = {"MGET"};
    static size_t lengths[MAX_LOAD + 1] = {4};
    redisReply *reply;
    long sum = 0;

    for (long i = 0; i < plan->load; i++) {
        const struct key *key = next_key(plan);

        words[i + 1] = key->text;
        lengths[i + 1] = key->length;
    }
    reply = redisCommandArgv(plan->link, (int)plan->load + 1, words, lengths);
    expect_type(reply, REDIS_REPLY_ARRAY);
    for (size_t i = 0; i < reply->elements; i++) {
        const char *text = reply->element[i]->str;

        sum += text != NULL ? atol(text) : 0;
    }
    freeReplyObject(reply);
    if (sum < 0) {
        fail("a sequence below zero");
    }
}

static run_mode
find_mode(const char *name)
{
    static const struct {
        const char *name;
        run_mode run;
    } modes[] = {
        {"single", run_single},
        {"window", run_window},
        {"raw", run_raw},
        {"mget", run_mget},
    };

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, name) == 0) {
            return modes[i].run;
        }
    }
    fail("no such mode");
    return NULL;
}

static int
compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

/* Runs batches for that long and prints what came of it. */
static void
measure(struct plan *plan, run_mode run, long each, double seconds)
{
    double *samples = malloc(MAX_SAMPLES * sizeof *samples);
    double start, cpu, before, now;
    long batches = 0;

    if (samples == NULL) {
        fail("out of memory");
    }
    for (int i = 0; i < 3; i++) {
        run(plan);
    }
    cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    start = now = read_clock(CLOCK_MONOTONIC);
    while (now - start < seconds && batches < MAX_SAMPLES) {
        before = now;
        run(plan);
        now = read_clock(CLOCK_MONOTONIC);
        samples[batches++] = now - before;
    }
    cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(samples, (size_t)batches, sizeof *samples, compare_doubles);
    printf("{\"ops\": %.0f, \"cpu_us\": %.4f, \"p50_us\": %.2f, \"p99_us\": "
           "%.2f}\n",
           (double)(batches * each) / (now - start),
           cpu / (double)(batches * each) * 1e6,
           samples[batches / 2] * 1e6,
           samples[batches * 99 / 100] * 1e6);
    free(samples);
}

static void
make_keys(struct plan *plan)
{
    plan->keys = malloc(plan->users * sizeof *plan->keys);
    if (plan->keys == NULL) {
        fail("out of memory");
    }
    for (unsigned i = 0; i < plan->users; i++) {
        struct key *key = &plan->keys[i];
        int length = snprintf(key->text, KEY_BYTES, "seq:user%u", i);

        key->length = (size_t)length;
    }
}

static redisContext *
connect_to(const char *where, int port)
{
    redisContext *link =
        port ? redisConnect(where, port) : redisConnectUnix(where);

    if (link == NULL || link->err) {
        fail(link != NULL ? link->errstr : "out of memory");
    }
    return link;
}

int
main(int count, char **words)
{
    struct plan plan = {.chance = 1};
    int is_single;

    if (count != 7) {
        fail("MODE LOAD SECONDS USERS HOST|PATH PORT|0");
    }
    plan.load = strtol(words[2], NULL, 10);
    plan.users = (unsigned)strtoul(words[4], NULL, 10);
    if (plan.load < 1 || plan.load > MAX_LOAD || plan.users < 1) {
        fail("LOAD or USERS out of range");
    }
    plan.link = connect_to(words[5], (int)strtol(words[6], NULL, 10));
    make_keys(&plan);
    plan.wire = malloc(MAX_LOAD * (KEY_BYTES + 32));
    if (plan.wire == NULL) {
        fail("out of memory");
    }
    is_single = strcmp(words[1], "single") == 0;
    measure(&plan,
            find_mode(words[1]),
            is_single ? 1 : plan.load,
            strtod(words[3], NULL));
    free(plan.wire);
    free(plan.keys);
    redisFree(plan.link);
    return 0;
}
