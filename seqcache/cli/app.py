"""Runs one verb: parse, call, turn errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from importlib import import_module

from ..errors import SeqCacheError
from . import parser as options
from .output import Output, OutputGone, exit_code

INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv:
        The arguments without the program's name; None = ``sys.argv``.

    Returns
    -------
    0 done, 1 failed, 2 usage, 3 unreachable, 4 outcome unknown, 130 Ctrl-C.
    """
    parser = options.build()
    try:
        args = _parse(parser, argv)
    except SystemExit as done:  # argparse's way to end after --help or an error
        return done.code if isinstance(done.code, int) else 2
    out = Output(json_lines=args.json, quiet=args.quiet)
    try:
        code = _verb(args.verb)(args, out)
        out.finish()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputGone as gone:
        return _output_gone(args, out, gone)
    except (SeqCacheError, OSError) as error:
        out.error(error)
        return exit_code(error)
    return code


def _parse(parser: ArgumentParser, argv: Sequence[str] | None) -> Namespace:
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help(sys.stderr)
        parser.exit(2)
    return args


# The module and the function of each verb.
_VERBS = {
    "demo": ("demo", "demo"),
    "get": ("verbs", "get"),
    "incr": ("verbs", "incr"),
    "reserve": ("verbs", "reserve"),
    "raise": ("verbs", "lift"),
    "ls": ("verbs", "ls"),
    "export": ("transfer", "dump"),
    "import": ("transfer", "load"),
    "migrate": ("migrate", "migrate"),
    "ping": ("verbs", "ping"),
    "doctor": ("doctor", "doctor"),
    "top": ("top", "top"),
    "serve": ("serve", "serve"),
    "ceilings": ("ceilings", "ceilings"),
    "config": ("verbs", "config"),
    "completion": ("completion", "completion"),
    "bench": ("bench", "bench"),
}


def _verb(name: str) -> Callable[[Namespace, Output], int]:
    """Return the function of a verb; imports no more than that verb needs."""
    module, function = _VERBS[name]
    found: Callable[[Namespace, Output], int] = getattr(
        import_module(f".{module}", __package__), function
    )
    return found


def _output_gone(args: Namespace, out: Output, gone: OutputGone) -> int:
    """End quietly when the reader left; say so when a disk is full."""
    if sys.stdout is not None:
        # The interpreter flushes once more at exit and would complain.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    if not isinstance(gone.__cause__, BrokenPipeError):
        out.error(OSError(f"cannot write the result: {gone}"))
        return 1
    # `seqcache ls | head` got what it wanted; a new number that nobody read is lost.
    return 0 if args.verb in ("ls", "export") else 1
