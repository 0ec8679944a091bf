"""Cancelled and timed-out calls: nobody ever gets another's number (R2).

Every id has a range of its own, so that a number tells whose it is.
"""

from __future__ import annotations

import asyncio
import collections
import os
import random
import threading

import pytest

import seqcache
from fakes import node as faults

IDS = 200
SPAN = 10**12
CALLS = int(os.environ.get("SEQCACHE_TEST_STORM", "20000"))
pytestmark = pytest.mark.timeout(60 + CALLS // 1000)


def base(number: int) -> int:
    """The first number of an id's own range."""
    return (number + 1) * SPAN


@pytest.fixture
def prepared(server):
    """Every id at the start of its range; as many ids to read."""
    with seqcache.cache(server.url, timeout=20) as cache:
        cache.raise_seqs((f"s{n}", base(n)) for n in range(IDS))
        cache.raise_seqs((f"read{n}", base(n)) for n in range(1000))
    return server


def check(server, got: list[tuple[int, int]], unknown: list[int]) -> None:
    """`got`: (id, number) pairs; `unknown`: ids of calls that may have counted."""
    assert len(set(got)) == len(got), "one number was given twice"
    values: list[list[int]] = [[] for _ in range(IDS)]
    for number, value in got:
        values[number].append(value)
    lost = collections.Counter(unknown)
    for number, mine in enumerate(values):
        top = int(server.admin("GET", f"seq:s{number}"))
        assert all(base(number) < value <= top for value in mine)
        counted = top - base(number)
        assert len(mine) <= counted <= len(mine) + lost[number]


def test_cancelled_before_it_was_sent_is_never_counted(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            calls = [cache.increase_seq("alice") for _ in range(100)]
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert all(call.cancelled() for call in calls)
            await asyncio.sleep(0.05)
            assert await cache.get_seq("alice") == 0
            assert await cache.increase_seq("alice") == 1

    run_async(main())


def test_cancelled_after_it_was_sent_keeps_its_place(node, run_async):
    async def main():
        async with seqcache.acache(node.url) as cache:
            node.on("INCR", faults.delay(0.3), key="seq:slow")
            slow = asyncio.create_task(cache.increase_seq("slow"))
            await asyncio.sleep(0.1)
            others = [cache.increase_seq(f"u{n}", n + 10) for n in range(20)]
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            assert await asyncio.gather(*others) == list(range(10, 30))
            assert await cache.increase_seq("slow") == 2

    run_async(main())


def test_wait_for_that_runs_out_leaves_the_link(node, run_async):
    async def main():
        async with seqcache.acache(node.url) as cache:
            node.on("INCR", faults.delay(0.3), key="seq:slow")
            before = node.connection_count
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(cache.increase_seq("slow"), 0.05)
            assert await cache.increase_seq("bob", 7) == 7
            assert node.connection_count == before

    run_async(main())


def test_task_group_that_fails_cancels_its_calls(node, run_async):
    async def main():
        async with seqcache.acache(node.url) as cache:
            node.on("INCR", faults.delay(0.3), times=3)

            async def fail():
                await asyncio.sleep(0.05)
                raise LookupError

            async def together():
                async with asyncio.TaskGroup() as group:
                    for _ in range(3):
                        group.create_task(cache.increase_seq("alice"))
                    group.create_task(fail())

            with pytest.raises(ExceptionGroup) as caught:
                await together()
            assert caught.group_contains(LookupError)
            assert await cache.increase_seq("bob", 5) == 5

    run_async(main())


def test_storm_of_cancels_and_timeouts(prepared, run_async):
    got, unknown = [], []
    chance = random.Random(7)

    async def one(cache, number):
        call = cache.increase_seq(f"s{number}", timeout=chance.choice([None, 5, 1e-4]))
        if chance.random() < 0.3:
            loop = asyncio.get_running_loop()
            loop.call_later(chance.random() * 0.002, call.cancel)
        try:
            got.append((number, await call))
        except asyncio.CancelledError:
            unknown.append(number)
        except seqcache.SeqCacheError as exc:
            if exc.executed is not False:
                unknown.append(number)

    async def main():
        async with seqcache.acache(prepared.url, timeout=20) as cache:
            for _ in range(CALLS // 500):
                numbers = [chance.randrange(IDS) for _ in range(500)]
                await asyncio.gather(*(one(cache, number) for number in numbers))
            ids = [f"read{n}" for n in range(1000)]
            values = await asyncio.gather(*(cache.get_seq(uid) for uid in ids))
            assert values == [base(n) for n in range(1000)]
            assert cache.stats().reconnects == 0

    run_async(main())
    assert len(got) > CALLS // 3
    check(prepared, got, unknown)


def test_storm_of_cancelled_tasks(prepared, run_async):
    """Cancelling the task that awaits, also in bulk calls and reads."""
    chance = random.Random(11)
    got, unknown = [], []

    async def one(cache, number):
        kind = chance.random()
        try:
            if kind < 0.6:
                got.append((number, await cache.increase_seq(f"s{number}")))
            elif kind < 0.8:
                first, second = await cache.increase_seqs([f"s{number}"] * 2)
                got.extend([(number, first), (number, second)])
            else:
                assert await cache.get_seq(f"read{number}") == base(number)
        except asyncio.CancelledError:
            unknown.extend([number, number])

    async def main():
        async with seqcache.acache(prepared.url, timeout=20) as cache:
            for _ in range(CALLS // 1000):
                tasks = [
                    asyncio.create_task(one(cache, chance.randrange(IDS)))
                    for _ in range(250)
                ]
                await asyncio.sleep(chance.random() * 0.003)
                for task in chance.sample(tasks, 75):
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            ids = [f"read{n}" for n in range(1000)]
            assert await cache.get_seqs(ids) == [base(n) for n in range(1000)]

    run_async(main())
    check(prepared, got, unknown)


def test_storm_of_threads_with_timeouts(prepared):
    got, unknown = [], []

    def work(cache, seed):
        chance = random.Random(seed)
        for _ in range(CALLS // 8):
            number = chance.randrange(IDS)
            patience = chance.choice([5, 5, 1e-3, 1e-4, 2e-5])
            try:
                value = cache.increase_seq(f"s{number}", timeout=patience)
                got.append((number, value))
            except seqcache.SeqCacheError as exc:
                if exc.executed is not False:
                    unknown.append(number)

    with seqcache.cache(prepared.url, timeout=20) as cache:
        threads = [threading.Thread(target=work, args=(cache, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(1000):
            assert cache.get_seq(f"read{number}") == base(number)
        assert cache.stats().reconnects == 0
    assert len(got) > CALLS // 10
    check(prepared, got, unknown)
