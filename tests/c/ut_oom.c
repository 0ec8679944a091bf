/* SPDX-License-Identifier: MIT */
/* The n-th allocation fails, for n = 1, 2 ... until none does: nothing
 * crashes or leaks, every call still ends, and what was answered stays. */
#include "core/group.h"

#include "core/park.h"

#include "ut_link.h"
#include "ut_peer.h"

/* Runs `scenario` until no allocation fails in it; returns how often. */
static long
fail_each(void (*scenario)(void))
{
    long n = 0;
    long live = ut_live;

    do {
        ut_fail_at(++n);
        scenario();
        CHECK(ut_live == live);
    } while (ut_has_failed());
    ut_fail_at(0);
    return n;
}

/* ---- a link ---- */

static struct seqc_link the_link;
static char wire[1 << 20]; /* what was written */
static size_t wire_len;
static int64_t now;

/* As a driver does: what fails costs the connection, not the call. */
static void
bring_up(void)
{
    for (int tries = 0; seqc_link_up(&the_link, now); tries++) {
        CHECK(tries < 3);
    }
}

static void
lose(seqc_status cause)
{
    seqc_link_fail(&the_link, cause, "lost");
    wire_len = 0;
    bring_up();
}

static void
write_all(void)
{
    const char *data;
    size_t len;

    for (;;) {
        if (seqc_link_output(&the_link, &data, &len)) {
            lose(SEQC_NOMEM);
            continue;
        }
        if (!len) {
            return;
        }
        CHECK(wire_len + len < sizeof wire);
        memcpy(wire + wire_len, data, len);
        wire_len += len;
        seqc_link_wrote(&the_link, len, now);
    }
}

static bool
is_command(const char *p, const char *name)
{
    return strncmp(strchr(strchr(p, '\n') + 1, '\n') + 1, name,
                   strlen(name)) == 0;
}

/* An answer of the right kind for the command at `p`, into `out`. */
static size_t
make_answer(const char *p, char *out, size_t size)
{
    const char *what = is_command(p, "INCR") ? ":7\r\n"
        : is_command(p, "MGET") ? "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\nx\r\n"
        : is_command(p, "EVAL") ? "$1\r\n7\r\n"
        : is_command(p, "TIME")
        ? "*2\r\n%1\r\n+a\r\n$3\r\nbcd\r\n*2\r\n:1\r\n,2.5\r\n"
        : is_command(p, "GET") ? "-WRONGTYPE Operation against a key\r\n"
                               : ":1\r\n";

    return (size_t)snprintf(out, size, "%s", what);
}

/* The length of the command at `p`. */
static size_t
command_len(const char *p)
{
    const char *begin = p;
    long argc = strtol(p + 1, NULL, 10);

    p = strchr(p, '\n') + 1;
    for (long i = 0; i < argc; i++) {
        long len = strtol(p + 1, NULL, 10);
        p = strchr(p, '\n') + 1 + len + 2;
    }
    return (size_t)(p - begin);
}

/* Answers what was written until nothing is left. */
static void
serve(void)
{
    char reply[256];

    for (;;) {
        write_all();
        if (!wire_len) {
            return;
        }
        wire[wire_len] = '\0';
        size_t len = command_len(wire);
        size_t replied = make_answer(wire, reply, sizeof reply);
        memmove(wire, wire + len, wire_len -= len);
        seqc_status status =
            seqc_link_feed(&the_link, reply, replied, now);
        if (status) {
            CHECK(status == SEQC_NOMEM);
            lose(status);
        }
    }
}

static int
drop_done(void)
{
    struct seqc_call *call = seqc_link_take_done(&the_link);
    int count = 0;

    for (; call; count++) {
        struct seqc_call *next = call->next_done;
        seqc_call_unref(call);
        call = next;
    }
    return count;
}

static void
drive_link(struct seqc_regress *regress)
{
    static struct seqc_stats stats;
    struct seqc_call *calls[] = {
        ut_call(SEQC_OP_INCREASE, 40), ut_call(SEQC_OP_MGET, 3),
        ut_call(SEQC_OP_RAISE, 2),     ut_call(SEQC_OP_GET, 1),
        ut_call(SEQC_OP_DELETE, 1),    ut_raw_call("*1\r\n$4\r\nTIME\r\n"),
    };
    enum { COUNT = sizeof calls / sizeof *calls };
    struct seqc_link_options options = {20, 1000 * MS, true};
    int made = 0;

    if (!seqc_link_init(&the_link, options, regress, &stats)) {
        wire_len = 0;
        bring_up();
        for (int i = 0; i < COUNT; i++) {
            if (calls[i]) {
                seqc_link_submit(&the_link, calls[i]);
                made++;
            }
        }
        serve();
        CHECK(drop_done() == made);
    }
    for (int i = 0; i < COUNT && made; i++) {
        CHECK(!calls[i] || atomic_load(&calls[i]->refs) == 1);
        for (uint32_t r = 0; calls[i] && r < calls[i]->count; r++) {
            seqc_status status = calls[i]->requests[r].status;
            CHECK(status == SEQC_OK || status == SEQC_NOT_A_SEQUENCE
                  || (status == SEQC_UNKNOWN && calls[i]->counting));
            CHECK(status != SEQC_UNKNOWN
                  || calls[i]->requests[r].cause == SEQC_NOMEM);
        }
    }
    for (int i = 0; i < COUNT; i++) {
        seqc_call_unref(calls[i]);
    }
    seqc_link_fini(&the_link);
}

static void
link_scenario(void)
{
    drive_link(NULL);
}

static void
watchful_link_scenario(void)
{
    struct seqc_regress *regress = seqc_regress_new(64);

    drive_link(regress);
    seqc_regress_free(regress);
}

static void
link_survives(void)
{
    CHECK(fail_each(link_scenario) > 30);
    CHECK(fail_each(watchful_link_scenario) > 30);
}

/* ---- a group ---- */

static void
run_on(struct seqc_group *group, struct seqc_call *call)
{
    if (!call) {
        return;
    }
    call->deadline_ns = seqc_now_ns() + 10000 * MS;
    for (uint32_t i = 0; i < call->count; i++) {
        call->requests[i].amount = 2; /* which the peer tells from a GET */
    }
    CHECK(!seqc_group_submit(group, call));
    while (seqc_group_wait(group, call, false, 0) == SEQC_TURN_CONNECT) {
        seqc_group_connected(group, ut_connect());
    }
    CHECK(call->requests[0].status == SEQC_OK
          || (call->requests[0].status == SEQC_UNKNOWN && call->counting
              && call->requests[0].cause == SEQC_NOMEM));
    seqc_call_unref(call);
}

static void
group_scenario(void)
{
    struct seqc_link_options options = {1000, 5000 * MS, true};
    struct seqc_group *group = seqc_group_new(options, NULL);

    if (group) {
        run_on(group, ut_call(SEQC_OP_GET, 1));
        run_on(group, ut_call(SEQC_OP_INCREASE, 30));
        run_on(group, ut_call(SEQC_OP_GET, 5));
    }
    seqc_group_free(group);
    ut_join_peers();
}

static void
group_survives(void)
{
    CHECK(fail_each(group_scenario) > 10);
}

int
main(void)
{
    ut_watch();
    RUN(link_survives);
    RUN(group_survives);
    CHECK(ut_live == 0);
    return ut_finish();
}
