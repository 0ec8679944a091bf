/* SPDX-License-Identifier: MIT */
/* The server scripts of plain mode.
 *
 * Lua's numbers are doubles and lose digits from 2^53 on, so values stay the
 * text that GET returns, and the answers are text for the same reason.
 *
 * The digests are checked by tests/c/ut_encode.c (sha1 of the text). */
#ifndef SEQC_SCRIPT_H
#define SEQC_SCRIPT_H

/* KEYS[1] moves forward to ARGV[1], never back.  Values are compared as digit
 * strings, by length, then text.  PTTL and PX instead of KEEPTTL: the latter
 * needs Redis 6. */
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

/* KEYS[1] is increased by ARGV[1] unless the record KEYS[2] says that this was
 * done; it says so from then on, for ARGV[2] seconds.  A record is
 * "last/count".  A script that fails is not undone by itself: where SET is not
 * permitted the increase is taken back, and SET called once more, for its
 * error. */
#define SEQC_TOKEN_CONFLICT_WORD "TOKENCONFLICT"
#define SEQC_INCREASE_ONCE_SCRIPT                                             \
    "local r=redis.call('GET',KEYS[2]) "                                      \
    "local last,count=string.match(r or '','^(%-?%d+)/(%d+)$') "              \
    "if last and count==ARGV[1] then return last end "                        \
    "if last then return redis.error_reply("                                  \
    "'" SEQC_TOKEN_CONFLICT_WORD " '..count) end "                            \
    "redis.call('INCRBY',KEYS[1],ARGV[1]) "                                   \
    "local n=redis.call('GET',KEYS[1]) "                                      \
    "r=n..'/'..ARGV[1] "                                                      \
    "local said=redis.pcall('SET',KEYS[2],r,'EX',ARGV[2]) "                   \
    "if said.err then "                                                       \
    "redis.call('INCRBY',KEYS[1],'-'..ARGV[1]) "                              \
    "redis.call('SET',KEYS[2],r,'EX',ARGV[2]) end "                           \
    "return n"

#define SEQC_INCREASE_ONCE_DIGEST "4c63faa6ad501b7c6cf3009f374e33f95078502d"

#endif
