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
from concurrent.futures import CancelledError, Future

from . import _native, _outcome
from ._log import background_failed
from ._workers import Workers
from .errors import ClosedError, OutcomeUnknown, SequenceRegressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, TypeAlias

    from ._cache import SeqCache
    from ._common import UserId
    from .config import Config

    Stamp: TypeAlias = tuple[int, int, int]

__all__ = ["Lease"]

#: How often a block is reserved anew, for one call, when its fate is unknown.
TRIES = 3
#: Seconds before a deadline at which it is as good as over: a timer's grain.
SLACK = 0.002

_helper = Workers("seqcache-lease", 1)
_all: weakref.WeakSet[LeaseBase] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child: blocks, and what is on its way, are the parent's."""
    _helper.reset()
    for lease in list(_all):
        lease._forget()


os.register_at_fork(after_in_child=_after_fork)


def note(lease: LeaseBase) -> None:
    """Let a child of this process forget what the lease has."""
    _all.add(lease)


def arguments(
    prefix: bytes, user_id: UserId, size: int, refill_at: float
) -> tuple[bytes, int, int]:
    """Check what `lease` got; how many are left when the next block is reserved."""
    number = operator.index(size)
    if number > 2**63 - 1:
        raise _outcome.overflow("size")
    if number < 1:
        raise ValueError("size must be at least 1")
    share = float(refill_at)
    if not 0 <= share <= 1:
        raise ValueError("refill_at must be from 0 to 1")
    key = _native.check_user_id(user_id, prefix)
    return key, number, number - min(number, math.ceil(number * share))


class Terms:
    """What a lease was made with, and what it has still to tell."""

    def __init__(self, cache: Any, key: bytes, size: int) -> None:
        self.config: Config = cache.config
        self.key = key
        self.size = size
        self.where: str = cache._engine.where
        # Of a block that nobody waited for: a later one does not undo it.
        self.untold: SequenceRegressed | None = None
        # Why there is no block, for those who waited for it until their deadline.
        self.latest: BaseException | None = None

    def name(self) -> str:
        """Name the lease in messages."""
        return f"lease({self.key.decode(errors='backslashreplace')!r}) at {self.where}"

    def closed(self) -> ClosedError:
        """Build the error of a lease that is closed."""
        text = f"{self.name()}: the lease or its cache is closed"
        return ClosedError(text, executed=False)

    def failed_behind(self, error: BaseException) -> None:
        """Note an error that nobody waits for.

        Whoever finds no number left tries once more, and gets the error of that.
        """
        self.latest = error
        if isinstance(error, SequenceRegressed):
            self.untold = error
        elif not isinstance(error, ClosedError):  # that is no failure
            background_failed(error)

    def tell(self) -> None:
        """Raise what has still to be told."""
        error, self.untold = self.untold, None
        if error is not None:
            raise error

    def goes_on(self, error: BaseException, tries: int) -> bool:
        """Tell whether another block is to be reserved at once."""
        unknown = isinstance(error, OutcomeUnknown)
        return unknown and tries < TRIES and self.config.retry != "never"


class LeaseBase:
    """What both leases have."""

    __slots__ = ()

    if TYPE_CHECKING:
        _terms: Terms

        @property
        def closed(self) -> bool: ...

        @property
        def remaining(self) -> int: ...

    @property
    def size(self) -> int:
        """How many numbers it reserves at a time."""
        return self._terms.size

    def _refuse(self) -> None:
        raise self._terms.closed()

    def _forget(self) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.remaining} left"
        return f"<{type(self).__name__} {self._terms.name()}, {state}>"


class Lease(LeaseBase, _native.Lease):
    """Numbers of one user from memory: ``next(lease)``; made by `SeqCache.lease`.

    May be used from any number of threads; it then gives each number once, and each
    thread greater ones than before. The next block is on its way, in the background,
    before the present one ends. When none came in time the call waits for it, and
    raises what `reserve` raises; it may simply be repeated. Numbers that are not used
    are a gap. A lease is an iterator that does not end.
    """

    __slots__ = ("_job", "_lock", "_terms")

    _client: SeqCache
    _job: Future[None] | None  # the block that is on its way

    def __new__(cls, cache: SeqCache, key: bytes, size: int, left: int) -> Self:
        """Make a lease; `SeqCache.lease` does that for you."""
        return super().__new__(cls, cache, left)

    def __init__(self, cache: SeqCache, key: bytes, size: int, left: int) -> None:
        self._job = None
        self._lock = threading.RLock()  # a signal handler may use the lease, too
        self._terms = Terms(cache, key, size)
        note(self)

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
        config = self._terms.config
        at_once = config.location.kind == "memory" and not config.ceilings
        with self._lock:
            idle = self._job is None
            if idle and not at_once:
                self._job = _helper.submit(self._reserve_behind)
        if idle and at_once:
            self._reserve_behind()
        self._terms.tell()

    def _reserve_behind(self) -> None:
        with self._lock:  # not before _refill() has noted the job
            job = self._job
        try:
            self._reserve(0, self._terms.config.timeout)
        except Exception as error:
            self._terms.failed_behind(error)
        finally:
            self._finished(job)

    def _more(self, count: int = 0) -> range | None:
        """Wait for a block, made by this thread unless it is on its way already.

        With a `count` this thread's own block begins with so many more, which are
        what it returns. One deadline holds for both: the waiting and the own block.
        """
        left = timeout = self._terms.config.timeout
        began = time.monotonic()
        while True:
            job, mine = self._job_of_all()
            if mine:
                try:
                    return self._reserve(count, left)
                finally:
                    self._finished(job)
                    job.set_result(None)
            with contextlib.suppress(CancelledError):  # another thread took it
                job.result()
            if self.closed or self.remaining >= max(count, 1):
                return None
            if timeout is not None:
                left = max(round(began + timeout - time.monotonic(), 3), SLACK)
                if left == SLACK and self._terms.latest is not None:
                    raise self._terms.latest

    def _job_of_all(self) -> tuple[Future[None], bool]:
        """Return the block that is on its way, and whether it is this thread's."""
        with self._lock:
            job = self._job
            # One that nobody began is this thread's now: the helper may be held up.
            if job is not None and not job.cancel():
                return job, False
            job = self._job = Future()
            job.set_running_or_notify_cancel()
            return job, True

    def _reserve(self, count: int, timeout: float | None) -> range | None:
        size = self._terms.size
        stamp = self._begin()
        try:
            block = self._block(size + count, timeout)
        except BaseException:
            self._fail(stamp)
            raise
        self._put(block[-1], size, stamp)
        self._terms.latest = None
        return block[:count] if count else None

    def _block(self, size: int, timeout: float | None) -> range:
        """Reserve a block; one that was lost is a gap, and there is another."""
        terms = self._terms
        end = None if timeout is None else time.monotonic() + timeout
        tries = 1
        left = timeout
        while True:
            try:
                return self._client.reserve(terms.key, size, timeout=left)
            except OutcomeUnknown as error:
                error.hint = _outcome.REPEAT_LEASE
                left = None if end is None else end - time.monotonic()
                if not terms.goes_on(error, tries) or (left is not None and left <= 0):
                    raise
            tries += 1

    def _finished(self, job: Future[None] | None) -> None:
        with self._lock:
            if self._job is job:
                self._job = None
