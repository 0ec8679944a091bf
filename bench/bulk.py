"""S6: how many ids a second does one call with ``load`` ids raise, or read?

Awaited, our own bulk call is measured too; the goal is about the blocking one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bench import limits
from bench.async_clients import run
from bench.placement import Placement
from bench.sync_clients import open_client
from bench.task import HIREDIS, RAW, Task, quantile_us, users

AWAITED = "seqcache awaited"
MODES = {(HIREDIS, "increase"): "window", (HIREDIS, "get"): "mget"}
MODES |= {(RAW, "increase"): "raw"}


def measure(task: Task) -> dict[str, Any]:
    """Return ops (ids a second), cpu_us (an id), p50_us and p99_us (a call)."""
    key = (task.point.client, task.point.variant)
    if key in MODES:
        return limits.run(task, MODES[key])
    ids = list(dict.fromkeys(users()))[: task.point.load]
    if task.point.client == AWAITED:
        answer: dict[str, Any] = run(task, lambda: awaited(task, ids))
        return answer
    client = open_client(task)
    is_read = task.point.variant == "get"
    call = client.get_many if is_read else client.increase_many
    meter = Meter(task)
    while meter.is_running():
        meter.note(len(call(ids)))
    return meter.answer()


async def awaited(task: Task, ids: list[str]) -> dict[str, Any]:
    """Measure our own bulk call on an event loop."""
    import seqcache

    cache: Any = await seqcache.acache(task.url)
    is_read = task.point.variant == "get"
    call: Callable[[list[str]], Any] = (
        cache.get_seqs if is_read else cache.increase_seqs
    )
    await asyncio.sleep(0)
    meter = Meter(task)
    while meter.is_running():
        meter.note(len(await call(ids)))
    return meter.answer()


class Meter:
    """Counts ids while the task's seconds run, after three calls of warm-up."""

    def __init__(self, task: Task) -> None:
        """Prepare to measure for the task's seconds."""
        self._seconds = task.seconds
        self._warm_up = 3
        self._latencies: list[float] = []
        self._placement = Placement(task.server_pid)
        self._restart()

    def _restart(self) -> None:
        self._ids = 0
        self._cpu, self._start = time.process_time(), time.perf_counter()
        self._last = self._start

    def is_running(self) -> bool:
        """Return whether another call is wanted."""
        return self._last - self._start < self._seconds

    def note(self, ids: int) -> None:
        """Count a finished call of ``ids`` ids."""
        if self._warm_up:
            self._warm_up -= 1
            self._restart()
            return
        now = time.perf_counter()
        self._latencies.append(now - self._last)
        self._last = now
        self._ids += ids
        if len(self._latencies) % 64 == 1:
            self._placement.sample()

    def answer(self) -> dict[str, Any]:
        """Return the numbers of everything noted."""
        cpu = time.process_time() - self._cpu
        return {
            "ops": round(self._ids / (self._last - self._start)),
            "cpu_us": round(cpu / max(self._ids, 1) * 1e6, 4),
            "p50_us": quantile_us(self._latencies, 0.5),
            "p99_us": quantile_us(self._latencies, 0.99),
            "same_core": self._placement.same_share(),
        }
