"""Reads what a run measured: medians, bests, ratios at comparable placement."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from bench.runner import Record
from bench.task import Point

SAME = 0.6  # share of looks from which a round counts as "on one core"
ENOUGH = 2  # rounds in one placement that make a median
ONE_CORE, ANY_CORE = "on one core", "cores as they fell"


@dataclass(frozen=True)
class Judged:
    """A number that is judged; ``note`` says which rounds it is made of."""

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

    def on_one_core(self, point: Point, name: str = "ops") -> list[float]:
        """Return a number of the rounds that shared a core with the server."""
        record = self._by_point.get(point)
        runs = record.runs if record else []
        return [run[name] for run in runs if (run.get("same_core") or 0) >= SAME]

    def was_asked(self, point: Point) -> bool:
        """Return whether this run tried to measure the point."""
        return point in self._by_point

    def cost(self, point: Point) -> Judged | None:
        """Return the median CPU a call; of a single call, on one core if it can be."""
        value = self.median(point, "cpu_us")
        if value is None or point.load > 1:
            return None if value is None else Judged(value)
        shared = self.on_one_core(point, "cpu_us")
        if len(shared) >= ENOUGH:
            return Judged(statistics.median(shared), ONE_CORE)
        return Judged(value, ANY_CORE)

    def ratio(self, ours: Point, theirs: Point) -> Judged | None:
        """Return our rate over theirs, medians.

        With one call in flight, where placement decides, the rounds on one core are
        compared if both sides have enough of them; the note then says so.
        """
        mine, other = self.median(ours, "ops"), self.median(theirs, "ops")
        if mine is None or other is None or not other:
            return None
        if ours.load > 1:
            return Judged(mine / other)
        pair = self.on_one_core(ours), self.on_one_core(theirs)
        if min(len(each) for each in pair) >= ENOUGH:
            left, right = (statistics.median(each) for each in pair)
            return Judged(left / right, ONE_CORE)
        return Judged(mine / other, ANY_CORE)

    def fastest(self, points: list[Point]) -> Point | None:
        """Return the point with the highest median rate."""
        rated = [(self.median(p, "ops") or 0.0, at) for at, p in enumerate(points)]
        best = max(rated, default=(0.0, 0))
        return points[best[1]] if best[0] else None
