"""Who asks the database for ceilings: one thread, for all calls that wait at once.

What comes in while a transaction is under way goes into the next one together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .._workers import Workers
from ..durable.epoch import DurableStats
from ..errors import CeilingError, ClosedError, SeqCacheError
from .rows import CAP, WAIT, Record, Want

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .. import _native
    from .leased import LeasedLedger
    from .ledger import Ledger

logger = logging.getLogger("seqcache")

Token: TypeAlias = tuple[bytes, bytes]  # of a key
Count: TypeAlias = tuple[int, int]  # how many numbers, and for how many seconds
#: (key, by, to, token), as `_native.Stalled.wanted` says it.
Wanted: TypeAlias = list[tuple[bytes, int, int, bytes | None]]
#: Seconds for which closing waits for the thread.
JOIN_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Asked:
    """What a call wants; the future tells which keys are nowhere."""

    wanted: Wanted
    token_ttl: int
    future: Future[frozenset[bytes]] = field(default_factory=Future)

    def take(self) -> bool:
        """Whether somebody still waits for the answer that comes now."""
        return self.future.set_running_or_notify_cancel()


class Granter:
    """The ceilings of one store in this process."""

    def __init__(self, ledger: Ledger | LeasedLedger, cells: _native.Cells) -> None:
        self.ledger = ledger
        self.cells = cells
        self.stats = DurableStats()
        #: Held while the database is used: a fork waits for it.
        self.quiet = threading.Lock()
        #: Whether calls wait for another process, and not for the database.
        self.fenced = False
        self._lock = threading.Lock()
        self._asked: list[Asked] = []
        self._low: set[bytes] = set()
        self._jobs: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._waiting: list[Asked] = []
        self._busy = False
        self._refusal: Callable[[], SeqCacheError] | None = None
        self._workers = Workers("seqcache-ceilings", 1)
        self._clock = Workers("seqcache-lease", 1)
        self._closed = threading.Event()
        if ledger.tick_seconds:
            self._clock.submit(self._tick)

    def ask(self, wanted: Wanted, token_ttl: int) -> Future[frozenset[bytes]]:
        """Ask for what a call wants; the future tells which keys are nowhere.

        It may be cancelled, and fails with CeilingError.
        """
        asked = Asked(wanted, token_ttl)
        self.stats.sql_waits += 1
        self._add(lambda: self._asked.append(asked), asked.future)
        return asked.future

    def run(self, function: Callable[[], Any]) -> Future[Any]:
        """Use the database for something else, in its turn."""
        future: Future[Any] = Future()
        self._add(lambda: self._jobs.append((function, future)), future)
        return future

    def low(self, key: bytes) -> None:
        """Get more for a key before it is needed; nobody waits for it."""
        self.stats.prefetches += 1
        self._add(lambda: self._low.add(key), None)

    def _add(self, add: Callable[[], Any], future: Future[Any] | None) -> None:
        if self._refusal is not None:
            if future is not None:
                self._refuse(future)
            return
        with self._lock:
            add()
            starts = not self._busy
            self._busy = True
        if starts:
            self._workers.submit(self._work)

    def _refuse(self, future: Future[Any]) -> None:
        if future.set_running_or_notify_cancel():
            assert self._refusal is not None
            future.set_exception(self._refusal())

    def stop(self) -> None:
        """Refuse what comes from now on, and what waits; what is under way ends."""
        self._refusal = self._was_closed
        self._closed.set()

    def _was_closed(self) -> ClosedError:
        return ClosedError(f"{self.ledger.name} was closed", executed=False)

    def _was_forked(self) -> CeilingError:
        return CeilingError(
            f"the numbers of {self.ledger.name} are given by the process that this"
            " one was forked from",
            executed=False,
            reason="fence",
        )

    def end(self) -> None:
        """End the threads, after `stop`."""
        for workers in (self._clock, self._workers):
            workers.end()
            workers.join(JOIN_SECONDS)

    def after_fork(self) -> None:
        """In the child: the numbers are the parent's, and so are the threads."""
        self.quiet = threading.Lock()
        self._lock = threading.Lock()
        self._asked, self._low, self._jobs, self._waiting = [], set(), [], []
        self._busy = False
        self._closed = threading.Event()
        self._workers.reset()
        self._clock.reset()
        self._refusal = self._was_forked

    # -------------------------------------------------------------- the threads

    def _tick(self) -> None:
        """Renew the lease in good time, and try again for those who wait."""
        ledger = self.ledger
        while not self._closed.wait(ledger.tick_seconds / (4 if self._waiting else 1)):
            job = self.run(lambda: ledger.renew(self.stats))
            try:
                job.result()
            except CeilingError as error:
                logger.warning("seqcache: lease not renewed: %s", error)

    def _work(self) -> None:
        while True:
            with self._lock:
                asked, self._asked = self._asked, []
                low, self._low = self._low, set()
                jobs, self._jobs = self._jobs, []
                self._busy = bool(asked or low or jobs)
                if not self._busy:
                    return
            with self.quiet:
                asked, self._waiting = self._waiting + asked, []
                if self._refusal is not None:
                    for future in (*(one.future for one in asked), *map(_last, jobs)):
                        self._refuse(future)
                else:
                    for function, future in jobs:
                        _settle(future, function)
                    self._round(asked, low)
            # Else this frame would keep results alive until the next round.
            del asked, jobs

    def _round(self, asked: list[Asked], low: set[bytes]) -> None:
        going = [one for one in asked if not one.future.cancelled()]
        try:
            counts = self._forget_counted(going)
            wants = self._wants(going, low, counts)
            absent, later = self._grant(wants)
            self._count(counts, later)
        except Exception as error:
            self._failed(going, error)
            return
        with self._lock:
            self._low.difference_update(wants)  # asked for before this round's answer
        self.fenced = bool(later)
        for one in going:
            if later and any(want[0] in later for want in one.wanted):
                self._waiting.append(one)
            elif one.take():
                one.future.set_result(absent)

    def _failed(self, going: list[Asked], error: Exception) -> None:
        if not going or not isinstance(error, CeilingError):
            logger.warning("seqcache: no ceilings ahead of time: %s", error)
        for one in going:
            if one.take():
                one.future.set_exception(error)

    def _wants(
        self, going: list[Asked], low: set[bytes], counts: dict[Token, Count]
    ) -> dict[bytes, Want]:
        """Add up what the calls want of each key."""
        wants: dict[bytes, Want] = {}
        for one in going:
            for key, need, to, token in one.wanted:
                if token is not None and self.ledger.keeps_tokens:
                    continue
                want = wants.setdefault(key, Want())
                want.need = min(want.need + need, CAP)
                want.to = max(want.to, to)
        for (key, _), (need, _) in counts.items():
            want = wants.setdefault(key, Want())
            want.need = min(want.need + need, CAP)
        for key in low:
            wants.setdefault(key, Want()).ahead = True
        return wants

    def _grant(
        self, wants: dict[bytes, Want]
    ) -> tuple[frozenset[bytes], frozenset[bytes]]:
        """Get what is wanted; the keys that are nowhere, and those that must wait."""
        # First: what the process has counts only while its lease lasts.
        self.ledger.ready(self.stats)
        for key, want in list(wants.items()):
            want.have = self.cells.look(key)
            if want.is_met:
                del wants[key]
        answers = self.ledger.grant(wants, self.stats) if wants else {}
        absent, later = set(), set()
        for key, answer in answers.items():
            if answer is None:
                absent.add(key)
            elif answer is WAIT:
                later.add(key)
            else:
                self.cells.grant(key, *answer)
        return frozenset(absent), frozenset(later)

    # ------------------------------------------------------------------- tokens

    def _forget_counted(self, going: list[Asked]) -> dict[Token, Count]:
        """Answer the tokens that have counted; the others, with what they want."""
        counts: dict[Token, Count] = {}
        if not self.ledger.keeps_tokens:
            return counts
        for one in going:
            for key, by, _, token in one.wanted:
                if token is not None:
                    counts.setdefault((key, token), (by, one.token_ttl))
        for record in self.ledger.recall(list(counts)) if counts else ():
            del counts[record.key, record.token]
            self._answer(record)
        return counts

    def _count(self, counts: dict[Token, Count], later: frozenset[bytes]) -> None:
        """Count what the tokens want, and commit their records before the answer."""
        ready = {one: told for one, told in counts.items() if one[0] not in later}
        if ready:
            # Lost in between: numbers that nobody got. After it: they are found.
            for record in self.ledger.remember(lambda: self._records(ready)):
                self._answer(record)

    def _records(self, counts: dict[Token, Count]) -> list[Record]:
        records: list[Record] = []
        now = int(time.time())
        for (key, token), (by, ttl) in counts.items():
            made = self.cells.increase(key, by)
            if made is None:
                continue  # others took what was granted: it asks again
            records.append(Record(key, token, made[0], by, now + ttl))
            if made[1]:
                self.low(key)
        return records

    def _answer(self, record: Record) -> None:
        seconds = max(1, record.until - int(time.time()))
        self.cells.record(record.key, record.token, record.last, record.by, seconds)


def _last(job: tuple[Any, Future[Any]]) -> Future[Any]:
    return job[1]


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(result)
