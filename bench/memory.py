"""S9: what does a call cost that never leaves the process (``memory://``)?

Beside it the least that anybody would write by hand: a dict and a lock. And what the
promise of ``sqlite:///`` costs there: the same calls under ceilings in a file, which a
thread raises in the background.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.task import OURS, Task, users

BATCH = 1000
EMBEDDED = "sqlite:///"
STEP = 65536  # what a busy id has after some minutes


class DictAndLock:
    """The comparison: counters in a dict, guarded by one lock."""

    def __init__(self) -> None:
        """Start with no counter."""
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}

    def increase(self, user: str) -> int:
        """Return the next number of ``user``."""
        with self._lock:
            number = self._numbers[user] = self._numbers.get(user, 0) + 1
            return number

    def increase_many(self, users: Sequence[str]) -> list[int]:
        """Return the next number of each user, under one lock."""
        with self._lock:
            numbers = self._numbers
            answer = []
            for user in users:
                number = numbers[user] = numbers.get(user, 0) + 1
                answer.append(number)
            return answer


def measure(task: Task) -> dict[str, Any]:
    """Return ops (calls or ids a second), cpu_us and ns (each call or id)."""
    if task.point.variant == EMBEDDED:
        return _embedded(task)
    if task.point.client == OURS:
        import seqcache

        cache: Any = seqcache.cache("memory://")
        one, many = cache.increase_seq, cache.increase_seqs
    else:
        plain = DictAndLock()
        one, many = plain.increase, plain.increase_many
    if task.point.variant == "bulk":
        return repeat(lambda ids: many(ids), task, BATCH)
    return repeat(lambda ids: drain(one, ids), task, BATCH)


def _embedded(task: Task) -> dict[str, Any]:
    """Count in a file of its own; also how many calls met its ceilings meanwhile."""
    import seqcache

    with (
        tempfile.TemporaryDirectory(prefix="seqcache-bench-") as folder,
        seqcache.cache(f"sqlite:///{folder}/seq.db", step=STEP) as cache,
    ):
        cache.increase_seqs(users())  # every id has its block

        def waits() -> float:
            return (cache.stats().durable or {})["sql_waits"]

        before = waits()
        found = repeat(lambda ids: drain(cache.increase_seq, ids), task, BATCH)
        return found | {"sql_waits": waits() - before}


def drain(one: Callable[[str], int], ids: list[str]) -> None:
    """Call ``one`` for each id, with as little of our own around it as there is."""
    for user in ids:
        one(user)


def repeat(
    step: Callable[[list[str]], object], task: Task, size: int
) -> dict[str, Any]:
    """Run ``step`` on slices of ``size`` ids for the task's seconds."""
    ids = users()
    slices = [ids[at : at + size] for at in range(0, len(ids) - size, size)]
    walk = itertools.cycle(slices)
    for _ in range(len(slices)):
        step(next(walk))
    done, cpu, start = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - start < task.seconds:
        step(next(walk))
        done += size
    cpu, took = time.process_time() - cpu, time.perf_counter() - start
    return {
        "ops": round(done / took),
        "cpu_us": round(cpu / done * 1e6, 4),
        "ns": round(cpu / done * 1e9, 1),
    }
