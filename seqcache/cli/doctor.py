"""`seqcache doctor`: looks at a server and says what to mend."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import Any

from .. import SeqCache, _common, cache
from ..config import Config
from ..errors import ConfigError, SeqCacheError
from . import findings, rights
from .findings import MEND, NOTE, OK, Finding
from .output import Output, exit_code, message_of, printable, printable_text
from .verbs import config_of, passive, server_name

_STYLE = {OK: ("green",), NOTE: ("cyan",), MEND: ("red", "bold")}
_COLUMNS = 88
#: Counters, and cells, that are compared with the store; `ceilings check` does all.
SAMPLE = 10_000


def doctor(args: Namespace, out: Output) -> int:
    """Print every finding; 1 if there is something to mend."""
    config = config_of(args)
    try:
        seqs = cache(passive(config))
    except ConfigError:
        raise
    except SeqCacheError as error:
        check = "auth" if isinstance(error, PermissionError) else "reach"
        remedy = error.hint or "is the server running, and the address right?"
        _tell(out, [Finding(check, MEND, message_of(error), remedy)])
        return exit_code(error)
    with seqs:
        return _tell(out, _examine(seqs, config))


def _tell(out: Output, found: Iterable[Finding]) -> int:
    """Print findings as they come; 1 if there is something to mend."""
    counts = dict.fromkeys(_STYLE, 0)
    for finding in found:
        counts[finding.level] += 1
        if out.json_lines:
            out.record(**finding._asdict())
        elif finding.level != OK or not out.quiet:
            _print(out, finding)
    if not out.json_lines and not out.quiet:
        out.line()
        out.line(_summary(counts))
    return 1 if counts[MEND] else 0


def _print(out: Output, finding: Finding) -> None:
    level = out.style(f"{finding.level:4}", *_STYLE[finding.level])
    text = printable_text(finding.text)
    first, *rest = textwrap.wrap(text, _COLUMNS - 20) or [""]
    out.line(f"{level}  {finding.check:12}  {first}")
    for line in rest:
        out.line(f"{'':20}{line}")
    if finding.remedy:
        lines = textwrap.wrap(printable_text(finding.remedy), _COLUMNS - 23)
        for number, line in enumerate(lines):
            mark = "-> " if number == 0 else "   "
            out.line(f"{'':20}{out.style(mark + line, 'dim')}")


def _summary(counts: dict[str, int]) -> str:
    if counts[MEND]:
        return f"{counts[MEND]} to mend, {counts[NOTE]} to know, {counts[OK]} well"
    if counts[NOTE]:
        return f"nothing to mend; {counts[NOTE]} to know, {counts[OK]} well"
    return f"all {counts[OK]} well"


def _examine(seqs: SeqCache, config: Config) -> Iterator[Finding]:
    kind = config.location.kind
    yield Finding("reach", OK, f"{server_name(seqs)} answers")
    if kind == "memory" and config.ceilings is None:
        text = "in this process: the numbers end with it"
        yield Finding("persistence", NOTE, text, "for tests; a server for the rest")
        return
    if kind in ("memory", "sqlite"):
        yield Finding("persistence", OK, "the database vouches for the numbers")
        return
    if kind == "other":
        text = f"{config.location.scheme}:// is a third party's: no more can be told"
        yield Finding("backend", OK, text)
        return
    health = seqs.health()
    yield from findings.of_transport(config)
    yield from findings.of_server(health, config)
    yield from findings.of_rights(rights.probe(config), config)
    yield from _values(seqs)
    if config.ceilings is not None:
        yield from _ceilings(seqs, config)


def _values(seqs: SeqCache) -> Iterator[Finding]:
    """Look at some keys of the prefix: is there something else than counters?"""
    prefix = seqs._prefix
    pattern = _common.scan_pattern(prefix, "*")
    keys: list[bytes] = []
    cursor: Any = 0
    try:
        for _ in range(10):  # pages: most of them may be of other prefixes
            cursor, page = seqs._execute(_common.scan_command(cursor, pattern))
            keys += _common.own_keys(page, prefix)
            if int(cursor) == 0:
                break
        values = seqs._execute(("MGET", *keys)) if keys else []
    except SeqCacheError as error:
        if isinstance(error, PermissionError):  # the rights were told already
            return
        raise
    good = sum(1 for _ in _common.pairs_of(keys, values, prefix))
    # A counter that was deleted meanwhile is no finding.
    foreign = [
        key
        for key, value in zip(keys, values, strict=True)
        if value is not None or seqs._execute(("TYPE", key)) not in ("none", b"none")
    ]
    shown = printable(_common.user_id_of(prefix, b""))
    yield findings.of_values(len(keys), len(foreign) - good, shown)


def _ceilings(seqs: SeqCache, config: Config) -> Iterator[Finding]:
    """Look whether the store covers what the server holds, as far as a sample tells."""
    try:
        from ..durable import admin
        from ..durable.calls import make_store
        from .ceilings import _cells, _counters

        with closing(make_store(config)) as store:
            held = chain(
                islice(_counters(seqs, config), SAMPLE), islice(_cells(seqs), SAMPLE)
            )
            report = admin.check(store, held)
    except SeqCacheError as error:
        remedy = error.hint or "is the database up, and the URL right?"
        yield Finding("ceilings", MEND, message_of(error), remedy)
        return
    yield from findings.of_ceilings(report)
