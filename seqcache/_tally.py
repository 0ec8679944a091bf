"""What an import and an export found: counts, and reports of them."""

from __future__ import annotations

from typing import NamedTuple

from ._html import table
from .errors import BulkError, NotASequence, SeqCacheError, SequenceOverflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    Results: TypeAlias = Sequence[int | BaseException]

#: Bad lines that a report tells; the others are only counted.
TOLD = 1000
# What concerns one id alone and does not stop an import.
_OF_ONE_ID = (NotASequence, SequenceOverflow)


class BadLine(NamedTuple):
    """A line that was not imported: its number in the file, and why."""

    line: int
    reason: str


class ImportReport(NamedTuple):
    """What an import found: ``read`` rows are ``raised``, ``ahead`` and ``bad`` ones.

    ``raised`` were higher than the server's numbers, ``ahead`` were not (the server
    has that number or a higher one), ``bad`` cannot be used; ``bad_lines`` tells the
    first 1000 of those. With ``dry_run`` nothing was changed.
    """

    read: int = 0
    raised: int = 0
    ahead: int = 0
    bad: int = 0
    bad_lines: tuple[BadLine, ...] = ()
    dry_run: bool = False

    def __str__(self) -> str:
        would = "would be " if self.dry_run else ""
        return (
            f"{self.read:,} read: {self.raised:,} {would}raised, "
            f"{self.ahead:,} already ahead, {self.bad:,} bad"
        )

    def _repr_html_(self) -> str:
        rows = [(name, f"{getattr(self, name):,}") for name in self._fields[:4]]
        rows += [(f"line {line}", reason) for line, reason in self.bad_lines[:10]]
        return table(("import (dry run)" if self.dry_run else "import", "rows"), rows)


class ExportReport(NamedTuple):
    """What an export wrote: ``written`` rows, an id perhaps more than once."""

    written: int = 0

    def __str__(self) -> str:
        return f"{self.written:,} written"

    def _repr_html_(self) -> str:
        return table(("export", "rows"), [("written", f"{self.written:,}")])


class Tally:
    """Counts what becomes of the rows; the steps of one batch, without a server."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.read = self.raised = self.ahead = self.bad = 0
        #: Rows of whole batches.
        self.finished = 0
        self._told: list[BadLine] = []
        self._rows: list[tuple[int, bytes, int]] = []

    def begin(self, rows: Sequence[tuple[int, Any, int | None]]) -> list[bytes]:
        """Take the rows of a batch; return the ids to be read, each once."""
        self.finished = self.read
        self.read += len(rows)
        self._rows = []
        for row in rows:
            if row[2] is None:
                self._spoil(row[0], row[1])
            else:
                self._rows.append(row)  # type: ignore[arg-type]
        return list(dict.fromkeys([user_id for _, user_id, _ in self._rows]))

    def compare(self, ids: Sequence[bytes], before: Results) -> dict[bytes, int]:
        """Return what is to be raised, given what the server has now."""
        known = dict(zip(ids, before, strict=True))
        lift: dict[bytes, int] = {}
        good: list[tuple[int, bytes, int]] = []
        for row in self._rows:
            line, user_id, seq = row
            now = known[user_id]
            if isinstance(now, BaseException):
                self._spoil(line, reason_of(now))
            elif seq > now:
                known[user_id] = lift[user_id] = seq
                good.append(row)
            else:
                self.ahead += 1
        self._rows = good
        self.raised += len(good)
        return lift

    def fail(self, results: dict[bytes, BaseException]) -> None:
        """Take back the rows of ids that could not be raised."""
        for line, user_id, _ in self._rows:
            if user_id in results:
                self.raised -= 1
                self._spoil(line, reason_of(results[user_id]))

    def report(self) -> ImportReport:
        """Return the counts so far."""
        told = tuple(self._told)
        counts = (self.read, self.raised, self.ahead, self.bad)
        return ImportReport(*counts, told, self.dry_run)

    def _spoil(self, line: int, reason: str) -> None:
        self.bad += 1
        if len(self._told) < TOLD:
            self._told.append(BadLine(line, reason))


def reason_of(error: BaseException) -> str:
    """Say why one id of a batch cannot be raised."""
    text = str(error.args[0]) if error.args else type(error).__name__
    return text.rpartition(": ")[2]


def each_of(error: SeqCacheError, count: int) -> Results:
    """Return the outcome of each id, if each failure concerns its id alone."""
    if isinstance(error, _OF_ONE_ID):
        return [error] * count
    if not isinstance(error, BulkError):
        raise error
    for one in error.results:
        if isinstance(one, BaseException) and not isinstance(one, _OF_ONE_ID):
            raise error
    return error.results
