"""A tiny server for the demo, which can lose a reply on demand.

It speaks just enough of the Redis protocol for one cache, on a free loopback port,
in one thread.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from types import TracebackType
from typing import Self


class LossyServer:
    """Counts like Redis. With ``lose_next`` set, it counts and then hangs up.

    ``counters`` holds what it counted, by key.
    """

    def __init__(self) -> None:
        self.counters: Counter[bytes] = Counter()
        self.lose_next = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._link: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address for `seqcache.cache`."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def hang_up(self) -> None:
        """Close the connection between two calls, as servers do with idle ones."""
        if self._link is not None:
            self._link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the server."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _serve(self) -> None:
        """Serve one connection after the other."""
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:  # closed: the demo is over
                return
            self._link = link
            with link, link.makefile("rb") as stream:
                while (args := _command(stream)) and (reply := self._run(args)):
                    link.sendall(reply)

    def _run(self, args: list[bytes]) -> bytes:
        """Run one command; no bytes = count, but hang up instead of answering."""
        name, *rest = args
        if name in (b"INCR", b"INCRBY"):
            self.counters[rest[0]] += int(rest[1]) if rest[1:] else 1
            if self.lose_next:
                self.lose_next = False
                return b""
            return b":%d\r\n" % self.counters[rest[0]]
        if name == b"GET":
            number = b"%d" % self.counters[rest[0]]
            return b"$%d\r\n%s\r\n" % (len(number), number)
        return _REPLIES.get(name, b"-ERR unknown command\r\n")


_REPLIES = {
    b"CLIENT": b"+OK\r\n",
    b"ROLE": b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
    b"EXISTS": b":0\r\n",
}


def _command(stream: object) -> list[bytes]:
    """Read one command; an empty list when the client is gone."""
    readline, read = stream.readline, stream.read  # type: ignore[attr-defined]
    try:
        head = readline()
        if not head.endswith(b"\r\n"):
            return []
        return [read(int(readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
    except ConnectionError:
        return []
