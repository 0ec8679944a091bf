"""The link of an event loop when the loop, or what runs in it, misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seqcache
from seqcache import _native

Peer = Callable[[socket.socket], None]


def read_commands(sock: socket.socket) -> Any:
    """Yield once for each command; all here are small and come whole."""
    while data := sock.recv(65536):
        for _ in range(data.count(b"*")):
            yield


def answer(sock: socket.socket) -> None:
    """Every command gets 1."""
    for _ in read_commands(sock):
        sock.sendall(b":1\r\n")


def swallow(sock: socket.socket) -> None:
    """No command gets anything."""
    for _ in read_commands(sock):
        pass


def connect_to(peer: Peer) -> int:
    """Return the near end of a socket pair; `peer` plays the far one."""
    near, far = socket.socketpair()

    def play() -> None:
        with far, contextlib.suppress(ConnectionError):
            peer(far)

    threading.Thread(target=play, daemon=True).start()
    return near.detach()


def make_engine(
    peer: Peer = answer,
    *,
    timeout: float | None = 1.0,
    connect: Callable[[float | None], Any] | None = None,
) -> _native.Engine:
    """An engine whose connections are socket pairs."""

    async def make(_seconds: float | None) -> int:
        return connect_to(peer)

    return _native.Engine(
        "fake", connect or make, timeout, 10_000, "safe", None, 0, None, 600
    )


def run_in(loop: asyncio.AbstractEventLoop, coroutine: Any) -> Any:
    """Run it, and close the loop."""
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def test_cancel_after_the_loop_was_closed_touches_nothing(forced_plain):
    client = _native.AsyncClient(make_engine(swallow, timeout=60), b"")
    left = []

    async def leave_one():
        left.append(client.increase_seq("a"))
        await asyncio.sleep(0.01)

    async def go_on():
        call = client.get_seq("b")  # forgets the links of closed loops
        if forced_plain:
            with pytest.raises(RuntimeError):  # its own loop is closed
                left[0].cancel()
        else:
            assert left[0].cancel()
        await asyncio.sleep(0.01)
        assert client._engine.stats()["in_flight"] == 1
        call.cancel()

    run_in(asyncio.new_event_loop(), leave_one())
    run_in(asyncio.new_event_loop(), go_on())


@pytest.fixture(params=[False, True], ids=["own", "plain"])
def forced_plain(request):
    """Our own awaitables, and plain futures in their place."""
    _native.AsyncClient(make_engine(), b"")  # imports asyncio
    before = _native._TestAwaitable.set_plain(request.param)
    yield request.param
    _native._TestAwaitable.set_plain(before)


def test_an_asyncio_without_its_c_half_serves():
    """What PyPy has, say: plain futures, and no task is stepped directly."""
    code = (
        "import sys; sys.modules['_asyncio'] = None\n"
        "import asyncio, test_loop_faults as here\n"
        "from seqcache import _native\n"
        "client = _native.AsyncClient(here.make_engine(), b'')\n"
        "async def main(): return await client.increase_seq('a')\n"
        "assert asyncio.run(main()) == 1\n"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, timeout=30, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("bulk", [False, True], ids=["one", "bulk"])
def test_a_blocked_loop_sends_nothing_late(server, run_async, bulk):
    """The deadline passes before a byte was written: certainly not counted."""

    async def main():
        async with seqcache.acache(server.url) as cache:
            await cache.ping()
            await asyncio.sleep(0.01)
            if bulk:
                call = cache.increase_seqs(["a", "b"], timeout=0.02)
            else:
                call = cache.increase_seq("a", timeout=0.02)
            time.sleep(0.05)  # noqa: ASYNC251 - what this is about
            with pytest.raises(seqcache.CallTimeout) as caught:
                await call
            assert caught.value.executed is False
            assert await cache.get_seq("a") == 0

    for _ in range(5):
        run_async(main())


def test_an_answer_that_lies_there_is_not_late(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            await cache.ping()
            call = cache.increase_seq("a", timeout=0.05)
            await asyncio.sleep(0)  # written
            time.sleep(0.1)  # noqa: ASYNC251
            cache.get_seq("b")
            assert await call >= 1

    run_async(main())


def test_the_first_call_after_opening_may_find_its_loop_blocked(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            assert cache.stats().links == 1
            call = cache.increase_seq("a", timeout=0.02)
            time.sleep(0.05)  # noqa: ASYNC251
            with pytest.raises(seqcache.CallTimeout):  # the link was never lost
                await call

    run_async(main())


def is_timer(callback: Any) -> bool:
    """Whether it is the timer of a link."""
    return "_on_timer" in repr(callback)


def test_deadlines_survive_a_ctrl_c_in_the_timer():
    loop = asyncio.SelectorEventLoop()
    client = _native.AsyncClient(make_engine(swallow, timeout=60), b"")
    stock = loop.call_later
    calls: list[Any] = []

    async def issue():
        calls.extend(client.get_seq("a", timeout=0.05 * n) for n in (1, 2, 3))
        await asyncio.sleep(0.01)

    def interrupted(delay, callback, *args, **kwargs):
        if is_timer(callback):
            loop.call_later = stock
            raise KeyboardInterrupt
        return stock(delay, callback, *args, **kwargs)

    loop.run_until_complete(issue())
    loop.call_later = interrupted
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(0.3))
    run_in(loop, asyncio.sleep(0.3))
    assert [type(call.exception()) for call in calls] == [seqcache.CallTimeout] * 3


def test_a_timer_armed_meanwhile_is_kept():
    """Arming runs Python, which may issue a call and arm an earlier one."""
    loop = asyncio.SelectorEventLoop()
    client = _native.AsyncClient(make_engine(swallow, timeout=60), b"")
    stock = loop.call_later
    nested: list[Any] = []

    def nesting(delay, callback, *args, **kwargs):
        if is_timer(callback) and not nested:
            nested.append(None)
            nested[0] = client.get_seq("b", timeout=0.05)
        return stock(delay, callback, *args, **kwargs)

    async def main():
        await asyncio.sleep(0)
        loop.call_later = nesting
        slow = client.get_seq("a", timeout=5)
        timers = [h for h in loop._scheduled if is_timer(h) and not h.cancelled()]
        assert len(timers) == 1
        with pytest.raises(seqcache.SeqCacheError):
            await asyncio.wait_for(asyncio.shield(nested[0]), 1)
        slow.cancel()

    run_in(loop, main())


class Refusing(asyncio.SelectorEventLoop):
    """Does not watch the first link that it is given."""

    refuse = True

    def add_reader(self, fd, callback, *args):
        if self.refuse and "_on_readable" in repr(callback):
            self.refuse = False
            raise OSError(28, "No space left on device")
        return super().add_reader(fd, callback, *args)


def test_a_link_that_cannot_be_watched_is_made_anew():
    client = _native.AsyncClient(make_engine(timeout=None), b"")

    async def main():
        assert await asyncio.wait_for(client.increase_seq("a"), 2) == 1

    run_in(Refusing(), main())


class Odd(BaseException):
    """Neither an Exception nor one that a loop lets through."""


@pytest.mark.parametrize("fault", ["raise", "text"])
def test_a_connect_that_goes_wrong_is_tried_again(fault):
    tried: list[int] = []

    async def connect(_seconds):
        tried.append(1)
        if len(tried) > 1:
            return connect_to(answer)
        if fault == "raise":
            raise Odd
        return "not a descriptor"

    client = _native.AsyncClient(make_engine(timeout=None, connect=connect), b"")

    async def main():
        assert await asyncio.wait_for(client.increase_seq("a"), 2) == 1

    run_in(asyncio.new_event_loop(), main())


def test_a_link_closed_under_a_call_hands_it_to_the_next():
    engine = make_engine()
    client = _native.AsyncClient(engine, b"")
    loop = asyncio.SelectorEventLoop()
    stock = loop.call_later

    def closing(delay, callback, *args, **kwargs):
        if is_timer(callback):
            loop.call_later = stock
            engine.let_go()  # what the finalizer of the cache does
        return stock(delay, callback, *args, **kwargs)

    async def main():
        assert await client.increase_seq("a") == 1
        loop.call_later = closing
        assert await asyncio.wait_for(client.increase_seq("a", timeout=0.3), 2) == 1

    run_in(loop, main())


def test_a_busy_link_that_was_let_go_ends_with_its_last_call():
    ended = threading.Event()

    def slow(sock):
        for _ in read_commands(sock):
            time.sleep(0.05)
            sock.sendall(b":1\r\n")
        ended.set()

    engine = make_engine(slow)
    client = _native.AsyncClient(engine, b"")

    async def main():
        call = client.increase_seq("a")
        await asyncio.sleep(0.02)
        engine.let_go()
        assert await call == 1
        assert await asyncio.to_thread(ended.wait, 2)

    run_in(asyncio.new_event_loop(), main())


def test_ids_that_close_the_cache_end_in_closed_error():
    engine = make_engine()
    client = _native.AsyncClient(engine, b"")

    def ids():
        yield "a"
        for link in engine.take_links():
            link.close()

    async def main():
        await client.increase_seq("a")
        with pytest.raises(seqcache.ClosedError):
            client.increase_seqs(ids())
        assert engine.stats()["links"] == 0

    run_in(asyncio.new_event_loop(), main())


def test_a_forked_child_hands_no_link_to_the_parents_loop():
    engine = make_engine()
    client = _native.AsyncClient(engine, b"")

    async def main():
        await client.increase_seq("a")
        pid = os.fork()
        if not pid:
            os._exit(len(engine.take_links()))
        status = os.waitpid(pid, 0)[1]  # noqa: ASYNC222 - at once
        assert os.waitstatus_to_exitcode(status) == 0
        assert len(engine.take_links()) == 1

    run_in(asyncio.new_event_loop(), main())
