"""RESP as a server and whoever stands before it need it: bytes in, bytes out."""

from __future__ import annotations

from typing import Any

__all__ = ["Error", "Status", "encode", "take_commands", "take_replies"]

# Aggregates: how many values follow for each one that the head counts.
_EACH = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
_TEXTS = b"$=!"
_ATTRIBUTE = ord("|")  # stands before the value that it is about


class Error(str):
    """An error reply; the text begins with its code."""

    __slots__ = ()


class Status(str):
    """A simple string reply such as OK."""

    __slots__ = ()


def _end_of_value(buffer: bytearray, at: int) -> int:
    """Return where the value at ``at`` ends, -1 if it is not complete."""
    more = 1
    while more:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            return -1
        kind, head, at = buffer[at], at + 1, end + 2
        more -= 1
        if kind in _TEXTS:
            at += max(int(buffer[head:end]) + 2, 0)
        elif kind in _EACH:
            more += max(int(buffer[head:end]), 0) * _EACH[kind] + (kind == _ATTRIBUTE)
        if at > len(buffer):
            return -1
    return at


def take_replies(buffer: bytearray) -> list[bytes]:
    """Take every complete reply out of ``buffer``, each as it is.

    Raises ValueError for what is not RESP.
    """
    found, at = [], 0
    while (end := _end_of_value(buffer, at)) >= 0:
        found.append(bytes(buffer[at:end]))
        at = end
    del buffer[:at]
    return found


def take_commands(buffer: bytearray) -> list[tuple[list[bytes], bytes]]:
    """Take every complete command out of ``buffer``: its words, and it as it is.

    Raises ValueError for what is no command.
    """
    found = [(_words(raw), raw) for raw in take_replies(buffer)]
    if not b"*".startswith(buffer[:1]):
        raise ValueError(f"not a command: {bytes(buffer[:80])!r}")
    return found


def _words(raw: bytes) -> list[bytes]:
    head = raw.index(b"\r\n")
    if raw[:1] != b"*":
        raise ValueError(f"not a command: {raw[:80]!r}")
    words, at = [], head + 2
    for _ in range(int(raw[1:head])):
        end = raw.index(b"\r\n", at)
        size = int(raw[at + 1 : end])
        words.append(raw[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return words


def encode(value: Any, protocol: int) -> bytes:
    """Write one reply in RESP2 or RESP3; `Error` and `Status` are texts of a kind."""
    if isinstance(value, Error):
        return b"-%s\r\n" % value.encode()
    if isinstance(value, Status):
        return b"+%s\r\n" % value.encode()
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None:
        return b"_\r\n" if protocol == 3 else b"$-1\r\n"
    if isinstance(value, bytes | str):
        raw = value if isinstance(value, bytes) else value.encode()
        return b"$%d\r\n%s\r\n" % (len(raw), raw)
    if isinstance(value, dict):
        flat = [encode(x, protocol) for pair in value.items() for x in pair]
        if protocol == 3:
            return b"%%%d\r\n" % len(value) + b"".join(flat)
        return b"*%d\r\n" % len(flat) + b"".join(flat)
    parts = [encode(item, protocol) for item in value]
    return b"*%d\r\n" % len(parts) + b"".join(parts)
