"""A ceiling store at which goes wrong what the board says."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from chaos import board
from chaos.board import Board
from seqcache.errors import CeilingError


def unavailable(text: str) -> CeilingError:
    """As the store says it."""
    return CeilingError(text, executed=False, reason="unavailable")


class Faulty:
    """The methods of `store`, some of which are lost, held or repeated."""

    def __init__(self, store: Any, page: Board, worker: int) -> None:
        self._store, self._page, self._worker = store, page, worker

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name.startswith("_") or not callable(real) or name == "close":
            return real

        def method(*args: Any) -> Any:
            self._wait(args[-1])
            if name in ("take", "extend"):
                return self._change(name, real, args)
            return real(*args)

        return method

    def _wait(self, seconds: float) -> None:
        """Until the store answers, or the time is up."""
        end = time.monotonic() + seconds
        while self._page.away:
            if time.monotonic() > end:
                raise unavailable("the store is held")
            time.sleep(0.01)

    def _change(self, name: str, real: Callable[..., Any], args: Any) -> Any:
        fault = self._page.fault(self._worker)
        wanted = board.LOSE_EXTEND if name == "extend" else board.LOSE_TAKE
        if fault == wanted:
            real(*args)
            self._page.met(self._worker)
            raise unavailable("the reply was lost")
        if name == "extend" or fault in (0, board.LOSE_EXTEND):
            return real(*args)
        if fault == board.STOP_BEFORE_TAKE:
            self._stop()
        done = real(*args)
        if fault == board.STOP_AFTER_TAKE:
            self._stop()
        if fault == board.TAKE_AGAIN:
            self._page.met(self._worker)
            threading.Thread(target=self._again, args=(real, args), daemon=True).start()
        return done

    def _stop(self) -> None:
        self._page.met(self._worker)
        os.kill(os.getpid(), signal.SIGSTOP)

    def _again(self, real: Callable[..., Any], args: Any) -> None:
        """The same transaction arrives a second time, much later."""
        while not self._page.released:
            time.sleep(0.01)
        with contextlib.suppress(CeilingError):
            real(*args[:-1], 5.0)
