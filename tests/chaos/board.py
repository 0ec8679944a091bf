"""A small shared page by which a scenario talks to its worker processes.

It holds the port that each worker's discovery names, and the word to stop.
"""

from __future__ import annotations

import mmap
from pathlib import Path

WORKERS = 32


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
        return self._page[0] != 0

    def stop(self) -> None:
        """Tell the workers to end."""
        self._page[0] = 1

    def port(self, worker: int) -> int:
        """Where this worker's discovery finds the primary."""
        at = 4 + 4 * worker
        return int.from_bytes(self._page[at : at + 4], "little")

    def point(self, port: int, *workers: int) -> None:
        """Let discovery name `port`, to all workers or to these."""
        for worker in workers or range(WORKERS):
            at = 4 + 4 * worker
            self._page[at : at + 4] = port.to_bytes(4, "little")
