"""What operators do with a ceiling store: look, check, raise, fence, adopt.

The command line (``seqcache ceilings …``, ``seqcache migrate``) calls these. They
read and write SQL only; counters and cells of Redis come in as arguments.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import sqlalchemy as sa

from ..ceilings import CeilingStore
from .rows import CAP
from .sql import Work

BATCH = 500
SECONDS = 30.0
MARGIN_MAX = 10**12
"""The largest margin: beyond it a slip of the hand would use up an id's numbers."""

LISTED = 1000
"""How many examples a report keeps."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One row: no number above `ceiling` was ever handed out for `key`."""

    key: bytes
    ceiling: int
    base: int
    epoch: int
    step: int
    raised_at: int


@dataclass(slots=True)
class CheckReport:
    """What `check` found.

    `behind` are (key, ceiling, what Redis holds) that must not be: the store forgot.
    `missing` are (key, counter) without a row: plain counters. Both are examples, of
    which there are `behind_count` and `missing_count`.
    """

    keys: int = 0
    epochs: Mapping[str, int] = field(default_factory=dict)
    behind: list[tuple[bytes, int, int]] = field(default_factory=list)
    missing: list[tuple[bytes, int]] = field(default_factory=list)
    behind_count: int = 0
    missing_count: int = 0
    latency: float = 0.0

    @property
    def ok(self) -> bool:
        """Does the store cover every counter that was given?"""
        return not self.behind_count and not self.missing_count


@dataclass(slots=True)
class AdoptReport:
    """What `adopt` did: rows written, rows found.

    `behind` are rows below their counter, `beyond` counters above 2^53 - 1.
    """

    added: int = 0
    existing: int = 0
    behind: list[bytes] = field(default_factory=list)
    beyond: list[bytes] = field(default_factory=list)


def deployments(store: CeilingStore) -> list[str]:
    """Whose ceilings the database holds, by name."""
    table = store._tables.ceiling
    query = sa.select(table.c.d).distinct().order_by(table.c.d)
    return [row.d for row in _page(store, query)]


def ls(store: CeilingStore, prefix: bytes = b"") -> Iterator[Ceiling]:
    """The deployment's rows in key order, those whose key starts with `prefix`."""
    table = store._tables.ceiling
    after = prefix
    first = True
    while True:
        query = (
            sa.select(table)
            .where(table.c.d == store.deployment)
            .where(table.c.k >= after if first else table.c.k > after)
            .order_by(table.c.k)
            .limit(BATCH)
        )
        rows = _page(store, query)
        for row in rows:
            key = bytes(row.k)
            if not key.startswith(prefix):
                return
            yield Ceiling(
                key, row.ceiling, row.base, row.epoch, row.step, row.raised_at
            )
        if len(rows) < BATCH:
            return
        after, first = bytes(rows[-1].k), False


def check(
    store: CeilingStore,
    counters: Iterable[tuple[bytes, int]] = (),
    cells: Iterable[tuple[bytes, int]] = (),
) -> CheckReport:
    """Compare the store with counters, and with the ceilings of cells, from Redis.

    They are read batch by batch, each before its rows: clients may go on meanwhile.
    """
    tables = store._tables

    def overview(tx: Work) -> tuple[int, dict[str, int]]:
        count = sa.select(sa.func.count()).where(tables.ceiling.c.d == store.deployment)
        states = (
            sa.select(tables.epoch.c.state, sa.func.count())
            .where(tables.epoch.c.d == store.deployment)
            .group_by(tables.epoch.c.state)
        )
        rows = tx.conn.execute(states).all()
        return tx.conn.execute(count).scalar_one(), {row[0]: row[1] for row in rows}

    report = CheckReport()
    report.keys, report.epochs = store._run(overview, SECONDS, write=False)
    report.latency = store.stats.latency
    for pairs, plain in ((counters, True), (cells, False)):
        for batch in _batches(pairs):
            ceilings = _ceilings(store, [key for key, _ in batch])
            for key, value in batch:
                ceiling = ceilings.get(key)
                if ceiling is None and plain:
                    report.missing_count += 1
                    report.missing += [(key, value)][: LISTED - len(report.missing)]
                elif (ceiling or 0) < value:
                    report.behind_count += 1
                    example = (key, ceiling or 0, value)
                    report.behind += [example][: LISTED - len(report.behind)]
    return report


def raise_all(
    store: CeilingStore, margin: int, counters: Iterable[tuple[bytes, int]] = ()
) -> int:
    """Lift every ceiling by `margin` after a restored backup; the number of rows.

    `counters` are (key, highest number seen) from Redis: their rows are lifted
    above those first, and made where they are missing. Stop all clients before,
    and FUNCTION FLUSH every server after.
    """
    if not 0 <= margin <= MARGIN_MAX:
        raise ValueError(f"margin is 0 to {MARGIN_MAX}")
    for batch in _batches(counters):
        _lift(store, dict(batch))
    table = store._tables.ceiling
    gid = os.urandom(8).hex()

    def lift(tx: Work) -> int:
        high = sa.case(
            (table.c.ceiling > CAP - margin, CAP), else_=table.c.ceiling + margin
        )
        done = tx.conn.execute(
            sa.update(table)
            .where(table.c.d == store.deployment)
            .values(ceiling=high, base=high, tok_floor=high, epoch=0, gid=gid)
        )
        return int(done.rowcount)

    return store._run(lift, SECONDS)


def fence(store: CeilingStore) -> int:
    """Close every epoch: the operator knows that the old primaries are dead.

    Ends the wait of a fail-over at once; the number of epochs closed. A primary
    that is alive after all makes numbers go back (M), so be sure.
    """
    table = store._tables.epoch

    def close(tx: Work) -> int:
        done = tx.conn.execute(
            sa.update(table)
            .where(table.c.d == store.deployment, table.c.state != "closed")
            .values(state="closed")
        )
        return int(done.rowcount)

    return store._run(close, SECONDS)


def adopt(
    store: CeilingStore, counters: Iterable[tuple[bytes, int]], margin: int = 0
) -> AdoptReport:
    """Write a row for every plain counter, so that losing it costs nothing.

    `counters` are (key, value); run it when no plain writer is left. `margin` is
    added to each, for a Redis that may have lost numbers already.
    """
    report = AdoptReport()
    for batch in _batches(counters):
        report.beyond += [key for key, value in batch if value > CAP]
        wanted = {
            key: min(max(value, 0) + margin, CAP)
            for key, value in batch
            if value <= CAP
        }
        found = _ceilings(store, list(wanted))
        report.existing += len(found)
        report.behind += [key for key in found if found[key] < wanted[key]]
        new = {key: wanted[key] for key in wanted if key not in found}
        report.added += len(new)
        _lift(store, new)
    return report


def _page(store: CeilingStore, query: sa.Select[Any]) -> list[Any]:
    def work(tx: Work) -> list[Any]:
        return list(tx.conn.execute(query))

    return store._run(work, SECONDS, write=False)


def _batches(
    pairs: Iterable[tuple[bytes, int]],
) -> Iterator[list[tuple[bytes, int]]]:
    rest = iter(pairs)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _ceilings(store: CeilingStore, keys: list[bytes]) -> dict[bytes, int]:
    def work(tx: Work) -> dict[bytes, int]:
        rows = store._rows(tx, keys, lock=False)
        return {key: row.ceiling for key, row in rows.items()}

    return store._run(work, SECONDS, write=False)


def _lift(store: CeilingStore, values: dict[bytes, int]) -> None:
    """Rows of nobody with at least these ceilings."""
    gid = os.urandom(8).hex()

    def work(tx: Work) -> None:
        rows = store._rows(tx, list(values), lock=True)
        new: list[dict[str, Any]] = []
        old: list[dict[str, Any]] = []
        for key in sorted(values):
            row = rows.get(key)
            high = min(max(values[key], row.ceiling if row else 0), CAP)
            (old if row else new).append(
                {
                    "d": store.deployment,
                    "k": key,
                    "ceiling": high,
                    "base": high,
                    "tok_floor": high,
                    "epoch": 0,
                    "gid": gid,
                    "step": row.step if row else store.step,
                    "raised_at": row.raised_at if row else 0,
                }
            )
        store._write_grants(tx, new, old)

    store._run(work, SECONDS)
