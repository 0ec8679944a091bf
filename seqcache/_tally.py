"""What an import and an export found: counts, and reports of them."""

from __future__ import annotations

from typing import NamedTuple

from ._html import table
from .errors import BulkError, NotASequence, SeqCacheError, SequenceOverflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
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


class Outcome(NamedTuple):
    """What comparing a batch with the server's numbers gave; not counted yet."""

    lift: dict[bytes, int]
    rows: list[tuple[int, bytes, int]]  # those that lift their id
    ahead: int
    bad: list[BadLine]


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
        """Take the rows of a batch; return the ids of the good ones, each once."""
        self.finished = self.read
        self.read += len(rows)
        good: Any = [row for row in rows if row[2] is not None]
        if len(good) < len(rows):
            self._spoil(BadLine(*row[:2]) for row in rows if row[2] is None)
        self._rows = good
        return list(dict.fromkeys([row[1] for row in good]))

    def compare(self, before: dict[bytes, int | BaseException]) -> Outcome:
        """Say what is to be raised, given what the server has."""
        known = dict(before)
        out = Outcome({}, [], 0, [])
        lift, lifting, ahead = out.lift, out.rows, 0
        for row in self._rows:
            line, user_id, seq = row
            now = known[user_id]
            if isinstance(now, BaseException):
                out.bad.append(BadLine(line, reason_of(now)))
            elif seq > now:
                known[user_id] = lift[user_id] = seq
                lifting.append(row)
            else:
                ahead += 1
        return out._replace(ahead=ahead)

    def count(
        self, outcome: Outcome, failed: dict[bytes, BaseException] | None = None
    ) -> None:
        """Count a batch that is done, but for the ids that could not be raised."""
        self.ahead += outcome.ahead
        self.raised += len(outcome.rows)
        self._spoil(outcome.bad)
        if failed:
            lost = [
                BadLine(line, reason_of(failed[user_id]))
                for line, user_id, _ in outcome.rows
                if user_id in failed
            ]
            self.raised -= len(lost)
            self._spoil(lost)

    def take_bad(self) -> list[BadLine]:
        """Return the bad lines that were told since the last time."""
        told, self._told = self._told, []
        return told

    def report(self) -> ImportReport:
        """Return the counts so far."""
        told = tuple(sorted(self._told))
        counts = (self.read, self.raised, self.ahead, self.bad)
        return ImportReport(*counts, told, self.dry_run)

    def _spoil(self, lines: Iterable[BadLine]) -> None:
        for line in lines:
            self.bad += 1
            if len(self._told) < TOLD:
                self._told.append(line)


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
