"""Notices whether client and server share a core.

With one call in flight the same program runs three to four times faster when the
kernel puts both on one core. Only a ratio within one placement means anything, so
every measurement records where it ran.
"""

from __future__ import annotations

import os
from pathlib import Path


def core_of(pid: int, thread: int | None = None) -> int | None:
    """Return the core that a thread last ran on; None where the system tells not.

    ``pid`` is the process, ``thread`` its thread by native id (default: the main one).
    """
    stat = Path(f"/proc/{pid}/task/{thread or pid}/stat")
    try:
        text = stat.read_text()
    except OSError:
        return None
    # The name, in brackets, may hold spaces; the core is the 39th field.
    return int(text.rpartition(")")[2].split()[36])


class Placement:
    """Samples of "same core or not" during one measurement."""

    def __init__(self, server_pid: int, pid: int | None = None) -> None:
        """Watch the server ``server_pid`` and the client ``pid`` (default: us)."""
        self._server = server_pid
        self._pid = pid or os.getpid()
        self._samples: list[bool] = []

    def sample(self, thread: int | None = None) -> None:
        """Look once; ``thread`` is the client's native thread id."""
        ours, theirs = core_of(self._pid, thread), core_of(self._server)
        if ours is not None and theirs is not None:
            self._samples.append(ours == theirs)

    def same_share(self) -> float | None:
        """Return the share of looks that found one core, None without any look."""
        if not self._samples:
            return None
        return round(sum(self._samples) / len(self._samples), 2)
