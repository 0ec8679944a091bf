"""The sums of all runs, scenario by scenario, and the table made of them.

Every run is a line of ``build/chaos/results.jsonl``, so that runs in pieces add up.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chaos.run import KEEP, Outcome
from chaos.scenarios import SCENARIOS, Scenario

RESULTS = KEEP / "results.jsonl"
HEAD = f"{'':>3} {'scenario':45} {'calls':>8} {'plain':>7} {'ours':>5}"
HEAD += f" {'conn.':>6} {'gaps':>8} {'slowest':>8}"


def note(outcome: Outcome, server: str, store: str, path: Path = RESULTS) -> None:
    """Add the line of one run."""
    report = outcome.report
    line = {
        "date": time.strftime("%Y-%m-%d"),
        "server": server,
        "store": store,
        "python": platform.python_version(),
        "scenario": outcome.scenario.name,
        "scheme": outcome.scheme,
        "calls": report.calls,
        "increases": report.increases,
        "broken": outcome.broken,
        "disorder": outcome.disorder,
        "gaps": report.gaps,
        "slowest": report.slowest,
        "away": outcome.away,
        "fence_time": outcome.scenario.options.get("fence_time", 0.5),
        "kept": str(outcome.kept or ""),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(path: Path = RESULTS) -> list[dict[str, Any]]:
    """All lines."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


class Row:
    """Sums over the runs of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.calls = self.increases = self.plain = self.ours = self.loose = 0
        self.gaps = self.disorder = self.runs = self.unplayed = 0
        self.slowest = self.bound = 0.0
        self.schemes: set[str] = set()

    def add(self, line: dict[str, Any]) -> None:
        """Count one run."""
        self.runs += 1
        self.schemes.add(line["scheme"])
        if line["scheme"] == "plain":
            self.plain += line["broken"]
            return
        self.calls += line["calls"]
        self.increases += line["increases"]
        if line["scheme"] == "connection":
            self.loose += line["broken"]
            self.disorder += line["disorder"]
            return
        self.ours += line["broken"]
        self.gaps += line["gaps"]
        each = 1.2 * (1.05 * line["fence_time"] + 0.05)
        bound = each * (self.scenario.waits or 0) + line.get("away", 0.0)
        if line["slowest"] - bound > self.slowest - self.bound or not self.slowest:
            self.slowest, self.bound = line["slowest"], bound

    @property
    def failures(self) -> list[str]:
        """What is not as it should be."""
        one = self.scenario
        found = []
        if self.unplayed:
            found.append(f"{self.unplayed} runs did not come to their end")
        if self.ours or self.loose:
            found.append("a promise was broken")
        if one.lossy and "plain" in self.schemes and not self.plain:
            found.append("plain mode was not caught")
        if one.unordered and "connection" in self.schemes and not self.disorder:
            found.append("the missing lease was not caught")
        if one.waits and self.slowest > self.bound:
            found.append(f"a call took longer than {self.bound:.2f} s")
        return found

    def __str__(self) -> str:
        one = self.scenario
        plain = f"{self.plain:,}" if one.lossy else "-"
        text = f"{one.number:>3} {one.name:45} {self.calls:8,} {plain:>7}"
        text += f" {self.ours:5} {self.loose:6} {self.gaps:8,} {self.slowest:7.2f}s"
        return "  ".join([text, *self.failures])

    def markdown(self) -> str:
        """A line of the table in docs/durable.md."""
        one = self.scenario
        plain = f"{self.plain:,}" if one.lossy else ""
        loose = str(self.loose) if "connection" in self.schemes else ""
        if one.unordered:
            loose += f" ({self.disorder:,} out of order)"
        cells = (one.number, one.name, f"{self.calls:,}", plain, str(self.ours))
        return f"| {' | '.join((*cells, loose, f'{self.gaps:,}'))} |"


def rows_of(lines: Iterable[dict[str, Any]]) -> list[Row]:
    """A row for each scenario that ran."""
    rows = {one.name: Row(one) for one in SCENARIOS}
    for line in lines:
        if line["scenario"] in rows:
            rows[line["scenario"]].add(line)
    return [row for row in rows.values() if row.runs]


def heading(lines: list[dict[str, Any]]) -> str:
    """When and on what the runs were."""
    words = []
    for name in ("date", "server", "store", "python"):
        words.append(f"{name}: {', '.join(sorted({str(one[name]) for one in lines}))}")
    words.append(f"{os.cpu_count()} cores")
    return "; ".join(words)


def summary(rows: list[Row]) -> str:
    """One sentence."""
    calls = sum(row.calls for row in rows)
    increases = sum(row.increases for row in rows)
    return f"{len(rows)} scenarios, {calls:,} calls, {increases:,} increases returned"


def sqlite_version() -> str:
    """The store that is always there."""
    return f"SQLite {sqlite3.sqlite_version}"


def markdown(lines: list[dict[str, Any]]) -> str:
    """The whole table for docs/durable.md."""
    rows = rows_of(lines)
    head = "| | scenario | calls | plain | `lease` | `connection` | gaps |"
    ruler = "|---|---|---:|---:|---:|---:|---:|"
    body = [row.markdown() for row in rows]
    return "\n".join([f"{heading(lines)}; {summary(rows)}.", "", head, ruler, *body])
