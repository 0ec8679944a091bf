"""Third parties' backends behind the asyncio face: in a thread, or on the loop."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from unit.foreign_store import DeletingBackend, Gate, LoopBackend

import seqcache
from seqcache import backends
from seqcache.errors import (
    BulkError,
    CallTimeout,
    ConnectError,
    OutcomeUnknown,
    SequenceRegressed,
)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Nothing is registered at the start, nothing is left at the end."""
    monkeypatch.setattr(backends, "_registered", {})


@pytest.fixture
def made():
    """Every backend that thread:// and loop:// make, in order."""
    instances = []

    class Keeping(DeletingBackend):
        def __init__(self, config):
            super().__init__(config)
            instances.append(self)

    class OnLoop(LoopBackend):
        def __init__(self, config):
            super().__init__(config)
            instances.append(self)

    seqcache.register_backend("thread", Keeping)
    seqcache.register_backend("loop", OnLoop)
    return instances


both = pytest.mark.parametrize("url", ["thread://x", "loop://x"])


def inner(made):
    """The dict of the last backend, of either kind."""
    return getattr(made[-1], "inner", made[-1])


@both
def test_it_is_an_asyncseqcache_like_any_other(run_async, made, url):
    async def main():
        async with seqcache.acache(url) as cache:
            assert isinstance(cache, seqcache.AsyncSeqCache)
            assert await cache.get_seq("alice") == 0
            assert await cache.increase_seq("alice", 5) == 5
            assert await cache.reserve("alice", 3) == range(6, 9)
            assert await cache.raise_seq("alice", 2) == 8
            assert await cache.get_seqs(["b", "alice"]) == [0, 8]
            assert await cache.increase_seqs(["b", "b"]) == [1, 2]
            assert await cache.raise_seqs({"c": 3}) == 1
            assert await cache.get_seqs([]) == []
            assert await cache.ping() >= 0
            pairs = [pair async for pair in cache.scan("?")]
            assert sorted(pairs) == [("b", 2), ("c", 3)]
            assert await cache.delete_seq("b", restart_from_one=True)
            assert await cache.namespace("v:").increase_seq("b") == 1
            assert cache.stats().calls["increase"] == 5
            assert cache.stats().in_flight == 0
        assert cache.closed
        assert inner(made).closed == 1

    run_async(main())


@both
def test_a_call_is_a_future_and_goes_wherever_coroutines_go(run_async, made, url):
    async def main():
        async with seqcache.acache(url) as cache:
            call = cache.increase_seq("a")
            assert asyncio.isfuture(call)
            assert asyncio.iscoroutine(call)
            numbers = await asyncio.gather(call, cache.increase_seq("a"))
            assert numbers == [1, 2]
            assert await asyncio.create_task(cache.increase_seq("a")) == 3
            async with asyncio.TaskGroup() as group:
                task = group.create_task(cache.increase_seq("a"))
            assert task.result() == 4
            assert await asyncio.shield(cache.increase_seq("a")) == 5
            assert await asyncio.wait_for(cache.increase_seq("a"), 5) == 6
            inner(made).fault = OSError("gone")
            with pytest.raises(ConnectError):
                await asyncio.create_task(cache.get_seq("a"))

    run_async(main())


@both
def test_call_is_under_way_without_await_and_keeps_its_order(run_async, made, url):
    async def main():
        async with seqcache.acache(url) as cache:
            calls = [cache.increase_seq("a") for _ in range(50)]
            await calls[-1]
            assert [call.result() for call in calls] == list(range(1, 51))

    run_async(main())


def test_blocking_backend_lives_in_one_thread_and_the_loop_goes_on(run_async, made):
    async def main():
        async with seqcache.acache("thread://x") as cache:
            backend = made[-1]
            backend.fault = lambda *_: time.sleep(0.1)
            call = cache.increase_seq("a")
            ticks = 0
            while not call.done():
                await asyncio.sleep(0.005)
                ticks += 1
            assert ticks >= 5
            await asyncio.gather(*(cache.increase_seq("a") for _ in range(3)))
            threads = {seen[-1] for seen in backend.seen} | {backend.thread}
            assert len(threads) == 1
            assert threading.get_ident() not in threads

    run_async(main())


def test_cancelled_call_goes_on_in_the_thread_and_its_result_is_dropped(
    run_async, made
):
    async def main():
        async with seqcache.acache("thread://x") as cache:
            gate = made[-1].fault = Gate()
            call = cache.increase_seq("a")
            await gate.taken()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(call, 0.01)
            gate.opened.set()
            assert await cache.increase_seq("a") == 2
            assert cache.stats().in_flight == 0

    run_async(main())


def test_cancelled_call_that_still_waits_for_the_thread_is_never_made(run_async, made):
    async def main():
        async with seqcache.acache("thread://x") as cache:
            gate = made[-1].fault = Gate()
            first, second = cache.increase_seq("a"), cache.increase_seq("a")
            await gate.taken()
            second.cancel()
            gate.opened.set()
            assert await first == 1
            assert await cache.get_seq("a") == 1

    run_async(main())


def test_cancelled_call_cancels_an_asyncio_backend(run_async, made):
    async def main():
        async with seqcache.acache("loop://x") as cache:
            made[-1].hold = asyncio.Event()
            call = cache.increase_seq("a")
            await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.sleep(0.01)
            assert made[-1].cancelled == 1
            assert cache.stats().in_flight == 0

    run_async(main())


@both
def test_deadline_holds_even_if_the_backend_ignores_it(
    run_async, made, ends_within, url
):
    async def main():
        async with seqcache.acache(url) as cache:
            gate = made[-1].fault = Gate()
            made[-1].hold = asyncio.Event()
            with ends_within(0.1), pytest.raises(OutcomeUnknown) as unknown:
                await cache.increase_seq("a", 2, timeout=0.1)
            assert (unknown.value.user_id, unknown.value.by) == ("a", 2)
            assert isinstance(unknown.value.cause, CallTimeout)
            with ends_within(0.1), pytest.raises(CallTimeout) as late:
                await cache.get_seq("b", timeout=0.1)
            # The thread is still in the first call, the loop took the second one.
            assert late.value.executed is (None if url == "loop://x" else False)
            gate.opened.set()

    run_async(main())


def test_bulk_beyond_its_deadline_names_each_id(run_async, made):
    async def main():
        async with seqcache.acache("thread://x") as cache:
            gate = made[-1].fault = Gate()
            with pytest.raises(BulkError) as caught:
                await cache.increase_seqs(["a", "b"], timeout=0.5)
            gate.opened.set()
            assert [error.user_id for error in caught.value.results] == ["a", "b"]

    run_async(main())


@both
def test_failures_are_told_as_on_the_blocking_face(run_async, made, url):
    async def main():
        async with seqcache.acache(url, on_regress="raise") as cache:
            await cache.raise_seq("a", 9)
            inner(made).numbers.clear()
            with pytest.raises(SequenceRegressed):
                await cache.increase_seq("a")
            inner(made).fault = OSError("gone")
            with pytest.raises(OutcomeUnknown):
                await cache.increase_seq("a")
            with pytest.raises(ConnectError):
                await cache.get_seq("a")
            with pytest.raises(ConnectError):
                await cache.ping()
            with pytest.raises(ConnectError):
                async for _ in cache.scan():
                    pass
            with pytest.raises(ValueError, match="by must be at least 1"):
                cache.increase_seq("a", 0)
            with pytest.raises(TypeError, match="put it into a list"):
                cache.get_seqs("abc")

    run_async(main())
