"""Redis's glob patterns, for places where no server does the matching."""

from __future__ import annotations

import re

from ._common import glob_bytes


def compile_glob(pattern: str | bytes) -> re.Pattern[bytes]:
    r"""Return a regular expression that matches what Redis would match.

    ``*``, ``?``, ``[abc]``, ``[a-z]``, ``[^a]`` and ``\`` before a letter that is
    meant literally; use its ``fullmatch``.
    """
    text = glob_bytes(pattern)
    parts: list[bytes] = []
    at = 0
    while at < len(text):
        byte = text[at : at + 1]
        if byte == b"*":
            parts.append(b".*")
        elif byte == b"?":
            parts.append(b".")
        elif byte == b"[":
            letters, at = _letters(text, at + 1)
            parts.append(letters)
        else:
            if byte == b"\\" and at + 1 < len(text):
                at += 1
            parts.append(re.escape(text[at : at + 1]))
        at += 1
    return re.compile(b"".join(parts), re.DOTALL)


def _letters(text: bytes, at: int) -> tuple[bytes, int]:
    """Read a class from behind its bracket; return it and the place of its end.

    Without a closing bracket it ends with the pattern, as in Redis.
    """
    negated = text[at : at + 1] == b"^"
    at += negated
    found: set[int] = set()
    while at < len(text) and text[at : at + 1] != b"]":
        if text[at : at + 1] == b"\\" and at + 1 < len(text):
            at += 1
            found.add(text[at])
        elif text[at + 1 : at + 2] == b"-" and at + 2 < len(text):
            low, high = sorted((text[at], text[at + 2]))
            found.update(range(low, high + 1))
            at += 2
        else:
            found.add(text[at])
        at += 1
    if not found:
        return (b"." if negated else b"(?!)"), at
    inside = b"".join(b"\\x%02x" % byte for byte in sorted(found))
    return (b"[^" if negated else b"[") + inside + b"]", at
