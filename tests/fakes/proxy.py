"""A TCP proxy before a real server, with a hand on the wire.

    with Proxy(server.address) as proxy:
        cache = seqcache.cache(proxy.url)
        proxy.replies.hold()          # what the server says waits here
        proxy.replies.release()
        proxy.reset_all()             # RST to the client

Each direction has a `Gate`: `requests` (client to server) and `replies`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

import resp

CHUNK = 65536


class Gate:
    """What happens to the bytes of one direction, on all connections.

    Modes: "pass", "hold" (kept until released), "drop" (read and thrown away).
    `delay` seconds are added to each chunk.  `cut_after` bytes from the moment
    it is set, both sides of that connection are reset.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._mode = "pass"
        self._ended = False
        self._budget: int | None = None
        self.delay = 0.0
        self.passed_bytes = 0

    def hold(self) -> None:
        """Keep all bytes back until `release`."""
        self._set("hold")

    def drop(self) -> None:
        """Swallow all bytes from now on."""
        self._set("drop")

    def release(self) -> None:
        """Let bytes pass again, those held back first."""
        self._set("pass")

    def cut_after(self, count: int) -> None:
        """Let `count` more bytes pass, then reset the connection."""
        with self._changed:
            self._budget = count

    def end(self) -> None:
        """The proxy closes: nobody waits here any longer."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def admit(self, chunk: bytes) -> tuple[bytes, bool]:
        """Wait as told; the bytes that may pass, and whether to cut then."""
        if self.delay:
            time.sleep(self.delay)
        with self._changed:
            self._changed.wait_for(lambda: self._mode != "hold" or self._ended)
            if self._ended:
                return b"", True
            if self._mode == "drop":
                return b"", False
            if self._budget is None:
                self.passed_bytes += len(chunk)
                return chunk, False
            passed = chunk[: self._budget]
            self._budget -= len(passed)
            cut = self._budget == 0
            self._budget = None if cut else self._budget
            return passed, cut

    def _set(self, mode: str) -> None:
        with self._changed:
            self._mode = mode
            self._changed.notify_all()


class Pair:
    """One client connection and its twin to the server."""

    def __init__(self, client: socket.socket, upstream: socket.socket) -> None:
        self.client = client
        self.upstream = upstream
        self.black = False

    def reset(self) -> None:
        """RST both sides."""
        for sock in (self.client, self.upstream):
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                sock.shutdown(socket.SHUT_RD)
            sock.close()

    def pump(self, source: socket.socket, target: socket.socket, gate: Gate) -> None:
        """Carry one direction until either side ends."""
        cut = False
        try:
            while not cut and (chunk := source.recv(CHUNK)):
                passed, cut = gate.admit(chunk)
                if not self.black:
                    target.sendall(passed)
            if not cut and not self.black:
                target.shutdown(socket.SHUT_WR)
        except OSError:
            cut = True
        if cut:
            self.reset()


class Proxy:
    """The proxy; `accept` False leaves new clients unaccepted in the backlog."""

    def __init__(self, upstream: resp.Address) -> None:
        self.upstream = upstream
        self.requests = Gate()
        self.replies = Gate()
        self.pairs: list[Pair] = []
        self.accepted = 0
        self.refuse = False
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The proxy's address as seqcache takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def black_hole(self) -> None:
        """Existing connections swallow all bytes both ways and stay open."""
        for pair in list(self.pairs):
            pair.black = True

    def reset_all(self) -> None:
        """RST every connection; new ones are accepted unless `refuse`."""
        for pair in list(self.pairs):
            pair.reset()
        self.pairs.clear()

    def close(self) -> None:
        """End all connections and threads."""
        self._ended = True
        self.requests.end()
        self.replies.end()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset_all()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                if self.refuse:
                    raise ConnectionRefusedError
                upstream = resp.connect(self.upstream)
            except OSError:
                Pair(client, client).reset()
                continue
            upstream.settimeout(None)
            for sock in (client, upstream):
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = Pair(client, upstream)
            self.pairs.append(pair)
            self._spawn(pair.pump, client, upstream, self.requests)
            self._spawn(pair.pump, upstream, client, self.replies)
