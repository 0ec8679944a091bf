"""Leases whose blocks do not come, or come late, or never."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import wait

import pytest

import seqcache
from fakes import node as faults


def until(condition, seconds=20.0):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def failures(cache):
    return cache.stats().leases["failures"]


# --- blocks that do not come ------------------------------------------------------


def test_failed_refill_lets_the_numbers_at_hand_serve(net_face, node, caplog):
    cache = net_face.open(node.url, timeout=0.2)
    lease = cache.lease("alice", size=100)
    lease.many(50)
    node.on("INCRBY", faults.error("OOM no memory"), times=math.inf)
    with caplog.at_level(logging.WARNING, "seqcache"):
        given = lease.many(1)
        until(lambda: failures(cache) >= 1)
        given += lease.many(49)
    assert given == list(range(51, 101))
    assert "background work failed: ServerError" in caplog.text
    for call in (lease.next, lambda: lease.take(3)):
        with pytest.raises(seqcache.ServerError) as caught:
            call()
        assert caught.value.code == "OOM"
        assert caught.value.executed is False
    node.clear()
    assert lease.next() == 101
    assert lease.take(3) == range(102, 105)


def test_failed_refill_is_tried_again_while_numbers_are_left(net_face, node):
    cache = net_face.open(node.url, timeout=10)
    lease = cache.lease("alice", size=100)
    lease.many(50)
    node.on("INCRBY", faults.error("OOM no memory"), nth=1)
    lease.next()
    until(lambda: failures(cache) == 1)
    assert lease.many(30) == list(range(52, 82))
    until(lambda: cache.stats().leases["blocks"] == 2)
    assert lease.many(100) == list(range(82, 182))
    assert cache.stats().leases["waits"] == 0


@pytest.mark.parametrize("fault", [faults.reset_after, faults.close_after])
def test_lost_block_is_a_gap_and_the_next_one_serves(net_face, node, fault):
    cache = net_face.open(node.url, timeout=10)
    lease = cache.lease("alice", size=10)
    node.on("INCRBY", fault, nth=2)
    given = lease.many(40)
    assert node.applied["seq:alice"] >= 4
    assert given[:10] == list(range(1, 11))
    assert not set(given) & set(range(11, 21))  # the block that was lost
    assert given == sorted(set(given))
    assert failures(cache) == 0 or lease.raw.remaining >= 0


def test_first_block_that_is_lost_is_a_gap(net_face, node):
    cache = net_face.open(node.url, timeout=10)
    lease = cache.lease("alice", size=10)
    node.on("INCRBY", faults.reset_after, nth=1)
    assert lease.next() == 11
    assert lease.take(20)[0] > 11


def test_block_lost_again_and_again_is_an_unknown_outcome(net_face, node):
    cache = net_face.open(node.url, timeout=10)
    lease = cache.lease("alice", size=10)
    node.on("INCRBY", faults.reset_after, times=math.inf)
    for _ in range(2):
        with pytest.raises(seqcache.OutcomeUnknown):
            lease.next()
    assert node.applied["seq:alice"] == 6  # three tries each, not more
    node.clear()
    assert lease.next() == 61


def test_never_does_not_reserve_again_by_itself(net_face, node):
    cache = net_face.open(node.url, retry="never", timeout=10)
    lease = cache.lease("alice", size=10)
    node.on("INCRBY", faults.reset_after, nth=1)
    with pytest.raises(seqcache.OutcomeUnknown):
        lease.next()
    assert node.applied["seq:alice"] == 1
    assert lease.next() == 11


def test_call_waits_no_longer_than_the_timeout(net_face, node, ends_within):
    cache = net_face.open(node.url, timeout=0.3)
    lease = cache.lease("alice", size=10)
    lease.next()
    node.on("INCRBY", faults.hang, times=math.inf)
    lease.many(9)
    with ends_within(0.3 * 3), pytest.raises(seqcache.OutcomeUnknown):
        lease.next()
    with ends_within(0.3 * 3), pytest.raises(seqcache.OutcomeUnknown):
        lease.take(5)


def test_server_that_lost_numbers_is_told_also_in_the_background(live_face, server):
    cache = live_face.open(on_regress="raise")
    lease = cache.lease("alice", size=10)
    lease.many(5)
    server.flush()
    lease.next()  # begins the refill
    until(lambda: failures(cache) == 1)
    with pytest.raises(seqcache.SequenceRegressed):
        lease.many(5)
    given = lease.many(4)
    assert given == list(range(given[0], given[0] + 4))
    assert lease.next()


def test_closing_the_lease_drops_a_block_that_is_on_its_way(net_face, node):
    cache = net_face.open(node.url, timeout=10)
    lease = cache.lease("alice", size=10)
    lease.many(5)
    node.on("INCRBY", faults.delay(0.2))
    lease.next()
    lease.close()
    until(lambda: cache.stats().leases["blocks"] == 2)
    assert lease.raw.remaining == 0
    with pytest.raises(seqcache.ClosedError):
        lease.next()


def test_closing_the_cache_ends_a_call_that_waits(net_face, node):
    cache = net_face.open(node.url, timeout=10)
    lease = cache.lease("alice", size=10)
    node.on("INCRBY", faults.hang)
    calls = [lease.start(), lease.start(5)]
    until(lambda: node.seen("INCRBY") >= 1)
    cache.close()
    assert wait(calls, 5).not_done == set()
    for call in calls:
        with pytest.raises(seqcache.ClosedError):
            call.result(0)


def test_dropped_lease_and_its_cache_are_freed(face):
    cache = face.open()
    lease = cache.lease("alice", size=10)
    lease.many(25)
    while lease.raw._job is not None:
        time.sleep(0.002)
    kept = weakref.ref(lease.raw)
    del lease
    for _ in range(50):
        gc.collect()
        if kept() is None:
            break
        time.sleep(0.02)
    assert kept() is None


# --- the blocking face ------------------------------------------------------------


def test_call_does_not_wait_for_the_refill_of_another_cache(node, server):
    """One helper thread serves all leases; whoever needs numbers helps himself."""
    with (
        seqcache.cache(node.url, timeout=20) as slow,
        seqcache.cache(server.url) as quick,
    ):
        stuck, lease = slow.lease("alice", size=10), quick.lease("bob", size=10)
        [next(stuck) for _ in range(5)]
        [next(lease) for _ in range(5)]
        node.on("INCRBY", faults.delay(3))
        next(stuck)
        until(lambda: node.seen("INCRBY") == 2)
        began = time.monotonic()
        assert [next(lease) for _ in range(25)] == list(range(6, 31))
        assert time.monotonic() - began < 2.5
        assert quick.stats().leases["failures"] == 0


def test_threads_get_each_number_once_and_each_its_own_in_order(server):
    with seqcache.cache(server.url) as cache:
        lease = cache.lease("alice", size=50)
        given: list[list[int]] = [[] for _ in range(8)]

        def work(mine: list[int]) -> None:
            for n in range(2000):
                if n % 50 == 7:
                    mine.extend(lease.take(3))
                else:
                    mine.append(next(lease))

        threads = [threading.Thread(target=work, args=(mine,)) for mine in given]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(mine == sorted(mine) for mine in given)
        every = [number for mine in given for number in mine]
        assert len(set(every)) == len(every) == 8 * (2000 + 2 * 40)


PROCESS = """
import sys, time, seqcache
with seqcache.cache(sys.argv[1], timeout=20) as cache, cache.lease("alice") as lease:
    given = []
    for _ in range(40):
        given += [next(lease) for _ in range(250)]
        while lease.remaining < 500:  # other work, in which the next block comes
            time.sleep(0.001)
    assert given == sorted(set(given))
    print(cache.stats().leases["waits"], cache.stats().leases["failures"])
    print(*given)
"""


def test_eight_processes_get_each_number_once_and_wait_for_no_block(server):
    command = [sys.executable, "-c", PROCESS, server.url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    outputs = [process.communicate(timeout=50)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    lines = [output.decode().splitlines() for output in outputs]
    assert [counts for counts, _ in lines] == ["0 0"] * 8
    every = [int(number) for _, given in lines for number in given.split()]
    assert len(set(every)) == len(every) == 8 * 40 * 250


def test_lease_is_an_iterator_and_a_context(server):
    with seqcache.cache(server.url) as cache:
        with cache.lease("alice", size=3) as lease:
            assert iter(lease) is lease
            for number in lease:
                if number == 10:
                    break
            assert lease.size == 3
        assert lease.closed


# --- asyncio ----------------------------------------------------------------------


def test_awaiting_a_number_at_hand_does_not_suspend(run_async, server):
    async def main():
        async with seqcache.acache(server.url) as cache:
            async with cache.lease("alice", size=1000) as lease:
                assert await lease.next() == 1

                async def many():
                    return [await lease.next() for _ in range(400)]

                steps = many()
                with pytest.raises(StopIteration) as stopped:
                    steps.send(None)
                assert stopped.value.value == list(range(2, 402))
                call = lease.next()
                assert call.done()
                assert call.result() == 402
            with pytest.raises(seqcache.ClosedError):
                lease.next()

    run_async(main())


def test_calls_are_futures_for_gather_wait_for_and_tasks(run_async, server):
    async def main():
        async with seqcache.acache(server.url) as cache:
            lease = cache.lease("alice", size=4)
            got = await asyncio.gather(*(lease.next() for _ in range(10)))
            assert got == list(range(1, 11))
            assert await asyncio.wait_for(lease.next(), 5) == 11
            assert await asyncio.create_task(lease.next()) == 12
            assert await asyncio.wait_for(lease.take(2), 5) == range(13, 15)
            assert await anext(lease) == 15
            async for number in lease:
                assert number == 16
                break

    run_async(main())


def test_calls_that_wait_are_served_in_their_order(run_async, node):
    async def main():
        async with seqcache.acache(node.url) as cache:
            lease = cache.lease("alice", size=5)
            node.on("INCRBY", faults.delay(0.1))
            calls = [lease.next(), lease.take(8), lease.next(), lease.next()]
            first, block, *rest = await asyncio.gather(*calls)
            assert first < block[0]
            assert block[-1] < rest[0] < rest[1]

    run_async(main())


def test_cancelled_call_takes_no_number(run_async, node):
    async def main():
        async with seqcache.acache(node.url) as cache:
            lease = cache.lease("alice", size=10)
            node.on("INCRBY", faults.delay(0.1))
            calls = [lease.next() for _ in range(4)]
            calls[0].cancel()
            calls[2].cancel()
            assert await calls[1] == 1
            assert await calls[3] == 2
            with pytest.raises(asyncio.CancelledError):
                await calls[0]

    run_async(main())


def test_closing_ends_calls_that_wait(run_async, node):
    async def main():
        async with seqcache.acache(node.url) as cache:
            lease = cache.lease("alice", size=10)
            node.on("INCRBY", faults.delay(0.3))
            calls = [lease.next(), lease.take(3)]
            await lease.aclose()
            for call in calls:
                with pytest.raises(seqcache.ClosedError):
                    await call

    run_async(main())


def test_without_a_loop_nothing_happens(server):
    async def opened():
        return await seqcache.acache(server.url)

    with asyncio.Runner() as runner:
        cache = runner.run(opened())
        lease = cache.lease("alice", size=10)
        for call in (lease.next, lambda: lease.take(2)):
            with pytest.raises(RuntimeError, match="event loop"):
                call()
        runner.run(cache.aclose())
    assert server.admin("GET", "seq:alice") is None


def test_lease_lives_across_loops(server):
    async def opened():
        return await seqcache.acache(server.url)

    with asyncio.Runner() as first:
        cache = first.run(opened())
        lease = cache.lease("alice", size=10)

        async def some(count):
            return [await lease.next() for _ in range(count)]

        given = first.run(some(5))
        given += first.run(some(1))  # the refill is left in a loop that stands still
        with asyncio.Runner() as second:
            given += second.run(some(30))
        given += first.run(some(30))
        first.run(cache.aclose())
    assert given == sorted(set(given))
    assert len(given) == 66


def test_loop_that_was_closed_with_a_refill_under_way_holds_nobody_up(node):
    async def opened():
        return await seqcache.acache(node.url)

    first = asyncio.Runner()
    cache = first.run(opened())
    lease = cache.lease("alice", size=10)

    async def some(count):
        return [await lease.next() for _ in range(count)]

    first.run(some(5))
    node.on("INCRBY", faults.hang)
    first.run(some(1))
    first.close()
    with asyncio.Runner() as second:
        given = second.run(some(30))
        second.run(cache.aclose())
    assert given == sorted(set(given))
    assert given[:4] == [7, 8, 9, 10]
