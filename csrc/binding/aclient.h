/* SPDX-License-Identifier: MIT */
#ifndef SEQCACHE_ACLIENT_H
#define SEQCACHE_ACLIENT_H

#include "binding/client.h"

int aclient_setup_type(PyObject *module, struct module_state *state);

/* The running loop; borrowed.  NULL with RuntimeError that names `method`. */
PyObject *aclient_running_loop(ClientObject *client, const char *method);

#endif
