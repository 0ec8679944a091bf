"""The link of an event loop when the loop, or what runs in it, misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
        "fake", connect or make, timeout, 10_000, "safe", None, 0, None
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
