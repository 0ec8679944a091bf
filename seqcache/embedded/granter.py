"""Who asks the database for ceilings: one thread, for all calls that wait at once.

What comes in while a transaction is under way goes into the next one together.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .._workers import Workers
from ..durable.epoch import DurableStats
from ..errors import CeilingError
from .rows import CAP, Want

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .. import _native
    from .ledger import Ledger

logger = logging.getLogger("seqcache")

Wanted = list[tuple[bytes, int, int]]
#: Seconds for which closing waits for the thread.
JOIN_SECONDS = 1.0


class Granter:
    """The ceilings of one store in this process."""

    def __init__(self, ledger: Ledger, cells: _native.Cells) -> None:
        self.ledger = ledger
        self.cells = cells
        self.stats = DurableStats()
        #: Held while the database is used: a fork waits for it.
        self.quiet = threading.Lock()
        self._lock = threading.Lock()
        self._asked: list[tuple[Wanted, Future[frozenset[bytes]]]] = []
        self._low: set[bytes] = set()
        self._jobs: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._busy = False
        self._refusal: str | None = None
        self._workers = Workers("seqcache-ceilings", 1)

    def ask(self, wanted: Wanted) -> Future[frozenset[bytes]]:
        """Ask for what a call wants; the future tells which keys are nowhere.

        It may be cancelled, and fails with CeilingError.
        """
        future: Future[frozenset[bytes]] = Future()
        self.stats.sql_waits += 1
        self._add(lambda: self._asked.append((wanted, future)), future)
        return future

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
        with self._lock:
            refusal = self._refusal
            starts = refusal is None and not self._busy
            if refusal is None:
                add()
                self._busy = True
        if refusal is not None and future is not None:
            future.set_exception(CeilingError(refusal, executed=False, reason="fence"))
        if starts:
            self._workers.submit(self._work)

    def stop(self, refusal: str) -> None:
        """Refuse whatever comes from now on; what is under way ends."""
        with self._lock:
            self._refusal = refusal

    def end(self) -> None:
        """End the thread, after `stop`."""
        self._workers.end()
        self._workers.join(JOIN_SECONDS)

    def after_fork(self) -> None:
        """In the child: the numbers are the parent's, and so is the thread."""
        self.quiet = threading.Lock()
        self._lock = threading.Lock()
        self._asked, self._low, self._jobs, self._busy = [], set(), [], False
        self._workers.reset()
        self._refusal = (
            f"the numbers of {self.ledger.name} are given by the process that this"
            " one was forked from"
        )

    # -------------------------------------------------------------- the thread

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
                for function, future in jobs:
                    _settle(future, function)
                self._round(asked, low)
            # Else this frame would keep results alive until the next round.
            del asked, jobs

    def _round(
        self, asked: list[tuple[Wanted, Future[frozenset[bytes]]]], low: set[bytes]
    ) -> None:
        going = [one for one in asked if one[1].set_running_or_notify_cancel()]
        wants: dict[bytes, Want] = {}
        for wanted, _ in going:
            for key, need, to in wanted:
                want = wants.setdefault(key, Want())
                want.need = min(want.need + need, CAP)
                want.to = max(want.to, to)
        for key in low:
            wants.setdefault(key, Want()).ahead = True
        try:
            absent = self._grant(wants)
        except Exception as error:
            self._failed(going, error)
        else:
            for _, future in going:
                future.set_result(absent)

    def _failed(
        self, going: list[tuple[Wanted, Future[frozenset[bytes]]]], error: Exception
    ) -> None:
        if not going or not isinstance(error, CeilingError):
            logger.warning("seqcache: no ceilings ahead of time: %s", error)
        for _, future in going:
            future.set_exception(error)

    def _grant(self, wants: dict[bytes, Want]) -> frozenset[bytes]:
        if not wants:
            return frozenset()
        for key, want in wants.items():
            want.have = self.cells.look(key)
        blocks = self.ledger.grant(wants, self.stats)
        for key, block in blocks.items():
            if block is not None:
                self.cells.grant(key, *block)
        return frozenset(key for key, block in blocks.items() if block is None)


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(result)
