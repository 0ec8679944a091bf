/* SPDX-License-Identifier: MIT */
/* RESP without I/O, for what Python does by itself: handshakes. */
#ifndef SEQCACHE_CODEC_H
#define SEQCACHE_CODEC_H

#include "binding/state.h"

int codec_setup_types(PyObject *module, struct module_state *state);

#endif
