"""The verbs that make one call, or none: get, incr, reserve, raise, ls, ping, config.

Each takes the parsed arguments and the output and returns an exit code; errors of
seqcache are raised and become messages in `app`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from .. import Config, SeqCache, cache
from ..errors import BulkError
from .output import Output, exit_code, id_field, printable


def config_of(args: Namespace) -> Config:
    """Return what ``--url`` and ``--prefix`` say, or the environment."""
    words = {} if args.prefix is None else {"prefix": args.prefix}
    return Config.coerce(args.url, **words)


def passive(config: Config) -> Config:
    """Return a config that opens a server as it is: no epoch of durable mode begins."""
    if config.location.kind not in ("tcp", "unix"):
        return config
    return config.replace(ceilings=None, on_regress="off")


def open_cache(args: Namespace) -> SeqCache:
    """Open the cache that ``--url`` and ``--prefix`` name, or the environment."""
    return cache(config_of(args))


@contextmanager
def counting(out: Output) -> Iterator[None]:
    """Say what Ctrl-C means for a call that counts."""
    try:
        yield
    except KeyboardInterrupt:
        out.note("interrupted: the call may have been counted, look with `get`")
        raise


def get(args: Namespace, out: Output) -> int:
    """Print the last number of each id."""
    with open_cache(args) as seqs:
        if len(args.ids) == 1:
            return _single(args, out, seqs.get_seq(args.ids[0]))
        try:
            return _several(args, out, seqs.get_seqs(args.ids))
        except BulkError as error:
            _several(args, out, error.results)
            return exit_code(error)


def incr(args: Namespace, out: Output) -> int:
    """Increase each id and print its new number."""
    with open_cache(args) as seqs, counting(out):
        if len(args.ids) == 1:
            number = seqs.increase_seq(args.ids[0], args.by, token=args.token)
            return _single(args, out, number, by=args.by)
        try:
            numbers = seqs.increase_seqs(args.ids, args.by, token=args.token)
        except BulkError as error:
            _several(args, out, error.results, by=args.by)
            return exit_code(error)
        return _several(args, out, numbers, by=args.by)


def _single(args: Namespace, out: Output, number: int, **more: int) -> int:
    """One id: the bare number, for `n=$(seqcache incr alice)`."""
    if out.json_lines:
        out.outcome(args.ids[0], number, **more)
    else:
        out.line(str(number))
    return 0


def _several(args: Namespace, out: Output, results: object, **more: int) -> int:
    assert isinstance(results, list | tuple)
    for user_id, result in zip(args.ids, results, strict=True):
        out.outcome(user_id, result, **more)
    return 0


def reserve(args: Namespace, out: Output) -> int:
    """Reserve numbers in a row; print the first and the last."""
    with open_cache(args) as seqs, counting(out):
        block = seqs.reserve(args.id, args.count)
    first, last = block[0], block[-1]
    if out.json_lines:
        out.record(**id_field(args.id), first=first, last=last, count=args.count)
    else:
        out.line(f"{first} {last}")
    return 0


def lift(args: Namespace, out: Output) -> int:
    """Move an id forward; print the value that now holds."""
    with open_cache(args) as seqs:
        number = seqs.raise_seq(args.id, args.to)
    if out.json_lines:
        out.record(**id_field(args.id), seq=number)
    else:
        out.line(str(number))
        if number > args.to:
            out.note(f"{printable(args.id)} was beyond {args.to} and stays there")
    return 0


def ls(args: Namespace, out: Output) -> int:
    """List ids and numbers."""
    with open_cache(args) as seqs:
        for user_id, number in seqs.scan(args.match):
            out.outcome(user_id, number)
    return 0


def ping(args: Namespace, out: Output) -> int:
    """Make one round trip."""
    with open_cache(args) as seqs:
        seconds = seqs.ping()
        server = server_name(seqs)
    if out.json_lines:
        out.record(server=server, seconds=seconds)
    else:
        out.line(f"{server} answered in {seconds * 1000:.3f} ms")
    return 0


def config(args: Namespace, out: Output) -> int:
    """Print the configuration; asks no server."""
    rows = config_of(args).explain()
    if out.json_lines:
        for row in rows:
            out.record(name=row.name, value=row.value, source=row.source)
    elif args.explain:
        out.line(str(rows))
    else:
        for row in rows:
            out.line(f"{row.name} = {row.value}")
    return 0


def server_name(seqs: SeqCache) -> str:
    """Name the server without secrets."""
    config = seqs.config
    in_memory = config.location.kind not in ("tcp", "unix")
    return config.address if in_memory else f"{config.address}/{config.db}"
