"""Rows of sequences in files, as JSON or CSV: text to rows and back, without I/O.

A row is a user id and its number. JSON: ``{"user_id": "alice", "seq": 5}`` a line, as
``seqcache ls --json`` writes it; an id that is not UTF-8 is ``user_id_base64``. CSV:
``user_id,seq`` with or without a head, which may name the columns in any order and
``user_id_base64`` too.
"""

from __future__ import annotations

import base64
import binascii
import json

from . import _native
from .errors import UserIdError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    #: (number of the line, key without prefix, number) or (line, reason, None).
    Row: TypeAlias = tuple[int, bytes, int] | tuple[int, str, None]

MOST = 2**63 - 1
#: Bytes of one line: an id of 512 bytes in base64 or \\u escapes, and then some.
LINE = 1 << 16
HEAD = ("user_id", "seq", "user_id_base64")
_ABSENT = 1 << 20  # the index of a column that is not there
TOO_LONG = b"\0too long"


def objects(lines: list[bytes]) -> list[Any] | None:
    """Parse many lines at once, which is thrice as fast; None if one is odd."""
    try:
        # null between them shows that each line was one value by itself.
        values = json.loads(b"[" + b",null,".join(lines) + b"]")
    except (ValueError, RecursionError):
        return None
    if len(values) != 2 * len(lines) - 1 or any(values[1::2]):
        return None
    return values[::2]  # type: ignore[no-any-return]


def row_of_line(number: int, line: bytes) -> Row:
    """Read one line of JSON."""
    if line == TOO_LONG:
        return number, f"longer than {LINE} bytes", None
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        return number, "not UTF-8", None
    except RecursionError:
        return number, "no JSON: nested too deeply", None
    except ValueError as error:
        text = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return number, f"no JSON: {text}", None
    return row_of_object(number, value)


def row_of_object(number: int, value: Any) -> Row:
    """Take a row out of what a line of JSON holds."""
    try:
        user_id, seq = value["user_id"], value["seq"]
    except (KeyError, TypeError):
        if not isinstance(value, dict):
            return number, 'no object like {"user_id": "alice", "seq": 5}', None
        if "seq" not in value:
            return number, 'no "seq"', None
        if "user_id_base64" not in value:
            return number, 'no "user_id"', None
        return _decoded(number, value["user_id_base64"], value["seq"])
    return _row(number, user_id, seq)


def _decoded(number: int, text: Any, seq: Any) -> Row:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return number, "user_id_base64 is no base64", None
    return _row(number, raw, seq)


def _row(number: int, user_id: Any, seq: Any) -> Row:
    if type(seq) is not int:  # bool is one, too
        return number, f"seq is no whole number: {_short(seq)}", None
    if not 0 <= seq <= MOST:
        return number, f"seq must be from 0 to 2**63 - 1: {_short(seq)}", None
    try:
        return number, _native.check_user_id(user_id), seq
    except (UserIdError, TypeError) as error:
        return number, str(error), None


def columns(cells: list[str]) -> tuple[int, int, int] | None:
    """Return where id, number and encoded id stand if this is a head."""
    names = [cell.strip().lower() for cell in cells]
    if "seq" not in names or not {"user_id", "user_id_base64"} & set(names):
        return None
    found = [names.index(name) if name in names else _ABSENT for name in HEAD]
    return found[0], found[1], found[2]


def plain_cells(lines: list[bytes]) -> list[list[str]] | None:
    """Split lines without quotes, which is thrice as fast; None if one is odd."""
    try:
        text = b"\n".join(lines).decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None
    if '"' in text or "\r" in text[:-1] or "\0" in text:
        return None
    return [line.split(",") for line in text.removesuffix("\r").split("\n")]


def row_of_cells(number: int, cells: list[str], columns: tuple[int, int, int]) -> Row:
    """Take a row out of the cells of a CSV record."""
    at_id, at_seq, at_encoded = columns
    if cells == [TOO_LONG.decode()]:
        return number, f"longer than {LINE} bytes", None
    if at_seq >= len(cells):
        return number, "no column for the number", None
    text = cells[at_seq].strip()
    if not (text.isdecimal() and text.isascii()):
        return number, f"seq is no whole number: {_short(text)}", None
    seq = int(text) if len(text) < 4000 else MOST + 1
    if at_encoded < len(cells) and cells[at_encoded]:
        return _decoded(number, cells[at_encoded], seq)
    if at_id >= len(cells):
        return number, "no column for the id", None
    try:
        return _row(number, cells[at_id].encode(), seq)
    except UnicodeEncodeError:  # a byte that was none of UTF-8
        return number, "not UTF-8: such an id goes into user_id_base64", None


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python likes to print
        return "too many digits"
    return text if len(text) <= 40 else f"{text[:37]}..."


def json_line(user_id: str | bytes, seq: int) -> str:
    """Write one line of JSON."""
    if isinstance(user_id, str):
        return f'{{"user_id": {_quoted(user_id)}, "seq": {seq}}}\n'
    return f'{{"user_id_base64": "{encoded(user_id)}", "seq": {seq}}}\n'


_quoted = json.encoder.encode_basestring_ascii  # a part of json.dumps: 5 times as fast


def encoded(raw: bytes) -> str:
    """Write an id that is not UTF-8."""
    return base64.b64encode(raw).decode()
