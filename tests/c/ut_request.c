/* SPDX-License-Identifier: MIT */
#include "core/request.h"

#include <string.h>

#include "core/reply.h"

#include "ut_check.h"

static void
new_call_is_idle_and_has_one_reference(void)
{
    struct seqc_call *call = seqc_call_new(3, 100);

    CHECK(atomic_load(&call->refs) == 1);
    CHECK(call->count == 3 && call->waiting == 0);
    CHECK(call->deadline_ns == SEQC_TIME_NEVER);
    CHECK(!call->timed && !call->abandoned && !call->heap_index);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(call->requests[i].state == SEQC_REQUEST_IDLE);
        CHECK(!call->requests[i].next && !call->requests[i].prev);
        CHECK(!call->requests[i].error);
    }
    seqc_call_unref(call);
    CHECK(ut_live == 0);
}

static void
last_reference_frees_the_call_and_its_errors(void)
{
    struct seqc_call *call = seqc_call_new(2, 0);

    call->requests[1].error = seqc_error_dup("why", 3);
    CHECK(seqc_call_ref(call) == call);
    seqc_call_unref(call);
    CHECK(ut_live == 2);
    seqc_call_unref(call);
    CHECK(ut_live == 0);
    seqc_call_unref(NULL);
}

static void
keys_are_prefix_and_id_in_one_block(void)
{
    struct seqc_call *call = seqc_call_new(3, 5 + 4 + 512 + 4);
    struct seqc_call_filler filler;
    char id[512];

    memset(id, 'i', sizeof id);
    seqc_call_fill(&filler, call);
    struct seqc_request *a =
        seqc_call_add_key(&filler, SEQC_OP_GET, "seq:", 4, "a", 1);
    struct seqc_request *none =
        seqc_call_add_key(&filler, SEQC_OP_RAISE, "seq:", 4, "", 0);
    struct seqc_request *longest =
        seqc_call_add_key(&filler, SEQC_OP_INCREASE, "seq:", 4, id, 512);
    CHECK(filler.filled == 3);
    CHECK(a == &call->requests[0] && longest == &call->requests[2]);
    CHECK(a->key_len == 5 && memcmp(a->key, "seq:a", 5) == 0);
    CHECK(none->key_len == 4 && memcmp(none->key, "seq:", 4) == 0);
    CHECK(longest->key_len == 516);
    CHECK(memcmp(longest->key, "seq:", 4) == 0);
    CHECK(memcmp(longest->key + 4, id, 512) == 0);
    CHECK(a->op == SEQC_OP_GET && none->op == SEQC_OP_RAISE);
    for (int i = 0; i < 3; i++) {
        CHECK(call->requests[i].call == call);
        CHECK(call->requests[i].span == 1);
    }
    seqc_call_unref(call);
}

static void
error_text_is_copied_and_cut(void)
{
    char text[600];

    memset(text, 'x', sizeof text);
    char *copy = seqc_error_dup(text, sizeof text);
    CHECK(strlen(copy) == 512);
    seqc_free(copy);
    copy = seqc_error_dup(text, 512);
    CHECK(strlen(copy) == 512);
    seqc_free(copy);
    copy = seqc_error_dup("", 0);
    CHECK(copy && copy[0] == '\0');
    seqc_free(copy);
    CHECK(ut_live == 0);
}

static void
without_memory_there_is_no_call_or_no_text(void)
{
    ut_fail_at(1);
    CHECK(!seqc_call_new(10, 1000));
    ut_fail_at(1);
    CHECK(!seqc_error_dup("lost", 4));
    CHECK(ut_live == 0);
}

/* The tree of a raw command belongs to the request once that is done well,
 * and only then: before, the same bytes hold something else. */
static void
tree_is_freed_with_the_call(void)
{
    struct seqc_call *call = seqc_call_new(4, 0);
    struct seqc_value *tree = seqc_calloc(1, sizeof *tree);

    CHECK(tree);
    tree->type = SEQC_VALUE_STRING;
    tree->text = seqc_calloc(1, 8);
    call->requests[0].op = SEQC_OP_RAW;
    call->requests[0].state = SEQC_REQUEST_DONE;
    call->requests[0].u.tree = tree;
    call->requests[1].op = SEQC_OP_RAW;
    call->requests[1].state = SEQC_REQUEST_SENT;
    call->requests[1].u.offset = 12345;
    call->requests[2].op = SEQC_OP_INCREASE;
    call->requests[2].state = SEQC_REQUEST_DONE;
    call->requests[2].u.value = 12345;
    call->requests[3].op = SEQC_OP_RAW;
    call->requests[3].state = SEQC_REQUEST_DONE;
    call->requests[3].status = SEQC_TIMEOUT;
    call->requests[3].u.due_ns = 12345;
    seqc_call_unref(call);
    CHECK(ut_live == 0);
}

/* Compares a list, forwards and backwards, with digits: "021" is requests 0,
 * 2 and 1. */
static void
check_list(const struct seqc_list *list,
           const struct seqc_request *requests,
           const char *digits)
{
    size_t len = strlen(digits);
    const struct seqc_request *request = list->head;

    for (size_t i = 0; i < len; i++) {
        CHECK(request == &requests[digits[i] - '0']);
        request = request->next;
    }
    CHECK(!request);
    request = list->tail;
    for (size_t i = len; i-- > 0;) {
        CHECK(request == &requests[digits[i] - '0']);
        request = request->prev;
    }
    CHECK(!request);
}

static void
lists_keep_order_in_both_directions(void)
{
    struct seqc_request r[5] = {0};
    struct seqc_list list = {0};

    check_list(&list, r, "");
    seqc_list_push(&list, &r[0]);
    check_list(&list, r, "0");
    seqc_list_push(&list, &r[1]);
    seqc_list_push_front(&list, &r[2]);
    check_list(&list, r, "201");
    seqc_list_remove(&list, &r[0]); /* the middle */
    check_list(&list, r, "21");
    seqc_list_push_front(&list, &r[3]);
    seqc_list_remove(&list, &r[1]); /* the tail */
    check_list(&list, r, "32");
    seqc_list_remove(&list, &r[3]); /* the head */
    check_list(&list, r, "2");
    seqc_list_remove(&list, &r[2]); /* the last */
    check_list(&list, r, "");
    seqc_list_push_front(&list, &r[4]);
    check_list(&list, r, "4");
}

static void
prepend_moves_all_before_the_head(void)
{
    struct seqc_request r[5] = {0};
    struct seqc_list list = {0};
    struct seqc_list from = {0};

    seqc_list_prepend(&list, &from); /* nothing to nothing */
    check_list(&list, r, "");
    seqc_list_push(&from, &r[0]);
    seqc_list_push(&from, &r[1]);
    seqc_list_prepend(&list, &from);
    check_list(&list, r, "01");
    check_list(&from, r, "");
    seqc_list_prepend(&list, &from); /* nothing to some */
    check_list(&list, r, "01");
    seqc_list_push(&from, &r[2]);
    seqc_list_push(&from, &r[3]);
    seqc_list_prepend(&list, &from);
    check_list(&list, r, "2301");
    check_list(&from, r, "");
    seqc_list_push(&list, &r[4]);
    check_list(&list, r, "23014");
}

static void
pool_keeps_the_memory_of_short_calls(void)
{
    struct seqc_call_pool pool = {0};
    struct seqc_call *calls[SEQC_POOL_BLOCKS_MAX + 2];
    size_t count = sizeof calls / sizeof *calls;

    ut_fail_at(0);
    for (size_t i = 0; i < count; i++) {
        calls[i] = seqc_call_new_single(&pool, 40);
        calls[i]->requests[0].error = seqc_error_dup("x", 1);
        calls[i]->requests[0].u.value = 7;
        calls[i]->waiting = 9;
    }
    struct seqc_call *large = seqc_call_new_single(&pool, 4096);
    struct seqc_call *loner = seqc_call_new_single(NULL, 40);
    CHECK(!large->pool && !loner->pool && calls[0]->pool == &pool);
    seqc_call_unref(large);
    seqc_call_unref(loner);
    for (size_t i = 0; i < count; i++) {
        seqc_call_unref(calls[i]);
    }
    CHECK(pool.count == SEQC_POOL_BLOCKS_MAX);
    CHECK(ut_live == SEQC_POOL_BLOCKS_MAX);
    for (size_t i = 0; i < count; i++) { /* as new, whatever they were */
        calls[i] = seqc_call_new_single(&pool, 1);
        CHECK(calls[i]->count == 1 && !calls[i]->waiting);
        CHECK(!calls[i]->requests[0].error && !calls[i]->next_done);
        CHECK(!calls[i]->requests[0].u.value);
        CHECK(calls[i]->deadline_ns == SEQC_TIME_NEVER);
    }
    CHECK(!pool.count && ut_live == (long)count);
    for (size_t i = 0; i < count; i++) {
        seqc_call_unref(calls[i]);
    }
    seqc_call_pool_fini(&pool);
    CHECK(!pool.spares && ut_live == 0);
    ut_fail_at(1);
    CHECK(!seqc_call_new_single(&pool, 1));
    ut_fail_at(0);
}

int
main(void)
{
    ut_watch();
    RUN(new_call_is_idle_and_has_one_reference);
    RUN(last_reference_frees_the_call_and_its_errors);
    RUN(keys_are_prefix_and_id_in_one_block);
    RUN(error_text_is_copied_and_cut);
    RUN(without_memory_there_is_no_call_or_no_text);
    RUN(tree_is_freed_with_the_call);
    RUN(lists_keep_order_in_both_directions);
    RUN(pool_keeps_the_memory_of_short_calls);
    RUN(prepend_moves_all_before_the_head);
    return ut_finish();
}
