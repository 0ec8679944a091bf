"""A scripted fake server: a small Redis in threads, with faults on demand.

    with FakeNode() as node:
        node.on("INCR", nth=2, do=swallow)      # applied, but never answered
        cache = seqcache.cache(node.url)
        ...
        assert node.applied["seq:alice"] == 1

A rule's `do` is a function of the `Call`; it decides whether the command is
applied (`call.apply()`) and what is sent (`call.send(raw)`).  The functions
below cover the usual faults; any function of your own will do.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from seqcache.testing import _wire

from . import store

Action = Callable[["Call"], None]
GONE = (ConnectionError, OSError)


def swallow(call: Call) -> None:
    """Apply the command; its reply and all later ones on the connection are lost.

    Replies have no names: a server that left out a single one would shift all
    that follow, and no client could tell.  So what is lost is the direction.
    """
    call.connection.silent = True
    call.apply()


def ignore(call: Call) -> None:
    """Neither apply nor answer."""


def hang(call: Call) -> None:
    """Neither apply nor answer, and read nothing more on this connection."""
    call.connection.wait_closed()


def reset_before(call: Call) -> None:
    """Reset the connection without applying the command."""
    call.connection.reset()


def reset_after(call: Call) -> None:
    """Apply the command, then reset the connection instead of answering."""
    call.apply()
    call.connection.reset()


def close_before(call: Call) -> None:
    """Close the connection in order, without applying the command."""
    call.connection.close()


def close_after(call: Call) -> None:
    """Apply the command, then close the connection instead of answering."""
    call.apply()
    call.connection.close()


def half_close(call: Call) -> None:
    """Answer, then end our sending half only; the client may still write."""
    call.send(call.apply())
    call.connection.sock.shutdown(socket.SHUT_WR)


def delay(seconds: float) -> Action:
    """Apply at once, answer later; what follows on the connection waits too."""

    def late(call: Call) -> None:
        raw = call.apply()
        call.connection.node.sleep(seconds)
        call.send(raw)

    return late


def answer(raw: bytes) -> Action:
    """Send these bytes instead of the reply; the command is not applied."""
    return lambda call: call.send(raw)


def apply_and_answer(raw: bytes) -> Action:
    """Apply the command, but send these bytes instead of its reply."""

    def lie(call: Call) -> None:
        call.apply()
        call.send(raw)

    return lie


def error(text: str) -> Action:
    """Refuse the command with this error, e.g. `"READONLY no"`."""
    return answer(b"-%s\r\n" % text.encode())


def split(call: Call) -> None:
    """Answer with one byte a packet."""
    for byte in call.apply():
        call.send(bytes([byte]))


def drip(interval: float) -> Action:
    """Answer with one byte every `interval` seconds."""

    def slowly(call: Call) -> None:
        for byte in call.apply():
            call.send(bytes([byte]))
            call.connection.node.sleep(interval)

    return slowly


def cut_reply(count: int) -> Action:
    """Apply, send the first `count` bytes of the reply, then reset."""

    def cut(call: Call) -> None:
        call.send(call.apply()[:count])
        call.connection.close()

    return cut


@dataclass
class Rule:
    """What happens to the `nth` and the following `times - 1` matching calls."""

    command: str
    do: Action
    nth: int
    times: float
    key: bytes | None
    seen: int = 0

    def fires(self, args: list[bytes]) -> bool:
        """Count the call if it matches; is it one of those meant?"""
        if self.command not in ("*", args[0].decode().upper()):
            return False
        if self.key is not None and self.key not in args[1:]:
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


@dataclass
class Call:
    """One command that arrived: `args`, and the connection it came by."""

    connection: Connection
    args: list[bytes]

    def apply(self) -> bytes:
        """Run the command on the node's data; the reply's bytes."""
        return self.connection.run(self.args)

    def send(self, raw: bytes) -> None:
        """Write raw bytes to the client, unless its direction is lost."""
        if not self.connection.silent:
            self.connection.sock.sendall(raw)


@dataclass
class Connection:
    """One client of the node: its socket, thread and session state."""

    node: FakeNode
    sock: socket.socket
    protocol: int = 2
    authenticated: bool = False
    silent: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> None:
        """Read commands and act until either side is gone."""
        buffer = bytearray()
        with contextlib.suppress(*GONE), self.sock:
            while not self.closed.is_set():
                self.node.may_read.wait()
                chunk = self.sock.recv(65536)
                if not chunk or self.closed.is_set():
                    break
                buffer += chunk
                for args, _ in _wire.take_commands(buffer):
                    self.node.dispatch(Call(self, args))
        self.closed.set()

    def run(self, args: list[bytes]) -> bytes:
        """Apply one command; the reply's bytes."""
        with self.node.lock:
            reply = self.node.store.run(self, args)
        return _wire.encode(reply, self.protocol)

    def reset(self) -> None:
        """Close with RST: what the client has not read is lost."""
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(*GONE):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def close(self) -> None:
        """Close with FIN; the thread ends by itself."""
        self.closed.set()
        with contextlib.suppress(*GONE):
            self.sock.shutdown(socket.SHUT_RD)
        self.sock.close()

    def wait_closed(self) -> None:
        """Block this connection's thread until the node closes it."""
        self.closed.wait()


class FakeNode:
    """The fake server.  Attributes to read: `applied` (amount of writes that
    took effect, by key), `commands` (all that arrived), `connection_count`.

    `accept` says what happens to new connections: "serve", "close", "reset" or
    "ignore" (accepted, never read).  `old` makes it a server without HELLO;
    `role`, `password` and `loading` are what the handshake will see.
    """

    def __init__(self, *, old: bool = False, password: str | None = None) -> None:
        self.store = store.Store(old=old, password=password)
        self.lock = threading.Lock()
        self.rules: list[Rule] = []
        self.commands: list[list[bytes]] = []
        self.connections: list[Connection] = []
        self.connection_count = 0
        self.accept = "serve"
        self.may_read = threading.Event()
        self.may_read.set()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        # Small, so that a client's buffers fill soon once we stop reading.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> FakeNode:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The node's address as seqcache takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def applied(self) -> Counter[str]:
        """How often each key was increased, raised, set or deleted."""
        with self.lock:
            return Counter(self.store.applied)

    def value(self, key: str) -> int:
        """The integer that the key holds now; 0 when absent."""
        with self.lock:
            return int(self.store.data.get(key.encode(), b"0"))

    def on(
        self,
        command: str,
        do: Action,
        *,
        nth: int = 1,
        times: float = 1,
        key: str | None = None,
    ) -> Rule:
        """From now on do `do` to the nth matching command, `times` in a row.

        `command` is a verb or "*"; `key` restricts to calls that name it;
        `times=math.inf` never ends.  The first rule that fires wins.
        """
        rule = Rule(command.upper(), do, nth, times, key.encode() if key else None)
        with self.lock:
            self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules; serve as a healthy server again."""
        with self.lock:
            self.rules.clear()
        self.accept = "serve"
        self.may_read.set()

    def seen(self, command: str) -> int:
        """How many commands of this verb arrived."""
        verb = command.upper().encode()
        with self.lock:
            return sum(args[0].upper() == verb for args in self.commands)

    def stop_reading(self) -> None:
        """Read nothing more, so that the client's buffers fill up."""
        self.may_read.clear()

    def drop_all(self, reset: bool = False) -> None:
        """Close (or reset) every connection; new ones are accepted."""
        for connection in list(self.connections):
            connection.reset() if reset else connection.close()

    def sleep(self, seconds: float) -> None:
        """Sleep, but end at once when the node is closed."""
        self._ended.wait(seconds)

    def dispatch(self, call: Call) -> None:
        """Act on one command by the first rule that fires, or normally."""
        with self.lock:
            self.commands.append(call.args)
            action = next((r.do for r in self.rules if r.fires(call.args)), None)
        if action is not None:
            action(call)
        else:
            call.send(call.apply())

    def close(self) -> None:
        """End all connections and threads."""
        self._ended.set()
        self.may_read.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(5)

    def wait_for(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        """Wait until `condition()` is true; AssertionError after `seconds`."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the node never got there"
            time.sleep(0.002)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._welcome(Connection(self, sock))

    def _welcome(self, connection: Connection) -> None:
        self.connection_count += 1
        self.connections.append(connection)
        if self.accept == "close":
            connection.close()
        elif self.accept == "reset":
            connection.reset()
        elif self.accept == "serve":
            thread = threading.Thread(target=connection.serve, daemon=True)
            self._threads.append(thread)
            thread.start()
