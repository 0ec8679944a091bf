"""Files of sequences: JSON lines or CSV, gzip by name. No server here.

A row is a user id and its number. JSON: ``{"user_id": "alice", "seq": 5}`` a line, as
``seqcache ls --json`` writes it; an id that is not UTF-8 is ``user_id_base64``. CSV:
``user_id,seq`` with or without a head, which may name the columns in any order and
``user_id_base64`` too.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import os
import zlib
from itertools import chain, islice

from . import _native
from .errors import UserIdError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Any, TypeAlias

    File: TypeAlias = str | os.PathLike[str] | IO[bytes] | IO[str]
    #: (number of the line, key without prefix, number) or (line, reason, None).
    Row: TypeAlias = tuple[int, bytes, int] | tuple[int, str, None]

MOST = 2**63 - 1
CHUNK = 1 << 18
#: Bytes of one line: an id of 512 bytes in base64 or \\u escapes, and then some.
LINE = 1 << 16
_HEAD = ("user_id", "seq", "user_id_base64")
_ABSENT = 1 << 20  # the index of a column that is not there
_TOO_LONG = b"\0too long"
_BOM = b"\xef\xbb\xbf"


def is_path(file: File) -> bool:
    """Tell a name from an open file."""
    return isinstance(file, (str, os.PathLike))


def name_of(file: File) -> str:
    """Return the name of a file, empty if it has none."""
    name = os.fspath(file) if is_path(file) else getattr(file, "name", "")  # type: ignore[arg-type]
    return name if isinstance(name, str) else ""


def is_gzip(name: str) -> bool:
    """Tell by its name whether a file is compressed."""
    return name.lower().endswith(".gz")


def is_csv(name: str) -> bool:
    """Tell by its name whether a file is CSV."""
    return name.lower().removesuffix(".gz").endswith(".csv")


# --- reading ---------------------------------------------------------------------


class Reader:
    """The rows of a file, bad ones included; blocking, for one thread at a time.

    Parameters
    ----------
    file:
        A path, or an open file (bytes or text), which is left open. A name that ends
        with .csv is CSV, any other is JSON lines; without a name the first character
        tells. .gz is decompressed if it is opened here.
    """

    def __init__(self, file: File) -> None:
        self.name = name_of(file)
        self._owned: IO[bytes] | None = None
        if is_path(file):
            file = self._owned = _open(self.name)
        self._file: Any = file
        #: Lines that were read so far.
        self.lines = 0
        self._trouble = ""
        self._rows = self._all_rows()

    @property
    def is_regular(self) -> bool:
        """Whether it was opened here and can be read without waiting for anybody."""
        return self._owned is not None and os.path.isfile(self.name)

    def batch(self, size: int) -> list[Row]:
        """Return the next rows, none at the end; OSError if the file is broken."""
        return list(islice(self._rows, size))

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._owned is not None:
            self._owned.close()

    def _all_rows(self) -> Iterator[Row]:
        lines = self._lines()
        first = next(lines, None)
        if first is None:
            return
        lines = chain((first,), lines)
        as_csv = is_csv(self.name)
        if not as_csv and not self.name.lower().removesuffix(".gz").endswith("json"):
            as_csv = not first.lstrip().startswith(b"{") and b"," in first
        yield from self._csv_rows(lines) if as_csv else self._json_rows(lines)

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines without their ends; what is longer than LINE is a mark."""
        rest, drops = b"", False
        for chunk in self._chunks():
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if drops and lines:
                lines[0], drops = _TOO_LONG, False
            yield from (_TOO_LONG if len(line) > LINE else line for line in lines)
            if drops or len(rest) > LINE:
                rest, drops = b"", True
        if rest or drops:
            yield _TOO_LONG if drops else rest

    def _chunks(self) -> Iterator[bytes]:
        start = True
        while chunk := self._read():
            yield chunk.removeprefix(_BOM) if start else chunk
            start = False

    def _read(self) -> bytes:
        try:
            chunk = self._file.read(CHUNK)
        except (EOFError, ValueError, zlib.error) as error:  # gzip's, and of text
            raise OSError(f"{self.name or 'the file'}: {error}") from error
        if isinstance(chunk, str):
            return chunk.encode("utf-8", "surrogateescape")
        return bytes(chunk or b"")

    # --- JSON lines

    def _json_rows(self, lines: Iterator[bytes]) -> Iterator[Row]:
        while some := list(islice(lines, 500)):
            first, self.lines = self.lines + 1, self.lines + len(some)
            objects = _objects(some)
            if objects is not None:
                yield from map(_row_of_object, range(first, first + len(some)), objects)
                continue
            for number, line in enumerate(some, first):
                if line and not line.isspace():
                    yield _row_of_line(number, line)

    # --- CSV

    def _csv_rows(self, lines: Iterator[bytes]) -> Iterator[Row]:
        columns: tuple[int, int, int] | None = None
        for number, cells in self._records(lines):
            if cells is None:
                yield number, f"no CSV: {self._trouble}", None
                continue
            if columns is None:
                columns = _columns(cells)
                if columns is not None:
                    continue
                columns = (0, 1, 2)
            if cells and cells != [""]:
                yield _row_of_cells(number, cells, columns)

    def _records(
        self, lines: Iterator[bytes]
    ) -> Iterator[tuple[int, list[str] | None]]:
        """Yield (first line, cells) of each record; None for a `_trouble`."""
        while some := list(islice(lines, 500)):
            before = self.lines
            plain = _plain_cells(some)
            if plain is not None:
                self.lines += len(some)
                yield from enumerate(plain, before + 1)
                continue
            # The record that begins in the last line may go on behind it.
            more = chain(some, lines)
            text = (line.decode("utf-8", "surrogateescape") + "\n" for line in more)
            reader = csv.reader(text, strict=True)
            while reader.line_num < len(some):
                number = before + reader.line_num + 1
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    self._trouble, cells = str(error), None
                self.lines = before + reader.line_num
                yield number, cells


def _open(name: str) -> IO[bytes]:
    if not is_gzip(name):
        return open(name, "rb", buffering=0)
    import gzip

    return gzip.open(name, "rb")  # type: ignore[return-value]  # it reads bytes


def count_lines(file: File) -> int | None:
    """Return the lines of a file, None if they can only be counted by reading it up."""
    name = name_of(file)
    if not is_path(file) or not os.path.isfile(name):
        return None
    count, last = 0, b""
    with _open(name) as opened:
        while chunk := opened.read(CHUNK):
            count += chunk.count(b"\n")
            last = chunk
    return count + (bool(last) and not last.endswith(b"\n"))


def _objects(lines: list[bytes]) -> list[Any] | None:
    """Parse many lines at once, which is thrice as fast; None if one is odd."""
    try:
        # null between them shows that each line was one value by itself.
        values = json.loads(b"[" + b",null,".join(lines) + b"]")
    except (ValueError, RecursionError):
        return None
    if len(values) != 2 * len(lines) - 1 or any(values[1::2]):
        return None
    return values[::2]  # type: ignore[no-any-return]


def _row_of_line(number: int, line: bytes) -> Row:
    if line == _TOO_LONG:
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
    return _row_of_object(number, value)


def _row_of_object(number: int, value: Any) -> Row:
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


def _columns(cells: list[str]) -> tuple[int, int, int] | None:
    """Return where id, number and encoded id stand if this is a head."""
    names = [cell.strip().lower() for cell in cells]
    if "seq" not in names or not {"user_id", "user_id_base64"} & set(names):
        return None
    found = [names.index(name) if name in names else _ABSENT for name in _HEAD]
    return found[0], found[1], found[2]


def _plain_cells(lines: list[bytes]) -> list[list[str]] | None:
    """Split lines without quotes, which is thrice as fast; None if one is odd."""
    try:
        text = b"\n".join(lines).decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None
    if '"' in text or "\r" in text[:-1] or "\0" in text:
        return None
    return [line.split(",") for line in text.removesuffix("\r").split("\n")]


def _row_of_cells(number: int, cells: list[str], columns: tuple[int, int, int]) -> Row:
    at_id, at_seq, at_encoded = columns
    if cells == [_TOO_LONG.decode()]:
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


# --- writing ---------------------------------------------------------------------


class Writer:
    """Writes rows to a file, which appears under its name when it is complete.

    Parameters
    ----------
    file:
        A path, or an open file (bytes or text), which is left open. The name tells
        the format as for `Reader`.
    """

    def __init__(self, file: File) -> None:
        self.name = name_of(file)
        self._part = ""
        self._owned: IO[bytes] | None = None
        self._as_csv = is_csv(self.name)
        if is_path(file):
            file = self._owned = self._create()
        self._write: Any = file.write  # type: ignore[union-attr]
        self._as_text = isinstance(file, io.TextIOBase)
        if self._as_csv:
            self._put(",".join(_HEAD) + "\r\n")

    def rows(self, pairs: Iterable[tuple[str | bytes, int]]) -> None:
        """Write (user id, number) pairs."""
        if not self._as_csv:
            self._put("".join([_json_line(one, seq) for one, seq in pairs]))
            return
        text = io.StringIO()
        csv.writer(text).writerows(
            (one, seq, "") if isinstance(one, str) else ("", seq, _encoded(one))
            for one, seq in pairs
        )
        self._put(text.getvalue())

    def finish(self) -> None:
        """Make the file durable and give it its name."""
        if self._owned is None:
            return
        self._owned.close()
        if self._part:
            with open(self._part, "rb") as written:
                os.fsync(written.fileno())
            os.replace(self._part, self.name)
            self._part = ""

    def close(self) -> None:
        """Remove what was not finished."""
        if self._owned is not None:
            self._owned.close()
        if self._part:
            os.unlink(self._part)
            self._part = ""

    def _create(self) -> IO[bytes]:
        name, as_gzip = self.name, is_gzip(self.name)
        if not os.path.exists(name) or os.path.isfile(name):
            # A pipe or a device cannot be replaced, a link's target should be.
            self.name = os.path.realpath(name)
            name = self._part = f"{self.name}.part"
        if not as_gzip:
            return open(name, "wb")
        import gzip

        return gzip.open(name, "wb", compresslevel=6)  # type: ignore[return-value]

    def _put(self, text: str) -> None:
        self._write(text if self._as_text else text.encode())


def _json_line(user_id: str | bytes, seq: int) -> str:
    if isinstance(user_id, str):
        return f'{{"user_id": {_quoted(user_id)}, "seq": {seq}}}\n'
    return f'{{"user_id_base64": "{_encoded(user_id)}", "seq": {seq}}}\n'


_quoted = json.encoder.encode_basestring_ascii  # a part of json.dumps: 5 times as fast


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
