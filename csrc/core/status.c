/* SPDX-License-Identifier: MIT */
#include "core/status.h"

#include <string.h>

#include "core/script.h"

struct status_row {
    const char *name;
    const char *cls;
    const char *text;
};

static const struct status_row rows[] = {
#define SEQC_STATUS_ROW(code, cls, text) {#code, cls, text},
    SEQC_STATUS_MAP(SEQC_STATUS_ROW)
#undef SEQC_STATUS_ROW
};

static const struct status_row *
find_row(seqc_status status)
{
    static const struct status_row none = {"?", "SeqCacheError", "?"};
    return (unsigned)status < SEQC_STATUS_COUNT ? &rows[status] : &none;
}

const char *
seqc_status_name(seqc_status status)
{
    return find_row(status)->name;
}

const char *
seqc_status_class(seqc_status status)
{
    return find_row(status)->cls;
}

const char *
seqc_status_text(seqc_status status)
{
    return find_row(status)->text;
}

/* One row per error that means more than "ServerError".  Sources: SERVERS.md
 * section 4; the first word is the rule, the texts after ERR are literal on
 * Redis 6.0 to 8.6 and Valkey 8.0 to 9.1. */
struct error_row {
    const char *prefix;
    struct seqc_verdict verdict;
};

static const struct error_row error_rows[] = {
    {"WRONGTYPE ", {SEQC_NOT_A_SEQUENCE, false, false}},
    {"ERR value is not an integer", {SEQC_NOT_A_SEQUENCE, false, false}},
    {"ERR increment or decrement", {SEQC_OVERFLOW, false, false}},
    {SEQC_TOKEN_CONFLICT_WORD " ", {SEQC_TOKEN_CONFLICT, false, false}},
    {"NOAUTH ", {SEQC_AUTH, false, false}},
    {"WRONGPASS ", {SEQC_AUTH, false, false}},
    {"NOPERM ", {SEQC_AUTH, false, false}},
    {"ERR ACL failure in script", {SEQC_AUTH, false, false}},
    {"ERR The user executing the script", {SEQC_AUTH, false, false}},
    {"NOSCRIPT ", {SEQC_SERVER, true, true}},
    {"LOADING ", {SEQC_SERVER, true, false}},
    {"READONLY ", {SEQC_SERVER, true, false}},
    {"MASTERDOWN ", {SEQC_SERVER, true, false}},
    {"MOVED ", {SEQC_SERVER, true, false}},
    {"ASK ", {SEQC_SERVER, true, false}},
    {"TRYAGAIN ", {SEQC_SERVER, true, false}},
    {"CLUSTERDOWN ", {SEQC_SERVER, true, false}},
};

static bool
has_prefix(const char *text, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);
    return len >= n && memcmp(text, prefix, n) == 0;
}

static bool
find_error(const char *text, size_t len, struct seqc_verdict *out_verdict)
{
    for (size_t i = 0; i < sizeof error_rows / sizeof *error_rows; i++) {
        if (has_prefix(text, len, error_rows[i].prefix)) {
            *out_verdict = error_rows[i].verdict;
            return true;
        }
    }
    return false;
}

/* Redis 6 wraps what failed inside a script, twice if it was not even tried:
 * "ERR Error running script (call to f_SHA): @user_script:1: WRONGTYPE ...",
 * "...: @user_script:1: @user_script: 1: -READONLY You can't ...". */
static const char *
skip_script_wrapper(const char *text, size_t len)
{
    static const char mark[] = "@user_script:";
    const size_t mark_len = sizeof mark - 1;
    const char *end = text + len;
    const char *inner = NULL;

    if (!has_prefix(text, len, "ERR Error running script")) {
        return NULL;
    }
    for (const char *p = text; p + mark_len < end; p++) {
        if (memcmp(p, mark, mark_len) == 0) {
            inner = p + mark_len + 1; /* behind the space that may follow */
        }
    }
    inner = inner ? memchr(inner, ' ', (size_t)(end - inner)) : NULL;
    if (!inner || ++inner == end) {
        return NULL;
    }
    return *inner == '-' ? inner + 1 : inner;
}

struct seqc_verdict
seqc_error_classify(const char *text, size_t len)
{
    struct seqc_verdict verdict = {SEQC_SERVER, false, false};
    const char *inner;

    if (find_error(text, len, &verdict)) {
        return verdict;
    }
    inner = skip_script_wrapper(text, len);
    if (inner) {
        (void)find_error(inner, len - (size_t)(inner - text), &verdict);
    }
    return verdict;
}
