"""`python -m tests.chaos`: all scenarios, for as long as CHAOS_MINUTES says.

Prints a row for each scenario: calls, violations in plain mode, ours under both
fences, gaps.  Every history that breaks a promise is kept under build/chaos, and so
are the sums of all runs: --table prints them, --markdown for the documentation.
CHAOS_SCALE=6 lets the clients go on six times as long after each fault.

    CHAOS_MINUTES=20 python -m tests.chaos [--postgres | --both] [part of a name ...]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers import Server, find_binary  # noqa: E402

from chaos import table  # noqa: E402
from chaos.postgres import Postgres  # noqa: E402
from chaos.run import run  # noqa: E402
from chaos.scenarios import SCENARIOS, Scenario  # noqa: E402

SCALE = float(os.environ.get("CHAOS_SCALE", "1"))


def play(one: Scenario, seed: int, postgres: Postgres | None, server: str) -> table.Row:
    """One round: plain mode where data is lost, and both fences of ours."""
    row = table.Row(one)
    for scheme in (("plain",) if one.lossy else ()) + one.schemes:
        given: dict[str, Any] = {"scale": SCALE}
        if postgres is not None and scheme != "plain":
            postgres.empty()
            given |= {"ceilings": postgres.url, "outage": postgres.away}
        try:
            outcome = run(one, scheme, seed=seed, **given)
        except (RuntimeError, subprocess.SubprocessError) as exc:
            row.unplayed += 1
            print(f"{one.name}, {scheme}: {exc}", flush=True)
            continue
        store = postgres.version if postgres else table.sqlite_version()
        table.note(outcome, server, "none" if scheme == "plain" else store)
        row.add(table.read()[-1])
        if outcome.kept:
            print(f"kept: {outcome.kept}", flush=True)
    return row


def chosen() -> list[Scenario]:
    """The scenarios that an argument names by its number or a word of its name; all."""
    words = {word for word in sys.argv[1:] if not word.startswith("-")}
    if not words:
        return SCENARIOS
    return [one for one in SCENARIOS if {one.number, *one.name.split()} & words]


def version_of_server() -> str:
    """Name and version of the server under test."""
    with Server() as server:
        info = server.info("server")
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return (
        f"{'Redis' if 'redis' in find_binary() else 'Redict'} {info['redis_version']}"
    )


def main() -> int:
    """Rounds until the time is over; 1 if a promise was broken."""
    if "--table" in sys.argv or "--markdown" in sys.argv:
        lines = table.read()
        rows = table.rows_of(lines)
        text = "\n".join([table.heading(lines), table.HEAD, *map(str, rows)])
        print(table.markdown(lines) if "--markdown" in sys.argv else text)
        print(table.summary(rows))
        return 0
    end = time.monotonic() + float(os.environ.get("CHAOS_MINUTES", "0")) * 60
    scenarios, server = chosen(), version_of_server()
    postgres = Postgres() if {"--postgres", "--both"} & set(sys.argv) else None
    stores = [None, postgres] if "--both" in sys.argv else [postgres]
    sums = {one.name: table.Row(one) for one in scenarios}
    before, unplayed = len(table.read()), 0
    print(f"{server}; {[s.version if s else table.sqlite_version() for s in stores]}")
    print(table.HEAD, flush=True)
    seed = 0
    try:
        while True:
            for one in scenarios:
                for store in stores:
                    row = play(one, seed, store, server)
                    unplayed += row.unplayed
                    print(row, flush=True)
                if seed and time.monotonic() > end:
                    break
            seed += 1
            if time.monotonic() > end:
                break
    finally:
        if postgres is not None:
            postgres.close()
    for line in table.read()[before:]:
        sums[line["scenario"]].add(line)
    rows = [row for row in sums.values() if row.runs]
    if seed > 1 or len(stores) > 1:
        print("\nall rounds", table.HEAD, *rows, sep="\n")
    print(table.summary(rows), flush=True)
    return 1 if unplayed or any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
