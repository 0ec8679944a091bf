"""A bar for what takes a while: rich's where it is installed, else a line of text."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from .output import Output

_BETWEEN_S = 0.1


class Bar:
    """Shows progress on standard error while it is a terminal.

    Parameters
    ----------
    out:
        Where to; a quiet one shows nothing.
    what:
        What is done, in a word.
    unit:
        What is counted.
    """

    def __init__(self, out: Output, what: str, unit: str) -> None:
        self._out = out
        self._what = what
        self._unit = unit
        self._rich: Any = None
        self._task: Any = None
        self._next = 0.0
        self._start = time.monotonic()
        #: How far it came.
        self.done = 0

    def __enter__(self) -> Self:
        if self._out.shows_progress:
            self._rich = _rich_bar(self._what, self._unit)
        if self._rich is not None:
            self._rich.start()
            self._task = self._rich.add_task(self._what, total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._rich is not None:
            self._rich.stop()
        else:
            self._out.progress("")

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._start

    def __call__(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` is done."""
        self.done = done
        now = time.monotonic()
        if now < self._next and done != total:
            return
        self._next = now + _BETWEEN_S
        if self._rich is not None:
            self._rich.update(self._task, completed=done, total=total)
            return
        share = f" of {total:,} ({done / total:.0%})" if total else ""
        rate = done / max(self.seconds, 0.001)
        self._out.progress(
            f"{self._what}: {done:,}{share} {self._unit}, {rate:,.0f} a second"
        )


def _rich_bar(what: str, unit: str) -> Any:
    """Make rich's bar; None if rich is not installed."""
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            speed = task.finished_speed or task.speed
            return "" if speed is None else f"{speed:,.0f} {unit}/s"

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.completed:,} " + unit),
        Rate(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
