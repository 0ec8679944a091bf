"""``python -m bench``: measures, prints the table, writes JSON, Markdown and SVG."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import chart, limits, machine, plan, report, runner
from bench.goals import Table
from bench.results import Results
from bench.server import NoServer, Server
from bench.task import CannotMeasure, Point, raise_file_limit

HERE = Path(__file__).resolve().parent
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.15
ROUNDS, SECONDS = 5, 0.5


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Return the options of one run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, help=f"fresh processes a point (default {ROUNDS})")
    add("--seconds", type=float, help=f"measured time a point (default {SECONDS})")
    add("--quick", action="store_true", help="2 short rounds: does it work at all?")
    names = ", ".join(plan.QUESTIONS)
    only: dict[str, Any] = {
        "choices": plan.QUESTIONS,
        "metavar": "QUESTION",
        "default": [],
    }
    add("--only", action="append", help=f"repeatable; one of {names}", **only)
    add("--client", action="append", default=[], help="one client, repeatable")
    add("--loop", choices=("stock", "uvloop"), default="stock", help="of asyncio")
    pins = "cores: as they fall, both on core 0, or the server alone on core 0"
    add("--pin", choices=("free", "same", "cross"), default="free", help=pins)
    add("--seed", type=int, help="order of the points (default: random)")
    add("--server", help="the server's program (default: found on PATH)")
    add("--out", type=Path, default=HERE / "out", help="folder of latest.json and .md")
    add("--svg", type=Path, help="the chart (default: chart.svg in --out)")
    add("--report", type=Path, metavar="JSON", help="measure nothing: show this file")
    add("--list", action="store_true", help="print the points and end")
    return parser.parse_args(words)


def conditions(options: argparse.Namespace, tool: str) -> runner.Conditions:
    """Return how this run is made."""
    seed = options.seed if options.seed is not None else random.randrange(10_000)
    return runner.Conditions(
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        seconds=options.seconds or (QUICK_SECONDS if options.quick else SECONDS),
        loop=options.loop,
        pin=options.pin,
        seed=seed,
        tool=tool,
    )


def progress(words: str) -> None:
    """Show where we are: one line that overwrites itself on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{words}")
    sys.stderr.flush()


def compile_limits(folder: Path) -> str:
    """Return the compiled limits.c, or an empty text after saying why there is none."""
    try:
        return str(limits.build(folder))
    except CannotMeasure as why:
        print(f"no plain C beside the clients: {why}", file=sys.stderr)
        return ""


def measure(
    options: argparse.Namespace, points: list[Point]
) -> tuple[dict[str, Any], list[runner.Record]]:
    """Start the server, measure the points; return what is to be known, and records."""
    how = conditions(options, compile_limits(HERE / "out"))
    raise_file_limit()
    with Server(options.server, None if options.pin == "free" else 0) as server:
        about = machine.describe(server.version())
        records = runner.measure_all(points, server, how, progress)
    progress("")
    about |= {key: value for key, value in asdict(how).items() if key != "tool"}
    about["load_after"] = machine.load_average()
    about["is_busy"] = about["load_before"] > 0.25 * (os.cpu_count() or 1)
    return about, records


def save(path: Path, about: dict[str, Any], records: list[runner.Record]) -> None:
    """Write everything that was measured, so that --report can show it again."""
    content = {"about": about, "records": [asdict(record) for record in records]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def load(path: Path) -> tuple[dict[str, Any], list[runner.Record]]:
    """Read what ``save`` wrote."""
    content = json.loads(path.read_text())
    records = [
        runner.Record(Point(**each["point"]), each["runs"], each["errors"])
        for each in content["records"]
    ]
    return content["about"], records


def main() -> int:
    """Run; return 0, or 1 when nothing could be measured."""
    options = parse()
    points = plan.chosen(options.only, options.client)
    if options.list:
        print("\n".join(map(str, points)))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    if options.report:
        about, records = load(options.report)
    else:
        try:
            about, records = measure(options, points)
        except NoServer as why:
            print(f"bench: {why}", file=sys.stderr)
            return 1
        save(options.out / "latest.json", about, records)
    results = Results(records)
    rows = Table(results).rows()
    print(report.as_text(about, results, rows))
    (options.out / "latest.md").write_text(report.as_markdown(about, results, rows))
    svg = options.svg or options.out / "chart.svg"
    svg.parent.mkdir(parents=True, exist_ok=True)
    svg.write_text(chart.draw(about, results))
    print(f"written: {options.out / 'latest.json'}, latest.md, {svg}")
    return 0 if any(record.runs for record in records) else 1


if __name__ == "__main__":
    # Who ends a run by its time limit must not leave its server and folders.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nbench: stopped; nothing was written")
