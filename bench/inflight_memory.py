"""S10: how much memory does one call in flight take, its task included?

The server is told to hold back every write; ``load`` tasks each await an increase;
the growth of the resident size, divided by their number, is the answer. Clients
that open a connection a call own those, too: they are part of what a call costs.
"""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import Any

from bench.async_clients import CLIENTS, Increase, run
from bench.server import ask
from bench.task import FLOOR, CannotMeasure, Task, users

HELD_MS = 20_000
SETTLED = 4


def resident() -> int:
    """Return the resident size of this process in bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError as why:
        raise CannotMeasure("needs /proc/self/statm") from why
    return pages * os.sysconf("SC_PAGE_SIZE")


async def settled(first: int) -> int:
    """Return the resident size once it has stopped growing for a while."""
    size, quiet = first, 0
    while quiet < SETTLED:
        await asyncio.sleep(0.15)
        now = resident()
        quiet = quiet + 1 if now - size < 32_768 else 0
        size = max(size, now)
    return size


async def hold(task: Task) -> dict[str, Any]:
    """Put the calls in flight, measure, and let them go."""
    is_floor = task.point.client == FLOOR
    increase = never_answered() if is_floor else await CLIENTS[task.point.client](task)
    if not is_floor:
        await increase("warm-up")

    async def one(user: str) -> None:
        await increase(user)

    ids = users(task.point.load)
    address = (task.host, task.port)
    ask(address, "CLIENT", "PAUSE", str(HELD_MS), "WRITE")
    gc.collect()
    gc.disable()
    before = resident()
    tasks = [asyncio.create_task(one(user)) for user in ids]
    after = await settled(before)
    waiting = sum(not each.done() for each in tasks)
    ask(address, "CLIENT", "UNPAUSE")
    if not is_floor:
        await prove(tasks, waiting)
    return {"bytes": round((after - before) / len(ids))}


def never_answered() -> Increase:
    """Return an "increase" that is a bare future, for as long as the process lives."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[int]] = []

    def increase(_user: str) -> asyncio.Future[int]:
        futures.append(loop.create_future())
        return futures[-1]

    return increase


async def prove(tasks: list[asyncio.Task[None]], waiting: int) -> None:
    """Raise unless all calls were in flight at once, and all were answered then."""
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [each for each in answers if isinstance(each, BaseException)]
    if errors or waiting < len(tasks):
        early = len(tasks) - waiting
        raise CannotMeasure(
            f"{early} calls not held, {len(errors)} failed {errors[:1]!r}"
        )


def measure(task: Task) -> dict[str, Any]:
    """Return bytes for each call in flight."""
    answer: dict[str, Any] = run(task, lambda: hold(task))
    return answer
