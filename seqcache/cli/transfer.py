"""`seqcache export` and `seqcache import`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from typing import IO, Any

from .. import ImportReport
from .output import Output, OutputGone
from .progress import Bar
from .verbs import open_cache


def dump(args: Namespace, out: Output) -> int:
    """Write all sequences of the prefix to a file."""
    to_stdout = args.file == "-"
    file: Any = Stdout(out) if to_stdout else args.file
    with open_cache(args) as seqs, Bar(out, "export", "ids") as bar:
        report = seqs.export_seqs(file, progress=bar)
    if to_stdout:
        out.note(f"{report.written:,} ids written")
    elif out.json_lines:
        out.record(file=args.file, written=report.written)
    else:
        out.line(f"{report.written:,} ids written to {args.file}")
    return 0


class Stdout:
    """Standard output as a file that takes bytes."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def write(self, data: bytes) -> int:
        """Write all of it; raises `OutputGone`."""
        if sys.stdout is None:
            raise OutputGone("standard output is closed")
        try:
            sys.stdout.buffer.write(data)
        except (OSError, ValueError) as error:
            raise OutputGone(str(error)) from error
        return len(data)


def load(args: Namespace, out: Output) -> int:
    """Raise sequences to the numbers in a file."""
    file: str | IO[bytes] = args.file
    if file == "-":
        if sys.stdin is None:
            raise OSError("standard input is closed")
        file = sys.stdin.buffer
    bar = Bar(out, "import", "lines")
    try:
        with open_cache(args) as seqs, bar:
            report = seqs.import_seqs(file, args.dry_run, progress=bar)
    except KeyboardInterrupt:
        tell_interrupted(out, f"{bar.done:,} lines")
        raise
    return tell_report(out, report, args.file, bar.seconds, report.bad_lines)


def tell_interrupted(out: Output, done: str) -> None:
    """Say what Ctrl-C means for a call that only raises."""
    out.note(
        f"interrupted after {done}; start it again to go on: what was raised "
        "stays, and is passed over quickly"
    )


def tell_report(
    out: Output,
    report: ImportReport,
    name: str,
    seconds: float,
    bad: Iterable[tuple[int, str] | tuple[str, str]],
) -> int:
    """Print the report of an import; return the exit code."""
    bad = list(bad)
    if out.json_lines:
        lines = [{"line": line, "reason": reason} for line, reason in bad]
        counts = report._asdict() | {"bad_lines": lines}
        out.record(file=name, **counts, seconds=round(seconds, 3))
        return 1 if report.bad else 0
    for line, reason in bad:
        out.warn(f"{name}:{line}: {reason}")
    if report.bad > len(bad):
        out.warn(f"{name}: {report.bad - len(bad):,} more bad lines")
    out.line(str(report))
    rate = report.read / max(seconds, 0.001)
    out.note(f"{seconds:.1f} s, {rate:,.0f} rows a second")
    return 1 if report.bad else 0
