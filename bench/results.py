"""Reads what a run measured: medians, bests, ratios at comparable placement."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from bench.runner import Record
from bench.task import Point

SAME = 0.6  # share of looks from which a round counts as "on one core"
ENOUGH = 2  # rounds in one placement that make a median


@dataclass(frozen=True)
class Ratio:
    """One client over another: ``value`` judges, ``note`` says what was compared."""

    value: float
    note: str = ""


class Results:
    """The records of one run, asked by point."""

    def __init__(self, records: list[Record]) -> None:
        """Take what runner.measure_all returned, or what a file held."""
        self.records = records
        self._by_point = {record.point: record for record in records}

    def values(self, point: Point, name: str) -> list[float]:
        """Return the number called ``name`` of each round that has it."""
        record = self._by_point.get(point)
        runs: list[dict[str, Any]] = record.runs if record else []
        return [run[name] for run in runs if run.get(name) is not None]

    def median(self, point: Point, name: str) -> float | None:
        """Return the median over the rounds, None where nothing was measured."""
        values = self.values(point, name)
        return statistics.median(values) if values else None

    def best(self, point: Point, name: str) -> float | None:
        """Return the best round: the largest rate, else the least of what is spent."""
        values = self.values(point, name)
        if not values:
            return None
        return max(values) if name in ("ops", "fairness") else min(values)

    def last(self, point: Point, name: str) -> Any:
        """Return a value that is no number, from the last round."""
        record = self._by_point.get(point)
        return record.runs[-1].get(name) if record and record.runs else None

    def error(self, point: Point) -> str | None:
        """Return why a point has no number, None when it has one or was not asked."""
        record = self._by_point.get(point)
        if record is None or record.runs or not record.errors:
            return None
        return record.errors[-1]

    def on_one_core(self, point: Point) -> list[float]:
        """Return the rates of the rounds that shared a core with the server."""
        record = self._by_point.get(point)
        runs = record.runs if record else []
        return [run["ops"] for run in runs if (run.get("same_core") or 0) >= SAME]

    def ratio(self, ours: Point, theirs: Point) -> Ratio | None:
        """Return our rate over theirs, medians.

        With one call in flight, where placement decides, the rounds on one core are
        compared if both sides have enough of them; the note then says so.
        """
        mine, other = self.median(ours, "ops"), self.median(theirs, "ops")
        if mine is None or other is None or not other:
            return None
        if ours.load > 1:
            return Ratio(mine / other)
        pair = self.on_one_core(ours), self.on_one_core(theirs)
        if min(len(each) for each in pair) >= ENOUGH:
            left, right = (statistics.median(each) for each in pair)
            return Ratio(left / right, "on one core")
        return Ratio(mine / other, "cores as they fell")

    def fastest(self, points: list[Point]) -> Point | None:
        """Return the point with the highest median rate."""
        rated = [(self.median(p, "ops") or 0.0, at) for at, p in enumerate(points)]
        best = max(rated, default=(0.0, 0))
        return points[best[1]] if best[0] else None
