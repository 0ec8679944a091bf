/* SPDX-License-Identifier: MIT */
/* Requests -> RESP.  The hot commands are written from templates (7 ns; the
 * formatter of hiredis takes 227), everything rare goes through
 * seqc_encode_raw. */
#ifndef SEQC_ENCODE_H
#define SEQC_ENCODE_H

#include "core/buf.h"
#include "core/request.h"

/* The scripts of plain mode, see script.h. */
enum seqc_script {
    SEQC_SCRIPT_RAISE = 1,
    SEQC_SCRIPT_INCREASE_ONCE = 2,
};

/* The script of an operation, 0 for none. */
static inline uint8_t
seqc_script_of(uint8_t op)
{
    return op == SEQC_OP_RAISE           ? SEQC_SCRIPT_RAISE
           : op == SEQC_OP_INCREASE_ONCE ? SEQC_SCRIPT_INCREASE_ONCE
                                         : 0;
}

/* Appends the request's command.  `script_known`: the server has its
 * script, the digest will do. */
seqc_status seqc_encode(struct seqc_buf *buf,
                        const struct seqc_request *request,
                        bool script_known) SEQC_CHECK;

/* Writes the name of the record of the call's token: "sqc:t:<length of the
 * key>:<key>:<token>"; a key without a hash tag is made one, so that both live
 * in one slot.  Returns one past the last byte. */
#define SEQC_RECORD_KEY_ROOM 64 /* beside the key and the token */
char *seqc_encode_record_key(char *out, const struct seqc_request *request);

/* Bytes that a command with these arguments takes, and writes it to `out`,
 * which has room for them. */
size_t seqc_encode_raw_size(size_t argc, const size_t *lengths);
void seqc_encode_raw(char *out,
                     size_t argc,
                     const char *const *argv,
                     const size_t *lengths);

#endif
