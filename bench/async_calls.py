"""S1, S2, S3: how many awaited increases a second, and what does one cost?

``load`` tasks on one event loop each await one increase after the other. An
explicit pipeline is one task that sends ``load`` commands at a time: the most that
its user can get, if the calls happen to arrive together.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

from bench import limits
from bench.async_clients import PIPELINES, Increase, IncreaseMany, open_client, run
from bench.placement import Placement
from bench.task import FLOOR, HIREDIS, RAW, Task, quantile_us, users

LOOKS = 8
WARM_UP = 10.0  # seconds, at most


class Load:
    """The tasks of one phase, and how many calls they have completed."""

    def __init__(self) -> None:
        """Start with no task and no call."""
        self.done = 0
        self.is_stopped = False
        self.latencies: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []

    def hammer(self, increase: Increase, number: int, is_timed: bool) -> None:
        """Start ``number`` tasks that increase until stop, timed one by one or not."""
        body = self._timed if is_timed else self._untimed
        walk = itertools.cycle(users())
        for _ in range(number):
            self._tasks.append(asyncio.create_task(body(increase, walk)))

    def pipeline(self, increase_many: IncreaseMany, batch: int) -> None:
        """Start the one task that sends ``batch`` commands at a time until stop."""
        self._tasks.append(asyncio.create_task(self._piped(increase_many, batch)))

    async def stop(self) -> None:
        """Let every task finish its call and end."""
        self.is_stopped = True
        await asyncio.gather(*self._tasks)

    async def _untimed(self, increase: Increase, walk: Iterator[str]) -> None:
        while not self.is_stopped:
            await increase(next(walk))
            self.done += 1

    async def _timed(self, increase: Increase, walk: Iterator[str]) -> None:
        clock, note = time.perf_counter, self.latencies.append
        while not self.is_stopped:
            start = clock()
            await increase(next(walk))
            note(clock() - start)

    async def _piped(self, increase_many: IncreaseMany, batch: int) -> None:
        ids = users()
        for start in itertools.cycle(range(0, len(ids) - batch, batch)):
            if self.is_stopped:
                return
            begin = time.perf_counter()
            await increase_many(ids[start : start + batch])
            self.latencies.append(time.perf_counter() - begin)
            self.done += batch


async def warm_up(load: Load, task: Task) -> None:
    """Wait until every task had an answer (pools are full), and a little more."""
    give_up = time.perf_counter() + WARM_UP
    # Polled: an event in the measured loop would be paid by every call.
    while load.done < task.point.load and time.perf_counter() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await asyncio.sleep(min(0.15, task.seconds / 2))


async def watch(load: Load, task: Task) -> dict[str, Any]:
    """Return calls a second and CPU a call over the task's seconds, after a warm-up."""
    await warm_up(load, task)
    placement = Placement(task.server_pid)
    before, cpu, clock = load.done, time.process_time(), time.perf_counter()
    for _ in range(LOOKS):
        await asyncio.sleep(task.seconds / LOOKS)
        placement.sample()
    done = load.done - before
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return {
        "ops": round(done / clock),
        "cpu_us": round(cpu / max(done, 1) * 1e6, 3),
        "same_core": placement.same_share(),
    }


async def single_calls(task: Task) -> dict[str, Any]:
    """Measure ordinary calls: throughput first, then the latency of each call."""
    increase = await open_client(task)
    load = Load()
    load.hammer(increase, task.point.load, is_timed=False)
    answer = await watch(load, task)
    await load.stop()
    timed = Load()
    timed.hammer(increase, task.point.load, is_timed=True)
    await asyncio.sleep(task.seconds / 2)
    await timed.stop()
    return answer | latencies(timed.latencies)


async def piped_calls(task: Task) -> dict[str, Any]:
    """Measure an explicit pipeline; its latency is that of a whole batch."""
    increase_many = await PIPELINES[task.point.client](task)
    load = Load()
    load.pipeline(increase_many, task.point.load)
    answer = await watch(load, task)
    await load.stop()
    return answer | latencies(load.latencies)


def latencies(seconds: list[float]) -> dict[str, float | None]:
    """Return p50 and p99 in microseconds."""
    return {"p50_us": quantile_us(seconds, 0.5), "p99_us": quantile_us(seconds, 0.99)}


def measure(task: Task) -> dict[str, Any]:
    """Return ops, cpu_us, p50_us, p99_us and same_core of one client."""
    client = task.point.client
    if client in (HIREDIS, RAW):
        return limits.run(task, "window" if client == HIREDIS else "raw")
    body = piped_calls if client in PIPELINES else single_calls
    answer: dict[str, Any] = run(task, lambda: body(task))
    if client == FLOOR:
        answer["same_core"] = None
    return answer
