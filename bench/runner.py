"""Runs every point in its own process, in a new random order each round.

A fresh process a round, because the kernel's choice of cores, the allocator and the
hash seed of one process would otherwise colour every number of a client. Shuffled,
because a neighbour's burst of work must not hit one client only.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.server import Server
from bench.task import Point, Task

WORKER = Path(__file__).resolve().parent / "worker.py"
GIVE_UP = 2  # failures in a row, after which a point is left alone


@dataclass
class Record:
    """All that was measured at one point: a dict a round, or why there is none."""

    point: Point
    runs: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def is_hopeless(self) -> bool:
        """Return whether trying again would only waste time."""
        return not self.runs and len(self.errors) >= GIVE_UP


@dataclass(frozen=True)
class Conditions:
    """How one run is made; ``pin`` is free, same or cross (see docs/benchmarks.md)."""

    rounds: int
    seconds: float
    loop: str
    pin: str
    seed: int
    tool: str


def measure_all(
    points: list[Point],
    server: Server,
    conditions: Conditions,
    progress: Callable[[str], None],
) -> list[Record]:
    """Measure the points; return a record for each, in the order given."""
    records = {point: Record(point) for point in points}
    chance = random.Random(conditions.seed)
    for turn in range(1, conditions.rounds + 1):
        order = chance.sample(points, len(points))
        for place, point in enumerate(order, 1):
            record = records[point]
            if record.is_hopeless:
                continue
            here = f"round {turn}/{conditions.rounds}  {place}/{len(order)}"
            progress(f"{here}  {point}")
            note(record, run_worker(point, server, conditions))
            server.reset()
    return list(records.values())


def note(record: Record, answer: dict[str, Any]) -> None:
    """Add one answer of a worker to the record of its point."""
    if "error" in answer:
        record.errors.append(answer["error"])
    else:
        record.runs.append(answer)


def run_worker(point: Point, server: Server, conditions: Conditions) -> dict[str, Any]:
    """Measure one point once, in a process of its own; an error comes as {"error"}."""
    task = Task(
        point=point,
        seconds=conditions.seconds,
        host=server.host,
        port=server.port,
        path=server.path,
        server_pid=server.pid,
        loop=conditions.loop,
        tool=conditions.tool,
    )
    command = [*pinning(conditions.pin), sys.executable, "-P", str(WORKER)]
    limit = 60 + 10 * conditions.seconds
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, json.dumps(asdict(task))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What a worker leaves, also one that is killed, goes with the server's folder.
        env={**os.environ, "TMPDIR": str(server.folder)},
        start_new_session=True,
    )
    try:
        output, complaint = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {time.monotonic() - started:.0f} s"}
    finally:
        end(process)
    return understand(process.returncode, output, complaint)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a worker, with all it started, that outlived its time or a Ctrl-C."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def pinning(pin: str) -> list[str]:
    """Return the words before a command that keep it on the wanted cores."""
    if pin == "same":
        return ["taskset", "-c", "0"]
    if pin == "cross":
        return ["taskset", "-c", f"1-{(os.cpu_count() or 2) - 1}"]
    return []


def understand(code: int, output: str, complaint: str) -> dict[str, Any]:
    """Return the worker's answer, or its error in one line."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if code == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    said = [line.strip() for line in complaint.splitlines() if line.strip()]
    last = said[-1].removeprefix("ModuleNotFoundError: ") if said else ""
    if code < 0:
        name = signal.Signals(-code).name
        return {"error": f"killed by {name}: {last}" if last else f"killed by {name}"}
    return {"error": last or f"ended with {code}"}
