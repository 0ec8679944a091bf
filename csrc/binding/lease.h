/* SPDX-License-Identifier: MIT */
/* Numbers from memory: what a lease has, and how it hands it out.
 *
 * Two types, `_native.Lease` (an iterator) and `_native.AsyncLease` (next() is
 * an awaitable), of which seqcache/lease.py inherits.  Here is what happens
 * for each number; what happens once a block is a method of theirs:
 *
 *   _refill()   at the refill point: begins to reserve the next block
 *   _more()     nothing is left: blocking, returns when it may be asked again;
 *               asyncio, returns the awaitable of the number
 *   _refuse()   the lease or its cache is closed: raises
 *
 * Threads: any, also without the GIL.  A child after fork must call _drop(),
 * as the numbers are its parent's. */
#ifndef SEQCACHE_LEASE_H
#define SEQCACHE_LEASE_H

#include "binding/state.h"

int lease_setup_types(PyObject *module, struct module_state *state);

#endif
