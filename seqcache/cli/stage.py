"""Where the demo plays: typed code, pauses, and keys that cut them short."""

from __future__ import annotations

import os
import select
import sys
import textwrap
import time
from types import TracebackType
from typing import Any, Self

from .output import Output, is_terminal

KEY_SECONDS = 0.012  # between two typed characters
WIDTH = 76


class Quit(Exception):
    """The spectator pressed q."""


class Stage:
    """Shows a tour on a terminal at a speed that can be read, elsewhere at once.

    Space or Enter goes on, q ends. Use it in ``with``: it borrows the keyboard.
    """

    def __init__(self, out: Output, *, fast: bool) -> None:
        self.out = out
        self.silent = out.quiet or out.json_lines
        watched = is_terminal(sys.stdout) and not fast and not self.silent
        self._paced = watched
        self._keys = _Keys() if watched and is_terminal(sys.stdin) else None
        self._hurry = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._keys is not None:
            self._keys.give_back()

    @property
    def has_keys(self) -> bool:
        """Whether pressing a key does something."""
        return self._keys is not None

    def heading(self, text: str) -> None:
        """Begin a scene."""
        self._hurry = False
        self._say("")
        self._say(self.out.style(text, "bold", "cyan"))

    def say(self, text: str) -> None:
        """Explain something."""
        for line in textwrap.wrap(text, WIDTH - 3):
            self._say(self.out.style(f"   {line}", "dim"))

    def line(self, text: str) -> None:
        """Show a line as it is."""
        self._say(f"   {text}")

    def code(self, text: str) -> None:
        """Type a line of code."""
        self._print(f"   {self.out.style('>>>', 'dim')} ", end="")
        for char in text if self._paced else [text]:
            self._print(char, end="")
            self._wait(KEY_SECONDS)
        self._say("")

    def result(self, value: Any) -> None:
        """Show what a line of code returned, and leave time to read it."""
        self._say(f"   {self.out.style(repr(value), 'green')}")
        self.pause(0.5)

    def run(self, source: str, **names: Any) -> Any:
        """Type an expression, evaluate exactly it, show and return the result."""
        self.code(source)
        value = eval(source, names)
        self.result(value)
        return value

    def verdict(self, ok: bool, text: str) -> None:
        """End a scene by what it showed."""
        word = self.out.style("ok", "green", "bold") if ok else "FAILED"
        if not self.out.json_lines:
            self.out.write(f"   {word}  {text}\n", flush=True)
        self.pause(0.6)

    def pause(self, seconds: float) -> None:
        """Wait, unless nobody watches or a key says to go on."""
        self._wait(seconds)

    def _say(self, text: str) -> None:
        self._print(text, end="\n")

    def _print(self, text: str, end: str) -> None:
        if not self.silent:
            self.out.write(text + end, flush=self._paced)

    def _wait(self, seconds: float) -> None:
        if not self._paced:
            return
        if self._keys is None:
            time.sleep(seconds)
            return
        key = self._keys.wait(0 if self._hurry else seconds)
        if key in ("q", "Q"):
            raise Quit
        self._hurry = self._hurry or bool(key)  # until the next heading


class _Keys:
    """The keyboard, one key at a time and without echo."""

    def __init__(self) -> None:
        import termios
        import tty

        self._termios = termios
        self._fd = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)

    def wait(self, seconds: float) -> str:
        """Return the key that was pressed within the time, "" for none."""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        return os.read(self._fd, 1).decode("latin-1") if ready else ""

    def give_back(self) -> None:
        """Leave the terminal as it was."""
        self._termios.tcsetattr(self._fd, self._termios.TCSADRAIN, self._before)
