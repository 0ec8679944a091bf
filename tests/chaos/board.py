"""A small shared page by which a scenario talks to its worker processes.

It holds the port that each worker's discovery names, what shall go wrong at its
ceiling store, and the word to stop.
"""

from __future__ import annotations

import mmap
from pathlib import Path

WORKERS = 32
PORTS, FAULTS, DONE = 64, 512, 1024  # where each begins

# What happens at the worker's store, once each time it is set:
LOSE_TAKE, LOSE_EXTEND = 1, 2  # the commit's reply is lost
STOP_BEFORE_TAKE, STOP_AFTER_TAKE = 3, 4  # SIGSTOP of the whole process
TAKE_AGAIN = 5  # the take arrives once more when `released`
_STOP, _AWAY, _RELEASED = 0, 1, 2


class Board:
    """One page in a file; every process that opens it sees the same."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(bytes(mmap.PAGESIZE))
        self._file = path.open("r+b")
        self._page = mmap.mmap(self._file.fileno(), 0)

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()
        self._file.close()

    @property
    def stopped(self) -> bool:
        """Shall the workers end?"""
        return self._page[_STOP] != 0

    def stop(self) -> None:
        """Tell the workers to end."""
        self._page[_STOP] = 1

    @property
    def away(self) -> bool:
        """Does no store answer?"""
        return self._page[_AWAY] != 0

    @away.setter
    def away(self, away: bool) -> None:
        self._page[_AWAY] = away

    @property
    def released(self) -> bool:
        """May that arrive which was held on its way?"""
        return self._page[_RELEASED] != 0

    def release(self) -> None:
        """Let it arrive."""
        self._page[_RELEASED] = 1

    def port(self, worker: int) -> int:
        """Where this worker's discovery finds the primary."""
        at = PORTS + 4 * worker
        return int.from_bytes(self._page[at : at + 4], "little")

    def point(self, port: int, *workers: int) -> None:
        """Let discovery name `port`, to all workers or to these."""
        for worker in workers or range(WORKERS):
            at = PORTS + 4 * worker
            self._page[at : at + 4] = port.to_bytes(4, "little")

    def fault(self, worker: int) -> int:
        """What shall go wrong at this worker's store."""
        return self._page[FAULTS + worker]

    def plan(self, fault: int, *workers: int) -> None:
        """Let that go wrong once at these workers' stores; 0: nothing more."""
        for worker in workers:
            self._page[FAULTS + worker] = fault

    def met(self, worker: int) -> None:
        """The worker says: it went wrong."""
        self._page[FAULTS + worker] = 0
        self._page[DONE + worker] = (self._page[DONE + worker] + 1) % 256

    def count(self, worker: int) -> int:
        """How often something went wrong there."""
        return self._page[DONE + worker]
