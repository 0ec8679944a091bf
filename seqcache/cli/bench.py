"""The verb ``bench``: seqcache and the installed peers on one server, quickly.

All clients do the same work in one process, in turns and in shuffled order; the
result is the median of the rounds. `make bench` of the repository is the careful one.
"""

from __future__ import annotations

import asyncio
import platform
import random
import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import rates
from .chart import draw
from .demo import own_keys
from .output import Output
from .peers import Client, installed, notes, ourselves
from .verbs import server_name

Measure = Callable[[Client, float], float]


def _one_thread(client: Client, seconds: float) -> float:
    with client.open() as calls:
        return rates.one_thread(calls.increase, seconds)


def _many_threads(client: Client, seconds: float) -> float:
    with client.open() as calls:
        return rates.many_threads(calls.increase, seconds)


def _in_flight(client: Client, seconds: float) -> float:
    async def main() -> float:
        async with client.open_async() as increase:
            return await rates.in_flight(increase, seconds)

    return asyncio.run(main())


def _in_bulk(client: Client, seconds: float) -> float:
    with client.open() as calls:
        return rates.in_bulk(calls.increase_many, seconds)


WORKS: dict[str, Measure] = {
    "one_thread": _one_thread,
    "threads_8": _many_threads,
    "asyncio_100": _in_flight,
    "bulk_1000": _in_bulk,
}


def bench(args: Namespace, out: Output) -> int:
    """Measure everything, print the table or the JSON, draw the chart."""
    with own_keys(args, "bench", out) as seqs:
        peers, missing = installed(seqs.config)
        clients = [ourselves(seqs), *peers]
        try:
            measured = _rounds(args, out, clients, missing)
        finally:
            out.progress("")
        report = _report(args, server_name(seqs), clients, measured, missing)
    if out.json_lines:
        out.record(**report)
    else:
        _table(out, report)
    if args.plot:
        Path(args.plot).write_text(draw(report), encoding="utf-8")
        out.note(f"chart: {args.plot}")
    return 0


def _rounds(
    args: Namespace,
    out: Output,
    clients: list[Client],
    missing: list[dict[str, str]],
) -> dict[tuple[str, str], list[float]]:
    """Return the rates of all rounds by (work, client)."""
    jobs = [(work, client) for work in WORKS for client in clients]
    measured: dict[tuple[str, str], list[float]] = {}
    failed: set[str] = set()
    order = random.Random()
    for number in range(args.rounds):
        order.shuffle(jobs)
        for done, (work, client) in enumerate(jobs):
            share = 100 * (number * len(jobs) + done) // (args.rounds * len(jobs))
            out.progress(f"{share:3} %  {rates.LABELS[work]}: {client.name}")
            if client.name in failed:
                continue
            try:
                rate = WORKS[work](client, args.seconds)
            except Exception as error:
                if client is clients[0]:
                    raise
                # A peer that cannot do it costs its own column only, and is told.
                failed.add(client.name)
                reason = f"{type(error).__name__}: {error}"
                missing.append({"client": client.name, "reason": reason})
                continue
            measured.setdefault((work, client.name), []).append(rate)
    return {key: found for key, found in measured.items() if key[1] not in failed}


def _report(
    args: Namespace,
    server: str,
    clients: list[Client],
    measured: dict[tuple[str, str], list[float]],
    missing: list[dict[str, str]],
) -> dict[str, Any]:
    """Return the whole result as the JSON output has it."""
    results = [
        {
            "work": work,
            "client": client.name,
            "version": client.version,
            "per_second": round(statistics.median(found)),
            "rounds": [round(rate) for rate in found],
        }
        for work in WORKS
        for client in clients
        if (found := measured.get((work, client.name)))
    ]
    return {
        "server": server,
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "rounds": args.rounds,
        "seconds": args.seconds,
        "results": results,
        "missing": missing,
        "notes": notes([client.name for client in clients]),
    }


def by_work(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return rate by client by label of the work, in the order of the report."""
    found: dict[str, dict[str, float]] = {}
    for row in report["results"]:
        column = f"{row['client']} {row['version']}"
        found.setdefault(rates.LABELS[row["work"]], {})[column] = row["per_second"]
    return found


def _table(out: Output, report: dict[str, Any]) -> None:
    table = by_work(report)
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    rounds = f"{report['rounds']} rounds of {report['seconds']:g} s"
    out.note(
        f"increases a second at {report['server']}, median of {rounds}, "
        f"Python {report['python']}"
    )
    widths = [max(16, len(name) + 2) for name in columns]
    heads = [f"{name:>{width}}" for name, width in zip(columns, widths, strict=True)]
    out.line(f"{'':26}" + out.style("".join(heads), "bold"))
    for label, row in table.items():
        cells = []
        for name, width in zip(columns, widths, strict=True):
            cells.append(f"{rates.rounded(row[name]):>{width}}" if name in row else "")
        out.line(f"{label:26}" + "".join(cells))
    for row in report["missing"]:
        out.note(f"{row['client']}: {row['reason']}")
    for text in report["notes"]:
        out.note(text)
    out.note("a quick look on this machine; `make bench` in the repository measures")
