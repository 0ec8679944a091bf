"""Calls with a token whose answers are lost: repeated, and counted once."""

from __future__ import annotations

import math
import pickle

import pytest

import seqcache
from fakes import node as faults

LOST = [faults.swallow, faults.reset_after, faults.close_after, faults.reset_before]


@pytest.mark.parametrize("fault", LOST)
def test_ten_lost_answers_count_once(net_face, node, fault):
    cache = net_face.open(node.url, timeout=20)
    lose(node, fault, 10)
    assert cache.increase_seq("alice", token="m1") == 1
    assert node.applied["seq:alice"] == 1
    assert cache.increase_seq("alice") == 2
    assert cache.stats().reconnects >= 10


@pytest.mark.parametrize("fault", LOST)
def test_ten_lost_answers_reserve_one_range(net_face, node, fault):
    cache = net_face.open(node.url, timeout=20)
    lose(node, fault, 10)
    assert cache.reserve("alice", 7, token="m1") == range(1, 8)
    assert node.value("seq:alice") == 7


def test_bulk_through_ten_lost_answers_counts_each_id_once(net_face, node):
    cache = net_face.open(node.url, timeout=20)
    ids = [f"u{i}" for i in range(40)]
    lose(node, faults.reset_after, 10)
    assert cache.increase_seqs(ids, token="m1") == [1] * 40
    assert cache.increase_seqs(ids, token="m1") == [1] * 40
    assert all(node.applied[f"seq:{one}"] == 1 for one in ids)


def lose(node, fault, times):
    """Lose `times` answers; the silent fault needs its link cut to be noticed."""

    def cut(call):
        fault(call)
        call.connection.close()

    left = [times]

    def maybe(call):
        if left[0]:
            left[0] -= 1
            cut(call)
        else:
            call.send(call.apply())

    node.on("EVAL", maybe, times=math.inf)
    node.on("EVALSHA", maybe, times=math.inf)


def test_never_keeps_meaning_never(net_face, node):
    cache = net_face.open(node.url, retry="never", timeout=5)
    node.on("EVAL", faults.reset_after, nth=1)
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq("alice", 3, token="m1")
    assert node.applied["seq:alice"] == 1
    error = caught.value
    assert (error.user_id, error.by, error.token) == ("alice", 3, "m1")
    assert "same token" in (error.hint or "")
    assert error.executed is None
    assert cache.increase_seq("alice", 3, token="m1") == 3
    assert node.applied["seq:alice"] == 1


def test_answer_that_never_comes_is_an_unknown_outcome_with_its_token(net_face, node):
    cache = net_face.open(node.url, timeout=0.3)
    node.on("EVAL", faults.hang, nth=1)
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq("alice", token=b"\xff")
    assert caught.value.token == b"\xff"
    assert pickle.loads(pickle.dumps(caught.value)).token == b"\xff"
    node.clear()
    assert cache.increase_seq("alice", token=b"\xff", timeout=10) == 1


def test_bulk_of_lost_answers_names_the_token_in_each_error(net_face, node):
    cache = net_face.open(node.url, retry="never", timeout=5)
    node.on("EVAL", faults.reset_after, nth=1)
    with pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs(["alice", "bob"], token="m1")
    assert [error.token for error in caught.value.results] == ["m1", "m1"]
    assert [error.user_id for error in caught.value.results] == ["alice", "bob"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"-ERR increment or decrement would overflow\r\n", seqcache.SequenceOverflow),
        (b"-TOKENCONFLICT 4\r\n", seqcache.TokenConflict),
        (b"-WRONGTYPE Operation against a key\r\n", seqcache.NotASequence),
    ],
)
def test_repeat_that_is_refused_for_good_was_not_counted(net_face, node, reply, error):
    cache = net_face.open(node.url, timeout=5)
    node.on("EVAL", faults.reset_before, nth=1)
    node.on("EVAL", faults.answer(reply))
    with pytest.raises(error) as caught:
        cache.increase_seq("alice", token="m1")
    assert caught.value.executed is False


def test_repeat_that_is_refused_for_now_may_have_counted(net_face, node):
    cache = net_face.open(node.url, timeout=5)
    node.on("EVAL", faults.reset_after, nth=1)
    node.on("EVAL", faults.answer(b"-OOM no memory\r\n"))
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq("alice", token="m1")
    assert caught.value.token == "m1"


@pytest.mark.parametrize("raw", [b":5\r\n", b"$-1\r\n", b"$1\r\nx\r\n", b"*0\r\n"])
def test_answer_of_a_wrong_kind_is_never_a_number(net_face, node, raw):
    cache = net_face.open(node.url, timeout=0.5, retry="never")
    node.on("EVAL", faults.answer(raw), times=math.inf)
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice", token="m1")
