/* SPDX-License-Identifier: MIT */
/* Plain asyncio futures in the awaitable's place.  A hook among a future's
   callbacks notices its cancellation.  It runs one turn of the loop later,
   when the call may be gone: a resolve in between disarms it. */
#include "binding/awaitable_object.h"

struct awaitable_hook {
    PyObject_HEAD
    struct awaitable_state *state;
    struct awaitable_hook *newer; /* armed hooks; borrowed */
    struct awaitable_hook *older;
    PyObject *future; /* borrowed: only compared */
    PyObject *link;   /* owned; until called or disarmed */
    void *call;
    awaitable_abandon_fn abandon;
};

static void
disarm_hook(struct awaitable_hook *self)
{
    if (!self->future) {
        return;
    }
    if (self->older) {
        self->older->newer = self->newer;
    } else {
        self->state->oldest_hook = self->newer;
    }
    if (self->newer) {
        self->newer->older = self->older;
    } else {
        self->state->newest_hook = self->older;
    }
    self->newer = NULL;
    self->older = NULL;
    self->future = NULL;
}

static int
hook_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct awaitable_hook *)object)->state->module);
    Py_VISIT(((struct awaitable_hook *)object)->link);
    return 0;
}

static int
hook_clear(PyObject *object)
{
    struct awaitable_hook *self = (struct awaitable_hook *)object;

    disarm_hook(self);
    Py_CLEAR(self->link);
    return 0;
}

static void
hook_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject *module = ((struct awaitable_hook *)object)->state->module;

    PyObject_GC_UnTrack(object);
    (void)hook_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
    Py_DECREF(module);
}

static int
is_cancelled(PyObject *future)
{
    PyObject *answer = PyObject_CallMethod(future, "cancelled", NULL);
    int truth = answer ? PyObject_IsTrue(answer) : -1;

    Py_XDECREF(answer);
    return truth;
}

/* hook(future): the future is done. */
static PyObject *
hook_call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    struct awaitable_hook *self = (struct awaitable_hook *)object;
    bool armed = self->future != NULL;
    PyObject *link = self->link;
    PyObject *future;
    int cancelled;

    (void)kwargs;
    if (!PyArg_ParseTuple(args, "O", &future)) {
        return NULL;
    }
    disarm_hook(self);
    self->link = NULL;
    cancelled = is_cancelled(future);
    if (cancelled > 0 && armed && self->abandon) {
        self->abandon(link, self->call);
    }
    Py_XDECREF(link);
    return cancelled < 0 ? NULL : Py_NewRef(Py_None);
}

static PyType_Slot hook_slots[] = {
    {Py_tp_traverse, hook_traverse},
    {Py_tp_clear, hook_clear},
    {Py_tp_dealloc, hook_dealloc},
    {Py_tp_call, hook_call},
    {0, NULL},
};

static PyType_Spec hook_spec = {
    .name = "seqcache._native._AbandonHook",
    .basicsize = sizeof(struct awaitable_hook),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = hook_slots,
};

int
awaitable_setup_hook(PyObject *module, struct awaitable_state *state)
{
    state->hook_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &hook_spec, NULL);
    return state->hook_type ? 0 : -1;
}

static PyObject *
make_hook(struct awaitable_state *state,
          PyObject *future,
          PyObject *link,
          void *call,
          awaitable_abandon_fn abandon)
{
    struct awaitable_hook *self =
        PyObject_GC_New(struct awaitable_hook, state->hook_type);

    if (!self) {
        return NULL;
    }
    self->state = state;
    Py_INCREF(state->module);
    self->future = future;
    self->link = Py_XNewRef(link);
    self->call = call;
    self->abandon = abandon;
    self->newer = NULL;
    self->older = state->newest_hook;
    if (self->older) {
        self->older->newer = self;
    } else {
        state->oldest_hook = self;
    }
    state->newest_hook = self;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyObject *
awaitable_plain_new(struct awaitable_state *state,
                    PyObject *loop,
                    PyObject *link,
                    void *call,
                    awaitable_abandon_fn abandon)
{
    PyObject *future = PyObject_CallMethod(loop, "create_future", NULL);
    PyObject *hook = NULL;
    PyObject *added = NULL;

    if (!future) {
        return NULL;
    }
    hook = make_hook(state, future, link, call, abandon);
    if (hook) {
        added = PyObject_CallMethod(future, "add_done_callback", "O", hook);
        if (!added) {
            disarm_hook((struct awaitable_hook *)hook);
        }
        Py_DECREF(hook);
    }
    if (!added) {
        Py_CLEAR(future);
    }
    Py_XDECREF(added);
    return future;
}

static PyObject *
set_outcome(PyObject *future, PyObject *value, bool failed)
{
    return PyObject_CallMethod(
        future, failed ? "set_exception" : "set_result", "(O)", value);
}

PyObject *
awaitable_plain_done(PyObject *loop, PyObject *value, bool failed)
{
    PyObject *future = PyObject_CallMethod(loop, "create_future", NULL);
    PyObject *done = future ? set_outcome(future, value, failed) : NULL;

    if (!done) {
        Py_CLEAR(future);
    }
    Py_XDECREF(done);
    return future;
}

static int
is_done(PyObject *future)
{
    PyObject *answer = PyObject_CallMethod(future, "done", NULL);
    int truth = answer ? PyObject_IsTrue(answer) : -1;

    Py_XDECREF(answer);
    return truth;
}

bool
awaitable_plain_is_done(PyObject *future)
{
    int done = is_done(future);

    if (done < 0) {
        PyErr_WriteUnraisable(future);
    }
    return done != 0;
}

/* Answers come in the order of the calls: the oldest is the one, mostly. */
static struct awaitable_hook *
find_hook(struct awaitable_state *state, PyObject *future)
{
    struct awaitable_hook *hook = state->oldest_hook;

    while (hook && hook->future != future) {
        hook = hook->newer;
    }
    return hook; /* borrowed */
}

static void
disarm_hook_of(struct awaitable_state *state, PyObject *future)
{
    struct awaitable_hook *hook = find_hook(state, future);

    if (hook) {
        disarm_hook(hook);
    }
}

void
awaitable_plain_rebind(struct awaitable_state *state,
                       PyObject *future,
                       PyObject *link,
                       void *call,
                       awaitable_abandon_fn abandon)
{
    struct awaitable_hook *hook = find_hook(state, future);

    if (hook) {
        hook->abandon = abandon;
        hook->call = call;
        Py_XSETREF(hook->link, Py_XNewRef(link));
    }
}

void
awaitable_plain_detach(struct awaitable_state *state, PyObject *future)
{
    struct awaitable_hook *hook = find_hook(state, future);
    PyObject *link;

    if (hook) {
        disarm_hook(hook);
        link = hook->link;
        hook->link = NULL;
        Py_XDECREF(link); /* the hook may go with it */
    }
}

/* The loop's own way with what set_result() raised, say a closed loop. */
static int
settle_plain_error(PyObject *future)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *loop = PyObject_CallMethod(future, "get_loop", NULL);
    int settled;

    if (!loop) {
        PyErr_WriteUnraisable(future);
    }
    PyErr_SetRaisedException(error);
    if (!loop) {
        return -1;
    }
    settled = awaitable_settle_error(loop, future);
    Py_DECREF(loop);
    return settled;
}

int
awaitable_plain_finish(struct awaitable_state *state,
                       PyObject *future,
                       PyObject *value,
                       bool failed)
{
    int was_done = is_done(future);
    PyObject *done = NULL;

    disarm_hook_of(state, future);
    if (was_done > 0) {
        return 0;
    }
    if (was_done == 0) {
        done = set_outcome(future, value, failed);
    }
    Py_XDECREF(done);
    return done ? 0 : settle_plain_error(future);
}
