"""The lease of the asyncio face; see `_lease`."""

from __future__ import annotations

import math
import operator
import time
from collections import deque
from functools import partial

from . import _common, _native, _outcome
from ._lease import SLACK, LeaseBase, Terms, note
from .errors import OutcomeUnknown, SeqCacheError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any, Self, TypeAlias

    from ._acache import AsyncSeqCache
    from ._future import CallFuture
    from ._lease import Stamp

    Waiting: TypeAlias = tuple[int, CallFuture, float]

__all__ = ["AsyncLease"]


class AsyncLease(LeaseBase, _native.AsyncLease):
    """Numbers of one user from memory: ``await lease.next()``, on asyncio.

    Made by `AsyncSeqCache.lease`. Awaiting a number that is at hand does not suspend.
    For the rest see `Lease`; ``async for`` works, too, and does not end.
    """

    __slots__ = ("_job", "_terms", "_waiting")

    _client: AsyncSeqCache
    _job: asyncio.Future[range] | None  # the block that is on its way
    # Calls that found no number, in order: how many, the call, its deadline.
    _waiting: deque[Waiting]

    def __new__(cls, cache: AsyncSeqCache, key: bytes, size: int, left: int) -> Self:
        """Make a lease; `AsyncSeqCache.lease` does that for you."""
        return super().__new__(cls, cache, left)

    def __init__(self, cache: AsyncSeqCache, key: bytes, size: int, left: int) -> None:
        self._job = None
        self._waiting = deque()
        self._terms = Terms(cache, key, size)
        note(self)

    def take(self, count: int) -> asyncio.Future[range]:
        """Take numbers in a row; see `Lease.take`."""
        call = self._call("lease.take")
        taken = None if self._waiting else self._take(count)
        if taken is None:
            return self._wait(call, operator.index(count))
        call.set_result(taken)
        return call

    async def aclose(self) -> None:
        """Give no more numbers; those left are a gap. Idempotent."""
        self._end()
        while self._waiting:
            _finish(self._waiting.popleft()[1], self._terms.closed())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _forget(self) -> None:
        self._drop()
        self._job = None
        self._waiting = deque()

    def _call(self, method: str) -> CallFuture:
        import asyncio

        from ._future import CallFuture

        try:
            return CallFuture(loop=asyncio.get_running_loop())
        except RuntimeError:
            raise _common.no_loop(method) from None

    def _more(self) -> CallFuture:
        return self._wait(self._call("lease.next"), 0)

    def _wait(self, call: CallFuture, count: int) -> CallFuture:
        """Let a call wait for its numbers, at most the cache's timeout long."""
        timeout = self._terms.config.timeout
        end = math.inf if timeout is None else time.monotonic() + timeout
        self._waiting.append((count, call, end))
        loop = call.get_loop()
        if self._job is None or self._job.get_loop() is not loop:
            self._start(self._terms.size + count, 1, timeout)
        return call

    def _refill(self) -> None:
        """Begin to reserve the next block; it is not waited for."""
        if self._job is None:
            self._start(self._terms.size, 1, self._terms.config.timeout)
        self._terms.tell()

    def _start(self, size: int, tries: int, timeout: float | None) -> None:
        stamp = self._begin()
        try:
            job = self._client.reserve(self._terms.key, size, timeout=timeout)
        except Exception as error:
            self._fail(stamp)
            self._tell(error, math.inf)
            return
        self._job = job
        if job.done():
            self._came(stamp, tries, job)
        else:
            job.add_done_callback(partial(self._came, stamp, tries))

    def _came(self, stamp: Stamp, tries: int, job: asyncio.Future[range]) -> None:
        """A block is there, or an error instead of it."""
        if self._job is job:
            self._job = None
        error = None if job.cancelled() else job.exception()
        if job.cancelled() or error is not None:
            self._fail(stamp)
        else:
            block = job.result()
            self._put(block[-1], len(block), stamp)
        if error is not None:
            self._failed(error, tries)
        self._serve(tries + 1 if error is not None else 1)

    def _failed(self, error: BaseException, tries: int) -> None:
        """Tell those whose time is over, or all if it is no use to go on."""
        if isinstance(error, OutcomeUnknown):
            error.hint = _outcome.REPEAT_LEASE
        now = time.monotonic() + SLACK
        if any(end <= now for _, _, end in self._waiting):
            self._tell(error, now)
        elif not self._terms.goes_on(error, tries):
            self._tell(error, math.inf)

    def _tell(self, error: BaseException, until: float) -> None:
        """Give an error to those who wait and whose deadline is not behind `until`."""
        if not self._waiting:
            self._terms.failed_behind(error)
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            if item[2] <= until:
                _finish(item[1], error)
            else:
                self._waiting.append(item)

    def _serve(self, tries: int) -> None:
        """Give those who wait their numbers, in their order."""
        while self._waiting:
            # Away with it first: taking may begin a refill, and that may end at once.
            count, call, end = self._waiting.popleft()
            if call.done():
                continue
            try:
                taken = self._take(count or 1)
            except SeqCacheError as error:  # closed, or on_regress="raise"
                _finish(call, error)
                continue
            if taken is None:
                self._waiting.appendleft((count, call, end))
                break
            _finish(call, taken if count else taken[0])
        if self._waiting and self._job is None:
            count, _, end = self._waiting[0]
            left = max(round(end - time.monotonic(), 3), SLACK)
            timeout = None if end == math.inf else left
            self._start(self._terms.size + count, tries, timeout)


def _finish(call: CallFuture, outcome: Any) -> None:
    """End a call, in the thread of its own loop."""
    import asyncio

    loop = call.get_loop()
    if asyncio._get_running_loop() is not loop:
        if not loop.is_closed():
            loop.call_soon_threadsafe(_finish, call, outcome)
    elif call.done():
        pass
    elif isinstance(outcome, BaseException):
        call.set_exception(outcome)
    else:
        call.set_result(outcome)
