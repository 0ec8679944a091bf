"""A proxy that reads RESP: it stops, loses or repeats a chosen call of a function.

    tap = Tap(server.address)
    tap.on("seq_install", lose)            # the reply of the first one, and its link
    tap.on("seq_begin", hold, nth=2)       # what `hold` does happens before it passes

A rule is asked once for each call of that name, from `nth` on for `times` calls; it
runs in the thread that carries the bytes, so that whoever blocks there holds the
link back, as a network does.  When it returns True the link is cut instead: a lone
message cannot be lost from a stream.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import resp

CHUNK = 65536
LINES = b"+-:_,#("
BULKS = b"$=!"
ARRAYS = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}


def frame_end(data: bytes | bytearray, at: int) -> int:
    """Where the value of RESP 2 or 3 that begins at `at` ends; -1: it is not whole."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return -1
    kind, end = bytes(data[at : at + 1]), line + 2
    if kind in LINES:
        return end
    count = int(data[at + 1 : line])
    if kind in BULKS:
        end += count + 2 if count >= 0 else 0
        return end if end <= len(data) else -1
    for _ in range(max(count, 0) * ARRAYS[kind]):
        end = frame_end(data, end)
        if end < 0:
            return -1
    return end


def words_of(frame: bytes) -> list[bytes]:
    """The words of a command."""
    words, at = [], frame.index(b"\r\n") + 2
    while at < len(frame):
        line = frame.index(b"\r\n", at)
        length = int(frame[at + 1 : line])
        words.append(frame[line + 2 : line + 2 + length])
        at = line + length + 4
    return words


@dataclass(slots=True)
class Command:
    """One command on its way: its name (of the function, if it calls one)."""

    name: str
    words: list[bytes]
    raw: bytes
    tap: Tap

    def repeat(self, address: resp.Address) -> None:
        """Have it executed once more, by whoever serves there."""
        with resp.Resp(address) as link:
            link.sock.sendall(self.raw)
            link.read()


Do = Callable[[Command], "bool | None"]


@dataclass(slots=True, eq=False)
class Rule:
    """What to do with the calls number `nth` to `nth + times - 1` of a name."""

    name: str
    do: Do
    nth: int
    times: int
    reply: bool
    seen: int = 0
    done: int = 0


@dataclass(slots=True, eq=False)
class Link:
    """A client's connection and its twin; commands whose replies are due."""

    client: socket.socket
    server: socket.socket
    due: deque[Command | None] = field(default_factory=deque)

    def cut(self) -> None:
        """RST to the client, and the end for the server."""
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                sock.shutdown(socket.SHUT_RD)
            sock.close()


def lose(_: Command) -> bool:
    """Cut the link: the reply (or the request) never arrives."""
    return True


class Tap:
    """The proxy of one worker; `upstream` may move, which cuts its links."""

    def __init__(self, upstream: resp.Address) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.links: set[Link] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept)

    def on(
        self, name: str, do: Do, *, nth: int = 1, times: int = 1, reply: bool = False
    ) -> Rule:
        """Add a rule for requests, or for replies."""
        rule = Rule(name, do, nth, times, reply)
        with self._lock:
            self.rules.append(rule)
        return rule

    def lead(self, upstream: resp.Address) -> None:
        """Serve from another server; what is connected now is cut."""
        if upstream != self.upstream:
            self.upstream = upstream
            self.cut_all()

    def cut_all(self) -> None:
        """Cut every link."""
        with self._lock:
            links, self.links = self.links, set()
        for link in links:
            link.cut()

    def close(self) -> None:
        """End everything; rules that wait have to be let go of before."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = resp.connect(self.upstream)
            except OSError:
                Link(client, client).cut()
                continue
            server.settimeout(None)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(client, server)
            with self._lock:
                self.links.add(link)
            self._spawn(self._carry, link, client, server, self._requests)
            self._spawn(self._carry, link, server, client, self._replies)

    def _carry(
        self,
        link: Link,
        source: socket.socket,
        target: socket.socket,
        judge: Callable[[Link, bytes], bool],
    ) -> None:
        """One direction, value by value, until it ends or a rule cuts it."""
        data = bytearray()
        try:
            while chunk := source.recv(CHUNK):
                data += chunk
                at = sent = 0
                while at < len(data) and (end := frame_end(data, at)) > 0:
                    if judge(link, bytes(data[at:end])):
                        return
                    at = end
                    if self.rules:  # a later rule may block: this one is on its way
                        target.sendall(data[sent:at])
                        sent = at
                target.sendall(data[sent:at])
                del data[:at]
        except OSError:
            pass
        finally:
            with self._lock:
                self.links.discard(link)
            link.cut()

    def _requests(self, link: Link, frame: bytes) -> bool:
        words = words_of(frame)
        name = words[1] if words[0].upper() == b"FCALL" else words[0]
        command = Command(name.decode(errors="replace"), words, frame, self)
        link.due.append(command)
        return self._ask(command, reply=False)

    def _replies(self, link: Link, frame: bytes) -> bool:
        if frame[:1] == b">" or not link.due:
            return False  # a push answers nothing
        command = link.due.popleft()
        return command is not None and self._ask(command, reply=True)

    def _ask(self, command: Command, *, reply: bool) -> bool:
        due: list[Rule] = []
        with self._lock:
            for rule in self.rules:
                if rule.name == command.name and rule.reply == reply:
                    rule.seen += 1
                    if rule.nth <= rule.seen < rule.nth + rule.times:
                        due.append(rule)
        cut = False
        for rule in due:
            cut = bool(rule.do(command)) or cut
            rule.done += 1
        return cut
