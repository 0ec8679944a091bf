"""S4, S5: how many blocking increases do ``load`` threads make on one client?"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from bench import limits
from bench.placement import Placement
from bench.sync_clients import open_client
from bench.task import HIREDIS, Task, quantile_us, users

LOOKS = 8


class Crew:
    """Threads that all hammer one client; each keeps its own books."""

    def __init__(self, increase: Callable[[str], int], number: int) -> None:
        """Prepare ``number`` threads around one increase."""
        self.done = [0] * number
        self.latencies: list[list[float]] = [[] for _ in range(number)]
        self._increase = increase
        self._is_timed = self._is_stopped = False
        self.threads = [
            threading.Thread(target=self._work, args=(place,), daemon=True)
            for place in range(number)
        ]

    def start(self) -> None:
        """Start every thread."""
        for thread in self.threads:
            thread.start()

    def time_calls(self) -> None:
        """From now on note how long each call takes."""
        self._is_timed = True

    def stop(self) -> None:
        """End the threads after their current call."""
        self._is_stopped = True
        for thread in self.threads:
            thread.join(10)

    def _work(self, place: int) -> None:
        increase, done, clock = self._increase, self.done, time.perf_counter
        walk = itertools.cycle(users(4096)[place * 61 :])
        while not self._is_timed and not self._is_stopped:
            increase(next(walk))
            done[place] += 1
        note = self.latencies[place].append
        while not self._is_stopped:
            start = clock()
            increase(next(walk))
            note(clock() - start)


def measure(task: Task) -> dict[str, Any]:
    """Return ops, cpu_us, p50_us, p99_us, fairness and same_core of one client.

    ``fairness`` is what the slowest thread did over what the fastest one did.
    """
    if task.point.client == HIREDIS:
        return limits.run(task, "single")
    crew = Crew(open_client(task).increase, task.point.load)
    crew.start()
    time.sleep(min(0.2, task.seconds / 2))
    answer = watch(crew, task)
    crew.time_calls()
    time.sleep(task.seconds / 2)
    crew.stop()
    every = [one for thread in crew.latencies for one in thread]
    return answer | {
        "p50_us": quantile_us(every, 0.5),
        "p99_us": quantile_us(every, 0.99),
    }


def watch(crew: Crew, task: Task) -> dict[str, Any]:
    """Count what the threads do in the task's seconds."""
    placement = Placement(task.server_pid)
    before, cpu, clock = crew.done[:], time.process_time(), time.perf_counter()
    for _ in range(LOOKS):
        time.sleep(task.seconds / LOOKS)
        placement.sample(crew.threads[0].native_id)
    each = [now - then for now, then in zip(crew.done, before, strict=True)]
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return {
        "ops": round(sum(each) / clock),
        "cpu_us": round(cpu / max(sum(each), 1) * 1e6, 3),
        "fairness": round(min(each) / max(*each, 1), 3) if len(each) > 1 else None,
        "same_core": placement.same_share(),
    }
