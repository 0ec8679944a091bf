"""Files of sequences: JSON lines or CSV, gzip by name. No server here.

A name that ends with .csv is CSV, any other is JSON lines; .gz behind it compresses.
"""

from __future__ import annotations

import csv
import io
import os
import zlib
from itertools import chain, islice

from ._rows import (
    HEAD,
    LINE,
    TOO_LONG,
    columns,
    encoded,
    json_line,
    objects,
    plain_cells,
    row_of_cells,
    row_of_line,
    row_of_object,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Any, TypeAlias

    from ._rows import Row

    File: TypeAlias = str | os.PathLike[str] | IO[bytes] | IO[str]

CHUNK = 1 << 18
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
                lines[0], drops = TOO_LONG, False
            yield from (TOO_LONG if len(line) > LINE else line for line in lines)
            if drops or len(rest) > LINE:
                rest, drops = b"", True
        if rest or drops:
            yield TOO_LONG if drops else rest

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
            found = objects(some)
            if found is not None:
                yield from map(row_of_object, range(first, first + len(some)), found)
                continue
            for number, line in enumerate(some, first):
                if line and not line.isspace():
                    yield row_of_line(number, line)

    # --- CSV

    def _csv_rows(self, lines: Iterator[bytes]) -> Iterator[Row]:
        at: tuple[int, int, int] | None = None
        for number, cells in self._records(lines):
            if cells is None:
                yield number, f"no CSV: {self._trouble}", None
                continue
            if at is None:
                at = columns(cells)
                if at is not None:
                    continue
                at = (0, 1, 2)
            if cells and cells != [""]:
                yield row_of_cells(number, cells, at)

    def _records(
        self, lines: Iterator[bytes]
    ) -> Iterator[tuple[int, list[str] | None]]:
        """Yield (first line, cells) of each record; None for a `_trouble`."""
        while some := list(islice(lines, 500)):
            before = self.lines
            plain = plain_cells(some)
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
            self._put(",".join(HEAD) + "\r\n")

    def rows(self, pairs: Iterable[tuple[str | bytes, int]]) -> None:
        """Write (user id, number) pairs."""
        if not self._as_csv:
            self._put("".join([json_line(one, seq) for one, seq in pairs]))
            return
        text = io.StringIO()
        csv.writer(text).writerows(
            (one, seq, "") if isinstance(one, str) else ("", seq, encoded(one))
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
