"""`python -m tests.chaos`: all scenarios, for as long as CHAOS_MINUTES says.

Prints a row for each scenario and scheme: calls, violations in plain mode, ours,
gaps.  Every history that breaks a promise is kept under build/chaos.

    CHAOS_MINUTES=20 python -m tests.chaos [--postgres] [part of a name]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.postgres import Postgres  # noqa: E402
from chaos.run import Outcome, run  # noqa: E402
from chaos.scenarios import SCENARIOS, Scenario  # noqa: E402

HEAD = f"{'#':>3} {'scenario':40} {'calls':>8} {'plain':>7} {'ours':>5}"
HEAD += f" {'conn.':>6} {'gaps':>8} {'slowest':>8}"


class Row:
    """Sums over the rounds of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.calls = self.plain = self.ours = self.loose = self.gaps = 0
        self.slowest = 0.0
        self.kept: list[Path] = []

    def add(self, outcome: Outcome) -> None:
        """Count one run."""
        if outcome.scheme == "plain":
            self.plain += outcome.broken
            return
        self.calls += outcome.report.calls
        if outcome.scheme == "connection":
            self.loose += outcome.broken
        else:
            self.ours += outcome.broken
            self.gaps += outcome.report.gaps
            self.slowest = max(self.slowest, outcome.report.slowest)
        if outcome.kept:
            self.kept.append(outcome.kept)

    @property
    def ok(self) -> bool:
        """Ours is clean, and plain mode was caught where it loses data."""
        return not (self.ours or self.loose) and (
            self.plain > 0 or not self.scenario.lossy
        )

    def __str__(self) -> str:
        one = self.scenario
        plain = str(self.plain) if one.lossy else "-"
        text = f"{one.number:>3} {one.name:40} {self.calls:8} {plain:>7}"
        text += f" {self.ours:5} {self.loose:6} {self.gaps:8} {self.slowest:7.2f}s"
        return text if self.ok else text + "  FAILED"


def play(row: Row, seed: int, postgres: Postgres | None) -> None:
    """One round: plain mode where data is lost, and both fences of ours."""
    one = row.scenario
    schemes = ["plain"] if one.lossy else []
    schemes += ["lease"] if "store away" in one.name else ["lease", "connection"]
    for scheme in schemes:
        if postgres is None or scheme == "plain":
            row.add(run(one, scheme, seed=seed))
            continue
        postgres.empty()
        url, away = postgres.url, postgres.away
        row.add(run(one, scheme, seed=seed, ceilings=url, outage=away))


def main() -> int:
    """Rounds until the time is over; 1 if a promise was broken."""
    minutes = float(os.environ.get("CHAOS_MINUTES", "0"))
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    chosen = [one for one in SCENARIOS if all(word in one.name for word in words)]
    rows = [Row(one) for one in chosen]
    end = time.monotonic() + minutes * 60
    postgres = Postgres() if "--postgres" in sys.argv else None
    print(HEAD, flush=True)
    seed = 0
    try:
        while True:
            for row in rows:
                play(row, seed, postgres)
                if seed == 0:
                    print(row, flush=True)
                if seed and time.monotonic() > end:
                    break
            seed += 1
            if time.monotonic() > end:
                break
    finally:
        if postgres is not None:
            postgres.close()
    if seed > 1:
        print(f"\nall {seed} rounds", HEAD, *rows, sep="\n", flush=True)
    for row in rows:
        for path in row.kept:
            print(f"kept: {path}")
    print(f"{sum(row.calls for row in rows)} calls")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
