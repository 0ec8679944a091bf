"""Histories of calls, and the checker of the guarantees U, M, G, T and D.

One `Record` for each id of each call, with the times between which it ran
(CLOCK_MONOTONIC, one machine).  A call that ended in an error is kept too: it
excuses a gap and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """One id of one call; `value` is None when it raised `error`."""

    start: float
    end: float
    key: str
    op: str
    by: int
    token: str | None
    value: int | None
    error: str | None = None

    @property
    def low(self) -> int:
        """The smallest number that this call stands for."""
        assert self.value is not None
        return self.value - self.by + 1 if self.op == "incr" else self.value


@dataclass(slots=True)
class Report:
    """What a history shows; the first examples of each violation in `texts`."""

    calls: int = 0
    increases: int = 0
    failed: int = 0
    U: int = 0
    M: int = 0
    G: int = 0
    T: int = 0
    D: int = 0
    gaps: int = 0
    slowest: float = 0.0
    texts: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    def violations(self, letters: str) -> int:
        """How often the promises named by `letters` were broken."""
        return sum(int(getattr(self, letter)) for letter in letters)

    def note(self, letter: str, text: str) -> None:
        """Count a violation and keep its text, if it is one of the first."""
        setattr(self, letter, getattr(self, letter) + 1)
        if len(self.texts) < 20:
            self.texts.append(f"{letter}: {text}")


def check(records: Iterable[Record], *, dense: bool = False) -> Report:
    """Judge a history; with `dense` also D (no faults, raises, lost replies)."""
    report = Report()
    by_key: dict[str, list[Record]] = {}
    begun: dict[tuple[str, str], float] = {}
    for record in records:
        if record.token is not None:
            # One that failed, or never came back, may be the one that counted.
            named = (record.key, record.token)
            begun[named] = min(record.start, begun.get(named, record.start))
        report.calls += 1
        report.slowest = max(report.slowest, record.end - record.start)
        if record.value is None:
            report.failed += 1
            name = str(record.error)
            report.errors[name] = report.errors.get(name, 0) + 1
        else:
            report.increases += record.op == "incr"
            by_key.setdefault(record.key, []).append(record)
    for key in sorted(by_key):
        _check_key(key, _merge_tokens(key, by_key[key], begun, report), report, dense)
    return report


def _merge_tokens(
    key: str,
    records: list[Record],
    begun: dict[tuple[str, str], float],
    report: Report,
) -> list[Record]:
    """All calls with one token are one call, from the first start on (T)."""
    out: list[Record] = []
    tokens: dict[str, list[Record]] = {}
    for record in records:
        if record.token is None:
            out.append(record)
        else:
            tokens.setdefault(record.token, []).append(record)
    for token, calls in tokens.items():
        values = {call.value for call in calls}
        if len(values) > 1:
            report.note("T", f"{key}: token {token} got {sorted(values, key=str)}")
        start = begun[key, token]
        for value in values:
            same = [call for call in calls if call.value == value]
            end = min(call.end for call in same)
            one = same[0]
            out.append(Record(start, end, key, "incr", one.by, token, value))
    return out


def _check_key(key: str, records: list[Record], report: Report, dense: bool) -> None:
    counted = sorted(
        (r for r in records if r.op == "incr"), key=lambda r: (r.value, r.low)
    )
    for one, two in pairwise(counted):
        assert one.value is not None
        if two.low <= one.value:
            report.note("U", f"{key}: {one} and {two}")
    top = counted[-1].value if counted else 0
    total = sum(r.by for r in counted)
    assert top is not None
    report.gaps += max(0, top - total)
    if dense and total != top:
        report.note("D", f"{key}: {total} numbers up to {top}")
    # One sweep: what had been returned before a call started is below it.
    events = [(r.end, 0, n) for n, r in enumerate(records)]
    events += [(r.start, -1, n) for n, r in enumerate(records)]
    top_counted = top_seen = 0
    before: dict[int, tuple[int, int]] = {}
    for _, kind, n in sorted(events):
        record = records[n]
        if kind == -1:
            before[n] = (top_counted, top_seen)
            continue
        assert record.value is not None
        top_seen = max(top_seen, record.value)
        if record.op == "incr":
            top_counted = max(top_counted, record.value)
    for n, record in enumerate(records):
        counted_before, seen_before = before[n]
        if record.op == "incr" and record.low <= counted_before:
            report.note("M", f"{key}: {record} after {counted_before}")
        elif record.op == "incr" and record.low <= seen_before:
            report.note("G", f"{key}: {record} after a read of {seen_before}")
        elif record.op != "incr" and record.low < seen_before:
            report.note("G", f"{key}: {record} after {seen_before}")


def save(path: Path, records: Iterable[Record]) -> None:
    """One JSON object a line."""
    with path.open("w") as file:
        for record in records:
            file.write(json.dumps(asdict(record)) + "\n")


def load(path: Path) -> list[Record]:
    """What `save` wrote; a last line that was cut by a kill is left out."""
    out: list[Record] = []
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            out.append(Record(**json.loads(line)))
    return out
