"""Epochs of durable mode: opening, leasing, fencing and waiting for one.

An epoch is the time in which one server process keeps its memory. Its token is
known to that process and to SQL; a client believes in it until its lease ends.
DURABLE section 6, the part below ``call``.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .._log import logger
from ..errors import CeilingError, SeqCacheError, ServerError
from .effects import (
    Background,
    Fcall,
    Fcalls,
    Load,
    Rediscover,
    Shared,
    Sleep,
    Sql,
    Step,
)
from .items import is_unloaded

RENEW_PART = 0.2
"""A lease is renewed when this part of it is over, so that a store that is away
is not noticed before the other 0.8 have passed."""

DRIFT = 1.05
MARGIN_SECONDS = 0.05
LINGER_SECONDS = 30.0
JOB_SECONDS = 10.0

# The server said that it did not run the call: look around and send it again.
ELSEWHERE = frozenset({"READONLY", "MOVED", "ASK", "MASTERDOWN", "REDIRECT"})
NOT_NOW = frozenset({"LOADING", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS"})


@dataclass(frozen=True, slots=True)
class Belief:
    """What the fast path needs: send with `token` while the clock is below `until`.

    Both are replaced together. `token` is '' when an epoch has to be opened first.
    At `touch_at` the fast path calls ``touch`` once, without waiting for it.
    """

    token: str = ""
    until: float = -math.inf
    touch_at: float = -math.inf


@dataclass(slots=True)
class ProcessState:
    """What the clients of one store and deployment share within a process.

    `deadline` holds when the lease of an epoch ends, `seen` when this process
    first knew that an epoch was closing (both on its own clock).
    """

    deadline: dict[str, float] = field(default_factory=dict)
    seen: dict[int, float] = field(default_factory=dict)


@dataclass(slots=True)
class DurableStats:
    """Counters since the cache was opened; `sql_waits` are calls that met SQL."""

    takes: int = 0
    raises: int = 0
    prefetches: int = 0
    fenced: int = 0
    waits: int = 0
    skipped: int = 0
    renewals: int = 0
    epochs: int = 0
    sql_waits: int = 0


class Epochs:
    """The belief in one server process's epoch, and everything that changes it.

    Parameters
    ----------
    clock:
        Seconds that count suspended time (CLOCK_BOOTTIME).
    fence:
        ``"lease"`` or ``"connection"``.
    lease:
        Seconds of the epochs begun here (``fence_time``).
    process:
        Shared by all instances of one process.
    publish:
        Called with each new `Belief`, from any thread; the C engine copies it.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        fence: str = "lease",
        lease: float = 5.0,
        process: ProcessState | None = None,
        publish: Callable[[Belief], None] | None = None,
    ) -> None:
        self.clock = clock
        self.fence = fence
        self.lease = lease if fence == "lease" else 0.0
        self.process = process if process is not None else ProcessState()
        self.stats = DurableStats()
        self.belief = Belief()
        self._publish = publish
        # A signal handler may make a call while this thread holds it.
        self._lock = threading.RLock()
        self._used = -math.inf
        self.job_stage = "link"
        self._lease = 0.0
        self.random = random.SystemRandom()

    # ------------------------------------------------------------- the belief

    def after_fork(self) -> None:
        """In the child: a lock that another thread held is held for ever."""
        self._lock = threading.RLock()
        self._believe(self.belief.token, -math.inf)

    def _believe(self, token: str, touch_at: float | None = None) -> None:
        with self._lock:
            until = self.process.deadline.get(token, -math.inf) if token else -math.inf
            touch = self.belief.touch_at if touch_at is None else touch_at
            self.belief = Belief(token, until, touch if until != math.inf else until)
            if self._publish is not None:
                self._publish(self.belief)

    def doubt(self, token: str) -> None:
        """A server said that another epoch rules; forget this one, if it is ours."""
        if self.belief.token == token:
            self._believe("")

    def lease_age(self) -> float:
        """Seconds that the lease still has; negative when it is over."""
        return self.belief.until - self.clock()

    def ready(self) -> Step[str]:
        """R6: the token of an epoch whose lease is valid now, between this call's
        start and its sending."""
        while True:
            belief = self.belief
            if not belief.token:
                yield Shared("open", self.open, JOB_SECONDS)
            elif self.clock() < belief.until:
                if self.clock() >= belief.touch_at:
                    yield from self.touch()
                return belief.token
            else:
                token = belief.token
                self.stats.sql_waits += 1
                good = yield Shared(
                    ("renew", token), partial(self.renew, token), JOB_SECONDS
                )
                if not good:
                    yield from self.fenced(token)

    def renew(self, token: str) -> Step[bool]:
        """Extend the belief in `token` by a lease, if SQL calls it open."""
        self.job_stage = "sql"
        began = self.clock()  # before the query: its answer may be old by then
        state, lease = yield Sql("state", (token,))
        if state != "open":
            return False
        self._lease = lease
        self.process.deadline[token] = began + lease if lease else math.inf
        self.stats.renewals += 1
        if self.belief.token == token:
            self._believe(token)
        return True

    def fenced(self, token: str) -> Step[None]:
        """Another node may rule: ask discovery, and replace the epoch there."""
        yield Shared("open", partial(self._replace, token), JOB_SECONDS)

    def _replace(self, token: str) -> Step[None]:
        if self.belief.token not in ("", token):
            return  # somebody did it already
        self.stats.fenced += 1
        self._believe("")
        yield Rediscover()
        yield from self.open(token)

    # --------------------------------------------------------------- an epoch

    def open(self, old: str = "") -> Step[None]:
        """Join the epoch of the server, or begin a new one; `old` is replaced."""
        while True:
            rnd = f"{self.random.getrandbits(64):016x}"
            answer = yield from self.ask("seq_open", rnd, old)
            if answer[0] == b"busy":
                yield Sleep(self.random.uniform(0.005, 0.02))
            elif answer[0] == b"cur":
                token = answer[1].decode()
                if (yield from self._join(token)):
                    return
                yield Rediscover()
                old = token
            elif (yield from self._begin(answer[1].decode(), rnd)):
                return

    def _join(self, token: str) -> Step[bool]:
        """Believe in an epoch that others have begun, unless it may not be."""
        if not (yield from self.renew(token)):
            return False
        if self.fence == "lease" and self.process.deadline[token] == math.inf:
            return False  # an epoch without a lease keeps no order in a split brain
        self._believe(token)
        return True

    def _begin(self, run_id: str, rnd: str) -> Step[bool]:
        """R1: a new number, sent once, against the challenge of this very process."""
        self.job_stage = "sql"
        began = self.clock()
        token = yield Sql("begin_epoch", (run_id,))
        answer = yield from self.ask_once("seq_begin", token, rnd)
        if not isinstance(answer, list) or answer[0] != b"ok":
            return False
        lease = self._lease = self.lease
        self.process.deadline[token] = began + lease if lease else math.inf
        self.stats.epochs += 1
        self._believe(token)
        return True

    def wait_closed(self, epoch: int, lease: float) -> Step[None]:
        """Until nobody can still believe in `epoch`, of another process.

        The clocks may differ by 2 % each, hence 1.05. One poll serves all callers.
        """
        self.stats.waits += 1
        # R6: counted from after the commit that set or saw `closing`.
        since = self.process.seen.setdefault(epoch, self.clock())
        end = since + DRIFT * lease + MARGIN_SECONDS
        while True:
            left = end - self.clock()
            if left <= 0:
                yield Sql("close_epoch", (epoch,))
                return
            yield Sleep(min(left, max(0.01, lease / 20)))
            try:
                if (yield Sql("epoch_state", (epoch,))) == "closed":
                    return
            except CeilingError as exc:
                if exc.reason != "unavailable":
                    raise
                # The clock goes on without the store; its answer can only end
                # the wait sooner.
                logger.debug("store away while waiting: %s", exc)

    def wait(self, epoch: int, lease: float) -> Step[None]:
        """Join the wait for an epoch; it goes on when this caller's time is up."""
        seconds = DRIFT * lease + MARGIN_SECONDS + JOB_SECONDS
        yield Shared(("wait", epoch), partial(self.wait_closed, epoch, lease), seconds)

    # ---------------------------------------------------------------- renewal

    def touch(self) -> Step[None]:
        """Note that the cache is in use, and see that its lease is kept fresh."""
        self._used = self.clock()
        if self.belief.until != math.inf:
            self._believe(self.belief.token, self._used + LINGER_SECONDS / 2)
            yield Background("renewal", self.renewal, math.inf)

    def renewal(self) -> Step[None]:
        """Renew early, again and again, until nobody has called for a while."""
        try:
            while self.clock() - self._used < LINGER_SECONDS:
                belief = self.belief
                if not belief.token or belief.until == math.inf:
                    return
                left = belief.until - (1 - RENEW_PART) * self._lease - self.clock()
                if left > 0:
                    yield Sleep(min(left, self._lease))
                    continue
                good = False
                try:
                    good = yield Shared(
                        ("renew", belief.token),
                        partial(self.renew, belief.token),
                        JOB_SECONDS,
                    )
                except SeqCacheError as exc:
                    logger.warning("lease not renewed: %s", exc)
                if not good:
                    yield Sleep(self._lease / 10)
        finally:
            self._believe(self.belief.token, -math.inf)

    # ------------------------------------------------------------ conversation

    def ask_once(self, name: str, *args: str) -> Step[Any]:
        """One call of a function without keys; its reply, or the error as a value."""
        self.job_stage = "link"
        replies = yield Fcalls((Fcall(name, (), args),))
        return replies.values[0]

    def ask(self, name: str, *args: str) -> Step[Any]:
        """The same, repeated for as long as the server refuses for now."""
        tries = 0
        while True:
            answer = yield from self.ask_once(name, *args)
            if not isinstance(answer, SeqCacheError):
                return answer
            yield from self.recover(answer, tries)
            tries += 1

    def recover(self, error: SeqCacheError, tries: int) -> Step[None]:
        """Do what lets a call be sent again; raise what nothing can be done about."""
        if is_unloaded(error):
            yield Load()
            if tries:  # it does not stay, or cannot be loaded for now
                yield Sleep(self.pause(tries))
            return
        if isinstance(error, ServerError):
            if error.code in ELSEWHERE:
                yield Rediscover()
            elif error.code not in NOT_NOW:
                raise error
        elif error.executed is False:
            raise error  # the engine itself has tried until the deadline
        yield Sleep(self.pause(tries))

    def may_recover(self, error: SeqCacheError) -> bool:
        """Is there something that `recover` can do about an error?"""
        if not isinstance(error, ServerError):
            return error.executed is not False
        known = error.code in ELSEWHERE or error.code in NOT_NOW
        return known or is_unloaded(error)

    def pause(self, tries: int) -> float:
        """1 to 50 ms with jitter, growing."""
        return float(
            self.random.uniform(0.5, 1.0) * min(0.05, 0.002 * 2 ** min(tries, 9))
        )
