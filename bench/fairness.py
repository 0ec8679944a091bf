"""S12: how late is a 1 ms timer on a loop that ``load`` tasks keep busy?"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.async_calls import Load, warm_up
from bench.async_clients import open_client, run
from bench.task import Task, quantile_us

PERIOD = 0.001  # seconds


async def tick(task: Task) -> dict[str, Any]:
    """Hammer the client and note how much later than asked each sleep ends."""
    increase = await open_client(task)
    load = Load()
    load.hammer(increase, task.point.load, is_timed=False)
    await warm_up(load, task)
    late: list[float] = []
    clock = time.perf_counter
    before, start = load.done, clock()
    while (now := clock()) - start < task.seconds:
        await asyncio.sleep(PERIOD)
        late.append(clock() - now - PERIOD)
    done = load.done - before
    took = clock() - start
    await load.stop()
    return {
        "late_p50_us": quantile_us(late, 0.5),
        "late_p99_us": quantile_us(late, 0.99),
        "ops": round(done / took),
    }


def measure(task: Task) -> dict[str, Any]:
    """Return late_p50_us and late_p99_us, and ops so that idle fairness is seen."""
    answer: dict[str, Any] = run(task, lambda: tick(task))
    return answer
