/* SPDX-License-Identifier: MIT */
/* The one server script of plain mode: raise a sequence, forward only.
 *
 * Lua's numbers are doubles and lose digits from 2^53 on, so the values are
 * compared as digit strings, by length, then text.  PTTL and PX instead of
 * KEEPTTL: the latter needs Redis 6.  The answer is text for the same reason.
 *
 * The digest is checked by tests/c/ut_encode.c (sha1 of the text). */
#ifndef SEQC_SCRIPT_H
#define SEQC_SCRIPT_H

#define SEQC_RAISE_SCRIPT                                                     \
    "local v=redis.call('GET',KEYS[1]) local to=ARGV[1] "                     \
    "if v then "                                                              \
    "if v~='0' and not string.match(v,'^%-?[1-9]%d*$') then "                 \
    "return redis.error_reply("                                               \
    "'ERR value is not an integer or out of range') end "                     \
    "local n=string.sub(v,1,1)=='-' "                                         \
    "local d=n and string.sub(v,2) or v "                                     \
    "local m=n and '9223372036854775808' or '9223372036854775807' "           \
    "if #d>19 or (#d==19 and d>m) then "                                      \
    "return redis.error_reply("                                               \
    "'ERR value is not an integer or out of range') end "                     \
    "if not n and (#v>#to or (#v==#to and v>=to)) then return v end "         \
    "elseif to=='0' then return to end "                                      \
    "local t=v and redis.call('PTTL',KEYS[1]) or -1 "                         \
    "if t>0 then redis.call('SET',KEYS[1],to,'PX',t) "                        \
    "else redis.call('SET',KEYS[1],to) end "                                  \
    "return to"

#define SEQC_RAISE_DIGEST "7011fb2aac3d21b0b790bc8321c2f302aea74cd2"

#endif
