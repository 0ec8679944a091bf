/* SPDX-License-Identifier: MIT */
/* What an engine tells about itself, and hands over when it is closed. */
#include "binding/loop.h"

#include <sys/socket.h>

#include "core/alloc.h"

static const char *const op_names[SEQC_OP_COUNT] = {
    [SEQC_OP_GET] = "get",
    [SEQC_OP_INCREASE] = "increase",
    [SEQC_OP_RAISE] = "raise",
    [SEQC_OP_DELETE] = "delete",
    [SEQC_OP_MGET] = "get_many",
    [SEQC_OP_RAW] = "command",
};

const char engine_stats_doc[] = "stats($self, /)\n--\n\n"
                                "Counters of all links, as a dict.";

static int
set_number(PyObject *dict, const char *name, unsigned long long value)
{
    PyObject *number = PyLong_FromUnsignedLongLong(value);
    int failed = number ? PyDict_SetItemString(dict, name, number) : -1;

    Py_XDECREF(number);
    return failed;
}

static int
set_seconds(PyObject *dict, const char *name, int64_t ns)
{
    PyObject *number = PyFloat_FromDouble((double)ns / 1e9);
    int failed = number ? PyDict_SetItemString(dict, name, number) : -1;

    Py_XDECREF(number);
    return failed;
}

static PyObject *
calls_dict(const struct seqc_stats *stats)
{
    PyObject *dict = PyDict_New();

    for (int op = 0; dict && op < SEQC_OP_COUNT; op++) {
        uint64_t count = seqc_stats_read(&stats->calls[op]);
        if (op == SEQC_OP_INCREASE) { /* with a token it is one, too */
            count += seqc_stats_read(&stats->calls[SEQC_OP_INCREASE_ONCE]);
        }
        if (op_names[op] && set_number(dict, op_names[op], count)) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

/* By exception class; MemoryError and what ended well are not among them. */
static PyObject *
errors_dict(const struct seqc_stats *stats)
{
    PyObject *dict = PyDict_New();

    for (int status = SEQC_CLOSED; dict && status < SEQC_STATUS_COUNT;
         status++) {
        if (set_number(dict,
                       seqc_status_class((seqc_status)status),
                       seqc_stats_read(&stats->errors[status]))) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

/* (end in seconds, calls) of the buckets that hold any. */
static PyObject *
buckets_tuple(const struct seqc_stats *stats)
{
    PyObject *list = PyList_New(0);
    PyObject *tuple = NULL;

    for (size_t i = 0; list && i < SEQC_STATS_BUCKETS; i++) {
        unsigned long long count = seqc_stats_read(&stats->latency[i]);
        uint64_t end_ns = seqc_stats_bucket_end_ns(i);
        double end = end_ns == UINT64_MAX ? Py_HUGE_VAL : (double)end_ns / 1e9;
        PyObject *pair = count ? Py_BuildValue("(dK)", end, count) : NULL;
        if (count && (!pair || PyList_Append(list, pair))) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    if (list) {
        tuple = PyList_AsTuple(list);
        Py_DECREF(list);
    }
    return tuple;
}

static PyObject *
leases_dict(const EngineObject *engine)
{
    static const char *const names[LEASE_COUNTERS] = {
        [LEASE_BLOCKS] = "blocks",
        [LEASE_WAITS] = "waits",
        [LEASE_FAILURES] = "failures",
    };
    PyObject *dict = PyDict_New();

    for (int i = 0; dict && i < LEASE_COUNTERS; i++) {
        if (set_number(dict, names[i], seqc_stats_read(&engine->leases[i]))) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

struct totals {
    struct seqc_stats stats;
    size_t in_flight;
    size_t links;
};

static void
add_links(EngineObject *engine, struct totals *totals)
{
    bool out;

    out = engine_fork_step_out(engine);
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < engine->group_count; i++) {
        struct seqc_group *group = engine->groups[i];
        seqc_stats_merge(&totals->stats, seqc_group_stats(group));
        totals->in_flight += seqc_group_in_flight(group);
        totals->links += seqc_group_is_up(group);
    }
    Py_END_ALLOW_THREADS
    engine_fork_step_in(engine, out);
    for (LoopLinkObject *link = engine->links; link; link = link->next_link) {
        seqc_stats_merge(&totals->stats, &link->stats);
        totals->in_flight += link->link.in_flight;
        totals->links += link->link.up;
    }
}

static int
fill_stats(EngineObject *engine, PyObject *dict, const struct totals *totals)
{
    const struct seqc_stats *stats = &totals->stats;
    PyObject *calls = calls_dict(stats);
    PyObject *errors = errors_dict(stats);
    PyObject *buckets = buckets_tuple(stats);
    PyObject *leases = leases_dict(engine);
    int failed =
        !calls || !errors || !buckets || !leases ||
        PyDict_SetItemString(dict, "leases", leases) ||
        PyDict_SetItemString(dict, "calls", calls) ||
        PyDict_SetItemString(dict, "errors", errors) ||
        PyDict_SetItemString(dict, "latency_buckets", buckets) ||
        set_seconds(dict,
                    "latency_sum",
                    (int64_t)seqc_stats_read(&stats->latency_sum_ns)) ||
        set_number(dict, "in_flight", totals->in_flight) ||
        set_number(dict, "links", totals->links) ||
        set_number(dict, "reconnects", seqc_stats_read(&stats->reconnects)) ||
        set_number(
            dict, "regressions", seqc_stats_read(&stats->regressions)) ||
        set_number(dict, "bytes_out", seqc_stats_read(&stats->out_bytes)) ||
        set_number(dict, "bytes_in", seqc_stats_read(&stats->in_bytes)) ||
        set_number(dict, "latency_count", seqc_stats_latency_count(stats)) ||
        set_seconds(dict, "latency_p50", seqc_stats_quantile(stats, 0.5)) ||
        set_seconds(dict, "latency_p99", seqc_stats_quantile(stats, 0.99)) ||
        set_seconds(dict, "latency_max", seqc_stats_quantile(stats, 1.0));

    Py_XDECREF(calls);
    Py_XDECREF(errors);
    Py_XDECREF(buckets);
    Py_XDECREF(leases);
    return failed ? -1 : 0;
}

PyObject *
engine_stats(EngineObject *engine, PyObject *Py_UNUSED(ignored))
{
    struct totals *totals = seqc_calloc(1, sizeof *totals);
    PyObject *dict = PyDict_New();

    if (!totals || !dict) {
        seqc_free(totals);
        Py_XDECREF(dict);
        return PyErr_NoMemory();
    }
    seqc_stats_merge(&totals->stats, &engine->stats);
    totals->in_flight = engine->slow_count;
    add_links(engine, totals);
    if (fill_stats(engine, dict, totals)) {
        Py_CLEAR(dict);
    }
    seqc_free(totals);
    return dict;
}

const char engine_take_links_doc[] =
    "take_links($self, /)\n--\n\n"
    "Closes the engine for new calls of asyncio and returns the links of the "
    "loops,\nfor each to be closed in its own.";

PyObject *
engine_take_links(EngineObject *engine, PyObject *Py_UNUSED(ignored))
{
    PyObject *links = PyList_New(0);
    PyObject *loop;
    PyObject *link;
    Py_ssize_t at = 0;

    /* A link that is closed, in a forked child say, has nothing to do in its
     * loop, which may be the parent's. */
    while (links && PyDict_Next(engine->loops, &at, &loop, &link)) {
        if (!((LoopLinkObject *)link)->closed && PyList_Append(links, link)) {
            Py_CLEAR(links);
        }
    }
    if (links) {
        engine->closed = true;
        PyDict_Clear(engine->loops);
    }
    return links;
}

const char engine_let_go_doc[] =
    "let_go($self, /)\n--\n\n"
    "For a finalizer, which must not touch a loop: idle links are shut down, "
    "their\nloops notice and drop them. Others end with their last call.";

PyObject *
engine_let_go(EngineObject *engine, PyObject *Py_UNUSED(ignored))
{
    PyObject *loop;
    PyObject *object;
    Py_ssize_t at = 0;

    while (PyDict_Next(engine->loops, &at, &loop, &object)) {
        LoopLinkObject *self = (LoopLinkObject *)object;
        self->closing = true;
        if (loop_is_idle(self) && !self->is_connecting) {
            self->closed = true;
            if (self->fd >= 0) {
                shutdown(self->fd, SHUT_RDWR);
            }
        }
    }
    Py_RETURN_NONE;
}
