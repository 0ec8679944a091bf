"""The blocking driver: runs the generators of `machine` in the caller's thread."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from copy import copy
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from .._log import background_failed
from .._workers import Workers
from ..errors import SeqCacheError
from .effects import (
    Background,
    Effect,
    Engine,
    Fcalls,
    Load,
    Rediscover,
    Replies,
    Shared,
    Sleep,
    Sql,
    Step,
    TimeUp,
)
from .machine import Durable, library_text

T = TypeVar("T")

_drivers: WeakSet[BlockingDriver] = WeakSet()

SQL_SECONDS = 30.0
"""How long one transaction may take when the caller has no deadline."""


def boottime() -> float:
    """Seconds that go on while the machine is suspended (assumption A5)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    # As csrc/core/park.c: the two are compared.
    return time.clock_gettime(time.CLOCK_MONOTONIC if clock is None else clock)


class BlockingDriver:
    """Performs effects for any number of threads.

    Parameters
    ----------
    engine:
        Who owns the links.
    store:
        The ceiling store; its methods are called from worker threads, so that a
        caller's deadline holds whatever the database does.
    durable:
        Whose clock deadlines are on.
    """

    def __init__(self, engine: Engine, store: Any, durable: Durable) -> None:
        self.engine = engine
        self.store = store
        self.durable = durable
        self._clock = durable.clock
        self._sql = Workers("seqcache-sql", store.threads)
        self._jobs = Workers("seqcache-job", 1 << 30)
        self._reset()

        _drivers.add(self)

    def _reset(self) -> None:
        # A signal handler may make a call while this thread holds it.
        self._lock = threading.RLock()
        self._flights: dict[Hashable, Future[Any]] = {}
        self._closed = threading.Event()

    def after_fork(self) -> None:
        """In the child: no job of the parent goes on here, no lock is held."""
        closed = self._closed.is_set()
        self._reset()
        if closed:
            self._closed.set()
        self._sql.reset()
        self._jobs.reset()
        self.durable.after_fork()

    def close(self, seconds: float = 1.0) -> None:
        """End the background jobs; callers get what they get.

        Waits at most `seconds` for the threads: one in a query ends with it.
        """
        self._closed.set()
        self._sql.end()
        self._jobs.end()
        end = self._clock() + seconds
        for workers in (self._jobs, self._sql):
            workers.join(max(0.0, end - self._clock()))

    def run(self, step: Step[T], seconds: float | None = None) -> T:
        """Drive a generator to its end, in at most `seconds` (None: no limit)."""
        deadline = math.inf if seconds is None else self._clock() + seconds
        return self._drive(step, deadline)

    def _drive(self, step: Step[T], deadline: float) -> T:
        send: Callable[[Any], Effect] = step.send
        value: Any = None
        try:
            while True:
                try:
                    effect = send(value)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                try:
                    value, send = self._perform(effect, deadline), step.send
                except (SeqCacheError, TimeUp) as exc:
                    value, send = exc, step.throw
        finally:
            step.close()  # Ctrl-C: what the step holds is let go of now

    def _left(self, deadline: float) -> float | None:
        return None if deadline == math.inf else max(0.0, deadline - self._clock())

    def _perform(self, effect: Effect, deadline: float) -> Any:
        left = self._left(deadline)
        if isinstance(effect, Background):
            self._fly(effect)
            return None
        if left == 0:
            raise TimeUp
        if isinstance(effect, Fcalls):
            return self._fcalls(effect, left)
        if isinstance(effect, Sql):
            return self._query(effect, left)
        if isinstance(effect, Sleep):
            if self._closed.wait(
                min(effect.seconds, math.inf if left is None else left)
            ):
                raise TimeUp
            return None
        if isinstance(effect, Shared):
            return _wait(self._fly(effect), left)
        if isinstance(effect, Load):
            return self.engine.load(library_text(), left)
        assert isinstance(effect, Rediscover)
        return self.engine.rediscover(left)

    def _fcalls(self, effect: Fcalls, left: float | None) -> Replies:
        try:
            return self.engine.fcalls(effect.calls, effect.link, left)
        except SeqCacheError as exc:
            return Replies([exc] * len(effect.calls), None)

    def _query(self, effect: Sql, left: float | None) -> Any:
        seconds = SQL_SECONDS if left is None else left
        method = getattr(self.store, effect.method)
        end = self._clock() + seconds

        def query() -> Any:
            return method(*effect.args, max(0.001, end - self._clock()))

        return _wait(self._sql.submit(query), left)

    def _fly(self, effect: Shared | Background) -> Future[Any]:
        """The job of that key: the one under way, or a new one."""
        with self._lock:
            future = self._flights.get(effect.key)
            # One that is done may lie here still: a signal handler that raises
            # can come between its entry and the callback that takes it away.
            if future is not None and not future.done():
                return future
            deadline = self._clock() + effect.seconds

            def job() -> Any:
                return self._drive(effect.make(), deadline)

            future = self._flights[effect.key] = self._jobs.submit(job)
        future.add_done_callback(partial(self._land, effect.key))
        if isinstance(effect, Background):
            future.add_done_callback(_log)
        return future

    def _land(self, key: Hashable, future: Future[Any]) -> None:
        # No lock: a signal handler that waits for this job may have interrupted the
        # thread that holds it. A younger job may have taken the place meanwhile.
        if self._flights.get(key) is future:
            self._flights.pop(key, None)


def _wait(future: Future[Any], left: float | None) -> Any:
    try:
        return future.result(left)
    except FutureTimeout:
        if future.done():
            raise
        raise TimeUp from None
    except CancelledError:
        raise TimeUp from None
    except SeqCacheError as exc:
        # A job's error goes to several callers: each gets one of its own.
        raise copy(exc) from exc


def _log(future: Future[Any]) -> None:
    exc = None if future.cancelled() else future.exception()
    if exc is not None and not isinstance(exc, (TimeUp, CancelledError)):
        background_failed(exc)


def _after_fork() -> None:
    for driver in list(_drivers):
        driver.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
