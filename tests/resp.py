"""A tiny blocking RESP2 client, so that no test trusts the code under test.

`Resp(sock)` speaks over any connected socket; `command(address, ...)` opens,
asks once and closes.  Errors come back as `RespError` *values* from `read` and
are raised by `ask`.
"""

from __future__ import annotations

import socket
from typing import Any

Address = tuple[str, int] | str


class RespError(Exception):
    """The server answered with an error line."""


def connect(address: Address, timeout: float = 10.0) -> socket.socket:
    """Open a socket to `(host, port)` or to the path of a unix socket."""
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def encode(*args: bytes | str | int) -> bytes:
    """The bytes of one command."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        raw = arg if isinstance(arg, bytes) else str(arg).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(out)


class Resp:
    """One blocking connection; RESP2 only."""

    def __init__(self, address: Address, timeout: float = 10.0) -> None:
        self.sock = connect(address, timeout)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Resp:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self.file.close()
        self.sock.close()

    def read(self) -> Any:
        """One reply: int, bytes, None, list or a `RespError`, not raised."""
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RespError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == b"-1":
                return None
            return self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ValueError(f"not RESP2: {line!r}")

    def ask(self, *args: bytes | str | int) -> Any:
        """Send one command and return its reply; an error reply is raised."""
        self.sock.sendall(encode(*args))
        reply = self.read()
        if isinstance(reply, RespError):
            raise reply
        return reply


def command(address: Address, *args: bytes | str | int, timeout: float = 10.0) -> Any:
    """Ask one question on a connection of its own."""
    with Resp(address, timeout) as client:
        return client.ask(*args)
