"""S7: what does a number of a lease cost that is at hand?

The blocks are so large that none is reserved while we measure, and the numbers are of
``memory://``: what is left is the lease itself. Beside it the least that a call of
Python can cost: a method in C that does nothing, and a coroutine that does nothing;
and the interpreter's own counter, which like a lease makes an int for each number.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from bench.task import OURS, Task

EMPTY = "nothing"
COUNTER = "itertools.count"
BLOCK = 1 << 40
ROUND = 20_000


def measure(task: Task) -> dict[str, Any]:
    """Return ops (numbers a second), cpu_us and ns (each number)."""
    if task.point.variant == "awaited":
        return asyncio.run(_awaited(task))
    if task.point.client == OURS:
        import seqcache

        with seqcache.cache("memory://") as cache:
            lease = cache.lease("alice", size=BLOCK)
            next(lease)
            return _told(*_call(next, lease, task.seconds), lease)
    if task.point.client == COUNTER:
        return _told(*_call(next, itertools.count(1), task.seconds), None)
    lock = threading.Lock()
    return _told(*_call(type(lock).locked, lock, task.seconds), None)


def _call(
    one: Callable[[Any], object], whom: Any, seconds: float
) -> tuple[int, float, float]:
    """Call it for so long; how often, and the CPU and the seconds that it took."""
    done, cpu, start = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in itertools.repeat(None, ROUND):
            one(whom)
        done += ROUND
    return done, time.process_time() - cpu, time.perf_counter() - start


async def _nothing() -> int:
    return 1


async def _awaited(task: Task) -> dict[str, Any]:
    if task.point.client != OURS:
        return _told(*await _await(_nothing, task.seconds), None)
    import seqcache

    async with seqcache.acache("memory://") as cache:
        lease = cache.lease("alice", size=BLOCK)
        await lease.next()
        return _told(*await _await(lease.next, task.seconds), lease)


async def _await(one: Callable[[], Any], seconds: float) -> tuple[int, float, float]:
    done, cpu, start = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in itertools.repeat(None, ROUND):
            await one()
        done += ROUND
    return done, time.process_time() - cpu, time.perf_counter() - start


def _told(done: int, cpu: float, took: float, lease: Any) -> dict[str, Any]:
    if lease is not None and BLOCK - lease.remaining < done:
        raise RuntimeError("the lease gave fewer numbers than were counted")
    return {
        "ops": round(done / took),
        "cpu_us": round(cpu / done * 1e6, 4),
        "ns": round(cpu / done * 1e9, 1),
    }
