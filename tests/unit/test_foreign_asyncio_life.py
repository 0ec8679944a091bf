"""How asyncio caches of third parties' backends are opened, closed and dropped."""

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
from unit.foreign_store import DeletingBackend, DictBackend, Gate, LoopBackend

import seqcache
from seqcache import backends
from seqcache.errors import (
    ClosedError,
    ConfigError,
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
def test_close_ends_the_calls_that_wait(run_async, made, url):
    async def main():
        cache = await seqcache.acache(url)
        gate = Gate()
        if url == "loop://x":
            made[-1].hold = asyncio.Event()
        else:
            made[-1].fault = gate
        calls = [cache.increase_seq("a"), cache.increase_seq("a")]
        if url == "thread://x":
            await gate.taken()
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(cache.aclose())
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [ClosedError, ClosedError]
        assert results[0].executed is None
        assert results[1].executed is (None if url == "loop://x" else False)
        assert inner(made).closed == (1 if url == "loop://x" else 0)
        gate.opened.set()
        await closing
        assert inner(made).closed == 1
        await cache.aclose()
        assert inner(made).closed == 1
        with pytest.raises(ClosedError):
            cache.get_seq("a")

    run_async(main())


@both
def test_closed_cache_leaves_no_thread(run_async, made, url):
    before = set(threading.enumerate())

    async def main():
        cache = await seqcache.acache(url)
        await cache.increase_seq("a")
        await cache.aclose()
        assert set(threading.enumerate()) <= before

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
