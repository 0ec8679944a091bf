"""Daemon threads for what must not hold up a caller: SQL, and background jobs.

Started on demand, ended when idle, forgotten in a forked child, and never in the
way of the interpreter's exit.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

IDLE_SECONDS = 10.0

_Job: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"
_Desk: TypeAlias = "queue.SimpleQueue[_Job]"


class Workers:
    """At most `limit` threads that run functions in the order of `submit`."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget all threads and jobs: they belong to the parent of this process."""
        self._lock = threading.Lock()
        self._idle: list[_Desk] = []
        self._threads = 0
        self._waiting: deque[_Job] = deque()

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run `function` in a worker; a future that may be cancelled until then."""
        future: Future[Any] = Future()
        desk: _Desk | None = None
        with self._lock:
            if self._idle:
                desk = self._idle.pop()
                desk.put((future, function))
                return future
            if self._threads >= self._limit:
                self._waiting.append((future, function))
                return future
            self._threads += 1
        desk = queue.SimpleQueue()
        desk.put((future, function))
        threading.Thread(
            target=self._work, args=(desk,), name=self._name, daemon=True
        ).start()
        return future

    def _work(self, desk: _Desk) -> None:
        while (job := self._next(desk)) is not None:
            future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as exc:
                    future.set_exception(exc)
            # Else this frame would keep a result alive until the next job.
            del job, future, function
            with self._lock:
                if self._waiting:
                    desk.put(self._waiting.popleft())
                else:
                    self._idle.append(desk)

    def _next(self, desk: _Desk) -> _Job | None:
        """The next job of this worker; None when it has been idle for too long."""
        try:
            return desk.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if desk in self._idle:
                    self._idle.remove(desk)
                    self._threads -= 1
                    return None
        return desk.get()  # a job came just now
