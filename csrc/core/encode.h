/* SPDX-License-Identifier: MIT */
/* Requests -> RESP.  The hot commands are written from templates (7 ns; the
 * formatter of hiredis takes 227), everything rare goes through
 * seqc_encode_raw. */
#ifndef SEQC_ENCODE_H
#define SEQC_ENCODE_H

#include "core/buf.h"
#include "core/request.h"

/* Appends the request's command.  `script_known`: the server has the raise
 * script, its digest will do. */
seqc_status seqc_encode(struct seqc_buf *buf,
                        const struct seqc_request *request,
                        bool script_known) SEQC_CHECK;

/* Bytes that a command with these arguments takes, and writes it to `out`,
 * which has room for them. */
size_t seqc_encode_raw_size(size_t argc, const size_t *lengths);
void seqc_encode_raw(char *out,
                     size_t argc,
                     const char *const *argv,
                     const size_t *lengths);

#endif
