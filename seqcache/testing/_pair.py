"""One connection through a `Relay`: commands one way, replies the other.

Both directions are cut into commands and replies, and a judge is asked about each
command, so that the n-th one can have a fate of its own. Replies have no names: the
oldest command without one gets the next, so every connection keeps that queue.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._store import Store
from ._wire import encode, take_commands, take_replies

if TYPE_CHECKING:
    from ._relay import Relay, Upstream

__all__ = ["Fate", "Pair"]

CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Fate:
    """What becomes of one command and its reply.

    ``before`` runs when everything earlier on the connection is answered. ``reply``
    is sent instead of forwarding the command. ``seconds`` is how much later the
    reply comes. ``ending`` says what happens in place of the reply: ``"close"`` the
    connection, ``"reset"`` it, or be ``"silent"`` on it from now on.
    """

    before: Callable[[], None] | None = None
    forward: bool = True
    reply: bytes | None = None
    seconds: float = 0.0
    ending: str = ""


@dataclass
class Owed:
    """A reply that the client waits for."""

    fate: Fate | None
    reply: bytes | None = None
    due: float = 0.0


class Pair:
    """One connection of a client, and its twin to the server."""

    protocol = 2  # what the store has to speak

    def __init__(self, relay: Relay, client: socket.socket) -> None:
        self.relay = relay
        self.client = client
        self.server: socket.socket | None = None
        self.requests = bytearray()  # from the client, not cut yet
        self.commands: deque[tuple[list[bytes], bytes]] = deque()
        self.replies = bytearray()  # from the server, not cut yet
        self.outgoing: dict[socket.socket, bytearray] = {client: bytearray()}
        self.owed: deque[Owed] = deque()
        self.asked: deque[Owed] = deque()  # those of them that the server owes
        self.later: tuple[Fate, list[bytes], bytes] | None = None
        self.silent = False  # nothing more to the client
        self.deaf = False  # nothing more from it
        self.orphan = False  # the server closed
        self.over = False  # closing, once what is to be sent was sent

    def connect(self, upstream: Upstream) -> None:
        """Open the way to the server; OSError if there is none."""
        if isinstance(upstream, Store):
            return
        if isinstance(upstream, str):
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            server = socket.create_connection(upstream, CONNECT_SECONDS)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server = server
        self.outgoing[server] = bytearray()
        if isinstance(upstream, str):
            server.settimeout(CONNECT_SECONDS)
            server.connect(upstream)

    # --- from the client to the server -----------------------------------------

    def on_request(self, chunk: bytes) -> None:
        """Take bytes of the client."""
        if self.deaf or self.over:
            return
        self.requests += chunk
        self.commands.extend(take_commands(self.requests))
        self.take_commands()
        self.flush()

    def take_commands(self) -> None:
        """Act on the commands that came, up to one that must wait for all replies."""
        while self.commands and self.later is None and not self.deaf:
            words, raw = self.commands.popleft()
            fate = self.relay.judge(words)
            if fate is not None and fate.before is not None:
                self.later = fate, words, raw
            else:
                self.accept(fate, words, raw)

    def accept(self, fate: Fate | None, words: list[bytes], raw: bytes) -> None:
        """Forward a command, or not, and remember that a reply is owed."""
        owed = Owed(fate)
        self.owed.append(owed)
        if fate is not None and not fate.forward:
            owed.reply = fate.reply or b""
            self.deaf = self.deaf or fate.ending != ""
        elif isinstance(self.relay.upstream, Store):
            value = self.relay.upstream.run(self, words)
            self.answer(owed, encode(value, self.protocol))
        elif self.server is not None:
            self.outgoing[self.server] += raw
            self.asked.append(owed)

    # --- from the server to the client -----------------------------------------

    def on_reply(self, chunk: bytes) -> None:
        """Take bytes of the server."""
        self.replies += chunk
        for raw in take_replies(self.replies):
            if raw[:1] == b">" or not self.asked:  # a push belongs to nobody
                at = self.owed.index(self.asked[0]) if self.asked else len(self.owed)
                self.owed.insert(at, Owed(None, raw))
            else:
                self.answer(self.asked.popleft(), raw)
        self.flush()

    def answer(self, owed: Owed, raw: bytes) -> None:
        """Note a reply; it is sent in its turn."""
        owed.reply = raw
        if owed.fate is not None and owed.fate.seconds:
            owed.due = time.monotonic() + owed.fate.seconds

    def flush(self) -> None:
        """Send the replies whose turn and time has come, and what waited for them."""
        self.send_replies()
        while self.later is not None and not self.owed and not self.over:
            fate, words, raw = self.later
            self.later = None
            if fate.before is not None:
                fate.before()
            self.accept(fate, words, raw)
            self.take_commands()
            self.send_replies()
        if self.orphan and not any(owed.reply for owed in self.owed):
            self.end()
        elif not self.over:
            for sock in list(self.outgoing):
                self.write(sock)

    def send_replies(self) -> None:
        """Hand over the replies at the head of the queue."""
        while self.owed and not self.relay.holding and not self.over:
            owed = self.owed[0]
            if owed.reply is None or owed.due > time.monotonic():
                return
            self.owed.popleft()
            ending = owed.fate.ending if owed.fate else ""
            if ending in ("close", "reset"):
                self.end(reset=ending == "reset")
                return
            self.silent = self.silent or ending == "silent"
            if not self.silent:
                self.outgoing[self.client] += owed.reply

    def on_server_closed(self) -> None:
        """Close the client's connection, too, after the replies that there are."""
        self.orphan = True
        self.leave_server()
        self.flush()

    # --- sockets -----------------------------------------------------------------

    def write(self, sock: socket.socket) -> None:
        """Send what is waiting, as far as there is room."""
        waiting = self.outgoing[sock]
        try:
            while waiting:
                del waiting[: sock.send(waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self.drop()
            return
        if self.over and sock is self.client and not waiting:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        self.relay.watch(self, sock, writes=bool(waiting))

    def end(self, *, reset: bool = False) -> None:
        """End both connections; the client's gets what was sent, unless reset."""
        if reset:
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.drop()
            return
        self.over = True
        self.owed.clear()
        self.leave_server()
        self.write(self.client)  # and then until the client closes, too

    def drop(self) -> None:
        """Close both sockets at once."""
        self.over = True
        self.owed.clear()
        self.leave_server()
        self.relay.forget(self.client)
        self.relay.pairs.discard(self)

    def leave_server(self) -> None:
        """Close the connection to the server."""
        if self.server is not None:
            del self.outgoing[self.server]
            self.asked.clear()
            self.relay.forget(self.server)
            self.server = None
