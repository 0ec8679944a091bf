/* SPDX-License-Identifier: MIT */
#include "core/status.h"

#include <string.h>

#include "ut_check.h"

static void
every_status_has_its_own_name_and_text(void)
{
    for (int i = 0; i < SEQC_STATUS_COUNT; i++) {
        seqc_status status = (seqc_status)i;
        CHECK(strlen(seqc_status_name(status)) > 1);
        CHECK(strlen(seqc_status_text(status)) > 3);
        for (int k = 0; k < i; k++) {
            seqc_status other = (seqc_status)k;
            CHECK(strcmp(seqc_status_name(status), seqc_status_name(other)));
            CHECK(strcmp(seqc_status_text(status), seqc_status_text(other)));
        }
    }
    CHECK(strcmp(seqc_status_name(SEQC_NOT_A_SEQUENCE), "NOT_A_SEQUENCE")
          == 0);
}

static void
every_failure_has_an_exception(void)
{
    CHECK(SEQC_OK == 0);
    CHECK(seqc_status_class(SEQC_OK)[0] == '\0');
    CHECK(seqc_status_class(SEQC_PENDING)[0] == '\0');
    CHECK(seqc_status_class(SEQC_VERDICT)[0] == '\0');
    for (int i = SEQC_VERDICT + 1; i < SEQC_STATUS_COUNT; i++) {
        const char *cls = seqc_status_class((seqc_status)i);
        CHECK(cls[0] >= 'A' && cls[0] <= 'Z');
    }
    CHECK(strcmp(seqc_status_class(SEQC_UNKNOWN), "OutcomeUnknown") == 0);
    CHECK(strcmp(seqc_status_class(SEQC_NOMEM), "MemoryError") == 0);
}

static void
number_out_of_range_is_a_question_mark(void)
{
    static const int numbers[] = {-1, SEQC_STATUS_COUNT, 9999};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        seqc_status status = (seqc_status)numbers[i];
        CHECK(strcmp(seqc_status_name(status), "?") == 0);
        CHECK(strcmp(seqc_status_text(status), "?") == 0);
        CHECK(strcmp(seqc_status_class(status), "SeqCacheError") == 0);
    }
}

struct example {
    const char *text;
    seqc_status status;
    bool not_run;
    bool no_script;
};

#define IN_SCRIPT                                                            \
    "ERR Error running script (call to f_e0e1f9fabfc9d4800c877a703b8):"      \
    " @user_script:1: @user_script: 1: "

/* Texts of real servers, see SERVERS.md section 4. */
static const struct example examples[] = {
    {"WRONGTYPE Operation against a key holding the wrong kind of value",
     SEQC_NOT_A_SEQUENCE, false, false},
    {"ERR value is not an integer or out of range",
     SEQC_NOT_A_SEQUENCE, false, false},
    {"ERR value is not an integer or out of range script: seq, on "
     "@user_function:12.",
     SEQC_NOT_A_SEQUENCE, false, false},
    {"ERR increment or decrement would overflow",
     SEQC_OVERFLOW, false, false},
    {"NOAUTH Authentication required.", SEQC_AUTH, false, false},
    {"WRONGPASS invalid username-password pair or user is disabled.",
     SEQC_AUTH, false, false},
    {"NOPERM this user has no permissions to run the 'set' command",
     SEQC_AUTH, false, false},
    {"NOSCRIPT No matching script. Please use EVAL.",
     SEQC_SERVER, true, true},
    {"NOSCRIPT No matching script.", SEQC_SERVER, true, true},
    {"LOADING Redis is loading the dataset in memory",
     SEQC_SERVER, true, false},
    {"READONLY You can't write against a read only replica.",
     SEQC_SERVER, true, false},
    {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is "
     "set to 'no'.",
     SEQC_SERVER, true, false},
    {"MOVED 15495 127.0.0.1:7001", SEQC_SERVER, true, false},
    {"ASK 3300 127.0.0.1:7001", SEQC_SERVER, true, false},
    {"TRYAGAIN Multiple keys request during rehashing of slot",
     SEQC_SERVER, true, false},
    {"CLUSTERDOWN Hash slot not served", SEQC_SERVER, true, false},
    {"OOM command not allowed when used memory > 'maxmemory'.",
     SEQC_SERVER, false, false},
    {"MISCONF Errors writing to the AOF file: No space left on device",
     SEQC_SERVER, false, false},
    {"BUSY Redis is busy running a script.", SEQC_SERVER, false, false},
    {"ERR unknown command", SEQC_SERVER, false, false},
    {"ERR max number of clients reached", SEQC_SERVER, false, false},
    {"MOVEDED is another word", SEQC_SERVER, false, false},
    {"moved 1 is no error code", SEQC_SERVER, false, false},
    {"ERR a READONLY in the text is none", SEQC_SERVER, false, false},
    {IN_SCRIPT "-READONLY You can't write against a read only replica.",
     SEQC_SERVER, true, false},
    {IN_SCRIPT "WRONGTYPE Operation against a key holding the wrong kind",
     SEQC_NOT_A_SEQUENCE, false, false},
    {IN_SCRIPT "ERR value is not an integer or out of range",
     SEQC_NOT_A_SEQUENCE, false, false},
    {"ERR Error running script (call to f_e0e1): @user_script:1: "
     "ERR increment or decrement would overflow",
     SEQC_OVERFLOW, false, false},
    {"ERR Error running script (call to f_e0e1): @user_script:1: WRONGTYPE x",
     SEQC_NOT_A_SEQUENCE, false, false},
    {"ERR Error running script (call to f_e0e1): @user_script:", SEQC_SERVER,
     false, false},
    {"ERR Error running script (call to f_e0e1): @user_script:1: ",
     SEQC_SERVER, false, false},
    {"TOKENCONFLICT 3", SEQC_TOKEN_CONFLICT, false, false},
    {IN_SCRIPT "-OOM command not allowed", SEQC_SERVER, false, false},
    {IN_SCRIPT, SEQC_SERVER, false, false},
    {"", SEQC_SERVER, false, false},
    {"-", SEQC_SERVER, false, false},
};

static void
error_texts_of_servers_are_understood(void)
{
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct example *example = &examples[i];
        struct seqc_verdict verdict =
            seqc_error_classify(example->text, strlen(example->text));
        if (verdict.status != example->status
            || verdict.not_run != example->not_run
            || verdict.no_script != example->no_script) {
            fprintf(stderr, "misunderstood: %s\n", example->text);
            CHECK(!"understood");
        }
    }
}

/* Cut anywhere, in a block of exactly that size: the sanitizer sees a read
 * behind the end. */
static void
cut_error_texts_are_not_read_beyond(void)
{
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        for (size_t len = 0; len <= strlen(examples[i].text); len++) {
            char *block = malloc(len ? len : 1);
            CHECK(block);
            memcpy(block, examples[i].text, len);
            struct seqc_verdict verdict = seqc_error_classify(block, len);
            CHECK(verdict.status < SEQC_STATUS_COUNT);
            free(block);
        }
    }
}

int
main(void)
{
    RUN(every_status_has_its_own_name_and_text);
    RUN(every_failure_has_an_exception);
    RUN(number_out_of_range_is_a_question_mark);
    RUN(error_texts_of_servers_are_understood);
    RUN(cut_error_texts_are_not_read_beyond);
    return ut_finish();
}
