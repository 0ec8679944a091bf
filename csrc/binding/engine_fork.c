/* SPDX-License-Identifier: MIT */
/* The engines around fork(): locked while the copy is made, new in the child.
 */
#include "binding/engine.h"

#include <pthread.h>
#include <unistd.h>

#include "binding/fast.h"
#include "binding/loop.h"

/* Other hooks of os.register_at_fork run while the groups are locked, and may
 * let go of the GIL.  So nobody takes a group's lock with the GIL held. */

static uint64_t
this_thread(void)
{
    return (uint64_t)pthread_self();
}

static void
lock_groups(EngineObject *engine)
{
    for (size_t i = 0; i < engine->group_count; i++) {
        seqc_group_before_fork(engine->groups[i]);
    }
    engine->fork_locked = engine->group_count > 0;
}

/* An engine that was made meanwhile has nothing to unlock. */
static void
unlock_groups(EngineObject *engine)
{
    for (size_t i = 0; engine->fork_locked && i < engine->group_count; i++) {
        seqc_group_after_fork_parent(engine->groups[i]);
    }
    engine->fork_locked = false;
}

bool
engine_fork_step_out(EngineObject *engine)
{
    struct module_state *state = engine->state;

    if (!engine->fork_locked || state->fork_thread != this_thread()) {
        return false;
    }
    if (state->fork_pid !=
        (int)getpid()) { /* a hook before ours, in a child */
        engine_after_fork_child(state);
        return false;
    }
    unlock_groups(engine);
    return true;
}

void
engine_fork_step_in(EngineObject *engine, bool stepped_out)
{
    if (stepped_out && engine->state->fork_thread == this_thread()) {
        lock_groups(engine);
    }
}

void
engine_before_fork(struct module_state *state)
{
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&state->fork_mutex);
    Py_END_ALLOW_THREADS
    state->fork_thread = this_thread();
    state->fork_pid = (int)getpid();
    for (EngineObject *e = state->engines; e; e = e->next) {
        lock_groups(e);
    }
}

void
engine_after_fork_parent(struct module_state *state)
{
    for (EngineObject *e = state->engines; e; e = e->next) {
        unlock_groups(e);
    }
    state->fork_thread = 0;
    pthread_mutex_unlock(&state->fork_mutex);
}

static void
after_fork(EngineObject *engine)
{
    if (engine->regress) { /* first: the groups use it */
        seqc_regress_after_fork(engine->regress);
    }
    for (size_t i = 0; i < engine->group_count; i++) {
        seqc_group_after_fork_child(engine->groups[i]);
    }
    engine->fork_locked = false;
    if (engine->group_count && engine->durable) {
        fast_after_fork(engine->durable);
    }
    if (engine->store) {
        seqc_store_after_fork(engine->store);
    }
    if (engine->cells) {
        seqc_cells_after_fork(engine->cells);
    }
    loop_after_fork(engine);
}

void
engine_after_fork_child(struct module_state *state)
{
    if (!state->fork_thread) {
        return; /* done before, see engine_fork_step_out */
    }
    state->fork_thread = 0;
    pthread_mutex_init(&state->fork_mutex, NULL);
    state->fork_count++;
    for (EngineObject *e = state->engines; e; e = e->next) {
        after_fork(e);
    }
}
