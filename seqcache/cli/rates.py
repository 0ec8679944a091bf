"""How often a call can be made in a second: the loops of `demo` and `bench`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

USERS = [f"user{number}" for number in range(1000)]
BULK = 1000
THREADS = 8
IN_FLIGHT = 100
# What is measured, as JSON names it and as a person reads it.
LABELS = {
    "one_thread": "one thread",
    "threads_8": f"{THREADS} threads",
    "asyncio_100": f"asyncio, {IN_FLIGHT} in flight",
    "bulk_1000": f"{BULK} users in one call",
}
# Calls between two looks at the clock: little beside the calls, soon over.
_BETWEEN = 16

Increase = Callable[[str], Any]
IncreaseMany = Callable[[Sequence[str]], Any]
AsyncIncrease = Callable[[str], Awaitable[Any]]


def one_thread(increase: Increase, seconds: float) -> float:
    """Return the calls a second of one thread."""
    users = itertools.cycle(USERS)
    clock, calls = time.perf_counter, 0
    increase(USERS[0])  # connects
    start = now = clock()
    while now - start < seconds:
        for user in itertools.islice(users, _BETWEEN):
            increase(user)
        calls += _BETWEEN
        now = clock()
    return calls / (now - start)


def many_threads(increase: Increase, seconds: float) -> float:
    """Return the calls a second of `THREADS` threads on one client."""
    stop = threading.Event()
    # A pool makes a connection for each thread: that is not what is measured.
    ready = threading.Barrier(THREADS + 1)
    counts: list[int] = []
    failures: list[BaseException] = []

    def work(first: int) -> None:
        users = itertools.cycle(USERS[first:] + USERS[:first])
        calls = 0
        try:
            increase(next(users))
            ready.wait()
            while not (calls and stop.is_set()):
                increase(next(users))
                calls += 1
        except threading.BrokenBarrierError:
            return  # another thread failed, and says why
        except BaseException as error:
            failures.append(error)
            ready.abort()
        counts.append(calls)

    threads = [
        threading.Thread(target=work, args=(number * 97,), daemon=True)
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    try:
        with contextlib.suppress(threading.BrokenBarrierError):
            ready.wait()
        start = time.perf_counter()
        if not ready.broken:
            stop.wait(seconds)
    finally:  # Ctrl-C too: afterwards nothing counts any more
        stop.set()
        ready.abort()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - start)


def in_bulk(increase_many: IncreaseMany, seconds: float) -> float:
    """Return the ids a second, `BULK` of them in a call."""
    ids = (USERS * (BULK // len(USERS) + 1))[:BULK]
    clock, calls = time.perf_counter, 0
    increase_many(ids[:1])  # connects
    start = now = clock()
    while now - start < seconds:
        increase_many(ids)
        calls += 1
        now = clock()
    return calls * BULK / (now - start)


async def in_flight(increase: AsyncIncrease, seconds: float) -> float:
    """Return the awaited calls a second of `IN_FLIGHT` tasks on one loop."""
    clock = time.perf_counter
    users = itertools.cycle(USERS)
    # A pool makes a connection for each task: that is not what is measured.
    await asyncio.gather(*[increase(user) for user in USERS[:IN_FLIGHT]])
    start = clock()
    end = start + seconds

    async def work() -> int:
        calls = 0
        while not (calls and clock() >= end):
            await increase(next(users))
            calls += 1
        return calls

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work()) for _ in range(IN_FLIGHT)]
    return sum(task.result() for task in tasks) / (clock() - start)


def rounded(rate: float) -> str:
    """Return a rate with three digits that mean something: ``64,500``."""
    digits = max(0, len(str(int(rate))) - 3)
    return f"{round(rate, -digits):,.0f}"
