"""The ceiling store: what SQL has committed before a number is handed out.

`CeilingStore` runs the transactions of durable mode over SQLAlchemy Core, on
PostgreSQL (psycopg 3) or SQLite. Each method is one transaction that ends within
the `timeout` it is given, and may be repeated: a commit whose reply was lost is
recognised. Every method blocks; the drivers call it from a thread of their own.

Needs ``pip install seqcache[sql]``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

try:
    import sqlalchemy as sa
    from sqlalchemy.engine import Engine
except ImportError as exc:
    from .errors import ConfigError

    raise ConfigError(
        "ceilings need SQLAlchemy 2",
        hint='pip install "seqcache[sql]"',
        option="ceilings",
    ) from exc

from .durable.rows import (
    CAP,
    Extend,
    Grant,
    Owner,
    Raised,
    StoreStats,
    Take,
    adapted,
    overflow,
    rolled_back,
    split_token,
)
from .durable.sql import NeedsWrite, SqlStore, Work
from .errors import SequenceOverflow

__all__ = [
    "CAP",
    "CeilingStore",
    "Extend",
    "Grant",
    "Owner",
    "Raised",
    "StoreStats",
    "Take",
]


class CeilingStore(SqlStore):
    """Ceilings of one deployment in one SQL database.

    Parameters
    ----------
    store:
        SQLAlchemy URL or Engine. A URL's engine belongs to the store and is
        disposed of by `close`; a given Engine is left alone.
    deployment:
        The name of this Redis in the store, database number included.
    step:
        First number of numbers between two ceilings of a key; adapts from there.
    lease_ms:
        ``fence_time`` of the epochs begun here; 0 for ``fence="connection"``.
    tables:
        Prefix of the table names.
    """

    def __init__(
        self,
        store: str | Engine,
        deployment: str = "main/0",
        *,
        step: int = 1000,
        lease_ms: int = 5000,
        tables: str = "seq_",
    ) -> None:
        super().__init__(store, deployment, tables)
        self.step = step
        self.lease_ms = lease_ms

    # ------------------------------------------------------------ transactions

    def begin_epoch(self, run_id: str, timeout: float) -> str:
        """BEGIN_EPOCH: commit a new epoch of process `run_id`; its token."""
        rnd = os.urandom(4).hex()
        row = {
            "d": self.deployment,
            "rnd": rnd,
            "run_id": run_id,
            "lease_ms": self.lease_ms,
            "state": "open",
        }

        def work(tx: Work) -> str:
            table = self._tables.epoch
            done = tx.conn.execute(sa.insert(table).values(row))
            inserted = done.inserted_primary_key
            assert inserted is not None
            return f"{inserted[0]}.{rnd}"

        return self._run(work, timeout)

    def state(self, token: str, timeout: float) -> tuple[str, float]:
        """STATE: ``open``, ``closing`` or ``closed``, and the lease in seconds."""

        def work(tx: Work) -> tuple[str, float]:
            row = self._my_epoch(tx, token)
            return row.state, row.lease_ms / 1000

        return self._run(work, timeout, write=False)

    def epoch_state(self, epoch: int, timeout: float) -> str:
        """The state of another client's epoch, for those who wait for it."""

        def work(tx: Work) -> str:
            return str(self._epoch(tx, epoch).state)

        return self._run(work, timeout, write=False)

    def close_epoch(self, epoch: int, timeout: float) -> None:
        """CLOSE: its lease is over, and nobody renewed it since it was closing."""
        self._run(lambda tx: self._set_state(tx, epoch, "closing", "closed"), timeout)

    def owners(self, keys: Sequence[bytes], token: str, timeout: float) -> list[Owner]:
        """OWNER of each key; marks the epochs that stand in the way as closing."""

        def work(tx: Work) -> list[Owner]:
            self._my_epoch(tx, token)
            rows = self._rows(tx, keys, lock=False)
            return [self._owner(tx, rows.get(key), token) for key in keys]

        try:
            # Most look at rows that are free: no reason to wait for a writer.
            return self._run(work, timeout, write=False)
        except NeedsWrite:
            return self._run(work, timeout)

    def take(
        self, takes: Sequence[Take], token: str, timeout: float
    ) -> list[Grant | Owner | SequenceOverflow]:
        """TAKE each key in one transaction.

        Grant, or the Owner (fenced, wait) in the way, or ``Owner("again")`` when
        somebody else was faster, or the overflow of that key.
        """

        def work(tx: Work) -> list[Grant | Owner | SequenceOverflow]:
            self._my_epoch(tx, token)
            rows = self._rows(tx, [take.key for take in takes], lock=True)
            new: dict[bytes, dict[str, Any]] = {}
            old: dict[bytes, dict[str, Any]] = {}
            out = [self._take(tx, t, rows.get(t.key), token, new, old) for t in takes]
            self._write_grants(tx, [new[key] for key in sorted(new)], [*old.values()])
            return out

        done = self._run(work, timeout)
        self.stats.takes += sum(isinstance(one, Grant) for one in done)
        return done

    def extend(
        self, extends: Sequence[Extend], token: str, timeout: float
    ) -> list[Raised | SequenceOverflow]:
        """EXTEND each key's grant in one transaction, with the adaptive step."""

        def work(tx: Work) -> list[Raised | SequenceOverflow]:
            epoch = self._my_epoch(tx, token).epoch
            rows = self._rows(tx, [one.key for one in extends], lock=True)
            changed: dict[bytes, dict[str, Any]] = {}
            out = [self._extend(e, rows.get(e.key), epoch, changed) for e in extends]
            self._update(tx, list(changed.values()), "ceiling", "step", "raised_at")
            return out

        done = self._run(work, timeout)
        self.stats.raises += len(done)
        return done

    # ----------------------------------------------------------------- one key

    def _owner(self, tx: Work, row: Any, token: str) -> Owner:
        if row is None:
            return Owner("none")
        mine, _ = split_token(token)
        if row.epoch > mine:  # R5: a row moves to a higher epoch only
            return Owner("fenced")
        if row.epoch in (mine, 0):
            return Owner("free", row.gid)
        other = self._epoch(tx, row.epoch)
        if other.state == "closed" or other.lease_ms == 0:
            return Owner("free", row.gid)
        if other.run_id == self._epoch(tx, mine).run_id:
            # The same process has begun a later epoch: this one is dead (R1).
            self._set_state(tx, row.epoch, other.state, "closed")
            return Owner("free", row.gid)
        self._set_state(tx, row.epoch, "open", "closing")
        return Owner("wait", row.gid, row.epoch, other.lease_ms / 1000)

    def _take(
        self,
        tx: Work,
        take: Take,
        row: Any,
        token: str,
        new: dict[bytes, dict[str, Any]],
        old: dict[bytes, dict[str, Any]],
    ) -> Grant | Owner | SequenceOverflow:
        if row is not None and row.gid == take.nonce:  # R3: my own commit
            return Grant(row.base, row.ceiling, row.tok_floor)
        if take.key in new or take.key in old:
            return Owner("again")  # named twice: the first has it
        ceiling = 0 if row is None else row.ceiling
        if take.cell_ceiling > ceiling:
            raise rolled_back(
                f"Redis has ceiling {take.cell_ceiling} of {take.key!r},"
                f" the store {ceiling}"
            )
        owner = self._owner(tx, row, token)
        if owner.verdict in ("fenced", "wait"):
            return owner
        inherited = row is not None and row.gid in take.gids
        if owner.gid != take.seen and not inherited:  # R3: somebody was faster
            return Owner("again")
        base = max(ceiling, take.at_least)
        if base + take.need > CAP:
            return overflow(take.key)
        step = self.step if row is None else row.step
        values: dict[str, Any] = {
            "d": self.deployment,
            "k": take.key,
            "ceiling": min(base + max(step, take.need), CAP),
            "base": base,
            "tok_floor": take.floor if inherited else base,  # R8
            "epoch": split_token(token)[0],
            "gid": take.nonce,
            "step": step,
            "raised_at": int(time.time()),
        }
        (new if row is None else old)[take.key] = values
        used = 0 if row is None else max(row.base, min(take.at_least, ceiling))
        skipped = max(0, ceiling - used)
        return Grant(base, values["ceiling"], values["tok_floor"], skipped)

    def _extend(
        self, one: Extend, row: Any, epoch: int, changed: dict[bytes, dict[str, Any]]
    ) -> Raised | SequenceOverflow:
        # A row of a higher epoch says nothing of ours; any other holds at least what
        # was granted before it. None at all: rows were lost, nobody deletes them.
        there = 0 if row is None else row.ceiling
        if there < one.ceiling and (row is None or row.epoch <= epoch):
            raise rolled_back(
                f"Redis has ceiling {one.ceiling} of {one.key!r}, the store {there}"
            )
        if row is None or row.gid != one.gid:  # R3: the grant is not the last one
            fenced = row is not None and row.epoch > epoch
            return Raised("fenced" if fenced else "gone")
        now = changed.get(one.key) or row._mapping
        ceiling, step, raised_at = now["ceiling"], now["step"], now["raised_at"]
        if ceiling > one.ceiling:  # raised since, or my own commit
            return Raised("ok", ceiling, step)
        if one.target > CAP or ceiling == CAP:
            return overflow(one.key)
        moment = int(time.time())
        step = adapted(step, moment - raised_at)
        ceiling = min(max(ceiling, one.target) + step, CAP)
        changed[one.key] = {
            "d": self.deployment,
            "k": one.key,
            "ceiling": ceiling,
            "step": step,
            "raised_at": moment,
        }
        return Raised("ok", ceiling, step)
