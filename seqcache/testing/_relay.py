"""What stands between clients and their server: a thread that carries the bytes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Protocol, TypeAlias, TypeVar

from ._pair import Fate, Pair
from ._store import Store

__all__ = ["Judge", "Relay", "Upstream"]

_T = TypeVar("_T")
CHUNK = 1 << 16
#: Where commands go: (host, port), the path of a unix socket, or a store right here.
Upstream: TypeAlias = "tuple[str, int] | str | Store"


class Judge(Protocol):
    """Whoever decides about commands; called in the relay's thread."""

    def __call__(self, words: list[bytes]) -> Fate | None:
        """Return the fate of a command, None for an undisturbed one."""
        ...


class Relay:
    """Serves ``port`` of loopback, in a thread of its own, until `close`.

    ``judge`` decides about commands. Everything here belongs to the thread; others
    use `call`.
    """

    def __init__(self, upstream: Upstream, judge: Judge) -> None:
        self.upstream = upstream
        self.judge = judge
        self.pairs: set[Pair] = set()
        self.accepted = 0
        self.refusing = False
        self.holding = False
        self._jobs: deque[Callable[[], None]] = deque()
        self._ended = False
        self._failure: BaseException | None = None
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(
            target=self._run, name="faults-relay", daemon=True
        )
        self._thread.start()

    def call(self, work: Callable[[], _T]) -> _T:
        """Run a function in the thread; return its result when it is done."""
        done: Future[_T] = Future()

        def job() -> None:
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)

        self._jobs.append(job)
        with contextlib.suppress(OSError):  # the thread has ended
            self._waker.send(b"x")
        while not done.done() and self._thread.is_alive():
            wait([done], 0.1)
        if not done.done():
            raise RuntimeError("the relay has ended") from self._failure
        return done.result()

    def close(self) -> None:
        """End all connections and the thread; raise what it failed with."""
        self._ended = True
        with contextlib.suppress(OSError):
            self._waker.send(b"x")
        self._thread.join()
        self._waker.close()
        if self._failure is not None:
            raise self._failure

    def watch(self, pair: Pair, sock: socket.socket, *, writes: bool) -> None:
        """Wait for a socket: for bytes, and if need be for room."""
        if sock.fileno() < 0:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0)
        known = self._selector.get_map().get(sock)
        if known is None:
            self._selector.register(sock, events, pair)
        elif known.events != events:
            self._selector.modify(sock, events, pair)

    def forget(self, sock: socket.socket) -> None:
        """Close a socket."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)
        sock.close()

    def _run(self) -> None:
        try:
            while not self._ended:
                for key, events in self._selector.select(self._patience()):
                    self._serve(key.fileobj, key.data, events)
                self._work()
        except BaseException as error:
            self._failure = error
        finally:
            for pair in list(self.pairs):
                pair.end(reset=True)
            for sock in (self._listener, self._wake):
                self.forget(sock)
            self._selector.close()

    def _patience(self) -> float | None:
        """Seconds until the next reply that was delayed is due."""
        if self._jobs:
            return 0.0
        dues = [pair.owed[0].due for pair in self.pairs if pair.owed]
        waits = [due for due in dues if due and not self.holding]
        return max(min(waits) - time.monotonic(), 0.0) if waits else None

    def _work(self) -> None:
        """Do what other threads asked for, and what the clock does."""
        while self._jobs:
            self._jobs.popleft()()
        for pair in list(self.pairs):
            if pair.owed and pair.owed[0].due:
                pair.flush()

    def _serve(self, sock: Any, pair: Pair | None, events: int) -> None:
        if sock is self._wake:
            sock.recv(CHUNK)
        elif pair is None:
            self._accept()
        elif sock.fileno() >= 0:  # else closed by an earlier event of this turn
            if events & selectors.EVENT_WRITE:
                pair.write(sock)
            if events & selectors.EVENT_READ and sock.fileno() >= 0:
                self._read(sock, pair)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # the client is gone already
            return
        self.accepted += 1
        pair = Pair(self, client)
        self.pairs.add(pair)
        try:
            if self.refusing:
                raise ConnectionRefusedError
            pair.connect(self.upstream)
        except OSError:
            pair.end(reset=True)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for sock in pair.outgoing:
            sock.setblocking(False)
            self.watch(pair, sock, writes=False)

    def _read(self, sock: Any, pair: Pair) -> None:
        try:
            chunk = sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        try:
            if sock is pair.client:
                pair.on_request(chunk) if chunk else pair.drop()
            else:
                pair.on_reply(chunk) if chunk else pair.on_server_closed()
        except ValueError:  # not RESP
            pair.end(reset=True)
