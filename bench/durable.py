"""S8: what does a durable increase cost beside a plain one, and does it wait for SQL?

Both on one server in one process, turn by turn, ``load`` calls in flight on one event
loop or in as many threads. Every id has its block before the measured time, as in the
steady state; the ceilings are in SQLite.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from typing import Any

from bench import async_calls, threads
from bench.async_clients import run
from bench.task import USERS, CannotMeasure, Task

TURNS = 3
FIRST = 500  # ids whose blocks are taken in one go
STEP = 65_536  # numbers of a block, so that few are used up meanwhile
PATIENCE = 60.0
FORGET = ("FUNCTION", "FLUSH")  # the epoch of the process before this one


def options() -> dict[str, Any]:
    """Return what makes a cache durable."""
    try:
        import sqlalchemy  # noqa: F401 - installed?
    except ImportError as why:
        raise CannotMeasure(f"pip install sqlalchemy: {why}") from None
    folder = tempfile.mkdtemp(prefix="seqcache-bench-")
    return {
        "ceilings": f"sqlite:///{folder}/ceilings.db",
        "prefix": f"durable{os.getpid()}:",
        "step": STEP,
    }


def firsts() -> list[list[str]]:
    """Return all ids in groups."""
    every = [f"user{n}" for n in range(USERS)]
    return [every[at : at + FIRST] for at in range(0, USERS, FIRST)]


def summed_up(turns: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Return the best of the turns: (plain, durable) of each."""
    plain = max(one["ops"] for one, _ in turns)
    durable = max(one["ops"] for _, one in turns)
    plain_cpu = min(one["cpu_us"] for one, _ in turns)
    durable_cpu = min(one["cpu_us"] for _, one in turns)
    return {
        "ops": durable,
        "cpu_us": durable_cpu,
        "plain_ops": plain,
        "plain_cpu_us": plain_cpu,
        "rate_ratio": round(durable / plain, 3),
        "cpu_ratio": round(durable_cpu / plain_cpu, 3),
    }


def waits(cache: Any) -> float:
    """Return how many calls of a durable cache have met SQL."""
    return float(cache.stats().durable["sql_waits"])


async def in_loop(task: Task) -> dict[str, Any]:
    """Measure awaited calls."""
    import seqcache

    plain: Any = await seqcache.acache(task.url)
    await plain._execute(FORGET)
    durable: Any = await seqcache.acache(task.url, **options())
    for ids in firsts():
        await durable.increase_seqs(ids, timeout=PATIENCE)
    before, turns = waits(durable), []
    for _ in range(TURNS):
        turn = []
        for cache in (plain, durable):
            load = async_calls.Load()
            load.hammer(cache.increase_seq, task.point.load, is_timed=False)
            turn.append(await async_calls.watch(load, task))
            await load.stop()
        turns.append((turn[0], turn[1]))
    return summed_up(turns) | {"sql_waits": waits(durable) - before}


def in_threads(task: Task) -> dict[str, Any]:
    """Measure blocking calls."""
    import seqcache

    plain: Any = seqcache.cache(task.url)
    plain._execute(FORGET)
    durable: Any = seqcache.cache(task.url, **options())
    for ids in firsts():
        durable.increase_seqs(ids, timeout=PATIENCE)
    before, turns = waits(durable), []
    for _ in range(TURNS):
        turn = []
        for cache in (plain, durable):
            crew = threads.Crew(cache.increase_seq, task.point.load)
            crew.start()
            time.sleep(min(0.2, task.seconds / 2))
            turn.append(threads.watch(crew, task))
            crew.stop()
        turns.append((turn[0], turn[1]))
    return summed_up(turns) | {"sql_waits": waits(durable) - before}


def measure(task: Task) -> dict[str, Any]:
    """Return ops, cpu_us, their ratios to plain calls, and sql_waits."""
    short = replace(task, seconds=task.seconds / TURNS)
    if task.point.variant == "threads":
        return in_threads(short)
    answer: dict[str, Any] = run(task, lambda: in_loop(short))
    return answer
