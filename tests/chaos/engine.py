"""A small blocking engine for the durable driver: sockets of its own, pipelines.

It stands in for the C engine and keeps its promises: a request is written at most
once, a caller's time-out leaves the link alive, and a late reply belongs to its
own request, which nobody waits for any more.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

import resp

from seqcache.durable.effects import Fcall, Replies
from seqcache.errors import (
    AuthError,
    CallTimeout,
    ConnectError,
    NotASequence,
    OutcomeUnknown,
    SeqCacheError,
    SequenceOverflow,
    ServerError,
    StartupError,
)

DEAD_SECONDS = 1.0
Address = tuple[str, int]


class Incomplete(Exception):
    """The buffer ends within a reply."""


def parse(data: bytearray, at: int) -> tuple[Any, int]:
    """One RESP2 reply of `data` from `at`, and where it ends."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, rest, at = data[at : at + 1], bytes(data[at + 1 : end]), end + 2
    if kind == b"+":
        return rest, at
    if kind == b"-":
        return error_of(rest.decode(errors="replace")), at
    if kind == b":":
        return int(rest), at
    count = int(rest)
    if count < 0:
        return None, at
    if kind == b"$":
        if len(data) < at + count + 2:
            raise Incomplete
        return bytes(data[at : at + count]), at + count + 2
    out = []
    for _ in range(count):
        value, at = parse(data, at)
        out.append(value)
    return out, at


def error_of(text: str) -> SeqCacheError:
    """An error reply as the engine classifies it."""
    code = text.split(" ", 1)[0]
    if code in ("NOAUTH", "WRONGPASS", "NOPERM") or "permissions to run" in text:
        return AuthError(text)
    if code == "WRONGTYPE" or "not an integer" in text:
        return NotASequence(text, code=code)
    if "would overflow" in text:
        return SequenceOverflow(text, code=code)
    return ServerError(text, code=code)


class Link:
    """One connection; `owed` replies belong to callers that went away."""

    def __init__(self, address: Address, seconds: float) -> None:
        self.sock = socket.create_connection(address, max(seconds, 0.001))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = address
        self.buffer = bytearray()
        self.owed = 0
        self.heard = time.monotonic()

    def read(self, end: float) -> Any:
        """One reply; TimeoutError at `end`."""
        while True:
            try:
                value, at = parse(self.buffer, 0)
            except (Incomplete, IndexError):
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError from None
                self.sock.settimeout(left)
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionError("the server closed the link") from None
                self.buffer += data
                self.heard = time.monotonic()
                continue
            del self.buffer[:at]
            return value


class SocketEngine:
    """Links to whatever `find()` names, shared by the threads of a client."""

    def __init__(self, find: Callable[[], Address]) -> None:
        self.find = find
        self.lock = threading.Lock()
        self.freed = threading.Condition(self.lock)
        self.free: list[Link] = []
        self.all: set[Link] = set()
        self.calls = 0
        self.closed = False
        self.hook: Callable[[tuple[Fcall, ...], list[Any] | None], None] | None = None

    def fcalls(
        self, calls: tuple[Fcall, ...], link: Hashable, seconds: float | None
    ) -> Replies:
        """Send the calls in one write and read their replies."""
        self.calls += len(calls)
        end = time.monotonic() + (60.0 if seconds is None else seconds)
        if self.hook is not None:
            self.hook(calls, None)
        if link is None:
            try:
                link = self.acquire(end)
            except OSError as exc:
                raise ConnectError(f"no link: {exc}") from exc
        elif not self.reserve(link, end):
            gone = ConnectError("the link is gone", executed=False)
            return Replies([gone] * len(calls), None)
        assert isinstance(link, Link)
        values = self.exchange(link, calls, end)
        if self.hook is not None:
            self.hook(calls, values)
        return Replies(values, link)

    def exchange(self, link: Link, calls: tuple[Fcall, ...], end: float) -> list[Any]:
        """Write and read on a link that is reserved; then it is free, or closed."""
        values: list[Any] = []
        owed = link.owed
        try:
            data = b"".join(
                resp.encode("FCALL", c.name, len(c.keys), *c.keys, *c.args)
                for c in calls
            )
            link.sock.settimeout(max(end - time.monotonic(), 0.001))
            link.sock.sendall(data)
            link.owed += len(calls)
            while link.owed:
                value = link.read(end)
                link.owed -= 1
                if owed:
                    owed -= 1  # somebody's who has left
                else:
                    values.append(value)
            self.release(link)
        except TimeoutError as exc:
            if time.monotonic() - link.heard > DEAD_SECONDS:
                self.discard(link)
            else:
                self.release(link)
            values += [unanswered(c, exc) for c in calls[len(values) :]]
        except OSError as exc:
            self.discard(link)
            values += [unanswered(c, exc) for c in calls[len(values) :]]
        return values

    def acquire(self, end: float) -> Link:
        """A free link to the place that discovery names now, or a new one."""
        address = self.find()
        if self.closed:
            raise ConnectError("the client is closed")
        with self.lock:
            for at, link in enumerate(self.free):
                if link.address == address:
                    return self.free.pop(at)
        while True:
            try:
                link = Link(self.find(), end - time.monotonic())
                break
            except OSError:
                if time.monotonic() + 0.02 > end:
                    raise
                time.sleep(0.02)
        with self.lock:
            if not self.closed:
                self.all.add(link)
                return link
        link.sock.close()
        raise ConnectError("the client is closed")

    def reserve(self, link: Hashable, end: float) -> bool:
        """Take that very link once nobody uses it; False if it is gone."""
        with self.lock:
            while link in self.all and time.monotonic() < end:
                if link in self.free:
                    self.free.remove(link)  # type: ignore[arg-type]
                    return True
                self.freed.wait(0.1)
        return False

    def release(self, link: Link) -> None:
        """Back to the free ones."""
        with self.lock:
            if link in self.all:
                self.free.append(link)
                self.freed.notify_all()
            else:
                link.sock.close()

    def discard(self, link: Link) -> None:
        """Close a link for good."""
        with self.lock:
            self.all.discard(link)
        link.sock.close()

    def load(self, library: str, seconds: float | None) -> None:
        """FUNCTION LOAD; that it is there already is success."""
        try:
            resp.command(self.find(), "FUNCTION", "LOAD", library, timeout=seconds or 9)
        except resp.RespError as exc:
            text = str(exc)
            if "Function" in text and "already exists" in text:
                raise StartupError(f"a foreign library is in the way: {text}") from exc
            if "already exists" not in text and not text.startswith(
                ("READONLY", "LOADING")
            ):
                raise error_of(text) from exc
        except OSError as exc:
            raise ConnectError(f"no link: {exc}") from exc

    def rediscover(self, seconds: float | None) -> None:
        """Close the links to places that discovery does not name any more."""
        address = self.find()
        with self.lock:
            stale = [link for link in self.free if link.address != address]
            self.free = [link for link in self.free if link.address == address]
            self.all.difference_update(stale)
        for link in stale:
            link.sock.close()

    def close(self) -> None:
        """Close all links."""
        self.closed = True
        with self.lock:
            links, self.all, self.free = self.all, set(), []
        for link in links:
            link.sock.close()


def unanswered(call: Fcall, exc: OSError) -> SeqCacheError:
    """What a call that was sent, and got no answer, ends with."""
    if call.name in ("seq_get", "seq_get_many", "seq_raise"):
        return CallTimeout(f"no answer: {exc}")
    return OutcomeUnknown(f"{call.name}: no answer: {exc!r}", cause=exc)
