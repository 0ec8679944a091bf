"""Calls that are repeated: what is said when the repeat fails as well.

The first sending may have counted, whatever becomes of the second one.
"""

from __future__ import annotations

import pytest

import seqcache
from fakes import node as faults


def lose_then(node, command: str, raw: bytes) -> None:
    """Lose the first answer with its connection, answer the repeat with `raw`."""
    node.on(command, faults.reset_after)
    node.on(command, faults.answer(raw))


def test_gap_repeat_that_is_refused_is_an_unknown_outcome(net_face, node):
    cache = net_face.open(node.url, retry="gap", timeout=2)
    lose_then(node, "INCR", b"-OOM no memory\r\n")
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is None
    assert isinstance(caught.value.cause, seqcache.ServerError)
    assert node.applied["seq:alice"] == 1


def test_gap_repeat_that_finds_no_link_is_an_unknown_outcome(net_face, node):
    cache = net_face.open(node.url, retry="gap", timeout=0.6)
    node.on("INCR", faults.reset_after, nth=1)
    node.accept = "close"
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is None


def test_raise_that_was_sent_and_found_no_link_again_may_have_run(net_face, node):
    cache = net_face.open(node.url, timeout=0.6)
    node.on("EVAL", faults.reset_after, nth=1)
    node.accept = "close"
    with pytest.raises(seqcache.CallTimeout) as caught:
        cache.raise_seq("alice", 77)
    assert caught.value.executed is None


def test_raise_whose_repeat_is_refused_may_have_run(net_face, node):
    cache = net_face.open(node.url, timeout=2)
    lose_then(node, "EVAL", b"-OOM no memory\r\n")
    with pytest.raises(seqcache.ServerError) as caught:
        cache.raise_seq("alice", 77)
    assert caught.value.executed is None
    assert caught.value.code == "OOM"


def test_read_that_may_not_be_repeated_says_that_the_link_was_lost(net_face, node):
    cache = net_face.open(node.url, retry="never", timeout=2)
    node.on("GET", faults.reset_after, nth=1)
    with pytest.raises(seqcache.ConnectError, match="lost with the answer") as caught:
        cache.get_seq("alice")
    assert caught.value.executed is None
