"""A peer that breaks the protocol: typed error in time, memory bounded (R4)."""

from __future__ import annotations

import math
import resource
import time

import pytest

import seqcache
from fakes import node as faults

GARBAGE = {
    "text": b"this is no RESP\r\n",
    "http": b"HTTP/1.1 200 OK\r\n\r\n",
    "zeros": b"\0" * 64,
    "unknown-type": b"?5\r\n",
    "integer-text": b":12x\r\n",
    "integer-empty": b":\r\n",
    "integer-too-long": b":" + b"9" * 30 + b"\r\n",
    "bulk-no-length": b"$x\r\n",
    "bulk-negative": b"$-5\r\n",
    "bulk-no-crlf": b"$2\r\n12xx",
    "bulk-2-62": b"$4611686018427387904\r\n1",
    "array-2-31": b"*2147483648\r\n:1\r\n",
    "array-2-62": b"*4611686018427387904\r\n",
    "deep": b"*1\r\n" * 100_000,
    "map-huge": b"%1000000000\r\n:1\r\n",
    "endless-line": b":" + b"1" * 3_000_000,
    "endless-bulk": b"$9000000\r\n" + b"1" * 3_000_000,
    "endless-error": b"-" + b"E" * 5_000_000,
}
# Not wrong yet: what is promised may still come, until the silence is too long.
INCOMPLETE = {GARBAGE["bulk-2-62"]}
WRONG_KIND = {
    "array": b"*1\r\n:1\r\n",
    "map": b"%1\r\n+a\r\n:1\r\n",
    "null": b"_\r\n",
    "status": b"+OK\r\n",
    "double": b",1.5\r\n",
    "bool": b"#t\r\n",
    "text": b"$3\r\nabc\r\n",
}
PROTOCOL_ERRORS = (seqcache.ProtocolError, seqcache.CallTimeout, seqcache.ServerError)


@pytest.fixture
def cache(plain_face, node):
    return plain_face.open(node.url, timeout=0.5)


def rss_kb() -> int:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_for_a_read_is_an_error_and_the_next_link_works(
    cache, node, raw, ends_within
):
    before = rss_kb()
    node.on("GET", faults.answer(raw), times=math.inf)
    with ends_within(0.5), pytest.raises(PROTOCOL_ERRORS):
        cache.get_seq("alice")
    assert rss_kb() - before < 100_000
    node.clear()
    node.store.data[b"seq:alice"] = b"5"
    assert cache.get_seq("alice", timeout=5) == 5


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_for_a_counting_call_is_outcome_unknown(cache, node, raw, ends_within):
    node.on("INCR", faults.apply_and_answer(raw))
    with ends_within(0.5), pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is None
    assert node.seen("INCR") == 1
    if raw in INCOMPLETE:
        time.sleep(1.2)  # a second of silence, and the link is dead
    assert cache.increase_seq("alice", timeout=5) == 2


@pytest.mark.parametrize("raw", WRONG_KIND.values(), ids=WRONG_KIND.keys())
def test_an_answer_of_the_wrong_kind_is_never_a_number(cache, node, raw):
    node.on("INCR", faults.apply_and_answer(raw))
    with pytest.raises(seqcache.SeqCacheError) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is not False
    assert cache.increase_seq("alice", timeout=5) == 2


@pytest.mark.parametrize(
    "raw", [b":5\r\n", b"*0\r\n", b"+OK\r\n", b"$3\r\nabc\r\n", b"*1\r\n$1\r\n5\r\n"]
)
def test_a_read_answered_with_another_kind_is_an_error(cache, node, raw):
    node.on("MGET", faults.answer(raw), times=math.inf)
    with pytest.raises(seqcache.SeqCacheError):
        cache.get_seqs(["a", "b"])
    node.clear()
    assert cache.get_seqs(["a", "b"], timeout=5) == [0, 0]


def test_protocol_error_is_the_cause(cache, node):
    node.on("INCR", faults.apply_and_answer(b"?what\r\n"))
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.increase_seq("alice")
    assert isinstance(caught.value.cause, seqcache.ProtocolError)


@pytest.mark.parametrize("fault", [faults.split, faults.drip(0.002)])
def test_replies_in_single_bytes_are_whole(plain_face, node, fault):
    cache = plain_face.open(node.url, timeout=10)
    node.on("*", fault, times=math.inf)
    assert cache.increase_seq("alice", 123456789) == 123456789
    assert cache.get_seq("alice") == 123456789
    assert cache.raise_seq("alice", 2**63 - 1) == 2**63 - 1
    assert cache.get_seqs(["alice", "nobody"]) == [2**63 - 1, 0]
    assert cache.increase_seqs(["a", "b", "a"]) == [1, 1, 2]


@pytest.mark.parametrize("count", range(6))
def test_a_reply_cut_at_every_byte_is_no_number(cache, node, count):
    node.store.data[b"seq:alice"] = b"122"
    node.on("INCR", faults.cut_reply(count))
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice")
    assert cache.increase_seq("alice", timeout=5) == 124


def test_replies_nobody_asked_for_do_not_become_answers(cache, node):
    node.on("INCR", faults.apply_and_answer(b":1\r\n:999\r\n:998\r\n"))
    assert cache.increase_seq("alice") == 1
    results = []
    for _ in range(3):
        try:
            results.append(cache.increase_seq("bob", timeout=3))
        except seqcache.OutcomeUnknown:
            results.append(None)
    assert not {999, 998} & set(results)


def test_push_messages_are_no_replies(cache, node):
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"
    node.on("INCR", faults.apply_and_answer(push + b":1\r\n" + push))
    assert cache.increase_seq("alice") == 1
    assert cache.increase_seq("alice", timeout=5) == 2


def test_attributes_of_resp3_are_no_numbers(cache, node):
    """Nobody sends them unasked; a client may refuse them, not count them."""
    attribute = b"|1\r\n+ttl\r\n:5\r\n"
    node.on("INCR", faults.apply_and_answer(attribute + b":1\r\n"))
    outcome = cache.start("increase_seq", "alice")
    error = outcome.exception(5)
    assert isinstance(error, seqcache.OutcomeUnknown) or outcome.result(0) == 1
    assert cache.increase_seq("alice", timeout=5) == 2
