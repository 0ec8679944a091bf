/* SPDX-License-Identifier: MIT */
#include "core/group.h"

#include <dirent.h>
#include <signal.h>

#include "core/park.h"

#include "ut_link.h"
#include "ut_peer.h"

static struct seqc_group *group;
static atomic_int connects; /* that were asked for */
static atomic_int refusing; /* a status: connects fail with it */

static void
open_group(int64_t patience_ns)
{
    struct seqc_link_options options = {10000, patience_ns, true};

    atomic_store(&connects, 0);
    atomic_store(&refusing, 0);
    group = seqc_group_new(options, NULL);
    CHECK(group);
}

static void
shut_group(void)
{
    CHECK(seqc_group_in_flight(group) == 0);
    seqc_group_free(group);
    ut_join_peers();
}

static void
connect_group(void)
{
    seqc_status status = (seqc_status)atomic_load(&refusing);

    atomic_fetch_add(&connects, 1);
    if (status) {
        seqc_group_refused(group, status, "refused");
    }
    else {
        seqc_group_connected(group, ut_connect());
    }
}

/* A call with its deadline `ms` from now, 0: none. */
static struct seqc_call *
prepare(int64_t amount, int64_t ms)
{
    struct seqc_call *call =
        ut_call(amount < 0 ? SEQC_OP_GET : SEQC_OP_INCREASE, 1);

    call->requests[0].amount = amount;
    call->start_ns = seqc_now_ns();
    if (ms) {
        call->deadline_ns = call->start_ns + ms * MS;
    }
    return call;
}

static void
finish(struct seqc_call *call)
{
    enum seqc_turn turn;

    while ((turn = seqc_group_wait(group, call, false, 0))
           == SEQC_TURN_CONNECT) {
        connect_group();
    }
    CHECK(turn == SEQC_TURN_DONE);
}

/* Runs one call; an answer that is another's is found here. */
static seqc_status
run_call(int64_t amount, int64_t ms)
{
    struct seqc_call *call = prepare(amount, ms);
    seqc_status status = seqc_group_submit(group, call);

    if (!status) {
        finish(call);
        status = (seqc_status)call->requests[0].status;
        CHECK(status || call->requests[0].u.value == (amount < 0 ? 0 : amount));
    }
    seqc_call_unref(call);
    return status;
}

/* ---- many threads ---- */

enum { THREADS = 8 };

static atomic_long ended[SEQC_STATUS_COUNT];
static int calls_each;
static int64_t timeouts_ms[4]; /* in turn; 0: none */
static int64_t sign;           /* -1: reads */

static void *
work(void *argument)
{
    int64_t me = (int64_t)(intptr_t)argument + 1;

    for (int i = 0; i < calls_each; i++) {
        int64_t amount = sign < 0 ? -1 : me * 1000000 + i + 2;
        seqc_status status = run_call(amount, timeouts_ms[i % 4]);
        atomic_fetch_add(&ended[status], 1);
        if (status == SEQC_CLOSED) {
            break;
        }
    }
    return NULL;
}

static pthread_t threads[THREADS];

static void
start_threads(int each, int64_t which_sign, int64_t a, int64_t b)
{
    calls_each = each;
    sign = which_sign;
    timeouts_ms[0] = timeouts_ms[2] = a;
    timeouts_ms[1] = timeouts_ms[3] = b;
    for (int i = 0; i < SEQC_STATUS_COUNT; i++) {
        atomic_store(&ended[i], 0);
    }
    for (intptr_t i = 0; i < THREADS; i++) {
        CHECK(!pthread_create(&threads[i], NULL, work, (void *)i));
    }
}

static void
join_threads(void)
{
    for (int i = 0; i < THREADS; i++) {
        CHECK(!pthread_join(threads[i], NULL));
    }
}

static void
every_thread_gets_its_own_answers(void)
{
    open_group(5000 * MS);
    start_threads(400, 1, 0, 10000);
    join_threads();
    CHECK(ended[SEQC_OK] == THREADS * 400);
    CHECK(connects == 1);
    shut_group();
}

static void
impatient_threads_disturb_nobody(void)
{
    open_group(5000 * MS);
    atomic_store(&script.pause_us, 3000);
    start_threads(100, 1, 2, 0);
    join_threads();
    atomic_store(&script.pause_us, 0);
    CHECK(ended[SEQC_OK] >= THREADS * 50);
    CHECK(ended[SEQC_UNKNOWN] + ended[SEQC_TIMEOUT] > 0);
    CHECK(ended[SEQC_OK] + ended[SEQC_UNKNOWN] + ended[SEQC_TIMEOUT]
              + ended[SEQC_CONNECT]
          == THREADS * 100);
    CHECK(connects == 1); /* one caller's timeout ends no link */
    CHECK(run_call(77, 0) == SEQC_OK);
    CHECK(run_call(-1, 0) == SEQC_OK);
    shut_group();
}

static void
reads_survive_a_server_that_hangs_up(void)
{
    open_group(5000 * MS);
    atomic_store(&script.hang_up, 9);
    start_threads(100, -1, 0, 0);
    join_threads();
    CHECK(ended[SEQC_OK] == THREADS * 100);
    CHECK(connects > THREADS * 100 / 9);
    shut_group();
}

static void
counting_calls_lost_with_a_link_are_unknown(void)
{
    open_group(5000 * MS);
    atomic_store(&script.garbage, 5);
    start_threads(50, 1, 0, 0);
    join_threads();
    CHECK(ended[SEQC_OK] > 0 && ended[SEQC_UNKNOWN] > 0);
    CHECK(ended[SEQC_OK] + ended[SEQC_UNKNOWN] == THREADS * 50);
    shut_group();
}

/* ---- the end of a link ---- */

static void
silent_link_is_replaced(void)
{
    int64_t begin = seqc_now_ns();

    open_group(100 * MS);
    atomic_store(&script.silent, 1);
    CHECK(run_call(5, 5000) == SEQC_UNKNOWN);
    CHECK(seqc_now_ns() - begin < 3000 * MS);
    struct seqc_call *call = prepare(-1, 5000); /* a read goes on */
    CHECK(!seqc_group_submit(group, call));
    CHECK(seqc_group_wait(group, call, false, 0) == SEQC_TURN_CONNECT);
    atomic_store(&script.silent, 0);
    connect_group();
    finish(call);
    CHECK(!call->requests[0].status);
    seqc_call_unref(call);
    shut_group();
}

/* Bytes that nobody read make it a reset. */
static void *
close_unread(void *argument)
{
    int fd = *(int *)argument;
    char byte;

    CHECK(recv(fd, &byte, 1, MSG_PEEK) == 1);
    close(fd);
    return NULL;
}

static void
reason_of_a_loss_is_told_in_words(void)
{
    struct seqc_call *call = prepare(5, 5000);
    pthread_t closer;
    int fds[2];

    open_group(5000 * MS);
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    CHECK(!seqc_group_submit(group, call));
    CHECK(seqc_group_wait(group, call, false, 0) == SEQC_TURN_CONNECT);
    seqc_group_connected(group, fds[0]);
    close(fds[1]);
    /* found dead before a byte was written: it just moves on */
    CHECK(seqc_group_wait(group, call, false, 0) == SEQC_TURN_CONNECT);
    CHECK(!seqc_group_is_up(group));
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    seqc_group_connected(group, fds[0]);
    CHECK(!pthread_create(&closer, NULL, close_unread, &fds[1]));
    finish(call);
    CHECK(!pthread_join(closer, NULL));
    CHECK(ut_ended(call, 0, SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN));
    CHECK(!strcmp(call->requests[0].error, "recv: Connection reset by peer"));
    seqc_call_unref(call);
    shut_group();
}

/* A server that takes the command and hangs up, each time. */
static void
server_that_always_hangs_up_is_asked_with_rests(void)
{
    open_group(5000 * MS);
    atomic_store(&script.hang_up, 1);
    seqc_status status = run_call(-1, 600);
    CHECK(status == SEQC_CONNECT || status == SEQC_TIMEOUT);
    CHECK(connects > 2 && connects < 20);
    shut_group();
}

static void
without_a_connection_the_deadline_ends_it(void)
{
    open_group(5000 * MS);
    atomic_store(&refusing, SEQC_CONNECT);
    start_threads(2, 1, 150, 300);
    join_threads();
    CHECK(ended[SEQC_CONNECT] == THREADS * 2);
    CHECK(connects > 2 && connects < 40);
    atomic_store(&refusing, 0);
    CHECK(run_call(9, 0) == SEQC_OK); /* and then it comes */
    shut_group();
}

static void
refused_credentials_end_all_that_wait(void)
{
    open_group(5000 * MS);
    atomic_store(&refusing, SEQC_AUTH);
    start_threads(5, 1, 0, 5000);
    join_threads();
    CHECK(ended[SEQC_AUTH] == THREADS * 5);
    atomic_store(&refusing, 0);
    CHECK(run_call(9, 0) == SEQC_OK);
    shut_group();
}

/* ---- full sockets ---- */

static void
unwritten_call_is_withdrawn_from_a_full_socket(void)
{
    enum { MANY = 40000 };

    open_group(60000 * MS);
    atomic_store(&script.deaf, 1);
    struct seqc_call *bulk = ut_call(SEQC_OP_INCREASE, MANY);
    for (int i = 0; i < MANY; i++) {
        bulk->requests[i].amount = i + 2;
    }
    bulk->deadline_ns = seqc_now_ns() + 300 * MS;
    CHECK(!seqc_group_submit(group, bulk));
    finish(bulk);
    int sent = 0;
    while (sent < MANY && bulk->requests[sent].status == SEQC_UNKNOWN) {
        sent++;
    }
    CHECK(sent > 0 && sent < MANY);
    for (int i = sent; i < MANY; i++) {
        CHECK(ut_ended(bulk, (uint32_t)i, SEQC_BUSY, SEQC_EXECUTED_NO)
              || ut_ended(bulk, (uint32_t)i, SEQC_TIMEOUT, SEQC_EXECUTED_NO));
    }
    atomic_store(&peer_commands, 0);
    atomic_store(&script.deaf, 0);
    CHECK(run_call(8, 0) == SEQC_OK);
    CHECK(peer_commands == sent + 1); /* and was never sent */
    seqc_call_unref(bulk);
    shut_group();
}

/* ---- close ---- */

static int
open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    CHECK(dir);
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

static void *
close_later(void *argument)
{
    ut_sleep_us((long)(intptr_t)argument);
    seqc_group_close(group);
    return NULL;
}

static void
close_answers_every_thread(void)
{
    int before = open_descriptors();

    for (intptr_t i = 0; i < 30; i++) {
        pthread_t closer;
        open_group(5000 * MS);
        atomic_store(&script.silent, i % 3 == 0);
        atomic_store(&script.pause_us, i % 3 == 1 ? 1000 : 0);
        start_threads(1000000, i % 2 ? 1 : -1, 0, 0);
        CHECK(!pthread_create(&closer, NULL, close_later,
                              (void *)(i * 300)));
        join_threads();
        CHECK(!pthread_join(closer, NULL));
        CHECK(ended[SEQC_CLOSED] == THREADS);
        CHECK(run_call(5, 0) == SEQC_CLOSED);
        CHECK(!seqc_group_is_up(group));
        shut_group();
    }
    CHECK(open_descriptors() == before);
}

static void
connection_that_comes_after_close_is_dropped(void)
{
    struct seqc_call *call = prepare(5, 0);
    int before = open_descriptors();

    open_group(5000 * MS);
    CHECK(!seqc_group_submit(group, call));
    CHECK(seqc_group_wait(group, call, false, 0) == SEQC_TURN_CONNECT);
    seqc_group_close(group);
    connect_group();
    CHECK(seqc_group_wait(group, call, false, 0) == SEQC_TURN_DONE);
    CHECK(ut_ended(call, 0, SEQC_CLOSED, SEQC_EXECUTED_NO));
    seqc_call_unref(call);
    shut_group();
    CHECK(open_descriptors() == before);
}

/* ---- calls within calls ---- */

/* A signal handler, or a finalizer, calls while its thread connects. */
static void
call_of_a_connecting_thread_connects_itself(void)
{
    int before = open_descriptors();
    struct seqc_call *outer = prepare(5, 0);

    open_group(5000 * MS);
    CHECK(!seqc_group_submit(group, outer));
    CHECK(seqc_group_wait(group, outer, false, 0) == SEQC_TURN_CONNECT);
    CHECK(run_call(6, 2000) == SEQC_OK); /* waited for itself before */
    connect_group();                     /* one connection too many */
    finish(outer);
    CHECK(outer->requests[0].u.value == 5);
    seqc_call_unref(outer);
    shut_group();
    CHECK(open_descriptors() == before);
}

/* A refusal that comes after another thread of work connected. */
static void
refusal_does_not_touch_a_link_that_is_up(void)
{
    struct seqc_call *outer = prepare(5, 0);
    struct seqc_call *unsent = prepare(7, 0);

    open_group(5000 * MS);
    CHECK(!seqc_group_submit(group, outer));
    CHECK(seqc_group_wait(group, outer, false, 0) == SEQC_TURN_CONNECT);
    CHECK(run_call(6, 2000) == SEQC_OK);
    CHECK(!seqc_group_submit(group, unsent));
    seqc_group_refused(group, SEQC_AUTH, "no");
    finish(outer);
    CHECK(!outer->requests[0].status);
    finish(unsent);
    CHECK(!unsent->requests[0].status);
    seqc_call_unref(outer);
    seqc_call_unref(unsent);
    shut_group();
}

static void *
run_one(void *argument)
{
    CHECK(run_call((intptr_t)argument, 3000) == SEQC_OK);
    return NULL;
}

static void *
run_impatient(void *argument)
{
    CHECK(run_call((intptr_t)argument, 20) != SEQC_OK);
    return NULL;
}

/* The thread of a call that looks at signals is no heir: others go on. */
static void
call_that_is_away_does_not_hold_the_lead(void)
{
    pthread_t other;
    struct seqc_call *outer = prepare(5, 0);

    open_group(60000 * MS);
    connect_group();
    atomic_store(&script.pause_us, 300000);
    CHECK(!seqc_group_submit(group, outer));
    CHECK(seqc_group_wait(group, outer, true, seqc_now_ns() + 5 * MS)
          == SEQC_TURN_SIGNAL);
    /* this one leads, and leaves while the outer call still waits */
    CHECK(!pthread_create(&other, NULL, run_impatient, (void *)(intptr_t)6));
    CHECK(!pthread_join(other, NULL));
    CHECK(outer->waiting);
    CHECK(!pthread_create(&other, NULL, run_one, (void *)(intptr_t)7));
    CHECK(!pthread_join(other, NULL));
    CHECK(run_call(8, 3000) == SEQC_OK);
    CHECK(!outer->waiting);
    CHECK(seqc_group_wait(group, outer, true, 0) == SEQC_TURN_DONE);
    CHECK(outer->requests[0].u.value == 5);
    seqc_call_unref(outer);
    shut_group();
}

static void
ignore_signal(int number)
{
    (void)number;
}

static void *
send_signal(void *argument)
{
    ut_sleep_us(50000);
    pthread_kill(*(pthread_t *)argument, SIGUSR1);
    return NULL;
}

static void
signal_ends_the_wait_of_a_leader(void)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    struct seqc_call *call = prepare(5, 0);
    pthread_t self = pthread_self();
    pthread_t other;
    int64_t begin = seqc_now_ns();

    sigaction(SIGUSR1, &action, NULL);
    open_group(60000 * MS);
    connect_group();
    atomic_store(&script.silent, 1);
    CHECK(!seqc_group_submit(group, call));
    CHECK(!pthread_create(&other, NULL, send_signal, &self));
    CHECK(seqc_group_wait(group, call, true, begin + 60000 * MS)
          == SEQC_TURN_SIGNAL);
    CHECK(seqc_now_ns() - begin < 5000 * MS);
    CHECK(!pthread_join(other, NULL));
    seqc_group_abandon(group, call, SEQC_TIMEOUT);
    CHECK(ut_ended(call, 0, SEQC_UNKNOWN, SEQC_EXECUTED_UNKNOWN));
    seqc_call_unref(call);
    seqc_group_close(group);
    shut_group();
}

/* Callers that leave and come back at random, and give up now and then. */
static void *
work_restlessly(void *argument)
{
    unsigned seed = (unsigned)(intptr_t)argument + 1;

    for (int i = 0; i < 200; i++) {
        int64_t amount = (int64_t)(seed % 1000) * 1000 + i + 2;
        struct seqc_call *call = prepare(amount, 10000);
        CHECK(!seqc_group_submit(group, call));
        bool abandoned = false;
        for (;;) {
            int64_t us = ut_random(&seed) % 1500;
            enum seqc_turn turn = seqc_group_wait(
                group, call, true, seqc_now_ns() + us * 1000);
            if (turn == SEQC_TURN_DONE) {
                break;
            }
            if (turn == SEQC_TURN_CONNECT) {
                connect_group();
            }
            else if (ut_random(&seed) % 8 == 0) {
                seqc_group_abandon(group, call, SEQC_TIMEOUT);
                abandoned = true;
                break;
            }
        }
        if (!call->requests[0].status) {
            CHECK(call->requests[0].u.value == amount);
        }
        CHECK(abandoned || call->requests[0].status != SEQC_TIMEOUT);
        seqc_call_unref(call);
    }
    return NULL;
}

static void
lead_is_never_lost(void)
{
    open_group(5000 * MS);
    atomic_store(&script.pause_us, 700);
    atomic_store(&script.hang_up, 300);
    for (intptr_t i = 0; i < THREADS; i++) {
        CHECK(!pthread_create(&threads[i], NULL, work_restlessly, (void *)i));
    }
    join_threads();
    atomic_store(&script.hang_up, 0);
    CHECK(run_call(-1, 3000) == SEQC_OK);
    shut_group();
}

int
main(void)
{
    RUN(every_thread_gets_its_own_answers);
    RUN(impatient_threads_disturb_nobody);
    RUN(reads_survive_a_server_that_hangs_up);
    RUN(counting_calls_lost_with_a_link_are_unknown);
    RUN(silent_link_is_replaced);
    RUN(reason_of_a_loss_is_told_in_words);
    RUN(server_that_always_hangs_up_is_asked_with_rests);
    RUN(without_a_connection_the_deadline_ends_it);
    RUN(refused_credentials_end_all_that_wait);
    RUN(unwritten_call_is_withdrawn_from_a_full_socket);
    RUN(close_answers_every_thread);
    RUN(connection_that_comes_after_close_is_dropped);
    RUN(call_of_a_connecting_thread_connects_itself);
    RUN(refusal_does_not_touch_a_link_that_is_up);
    RUN(call_that_is_away_does_not_hold_the_lead);
    RUN(signal_ends_the_wait_of_a_leader);
    RUN(lead_is_never_lost);
    return ut_finish();
}
