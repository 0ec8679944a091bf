"""The options of the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from .. import __version__

MOST = 2**63 - 1
ID_BYTES = 512

EPILOG = """\
The server is --url, else SEQCACHE_URL, else REDIS_URL, else
redis://localhost:6379/0. Put a password into the environment rather than into
--url, where `ps` shows it. An id that begins with a dash goes after `--`.

exit codes:
  0 done   1 failed   2 usage   3 unreachable   4 outcome unknown   130 Ctrl-C
"""


def raw(text: str) -> str | bytes:
    """Read the bytes that the shell gave, as str if they are UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


def user_id(text: str) -> str | bytes:
    """Read a user id, so that a wrong one is told without asking a server."""
    return _bounded(text, "an id")


def token(text: str) -> str | bytes:
    """Read a token in the same way."""
    return _bounded(text, "a token")


def _bounded(text: str, what: str) -> str | bytes:
    read = raw(text)
    length = len(read if isinstance(read, bytes) else read.encode())
    if not 1 <= length <= ID_BYTES:
        raise argparse.ArgumentTypeError(
            f"{what} has 1 to {ID_BYTES} bytes, this one has {length}"
        )
    return read


def whole(least: int, most: int = MOST) -> Callable[[str], int]:
    """Make the reader of a whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not least <= number <= most:
            # 2**63 - 1 is told as such, since nobody recognizes its digits.
            end = "2**63 - 1" if most == MOST else str(most)
            raise argparse.ArgumentTypeError(f"must be from {least} to {end}")
        return number

    return read


def form(text: str) -> str | bytes:
    """Read where counters come from: the old prefix, or ``sandcat-hash``."""
    kind, mark, prefix = text.partition(":")
    if text == "sandcat-hash":
        return text
    if kind != "prefix" or not mark:
        raise argparse.ArgumentTypeError("is sandcat-hash, or prefix:OLD")
    # As bytes it is not taken for the word above.
    return os.fsencode(prefix)


def duration(text: str) -> float:
    """Read a number of seconds above zero, an hour at most."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be above 0 and at most 3600")
    return seconds


def _common(parser: argparse.ArgumentParser, *, again: bool) -> None:
    """Add what every verb takes; ``again`` behind the verb, where it may be missing."""
    unset = argparse.SUPPRESS if again else None
    off = argparse.SUPPRESS if again else False
    group = parser.add_argument_group("common options")
    group.add_argument("--url", metavar="URL", default=unset, help="the server")
    group.add_argument(
        "--prefix", type=raw, default=unset, help='prefix of the keys ("seq:")'
    )
    group.add_argument(
        "--json",
        action="store_true",
        default=off,
        help="one JSON object a line, for programs",
    )
    group.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=off,
        help="results only: no hints, notes or progress",
    )


def build() -> argparse.ArgumentParser:
    """Build the parser; ``verb`` is None if none was given."""
    parser = argparse.ArgumentParser(
        prog="seqcache",
        description="Sequence numbers per user over Redis and Valkey.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"seqcache {__version__}"
    )
    _common(parser, again=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False,
        )
        _common(made, again=True)
        return made

    _demo(verb("demo", "a 20-second tour, on memory:// unless --url names a server"))
    _counters(verb)
    _files(verb)
    verb("ping", "make one round trip and tell how long it took")
    verb("doctor", "look at the server and tell what to mend, and how")
    _top(verb("top", "show which ids and commands move on a server, as they move"))
    _serve(verb("serve", "serve a status page, /metrics and /healthz; it only reads"))
    _ceilings(verb("ceilings", "look after the SQL store of durable mode"))
    config = verb("config", "print what is configured, secrets masked")
    config.add_argument(
        "--explain", action="store_true", help="and where each value came from"
    )
    shell = verb("completion", "print what completes this command line in a shell")
    shell.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")
    _bench(verb("bench", "measure seqcache and the installed peers on one server"))
    return parser


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fast", action="store_true", help="no pauses (so it is without a terminal)"
    )
    parser.add_argument(
        "--durable",
        action="store_true",
        help="kill a server of its own in the middle of a run, and see what is left",
    )


def _counters(verb: Callable[[str, str], argparse.ArgumentParser]) -> None:
    many = {"metavar": "ID", "nargs": "+", "type": user_id}
    get = verb("get", "print the last number of each id, 0 if there is none")
    get.add_argument("ids", **many)  # type: ignore[arg-type]
    incr = verb("incr", "increase each id and print its new number")
    incr.add_argument("ids", **many)  # type: ignore[arg-type]
    incr.add_argument(
        "--by", type=whole(1), default=1, metavar="N", help="by how much (1)"
    )
    incr.add_argument(
        "--token",
        type=token,
        metavar="T",
        help="the message's id: the same one gets the same number again",
    )
    reserve = verb(
        "reserve", "reserve N numbers in a row; print the first and the last"
    )
    reserve.add_argument("id", metavar="ID", type=user_id)
    reserve.add_argument("count", metavar="N", type=whole(1))
    lift = verb("raise", "move an id forward to TO, never back; print what holds now")
    lift.add_argument("id", metavar="ID", type=user_id)
    lift.add_argument("to", metavar="TO", type=whole(0))
    ls = verb("ls", "list ids and numbers, in no order, perhaps one more than once")
    ls.add_argument(
        "--match", type=raw, default="*", metavar="GLOB", help='which ids ("*")'
    )


def _ceilings(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", required=True
    )

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False,
        )
        made.add_argument(
            "--ceilings", metavar="URL", help="the store (SEQCACHE_CEILINGS)"
        )
        made.add_argument(
            "--deployment", metavar="NAME", help='name of this Redis in it ("main")'
        )
        _common(made, again=True)
        return made

    def margin(made: argparse.ArgumentParser, text: str) -> None:
        made.add_argument(
            "--margin", metavar="N", type=whole(0, 10**12), default=0, help=text
        )

    command("ls", "list keys and ceilings; --prefix: of the keys that begin with it")
    command("check", "compare the store with the counters and cells of the server")
    lift = command(
        "raise", "lift all ceilings after a restored backup, clients stopped"
    )
    margin(lift, "by how much: more than was given since the backup")
    lift.add_argument(
        "--from-redis", action="store_true", help="first above what the server holds"
    )
    command("fence", "end the wait for old primaries; only if they are certainly dead")
    adopt = command("adopt", "write a row for each plain counter of the prefix")
    margin(adopt, "lift each by this: for a server that may have lost numbers")


def _files(verb: Callable[[str, str], argparse.ArgumentParser]) -> None:
    what = "a name with .csv is CSV, else JSON lines; .gz compresses; - is standard "
    dump = verb("export", "write all ids and numbers of the prefix to FILE")
    dump.add_argument("file", metavar="FILE", help=what + "output")
    load = verb(
        "import", "raise ids to the numbers in FILE, never back; may be repeated"
    )
    load.add_argument("file", metavar="FILE", help=what + "input")
    move = verb("migrate", "make sequences of counters of another form or prefix")
    move.add_argument(
        "--from",
        dest="source",
        metavar="FORM",
        type=form,
        required=True,
        help="sandcat-hash: hashes with cur_seq and max_seq, which become max_seq; "
        "prefix:OLD: counters under another prefix, which stay",
    )
    for made in (load, move):
        made.add_argument(
            "--dry-run", action="store_true", help="only tell what would be raised"
        )


def _looks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--interval",
        type=duration,
        default=1.0,
        metavar="S",
        help="seconds between two looks (1)",
    )
    parser.add_argument(
        "--top", type=whole(1, 1000), default=20, metavar="N", help="ids to show (20)"
    )


def _top(parser: argparse.ArgumentParser) -> None:
    _looks(parser)
    parser.add_argument(
        "--once", action="store_true", help="one look after an interval, then end"
    )


def _serve(parser: argparse.ArgumentParser) -> None:
    _looks(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (127.0.0.1)"
    )
    parser.add_argument(
        "--port",
        type=whole(0, 65535),
        default=8471,
        metavar="N",
        help="port to listen on, 0 for a free one (8471)",
    )
    parser.add_argument("--no-ids", action="store_true", help="show no user ids")


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=whole(1, 1000), default=3, metavar="N", help="rounds (3)"
    )
    parser.add_argument(
        "--seconds",
        type=duration,
        default=0.3,
        metavar="S",
        help="seconds of each measurement (0.3)",
    )
    parser.add_argument("--plot", metavar="FILE.svg", help="draw a chart, too")
