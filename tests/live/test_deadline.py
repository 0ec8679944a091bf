"""One deadline for the whole call, whatever the network does (GOALS.md R7)."""

from __future__ import annotations

import math
import time

import pytest

import seqcache
from fakes import node as faults

TIMEOUT = 0.3
SILENT = {
    "hang": faults.hang,
    "swallow": faults.swallow,
    "drip": faults.drip(0.15),
    "reset-always": faults.reset_before,
    "readonly-always": faults.error("READONLY no"),
    "loading-always": faults.error("LOADING wait"),
}
CALLS = {
    "get_seq": ("alice",),
    "increase_seq": ("alice",),
    "reserve": ("alice", 1000),
    "raise_seq": ("alice", 5),
    "get_seqs": (["a", "b"],),
    "increase_seqs": (["a", "b"],),
    "raise_seqs": ({"a": 1, "b": 2},),
    "ping": (),
}


@pytest.mark.parametrize("fault", SILENT.values(), ids=SILENT.keys())
def test_every_call_ends_by_its_deadline(net_face, node, fault, ends_within):
    """All operations at once, each on a cache (a link) of its own."""
    node.store.data[b"seq:alice"] = b"9" * 17  # long enough to drip
    caches = {name: net_face.open(node.url, timeout=TIMEOUT) for name in CALLS}
    node.on("*", fault, times=math.inf)
    with ends_within(TIMEOUT):
        futures = {
            name: cache.start(name, *CALLS[name]) for name, cache in caches.items()
        }
        errors = {name: future.exception(10) for name, future in futures.items()}
    wrong = {
        n: e for n, e in errors.items() if not isinstance(e, seqcache.SeqCacheError)
    }
    assert not wrong


@pytest.mark.parametrize("accept", ["close", "reset", "ignore"])
def test_no_link_in_time_ends_by_the_deadline(net_face, node, accept, ends_within):
    cache = net_face.open(node.url, timeout=TIMEOUT, connect_timeout=5)
    node.accept = accept
    node.drop_all()
    with ends_within(TIMEOUT), pytest.raises(seqcache.SeqCacheError) as caught:
        cache.increase_seq("alice")
    assert node.applied["seq:alice"] == 0
    assert caught.value.executed in (False, None)


def test_a_calls_own_timeout_overrides_the_default(net_face, node, ends_within):
    cache = net_face.open(node.url, timeout=30)
    node.on("INCR", faults.hang)
    with ends_within(0.2), pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice", timeout=0.2)


def test_a_longer_timeout_of_a_call_is_kept(net_face, node):
    cache = net_face.open(node.url, timeout=0.1)
    node.on("INCR", faults.delay(0.5))
    assert cache.increase_seq("alice", timeout=5) == 1


def test_timeout_none_waits_as_long_as_it_takes(net_face, node):
    cache = net_face.open(node.url, timeout=None)
    node.on("INCR", faults.delay(1.2))
    assert cache.increase_seq("alice") == 1


def test_each_caller_keeps_its_own_deadline(net_face, node, ends_within):
    cache = net_face.open(node.url, timeout=5)
    node.on("INCR", faults.hang)
    waits = [0.6, 0.2, 0.4]
    with ends_within(0.6):
        futures = [cache.start("increase_seq", "a", timeout=wait) for wait in waits]
        with ends_within(0.2):
            assert futures[1].exception(5) is not None
        errors = [future.exception(5) for future in futures]
    assert all(isinstance(error, seqcache.SeqCacheError) for error in errors)
    assert any(isinstance(error, seqcache.OutcomeUnknown) for error in errors)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1"])
def test_a_timeout_that_is_no_time_is_refused(net_face, node, timeout):
    cache = net_face.open(node.url)
    with pytest.raises((ValueError, TypeError, seqcache.CallTimeout)):
        cache.increase_seq("alice", timeout=timeout)
    assert node.applied["seq:alice"] == 0


def test_a_bulk_has_one_deadline(net_face, node, ends_within):
    cache = net_face.open(node.url, timeout=TIMEOUT)
    node.on("INCR", faults.delay(0.02), times=math.inf)
    with ends_within(TIMEOUT), pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs([f"u{n}" for n in range(200)])
    assert caught.value.results[0] == 1
    assert isinstance(caught.value.results[-1], seqcache.SeqCacheError)


def test_endless_slow_reply_ends_by_the_deadline(net_face, node, ends_within):
    cache = net_face.open(node.url, timeout=TIMEOUT)
    node.on("GET", faults.answer(b"$1000000\r\n" + b"1" * 500_000))
    with ends_within(TIMEOUT), pytest.raises(seqcache.SeqCacheError):
        cache.get_seq("alice")


def test_a_call_made_after_a_loss_has_all_its_time(node, run_async):
    """The loop's clock is that of the last bytes; a loss brings none."""

    def reset_late(call):
        time.sleep(0.9)
        call.connection.reset()

    async def main():
        async with seqcache.acache(node.url, timeout=10) as cache:
            node.on("INCR", reset_late)
            node.on("GET", faults.delay(0.5))
            try:
                await cache.increase_seq("alice")
            except seqcache.OutcomeUnknown:
                return await cache.get_seq("alice", timeout=1.2)
            raise AssertionError("it was answered")

    assert run_async(main()) == 0
