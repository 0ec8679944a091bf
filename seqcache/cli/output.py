"""What the command line writes: text for people, JSON lines for programs."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from typing import Any, TextIO

from ..errors import BulkError, SeqCacheError

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}


class OutputGone(Exception):
    """Standard output cannot be written; the reason is chained."""


def printable(user_id: str | bytes) -> str:
    """Return an id as one harmless word for a terminal.

    Control characters and backslashes are escaped; JSON output is exact instead.
    """
    if isinstance(user_id, bytes):
        user_id = user_id.decode("utf-8", "surrogateescape")
    return "".join(
        _harmless(char) if char == "\\" else _shown(char) for char in user_id
    )


def _shown(char: str) -> str:
    return char if char.isprintable() else _harmless(char)


def _harmless(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that is no UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def id_field(user_id: str | bytes) -> dict[str, str]:
    """Return the JSON field of an id: ``user_id``, or ``user_id_base64``."""
    if isinstance(user_id, str):
        return {"user_id": user_id}
    return {"user_id_base64": base64.b64encode(user_id).decode()}


def error_fields(error: BaseException) -> dict[str, Any]:
    """Return the JSON fields of an error."""
    return {
        "error": type(error).__name__,
        "message": message_of(error),
        "hint": getattr(error, "hint", None),
        "executed": getattr(error, "executed", None),
    }


def message_of(error: BaseException) -> str:
    """Return the message without the hint, which has a line of its own."""
    if isinstance(error, SeqCacheError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person looks at the stream."""
    return stream is not None and not stream.closed and stream.isatty()


def _wants_colour(stream: TextIO | None) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


class Output:
    """Both streams of one run.

    Parameters
    ----------
    json_lines:
        Results and errors as one JSON object a line.
    quiet:
        No hints, notes or progress.
    """

    def __init__(self, *, json_lines: bool, quiet: bool) -> None:
        self.json_lines = json_lines
        self.quiet = quiet
        self._colours = {
            "out": _wants_colour(sys.stdout),
            "err": _wants_colour(sys.stderr),
        }

    def style(self, text: str, *names: str, to: str = "out") -> str:
        """Colour a text, if the stream (``"out"`` or ``"err"``) shows colours."""
        if not self._colours[to] or not names:
            return text
        codes = ";".join(_STYLES[name] for name in names)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def write(self, text: str, *, flush: bool = False) -> None:
        """Write to standard output; raises `OutputGone`."""
        try:
            if sys.stdout is None:
                raise OSError("standard output is closed")
            sys.stdout.write(_encodable(text, sys.stdout))
            if flush:
                sys.stdout.flush()
        except (OSError, ValueError) as error:  # ValueError: closed file
            raise OutputGone(str(error)) from error

    def line(self, text: str = "") -> None:
        """Write one line of a result."""
        self.write(text + "\n")

    def record(self, **fields: Any) -> None:
        """Write one JSON object."""
        self.write(json.dumps(fields) + "\n")

    def finish(self) -> None:
        """Flush, so that a full disk is a failure and not a lost number."""
        self.write("", flush=True)

    def note(self, text: str) -> None:
        """Tell a person something beside the result."""
        if not self.quiet:
            self._complain(self.style(text, "dim", to="err"))

    def warn(self, text: str) -> None:
        """Tell a person something that has to be told, quiet or not."""
        self._complain(f"seqcache: {printable_text(text)}")

    @property
    def shows_progress(self) -> bool:
        """Whether a person looks at standard error, and wants to."""
        return not self.quiet and is_terminal(sys.stderr)

    def progress(self, text: str) -> None:
        """Replace the line of progress on a terminal; ``""`` removes it."""
        if self.shows_progress:
            self._complain(f"\r\x1b[K{text}", end="")

    def error(self, error: BaseException, about: str = "") -> None:
        """Tell what went wrong and what to do about it."""
        if self.json_lines:
            self._complain(json.dumps(error_fields(error)))
            return
        name = self.style("seqcache:", "red", "bold", to="err")
        self._complain(f"{name} {about}{printable_text(message_of(error))}")
        hint = getattr(error, "hint", None)
        if hint and not self.quiet:
            label = self.style("hint:", "cyan", to="err")
            self._complain(f"  {label} {printable_text(hint)}")
        for note in getattr(error, "__notes__", ()):
            self.note(f"  {printable_text(note)}")

    def outcome(
        self, user_id: str | bytes, result: int | BaseException, **more: Any
    ) -> None:
        """Write what became of one id of several."""
        if self.json_lines:
            self.record(**id_field(user_id), **_fields_of(result, more))
        elif isinstance(result, BaseException):
            self.error(result, about=f"{printable(user_id)}: ")
        else:
            self.line(f"{printable(user_id)}\t{result}")

    def _complain(self, text: str, end: str = "\n") -> None:
        # Nobody is left to be told that standard error is gone; the exit code is.
        with contextlib.suppress(OSError, ValueError, OutputGone):
            if sys.stderr is not None:
                if sys.stdout is not None:
                    sys.stdout.flush()  # keep the order on a terminal
                sys.stderr.write(_encodable(text + end, sys.stderr))
                sys.stderr.flush()


def printable_text(text: str) -> str:
    """Escape what a message of a server could do to a terminal."""
    return "".join(map(_shown, text))


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error stands for."""
    from .. import errors

    if isinstance(error, BulkError):
        codes = {exit_code(e) for e in error.results if isinstance(e, BaseException)}
        return 4 if 4 in codes else 3 if codes == {3} else 1
    if isinstance(error, errors.OutcomeUnknown):
        return 4
    if isinstance(error, errors.ConnectError | errors.CallTimeout):
        return 3
    if isinstance(error, errors.CeilingError) and error.reason == "unavailable":
        return 3
    if isinstance(error, errors.ConfigError | errors.UserIdError):
        return 2
    return 1


def _fields_of(result: int | BaseException, more: dict[str, Any]) -> dict[str, Any]:
    if isinstance(result, BaseException):
        return error_fields(result)
    return {"seq": result, **more}


def _encodable(text: str, stream: TextIO) -> str:
    """Return the text with escapes for what the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
