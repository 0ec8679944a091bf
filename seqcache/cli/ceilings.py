"""The verb ``ceilings``: what an operator does with the store of durable mode.

``ls``, ``fence`` and ``raise`` without ``--from-redis`` ask SQL alone; the others
read counters and cells from the server, and change nothing there.
"""

from __future__ import annotations

import base64
import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any

from .. import SeqCache, cache
from ..ceilings import CAP, CeilingStore
from ..config import Config
from ..durable import admin
from ..durable.calls import make_store
from ..errors import ConfigError
from .output import Output, printable

PAGE = 1000
_META = (b"sqc:m:{", b"sqc:b:")  # of keys without and with a hash tag


def ceilings(args: Namespace, out: Output) -> int:
    """Run one of the commands of the verb."""
    words = {name: getattr(args, name) for name in ("prefix", "ceilings", "deployment")}
    given = {name: value for name, value in words.items() if value is not None}
    config = Config.coerce(args.url, **given)
    if config.ceilings is None and not config.is_embedded:
        raise ConfigError(
            "there is no ceiling store to look at",
            hint="--ceilings URL, or SEQCACHE_CEILINGS, as the services have it",
            option="ceilings",
        )
    with closing(_store(config, args.command)) as store:
        return _COMMANDS[args.command](args, out, config, store)


def _store(config: Config, command: str) -> CeilingStore:
    store = make_store(config)
    path = store._engine.url.database
    absent = store._engine.dialect.name == "sqlite" and not os.path.exists(path or "")
    if absent and command != "adopt":
        store.close()
        # SQLite would make an empty one, and nothing would look wrong.
        raise ConfigError(f"there is no file {path}", option="ceilings")
    return store


# --- commands ----------------------------------------------------------------------


def ls(args: Namespace, out: Output, config: Config, store: CeilingStore) -> int:
    """List keys and ceilings."""
    found = False
    for row in admin.ls(store, b"" if args.prefix is None else config.key_prefix):
        found = True
        if out.json_lines:
            out.record(
                **key_field(row.key),
                ceiling=row.ceiling,
                base=row.base,
                epoch=row.epoch,
                step=row.step,
                raised_at=row.raised_at,
            )
        else:
            out.line(f"{printable(text_of(row.key))}\t{row.ceiling}")
    if not found:
        _explain_nothing(out, store)
    return 0


def check(args: Namespace, out: Output, config: Config, store: CeilingStore) -> int:
    """Compare the store with what the server holds."""
    counts = {"counters": 0, "cells": 0}
    with _server(config) as seqs:
        counters = _counted(_counters(seqs, config), counts, "counters")
        cells = _counted(_cells(seqs), counts, "cells")
        report = admin.check(store, counters, cells)
    rows: list[tuple[bytes, int | None, int, str]]
    rows = [(*one, "behind") for one in report.behind]
    rows += [(key, None, value, "missing") for key, value in report.missing]
    for key, ceiling, value, problem in rows:
        if out.json_lines:
            out.record(**key_field(key), problem=problem, ceiling=ceiling, redis=value)
        else:
            below = "no row" if ceiling is None else f"ceiling {ceiling}"
            name = printable(text_of(key))
            out.line(f"{problem}\t{name}\t{below}, {value} in Redis")
    if not out.json_lines:
        _say_checked(out, report, counts, store)
        return 0 if report.ok else 1
    out.record(
        ok=report.ok,
        deployment=store.deployment,
        store=store.name,
        keys=report.keys,
        epochs=dict(report.epochs),
        **counts,
        behind=report.behind_count,
        missing=report.missing_count,
        store_seconds=report.latency,
    )
    return 0 if report.ok else 1


def lift(args: Namespace, out: Output, config: Config, store: CeilingStore) -> int:
    """Lift every ceiling of the deployment, after a restored backup."""
    if not args.margin and not args.from_redis:
        raise ConfigError(
            "nothing to raise by",
            hint="--margin N: more than any id can have been given since the backup;"
            " --from-redis: above what the server holds, too",
            option="margin",
        )
    if args.from_redis:
        with _server(config) as seqs:
            held = chain(_counters(seqs, config), _cells(seqs))
            count = admin.raise_all(store, args.margin, held)
    else:
        count = admin.raise_all(store, args.margin)
    _tell(out, f"{count} ceilings lifted by {args.margin}", lifted=count)
    out.note("now FUNCTION FLUSH on every server, then start the clients")
    return 0


def fence(args: Namespace, out: Output, config: Config, store: CeilingStore) -> int:
    """End the wait for old primaries: they are certainly dead."""
    count = admin.fence(store)
    _tell(out, f"{count} epochs closed", closed=count)
    return 0


def adopt(args: Namespace, out: Output, config: Config, store: CeilingStore) -> int:
    """Write a row for each plain counter, before the first durable client."""
    with _server(config) as seqs:
        report = admin.adopt(store, _counters(seqs, config), args.margin)
    for key in report.behind:
        _complain(out, key, "its row has a lower ceiling already: `ceilings raise`")
    for key in report.beyond:
        _complain(out, key, f"durable numbers end at 2**53 - 1 = {CAP}")
    _tell(
        out,
        f"{report.added} counters adopted, {report.existing} had a row",
        added=report.added,
        existing=report.existing,
    )
    return 1 if report.behind or report.beyond else 0


_COMMANDS = {"ls": ls, "check": check, "raise": lift, "fence": fence, "adopt": adopt}


# --- the server --------------------------------------------------------------------


@contextmanager
def _server(config: Config) -> Iterator[SeqCache]:
    """Open the server as it is, without a claim to count."""
    if config.location.kind not in ("tcp", "unix"):
        raise ConfigError(
            f"{config.location.scheme}:// is no server whose counters could be read",
            option="url",
        )
    with cache(config.replace(ceilings=None, on_regress="off")) as seqs:
        yield seqs


def _counters(seqs: SeqCache, config: Config) -> Iterator[tuple[bytes, int]]:
    """Yield (key, number) of the prefix."""
    for user_id, value in seqs.scan():
        raw = user_id if isinstance(user_id, bytes) else user_id.encode()
        yield config.key_prefix + raw, value


def _cells(seqs: SeqCache) -> Iterator[tuple[bytes, int]]:
    """Yield (key, number) of every prefix: what a cell, or its counter, vouches for."""
    cursor: bytes | int = 0
    while True:
        words = ("SCAN", cursor, "MATCH", "sqc:[mb]:*", "COUNT", PAGE)
        cursor, names = seqs._execute(words)
        pairs = [(name, key) for name in names if (key := counter_of(name))]
        if pairs:
            asked = [name for pair in pairs for name in pair]
            values = seqs._execute(("MGET", *asked))
            for n, (_, key) in enumerate(pairs):
                yield key, max(_ceiling(values[2 * n]), _number(values[2 * n + 1]))
        if int(cursor) == 0:
            return


def _counted(
    pairs: Iterable[tuple[bytes, int]], counts: dict[str, int], name: str
) -> Iterator[tuple[bytes, int]]:
    for pair in pairs:
        counts[name] += 1
        yield pair


def counter_of(meta: bytes) -> bytes | None:
    """Return the key of the counter whose cell has this key."""
    plain, tagged = _META
    if meta.startswith(plain) and meta.endswith(b"}"):
        return meta[len(plain) : -1]
    return meta[len(tagged) :] if meta.startswith(tagged) else None


def _ceiling(meta: bytes | None) -> int:
    """Read the ceiling of a cell, or of the void cell that a marker remembers."""
    parts = (meta or b"").split(b":")
    if len(parts) != 7:
        return 0
    return _number(parts[4] if parts[0] == b"c" else parts[6])


def _number(text: bytes | None) -> int:
    return int(text) if text and text.isdigit() else 0


# --- words -------------------------------------------------------------------------


def text_of(key: bytes) -> str | bytes:
    """Return a key as str if it is UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key


def key_field(key: bytes) -> dict[str, str]:
    """Return the JSON field of a key: ``key``, or ``key_base64``."""
    text = text_of(key)
    if isinstance(text, str):
        return {"key": text}
    return {"key_base64": base64.b64encode(key).decode()}


def _tell(out: Output, text: str, **fields: Any) -> None:
    if out.json_lines:
        out.record(**fields)
    else:
        out.line(text)


def _complain(out: Output, key: bytes, text: str) -> None:
    if out.json_lines:
        out.record(**key_field(key), error="CeilingError", message=text)
    else:
        out.warn(f"{printable(text_of(key))}: {text}")


def _explain_nothing(out: Output, store: CeilingStore) -> None:
    known = [name for name in admin.deployments(store) if name != store.deployment]
    if known:
        out.note(f"nothing of {store.deployment}; here are {', '.join(known)}")


def _say_checked(
    out: Output,
    report: admin.CheckReport,
    counts: Mapping[str, int],
    store: CeilingStore,
) -> None:
    epochs = ", ".join(f"{n} {state}" for state, n in sorted(report.epochs.items()))
    out.line(f"{store.name}, deployment {store.deployment}: {report.keys} ceilings")
    out.line(f"epochs: {epochs or 'none'}")
    out.line(f"in Redis: {counts['counters']} counters, {counts['cells']} cells")
    if report.ok:
        out.line("ok: the store covers every number that the server knows")
        return
    out.line(f"{report.behind_count} behind, {report.missing_count} missing")
    if report.behind:
        out.note("behind: a restored backup, or another store: docs/durable.md")
    if report.missing:
        out.note("missing: plain counters; `ceilings adopt` writes their rows")
