"""The asyncio driver: the same generators, one task a caller, SQL in threads.

A driver belongs to one event loop. The ceiling store blocks, so that its methods
run in worker threads; nothing here ever blocks the loop.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from copy import copy
from typing import Any, TypeVar

from .._log import background_failed
from .._workers import Workers
from ..errors import SeqCacheError
from .drive import SQL_SECONDS
from .effects import (
    AsyncEngine,
    Background,
    Effect,
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


class AsyncDriver:
    """Performs effects on one event loop; see `BlockingDriver` for the parameters."""

    def __init__(self, engine: AsyncEngine, store: Any, durable: Durable) -> None:
        self.engine = engine
        self.store = store
        self.durable = durable
        self._clock = durable.clock
        self._sql = Workers("seqcache-sql", store.threads)
        self._flights: dict[Hashable, asyncio.Task[Any]] = {}

    def forget(self) -> None:
        """Take no more SQL, from any thread: the loop is gone, or about to go."""
        self._sql.end()

    def stop(self) -> None:
        """Cancel the background jobs, in the loop's thread; take no more SQL."""
        for job in self._flights.values():
            job.cancel()
        self._sql.end()

    async def aclose(self, seconds: float = 1.0) -> None:
        """Cancel the background jobs and wait until they have ended.

        Waits at most `seconds` for the threads: one in a query ends with it.
        """
        jobs = list(self._flights.values())
        self.stop()
        await asyncio.gather(*jobs, return_exceptions=True)
        end = self._clock() + seconds
        # Threads tell no event, and to join them would block the loop.
        while not self._sql.ended and self._clock() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    def begin(self, step: Step[None]) -> None:
        """Begin the background jobs of a step that does nothing else."""
        for effect in step:
            assert isinstance(effect, Background)
            self._fly(effect)

    async def run(self, step: Step[T], seconds: float | None = None) -> T:
        """Drive a generator to its end, in at most `seconds` (None: no limit)."""
        deadline = math.inf if seconds is None else self._clock() + seconds
        return await self._drive(step, deadline)

    async def _drive(self, step: Step[T], deadline: float) -> T:
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
                    value, send = await self._perform(effect, deadline), step.send
                except (SeqCacheError, TimeUp) as exc:
                    value, send = exc, step.throw
        finally:
            step.close()  # cancelled: what the step holds is let go of now

    async def _perform(self, effect: Effect, deadline: float) -> Any:
        left = None if deadline == math.inf else max(0.0, deadline - self._clock())
        if isinstance(effect, Background):
            self._fly(effect)
            return None
        if left == 0:
            raise TimeUp
        if isinstance(effect, Fcalls):
            return await self._fcalls(effect, left)
        if isinstance(effect, Sql):
            return await self._query(effect, left)
        if isinstance(effect, Sleep):
            longest = math.inf if left is None else left
            await asyncio.sleep(min(effect.seconds, longest))
            return None
        if isinstance(effect, Shared):
            # The job goes on when this caller leaves.
            return await _wait(asyncio.shield(self._fly(effect)), left)
        if isinstance(effect, Load):
            return await self.engine.load(library_text(), left)
        assert isinstance(effect, Rediscover)
        return await self.engine.rediscover(left)

    async def _fcalls(self, effect: Fcalls, left: float | None) -> Replies:
        try:
            return await self.engine.fcalls(effect.calls, effect.link, left)
        except SeqCacheError as exc:
            return Replies([exc] * len(effect.calls), None)

    async def _query(self, effect: Sql, left: float | None) -> Any:
        method = getattr(self.store, effect.method)
        end = self._clock() + (SQL_SECONDS if left is None else left)

        def query() -> Any:
            return method(*effect.args, max(0.001, end - self._clock()))

        return await _wait(asyncio.wrap_future(self._sql.submit(query)), left)

    def _fly(self, effect: Shared | Background) -> asyncio.Task[Any]:
        """The job of that key: the one under way, or a new one."""
        job = self._flights.get(effect.key)
        if job is None:
            deadline = self._clock() + effect.seconds
            job = asyncio.get_running_loop().create_task(
                self._drive(effect.make(), deadline)
            )
            self._flights[effect.key] = job
            quiet = isinstance(effect, Shared)
            job.add_done_callback(lambda done: self._land(effect.key, done, quiet))
        return job

    def _land(self, key: Hashable, job: asyncio.Task[Any], quiet: bool) -> None:
        if self._flights.get(key) is job:
            del self._flights[key]
        if job.cancelled():
            return
        exc = job.exception()
        if exc is not None and not quiet and not isinstance(exc, TimeUp):
            background_failed(exc)


async def _wait(future: asyncio.Future[Any], left: float | None) -> Any:
    try:
        # TimeoutError can only be ours: steps raise SeqCacheError or TimeUp.
        return await asyncio.wait_for(future, left)
    except SeqCacheError as exc:
        # A job's error goes to several callers: each gets one of its own.
        raise copy(exc) from exc
    except TimeoutError:
        raise TimeUp from None
