"""Leases: numbers of one user from memory; blocks are reserved before they are needed.

A number is given in C (``csrc/binding/lease.c``). This is what happens once a block:
the next one is reserved in the background, by one helper thread of the process or by
an awaitable of the loop. A block of unknown fate is a gap and nobody gets it.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import threading
import time
import weakref
from collections import deque
from concurrent.futures import CancelledError, Future
from functools import partial

from . import _native, _outcome
from ._log import background_failed
from ._workers import Workers
from .errors import ClosedError, OutcomeUnknown, SequenceRegressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any, Self, TypeAlias

    from ._acache import AsyncSeqCache
    from ._cache import SeqCache
    from ._common import UserId
    from ._future import CallFuture
    from .config import Config

    Stamp: TypeAlias = tuple[int, int, int]
    Loop: TypeAlias = asyncio.AbstractEventLoop

__all__ = ["AsyncLease", "Lease"]

#: How often a block is reserved anew, for one call, when its fate is unknown.
TRIES = 3

_helper = Workers("seqcache-lease", 1)
_all: weakref.WeakSet[Lease | AsyncLease] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child: blocks, and what is on its way, are the parent's."""
    _helper.reset()
    for lease in list(_all):
        lease._forget()


os.register_at_fork(after_in_child=_after_fork)


def arguments(user_id: UserId, size: int, refill_at: float) -> tuple[bytes, int, int]:
    """Check what `lease` got; how many are left when the next block is reserved."""
    number = operator.index(size)
    if number > 2**63 - 1:
        raise _outcome.overflow("size")
    if number < 1:
        raise ValueError("size must be at least 1")
    share = float(refill_at)
    if not 0 <= share <= 1:
        raise ValueError("refill_at must be from 0 to 1")
    key = _native.check_user_id(user_id)
    return key, number, number - min(number, math.ceil(number * share))


class _Common:
    """What both leases have."""

    __slots__ = ()

    _config: Config
    _key: bytes
    _size: int
    _untold: SequenceRegressed | None  # of a block that nobody waited for

    def _set_up(self, cache: Any, key: bytes, size: int) -> None:
        self._config = cache.config
        self._key = key
        self._size = size
        self._untold = None
        self._where: str = cache._engine.where
        _all.add(self)  # type: ignore[arg-type]  # the subclasses are in it

    @property
    def size(self) -> int:
        """How many numbers it reserves at a time."""
        return self._size

    def _name(self) -> str:
        return f"lease({self._key.decode(errors='backslashreplace')!r})"

    def _refuse(self) -> None:
        """Raise what a call on a closed lease gets."""
        raise ClosedError(
            f"{self._name()} at {self._where}: the lease or its cache is closed",
            executed=False,
        )

    def _tell(self) -> None:
        """Raise that the server lost numbers; a later block does not undo that."""
        error, self._untold = self._untold, None
        if error is not None:
            raise error

    def _goes_on(self, error: BaseException, tries: int) -> bool:
        """Tell whether another block is to be reserved at once."""
        unknown = isinstance(error, OutcomeUnknown)
        return unknown and tries < TRIES and self._config.retry != "never"

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.remaining} left"  # type: ignore[attr-defined]
        return f"<{type(self).__name__} {self._name()} at {self._where}, {state}>"


class Lease(_Common, _native.Lease):
    """Numbers of one user from memory: ``next(lease)``; made by `SeqCache.lease`.

    May be used from any number of threads; it then gives each number once, and each
    thread greater ones than before. The next block is on its way, in the background,
    before the present one ends. When none came in time the call waits for it, and
    raises what `reserve` raises; it may simply be repeated. Numbers that are not used
    are a gap. A lease is an iterator that does not end.
    """

    __slots__ = ("_config", "_job", "_key", "_lock", "_size", "_untold", "_where")

    _client: SeqCache
    _job: Future[None] | None  # the block that is on its way

    def __new__(cls, cache: SeqCache, key: bytes, size: int, left: int) -> Self:
        """Make a lease; `SeqCache.lease` does that for you."""
        return super().__new__(cls, cache, left)

    def __init__(self, cache: SeqCache, key: bytes, size: int, left: int) -> None:
        self._job = None
        self._lock = threading.RLock()  # a signal handler may use the lease, too
        self._set_up(cache, key, size)

    def take(self, count: int) -> range:
        """Take numbers in a row.

        Parameters
        ----------
        count:
            At least 1. More than the lease has at hand are reserved now, and what it
            had is skipped: later numbers are greater.

        Raises
        ------
        ClosedError, SequenceOverflow, ValueError
            And the errors of `reserve` when the lease has too few.
        """
        while True:
            taken = self._take(count)
            if taken is None:
                taken = self._more(operator.index(count))
            if taken is not None:
                return taken

    def close(self) -> None:
        """Give no more numbers; those left are a gap. Idempotent."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        self._drop()
        self._job = None
        self._lock = threading.RLock()

    def _refill(self) -> None:
        """Begin to reserve the next block; it is not waited for."""
        at_once = self._config.location.kind == "memory" and not self._config.ceilings
        with self._lock:
            idle = self._job is None
            if idle and not at_once:
                self._job = _helper.submit(self._reserve_behind)
        if idle and at_once:
            self._reserve_behind()
        self._tell()

    def _reserve_behind(self) -> None:
        with self._lock:  # not before _refill() has noted the job
            job = self._job
        try:
            self._reserve(self._size, 0)
        except SequenceRegressed as error:
            self._untold = error
        except Exception as error:
            # Whoever finds no number left tries once more, and gets that error.
            background_failed(error)
        finally:
            self._finished(job)

    def _more(self, count: int = 0) -> range | None:
        """Wait for a block, made by this thread unless it is on its way already.

        With a `count` this thread's own block begins with so many more, which are
        what it returns.
        """
        with self._lock:
            job = self._job
            # One that nobody began is this thread's now: the helper may be held up.
            mine = job is None or job.cancel()
            if mine:
                job = self._job = Future()
                job.set_running_or_notify_cancel()
        assert job is not None
        if not mine:
            with contextlib.suppress(CancelledError):  # another thread took it
                job.result()
            return None
        try:
            return self._reserve(self._size, count)
        finally:
            self._finished(job)
            job.set_result(None)

    def _reserve(self, size: int, count: int) -> range | None:
        stamp = self._begin()
        try:
            block = self._block(size + count)
        except BaseException:
            self._fail(stamp)
            raise
        self._put(block[-1], size, stamp)
        return block[:count] if count else None

    def _block(self, size: int) -> range:
        """Reserve a block; one that was lost is a gap, and there is another."""
        timeout = self._config.timeout
        end = None if timeout is None else time.monotonic() + timeout
        tries = 1
        left = timeout
        while True:
            try:
                return self._client.reserve(self._key, size, timeout=left)
            except OutcomeUnknown as error:
                left = None if end is None else end - time.monotonic()
                if not self._goes_on(error, tries) or (left is not None and left <= 0):
                    raise
            tries += 1

    def _finished(self, job: Future[None] | None) -> None:
        with self._lock:
            if self._job is job:
                self._job = None


class AsyncLease(_Common, _native.AsyncLease):
    """Numbers of one user from memory: ``await lease.next()``, on asyncio.

    Made by `AsyncSeqCache.lease`. Awaiting a number that is at hand does not suspend.
    For the rest see `Lease`; ``async for`` works, too, and does not end.
    """

    __slots__ = ("_config", "_job", "_key", "_size", "_untold", "_waiting", "_where")

    _client: AsyncSeqCache
    _job: asyncio.Future[range] | None  # the block that is on its way
    _waiting: deque[tuple[int, CallFuture]]  # calls that found no number, in order

    def __new__(cls, cache: AsyncSeqCache, key: bytes, size: int, left: int) -> Self:
        """Make a lease; `AsyncSeqCache.lease` does that for you."""
        return super().__new__(cls, cache, left)

    def __init__(self, cache: AsyncSeqCache, key: bytes, size: int, left: int) -> None:
        self._job = None
        self._waiting = deque()
        self._set_up(cache, key, size)

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
            _, call = self._waiting.popleft()
            try:
                self._refuse()
            except ClosedError as error:
                _finish(call, error)

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

        return CallFuture(loop=asyncio.get_running_loop())

    def _more(self) -> CallFuture:
        return self._wait(self._call("lease.next"), 0)

    def _wait(self, call: CallFuture, count: int) -> CallFuture:
        """Let a call wait for its numbers."""
        self._waiting.append((count, call))
        loop = call.get_loop()
        if self._job is None or self._job.get_loop() is not loop:
            self._start(self._size + count, 1)
        return call

    def _refill(self) -> None:
        """Begin to reserve the next block; it is not waited for."""
        if self._job is None:
            self._start(self._size, 1)
        self._tell()

    def _start(self, size: int, tries: int) -> None:
        stamp = self._begin()
        try:
            job = self._client.reserve(self._key, size)
        except Exception as error:
            self._fail(stamp)
            self._tell_all(error)
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
        if error is not None and not self._goes_on(error, tries):
            self._tell_all(error)
        self._serve(tries + 1 if error is not None else 1)

    def _tell_all(self, error: BaseException) -> None:
        """Give an error to those who wait; if nobody does, as `Lease` does."""
        if not self._waiting and isinstance(error, SequenceRegressed):
            self._untold = error
        elif not self._waiting:
            background_failed(error)
        while self._waiting:
            _, call = self._waiting.popleft()
            _finish(call, error)

    def _serve(self, tries: int) -> None:
        """Give those who wait their numbers, in their order."""
        while self._waiting:
            # Away with it first: taking may begin a refill, and that may end at once.
            count, call = self._waiting.popleft()
            if call.done():
                continue
            try:
                taken = self._take(count or 1)
            except ClosedError as error:
                _finish(call, error)
                continue
            if taken is None:
                self._waiting.appendleft((count, call))
                break
            _finish(call, taken if count else taken[0])
        if self._waiting and self._job is None:
            self._start(self._size + self._waiting[0][0], tries)


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
