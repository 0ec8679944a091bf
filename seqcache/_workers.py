"""Daemon threads for what must not hold up a caller: SQL, and background jobs.

Started on demand, ended when idle, forgotten in a forked child, and never in the
way of the interpreter's exit.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeAlias

IDLE_SECONDS = 10.0

_Job: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"
_Desk: TypeAlias = "queue.SimpleQueue[_Job | None]"


class Workers:
    """At most `limit` threads that run functions in the order of `submit`."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget all threads and jobs: they belong to the parent of this process."""
        # A signal handler may ask for a job while this thread holds it.
        self._lock = threading.RLock()
        self._idle: list[_Desk] = []
        self._threads: set[threading.Thread] = set()
        self._waiting: deque[_Job] = deque()
        self._running: set[Future[Any]] = set()
        self._closed = False

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run `function` in a worker; a future that may be cancelled until then.

        It sees the caller's context variables: what it asks of a database belongs to
        the trace of the call that wanted it.
        """
        function = partial(copy_context().run, function)
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
                return future
            with suppress(IndexError):  # none is idle
                self._idle.pop().put((future, function))
                return future
            if len(self._threads) >= self._limit:
                self._waiting.append((future, function))
                return future
            desk: _Desk = queue.SimpleQueue()
            desk.put((future, function))
            thread = threading.Thread(
                target=self._work, args=(desk,), name=self._name, daemon=True
            )
            self._threads.add(thread)
        thread.start()
        return future

    def end(self) -> None:
        """Take no more jobs; who waits for one gets a CancelledError now.

        The threads end as soon as what they are at lets them: see `ended`.
        """
        with self._lock:
            self._closed = True
            futures = [future for future, _ in self._waiting]
            self._waiting.clear()
            running, self._running = self._running, set()
            for desk in self._idle:
                desk.put(None)
            self._idle.clear()
        for future in futures:
            future.cancel()
        for future in running:
            future.set_exception(CancelledError())

    @property
    def ended(self) -> bool:
        """Whether no thread of ours is left."""
        with self._lock:
            return not self._threads

    def join(self, seconds: float) -> None:
        """Wait for the threads, at most that long, after `end`."""
        end = time.monotonic() + seconds
        with self._lock:
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def _work(self, desk: _Desk) -> None:
        try:
            while (job := self._next(desk)) is not None:
                future, function = job
                if future.set_running_or_notify_cancel():
                    self._run(future, function)
                # Else this frame would keep a result alive until the next job.
                del job, future, function
                with self._lock:
                    if self._closed:
                        return
                    if self._waiting:
                        desk.put(self._waiting.popleft())
                    else:
                        self._idle.append(desk)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _run(self, future: Future[Any], function: Callable[[], Any]) -> None:
        with self._lock:
            closed = self._closed
            if not closed:
                self._running.add(future)
        if closed:
            future.set_exception(CancelledError())
            return
        try:
            result = function()
        except BaseException as exc:
            if self._owes(future):
                future.set_exception(exc)
        else:
            if self._owes(future):
                future.set_result(result)
        finally:
            # The traceback of an error keeps this frame: no ring.
            del future, function

    def _owes(self, future: Future[Any]) -> bool:
        """Whether the future waits for this result: `end` has not told it."""
        with self._lock:
            ours = future in self._running
            self._running.discard(future)
        return ours

    def _next(self, desk: _Desk) -> _Job | None:
        """The next job of this worker; None when it has been idle for too long."""
        try:
            return desk.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if desk in self._idle:
                    self._idle.remove(desk)
                    # Here, or `submit` would count on a thread that ends.
                    self._threads.discard(threading.current_thread())
                    return None
        return desk.get()  # a job, or the end, came just now
