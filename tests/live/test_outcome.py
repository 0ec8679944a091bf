"""Counting calls of unknown fate: counted at most once, and said so."""

from __future__ import annotations

import math
import pickle
import time

import pytest

import seqcache
from fakes import node as faults

TIMEOUT = 0.4
LOST = {
    "reset-after": faults.reset_after,
    "close-after": faults.close_after,
    "cut-in-reply": faults.cut_reply(2),
    "swallowed": faults.swallow,
    "hang": faults.hang,
}


@pytest.fixture
def cache(net_face, node):
    cache = net_face.open(node.url, timeout=TIMEOUT)
    assert cache.increase_seq("warm") == 1
    return cache


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST.keys())
def test_lost_reply_is_outcome_unknown_and_counted_once(
    cache, node, fault, ends_within
):
    node.on("INCRBY", fault)
    with ends_within(TIMEOUT), pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq("alice", 5)
    error = caught.value
    assert error.executed is None
    assert (error.user_id, error.by, error.token) == ("alice", 5, None)
    assert not isinstance(error, ConnectionError | TimeoutError | OSError)
    assert node.seen("INCRBY") == 1
    assert node.applied["seq:alice"] == (0 if fault is faults.hang else 1)


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST.keys())
def test_after_a_lost_reply_the_next_call_counts_on(cache, node, fault):
    node.on("INCR", fault)
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice")
    counted = node.applied["seq:alice"]
    if fault in (faults.swallow, faults.hang):
        time.sleep(1.2)  # a second of silence, and the link is dead
    assert cache.increase_seq("alice", timeout=5) == counted + 1
    assert cache.get_seq("alice") == counted + 1


def test_ten_lost_replies_count_once_for_each_call(cache, node):
    node.on("INCR", faults.reset_after, times=10)
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice")
    assert node.applied["seq:alice"] == 1


def test_unknown_outcome_says_why_and_pickles(cache, node):
    node.on("INCR", faults.reset_after)
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq(b"alice")
    error = caught.value
    assert isinstance(error.cause, BaseException)
    again = pickle.loads(pickle.dumps(error))
    assert (again.user_id, again.by, again.executed) == (error.user_id, 1, None)
    assert str(again) == str(error)


def test_a_lost_reserve_names_its_amount(cache, node):
    node.on("INCRBY", faults.reset_after)
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.reserve("alice", 7)
    assert (caught.value.user_id, caught.value.by) == ("alice", 7)
    assert node.value("seq:alice") == 7


def test_a_lost_delete_is_outcome_unknown(cache, node):
    cache.increase_seq("alice")
    node.on("DEL", faults.reset_after)
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.delete_seq("alice", restart_from_one=True)
    assert node.seen("DEL") == 1


def test_retry_gap_repeats_and_never_duplicates(net_face, node):
    cache = net_face.open(node.url, timeout=3, retry="gap")
    node.on("INCR", faults.reset_after, times=2)
    assert cache.increase_seq("alice") == 3
    assert cache.increase_seq("alice") == 4


def test_retry_never_sends_once(net_face, node):
    cache = net_face.open(node.url, timeout=TIMEOUT, retry="never")
    node.on("INCR", faults.reset_after)
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice")
    assert node.seen("INCR") == 1


def test_a_late_reply_is_dropped_and_others_keep_their_own(cache, node):
    """One caller's timeout neither closes the link nor shifts the replies."""
    node.on("INCR", faults.delay(0.8), key="seq:slow")
    before = node.connection_count
    slow = cache.start("increase_seq", "slow", timeout=0.2)
    node.wait_for(lambda: node.applied["seq:slow"])
    others = [
        cache.start("increase_seq", f"u{n}", by=n + 100, timeout=5) for n in range(20)
    ]
    with pytest.raises(seqcache.OutcomeUnknown):
        slow.result(5)
    assert [future.result(5) for future in others] == list(range(100, 120))
    assert node.connection_count == before
    assert cache.increase_seq("slow") == 2


def test_calls_in_flight_before_the_cut_keep_their_answers(cache, node):
    node.on("INCR", faults.reset_after, key="seq:bad")
    node.on("INCR", faults.delay(0.3), key="seq:good")
    good = cache.start("increase_seq", "good", timeout=5)
    node.wait_for(lambda: node.applied["seq:good"])
    bad = cache.start("increase_seq", "bad", timeout=5)
    assert good.result(5) == 1
    with pytest.raises(seqcache.OutcomeUnknown):
        bad.result(5)
    assert node.applied["seq:bad"] == 1


@pytest.mark.parametrize("fault", [faults.reset_before, faults.reset_after])
def test_reads_are_repeated(cache, node, fault):
    node.store.data[b"seq:alice"] = b"77"
    node.on("GET", fault, times=2)
    assert cache.get_seq("alice", timeout=5) == 77
    node.on("MGET", fault, times=2)
    assert cache.get_seqs(["alice", "bob"], timeout=5) == [77, 0]


@pytest.mark.parametrize("fault", [faults.reset_before, faults.reset_after])
def test_forward_only_calls_are_repeated(cache, node, fault):
    node.on("EVAL", fault)
    node.on("EVALSHA", fault)
    assert cache.raise_seq("alice", 2**53 + 1, timeout=5) == 2**53 + 1
    assert cache.raise_seqs({"alice": 5, "bob": 6}, timeout=5) == 2
    assert node.value("seq:bob") == 6


def test_a_read_whose_answer_never_comes_is_call_timeout(cache, node, ends_within):
    node.on("GET", faults.swallow, times=math.inf)
    with ends_within(TIMEOUT), pytest.raises(seqcache.CallTimeout) as caught:
        cache.get_seq("alice")
    assert caught.value.executed is None
    assert isinstance(caught.value, TimeoutError)


def test_a_bulk_read_that_is_never_answered_is_call_timeout(cache, node):
    """Reads count nothing: one cause for every id is that error itself."""
    node.on("MGET", faults.swallow, times=math.inf)
    with pytest.raises(seqcache.CallTimeout):
        cache.get_seqs(["alice", "bob"])


def test_a_raise_whose_answer_never_comes_is_call_timeout(cache, node):
    node.on("EVAL", faults.swallow, times=math.inf)
    node.on("EVALSHA", faults.swallow, times=math.inf)
    with pytest.raises(seqcache.CallTimeout) as caught:
        cache.raise_seq("alice", 5)
    assert caught.value.executed is None


def test_script_unknown_to_the_server_is_sent_in_full(cache, node):
    assert cache.raise_seq("alice", 5) == 5
    node.store.scripts.clear()
    assert cache.raise_seq("alice", 6) == 6
    assert cache.raise_seqs({"alice": 7, "bob": 8}) == 2


def check_bulk(node, ids, results):
    """Each id's outcome agrees with what the node really applied."""
    for uid, result in zip(ids, results, strict=True):
        applied = node.applied[f"seq:{uid}"]
        if isinstance(result, int):
            assert applied >= 1
        elif result.executed is False:
            assert applied == 0
        else:
            assert isinstance(result, seqcache.OutcomeUnknown)
            assert applied <= 1


@pytest.mark.parametrize("nth", [1, 7, 50])
@pytest.mark.parametrize("fault", [faults.reset_after, faults.swallow])
def test_bulk_cut_in_the_middle_tells_each_id(cache, node, nth, fault):
    ids = [f"u{n}" for n in range(50)]
    node.on("INCR", fault, nth=nth)
    with pytest.raises((seqcache.BulkError, seqcache.OutcomeUnknown)) as caught:
        cache.increase_seqs(ids)
    assert caught.value.executed is None
    if isinstance(caught.value, seqcache.BulkError):
        check_bulk(node, ids, caught.value.results)
        assert isinstance(caught.value.results[nth - 1], seqcache.OutcomeUnknown)
    assert max(node.applied.values()) == 1


def test_bulk_error_pickles_with_its_results(cache, node):
    node.on("INCR", faults.reset_after, nth=3)
    with pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs(["a", "b", "c", "d"])
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.executed is None
    assert [type(r) for r in again.results] == [type(r) for r in caught.value.results]
    assert list(again.results[:2]) == [1, 1]
    assert again.results[2].user_id == "c"
