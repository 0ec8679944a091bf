"""max_pending: a bounded number of commands in flight, then waiting, then Busy."""

from __future__ import annotations

import asyncio
import time

import pytest

import seqcache
from fakes import node as faults


def test_above_the_limit_a_call_waits_then_is_busy(plain_face, node, ends_within):
    cache = plain_face.open(node.url, max_pending=2, timeout=5)
    node.on("INCR", faults.delay(1.0), key="seq:first")
    first = [cache.start("increase_seq", "first") for _ in range(2)]
    node.wait_for(lambda: node.applied["seq:first"])
    time.sleep(0.1)
    with ends_within(0.2), pytest.raises(seqcache.BusyError) as caught:
        cache.increase_seq("late", timeout=0.2)
    assert caught.value.executed is False
    assert sorted(future.result(10) for future in first) == [1, 2]
    time.sleep(0.1)
    assert node.applied["seq:late"] == 0


def test_above_the_limit_a_call_goes_on_when_there_is_room(plain_face, node):
    cache = plain_face.open(node.url, max_pending=2, timeout=10)
    node.on("INCR", faults.delay(0.3))
    numbers = cache.start_all("increase_seq", [("alice",)] * 20)
    assert sorted(numbers) == list(range(1, 21))


def test_waiting_calls_are_not_sent(plain_face, node):
    cache = plain_face.open(node.url, max_pending=3, timeout=5)
    node.on("INCR", faults.hang)
    futures = [cache.start("increase_seq", f"u{n}", timeout=0.3) for n in range(20)]
    errors = [future.exception(10) for future in futures]
    assert all(isinstance(error, seqcache.SeqCacheError) for error in errors)
    assert sum(error.executed is None for error in errors) <= 3


def test_a_cancelled_waiter_leaves_room_for_the_next(node, run_async):
    async def main():
        async with seqcache.acache(node.url, max_pending=1, timeout=10) as cache:
            node.on("INCR", faults.delay(0.4))
            first = asyncio.create_task(cache.increase_seq("alice"))
            await asyncio.sleep(0.1)
            waiting = [cache.increase_seq("waiting") for _ in range(5)]
            await asyncio.sleep(0.1)
            for future in waiting:
                future.cancel()
            assert await cache.increase_seq("last") == 1
            assert await first == 1

    run_async(main())
    assert node.applied["seq:waiting"] == 0


def test_a_bulk_is_fed_in_pieces(plain_face, node):
    """The node answers nothing until the limit is reached, never more comes."""
    cache = plain_face.open(node.url, max_pending=10, timeout=10)
    node.on("INCR", faults.hang)
    future = cache.start("increase_seqs", [f"u{n}" for n in range(200)], timeout=0.5)
    error = future.exception(10)
    assert isinstance(error, seqcache.BulkError)
    unknown = [result for result in error.results if result.executed is None]
    assert 1 <= len(unknown) <= 10
    assert error.results[-1].executed is False


def test_nothing_is_left_pending_after_all_is_done(plain_face, node):
    cache = plain_face.open(node.url, max_pending=5, timeout=10)
    for _ in range(3):
        cache.start_all("increase_seq", [("alice",)] * 30)
        cache.increase_seqs(["alice"] * 30)
    assert cache.stats().in_flight == 0
    assert cache.get_seq("alice") == 180
