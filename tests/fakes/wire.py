"""Reading commands and writing replies, for the scripted fake node."""

from __future__ import annotations

import re
from typing import Any


class Error(str):
    """An error reply; the text begins with its code."""


class Status(str):
    """A simple string reply such as OK."""


def parse_commands(buffer: bytearray) -> list[list[bytes]]:
    """Take every complete command out of `buffer`."""
    commands = []
    while (parsed := _parse_one(buffer)) is not None:
        args, used = parsed
        del buffer[:used]
        commands.append(args)
    return commands


def _parse_one(buffer: bytearray) -> tuple[list[bytes], int] | None:
    end = buffer.find(b"\r\n")
    if end < 0:
        return None
    if buffer[:1] != b"*":
        raise ValueError(f"not a command: {bytes(buffer[:80])!r}")
    args, at = [], end + 2
    for _ in range(int(buffer[1:end])):
        end = buffer.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(buffer[at + 1 : end])
        at = end + 2 + size + 2
        if len(buffer) < at:
            return None
        args.append(bytes(buffer[end + 2 : end + 2 + size]))
    return args, at


def encode(value: Any, protocol: int) -> bytes:
    """One reply in RESP2 or RESP3; str subclasses `Error` and `Status` apart."""
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


def glob_pattern(glob: bytes) -> re.Pattern[bytes]:
    """A Redis glob (`* ? [a-c] [^a] \\x`) as a compiled expression."""
    out, at = [], 0
    while at < len(glob):
        char = glob[at : at + 1]
        at += 1
        if char == b"*":
            out.append(b".*")
        elif char == b"?":
            out.append(b".")
        elif char == b"[" and glob.find(b"]", at) > 0:
            end = glob.find(b"]", at)
            out.append(b"[" + glob[at:end] + b"]")
            at = end + 1
        elif char == b"\\" and at < len(glob):
            out.append(re.escape(glob[at : at + 1]))
            at += 1
        else:
            out.append(re.escape(char))
    return re.compile(b"".join(out), re.DOTALL)
