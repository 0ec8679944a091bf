"""Third parties' backends behind the asyncio face: in a thread, or on the loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from unit.foreign_store import DeletingBackend, DictBackend, LoopBackend

import seqcache
from seqcache import backends
from seqcache.errors import (
    BulkError,
    CallTimeout,
    ClosedError,
    ConfigError,
    ConnectError,
    OutcomeUnknown,
    SequenceRegressed,
    StartupError,
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
            made[-1].fault = lambda *_: time.sleep(0.1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(cache.increase_seq("a"), 0.02)
            made[-1].fault = None
            assert await cache.increase_seq("a") == 2
            assert cache.stats().in_flight == 0

    run_async(main())


def test_cancelled_call_that_still_waits_for_the_thread_is_never_made(run_async, made):
    async def main():
        async with seqcache.acache("thread://x") as cache:
            made[-1].fault = lambda *_: time.sleep(0.1)
            first, second = cache.increase_seq("a"), cache.increase_seq("a")
            await asyncio.sleep(0.02)
            second.cancel()
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
            if url == "loop://x":
                made[-1].hold = asyncio.Event()
            else:
                made[-1].fault = lambda *_: time.sleep(0.6)
            with ends_within(0.1), pytest.raises(OutcomeUnknown) as unknown:
                await cache.increase_seq("a", 2, timeout=0.1)
            assert (unknown.value.user_id, unknown.value.by) == ("a", 2)
            assert isinstance(unknown.value.cause, CallTimeout)
            with ends_within(0.1), pytest.raises(CallTimeout) as late:
                await cache.get_seq("b", timeout=0.1)
            # The thread is still in the first call, the loop took the second one.
            assert late.value.executed is (None if url == "loop://x" else False)

    run_async(main())


def test_bulk_beyond_its_deadline_names_each_id(run_async, made):
    async def main():
        async with seqcache.acache("thread://x") as cache:
            made[-1].fault = lambda *_: time.sleep(0.3)
            with pytest.raises(BulkError) as caught:
                await cache.increase_seqs(["a", "b"], timeout=0.05)
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


@both
def test_close_ends_the_calls_that_wait(run_async, made, url):
    async def main():
        cache = await seqcache.acache(url)
        if url == "loop://x":
            made[-1].hold = asyncio.Event()
        else:
            made[-1].fault = lambda *_: time.sleep(0.1)
        calls = [cache.increase_seq("a"), cache.increase_seq("a")]
        await asyncio.sleep(0.02)
        await cache.aclose()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [ClosedError, ClosedError]
        assert results[0].executed is None
        assert results[1].executed is (None if url == "loop://x" else False)
        assert inner(made).closed == 1
        await cache.aclose()
        assert inner(made).closed == 1
        with pytest.raises(ClosedError):
            cache.get_seq("a")

    run_async(main())


@both
def test_view_closes_itself_alone(run_async, made, url):
    async def main():
        async with seqcache.acache(url) as cache:
            async with cache.namespace("v:") as view:
                assert await view.increase_seq("a") == 1
            with pytest.raises(ClosedError):
                view.get_seq("a")
            assert await cache.increase_seq("a") == 1
            assert inner(made).closed == 0

    run_async(main())


@both
def test_cache_outlives_a_loop(made, url):
    caches = []

    async def first():
        caches.append(await seqcache.acache(url))
        assert await caches[0].increase_seq("a") == 1

    async def second():
        number = await caches[0].increase_seq("a")
        # An AsyncBackend belongs to its loop: this one is new, and empty here.
        assert number == (1 if url == "loop://x" else 2)
        await caches[0].aclose()

    asyncio.run(first())
    asyncio.run(second())
    assert len(made) == (2 if url == "loop://x" else 1)
    assert inner(made).closed == 1


@both
def test_without_a_loop_nothing_is_sent(made, url):
    async def opened():
        return await seqcache.acache(url)

    cache = asyncio.run(opened())
    with pytest.raises(RuntimeError, match="async def main"):
        cache.increase_seq("a")
    assert inner(made).numbers == {}
    asyncio.run(cache.aclose())


@both
def test_error_that_nobody_reads_is_logged_once(run_async, made, url, caplog):
    async def main():
        async with seqcache.acache(url) as cache:
            inner(made).fault = OSError("gone")
            call = cache.get_seq("a")
            await asyncio.wait([asyncio.create_task(asyncio.sleep(0.05))])
            assert call.done()
            del call
            gc.collect()

    with caplog.at_level(logging.ERROR):
        run_async(main())
    assert [record.name for record in caplog.records] == ["seqcache"]
    assert "never retrieved" in caplog.text


@both
def test_scan_of_many_pages_and_its_early_end(run_async, made, url):
    async def main():
        async with seqcache.acache(url) as cache:
            assert await cache.raise_seqs({n: n + 1 for n in range(1200)}) == 1200
            assert len({pair async for pair in cache.scan()}) == 1200
            async for _ in cache.scan():
                break
            assert await cache.increase_seq("a") == 1

    run_async(main())


def test_dropped_cache_warns_and_closes_in_its_thread(made):
    async def opened():
        return await seqcache.acache("thread://x")

    cache = asyncio.run(opened())
    with pytest.warns(ResourceWarning, match="unclosed"):
        del cache
    deadline = time.monotonic() + 5
    while not made[-1].closed and time.monotonic() < deadline:
        time.sleep(0.005)
    assert made[-1].closed == 1


FORK = """
import asyncio, os, sys, threading
import seqcache
from unit.foreign_store import DictBackend

async def opened():
    cache = await seqcache.acache("my://x")
    assert await cache.increase_seq("a") == 1
    return cache

async def more(cache):
    print(await cache.increase_seq("a", timeout=5), flush=True)
    await cache.aclose()

seqcache.register_backend("my", DictBackend)
cache = asyncio.run(opened())
pid = os.fork()
if pid:
    assert os.waitpid(pid, 0)[1] == 0
asyncio.run(more(cache))
"""


def test_forked_child_starts_a_thread_of_its_own():
    folder = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("2\n2\n", "", 0)


def test_factory_that_is_a_function_runs_in_the_loop(run_async):
    threads = []

    def factory(config):
        asyncio.get_running_loop()
        threads.append(threading.get_ident())
        return DictBackend(config)

    seqcache.register_backend("function", factory)

    async def main():
        async with seqcache.acache("function://x") as cache:
            assert await cache.increase_seq("a") == 1
        assert threads == [threading.get_ident()]

    run_async(main())


def test_what_cannot_be_opened(run_async, made):
    class Silent(DictBackend):
        def ping(self, *, timeout):
            raise OSError("no answer")

    seqcache.register_backend("silent", Silent)
    seqcache.register_backend("odd", lambda config: object())

    async def main():
        with pytest.raises(StartupError, match="no answer"):
            await seqcache.acache("silent://x")
        with pytest.raises(ConfigError, match="it lacks"):
            await seqcache.acache("odd://x")

    run_async(main())
