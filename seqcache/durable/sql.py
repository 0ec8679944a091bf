"""Rows, locks and attempts of the ceiling store: the SQL below its transactions."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from .._options import shown_store
from ..errors import CeilingError, ConfigError
from .rows import StoreStats, rolled_back, split_token
from .tables import Tables, dialect_of, ensure_tables, kind_of

_T = TypeVar("_T")

EXAMPLES = "e.g. postgresql+psycopg://user@host/db or sqlite:///file.db"
SQL_THREADS = 8
"""How many transactions of one process run at once."""


@dataclass(slots=True)
class Work:
    """One transaction under way."""

    conn: Connection
    write: bool = True
    epochs: dict[int, Any] = field(default_factory=dict)


class Again(Exception):
    """Another transaction was faster; begin this one again."""


class NeedsWrite(Exception):
    """A transaction that was begun to read has to change something."""


class SqlStore:
    """The part of a `CeilingStore` that talks SQL; one method, one statement."""

    def __init__(self, store: str | Engine, deployment: str, tables: str) -> None:
        if not 1 <= len(deployment) <= 80:
            raise ConfigError("deployment has 1 to 80 characters", option="deployment")
        self.deployment = deployment
        self.stats = StoreStats()
        self._owned = not isinstance(store, Engine)
        engine = store if isinstance(store, Engine) else _make_engine(store)
        self._dialect = dialect_of(engine)
        self._engine = self._dialect.engine
        self._tables = Tables(tables)
        self._ready = False
        self._closed = False
        # Writers of one SQLite file wait by polling, so that some starve: better
        # that those of one process queue up.
        self.threads = 1 if engine.dialect.name == "sqlite" else SQL_THREADS
        self._pid = os.getpid()
        self._quiet = threading.Lock()
        _stores.add(self)
        self.name = shown_store(str(engine.url))  # a query may have secrets as well

    def close(self) -> None:
        """Close the connections, unless the engine was the caller's."""
        self._closed = True
        if self._owned:
            self._engine.dispose()

    def _my_epoch(self, tx: Work, token: str) -> Any:
        """The row of the token's epoch; a store without it is the wrong one."""
        number, rnd = split_token(token)
        row = self._epoch(tx, number)
        if row.rnd != rnd or row.d != self.deployment:
            raise rolled_back(
                f"the server follows epoch {token} of another history than"
                f" {self.deployment!r} in {self.name}"
            )
        return row

    def _epoch(self, tx: Work, number: int) -> Any:
        row = tx.epochs.get(number)
        if row is None:
            table = self._tables.epoch
            query = sa.select(table).where(table.c.epoch == number)
            row = tx.epochs[number] = tx.conn.execute(query).one_or_none()
        if row is None:
            raise rolled_back(f"{self.name} does not know epoch {number}")
        return row

    def _set_state(self, tx: Work, epoch: int, old: str, new: str) -> None:
        if not tx.write:
            raise NeedsWrite
        table = self._tables.epoch
        tx.conn.execute(
            sa.update(table)
            .where(table.c.epoch == epoch, table.c.state == old)
            .values(state=new)
        )
        tx.epochs.pop(epoch, None)

    def _rows(self, tx: Work, keys: Sequence[bytes], *, lock: bool) -> dict[bytes, Any]:
        """The rows of `keys`, locked in key order so that batches never deadlock."""
        table = self._tables.ceiling
        found: dict[bytes, Any] = {}
        wanted = sorted(set(keys))
        for start in range(0, len(wanted), 500):
            query = (
                sa.select(table)
                .where(
                    table.c.d == self.deployment,
                    table.c.k.in_(wanted[start : start + 500]),
                )
                .order_by(table.c.k)
            )
            if lock and self._dialect.for_update:
                query = query.with_for_update()
            for row in tx.conn.execute(query):
                found[bytes(row.k)] = row
        return found

    def _write_grants(
        self, tx: Work, new: list[dict[str, Any]], old: list[dict[str, Any]]
    ) -> None:
        if new and self._dialect.insert_new(tx.conn, self._tables.ceiling, new) != len(
            new
        ):
            raise Again
        names = ("ceiling", "base", "tok_floor", "epoch", "gid", "step", "raised_at")
        self._update(tx, old, *names)

    def _update(self, tx: Work, rows: list[dict[str, Any]], *names: str) -> None:
        if not rows:
            return
        table = self._tables.ceiling
        statement = (
            sa.update(table)
            .where(table.c.d == sa.bindparam("_d"), table.c.k == sa.bindparam("_k"))
            .values({name: sa.bindparam(f"_{name}") for name in names})
        )
        rows = sorted(rows, key=lambda row: row["k"])
        tx.conn.execute(statement, [{f"_{n}": row[n] for n in row} for row in rows])

    def _run(
        self, work: Callable[[Work], _T], timeout: float, *, write: bool = True
    ) -> _T:
        """One transaction; repeated while others get in its way and time is left."""
        if self._closed:
            raise self._unavailable("it was closed")
        if self._pid != os.getpid():
            # The parent's connections are not ours to use or to close.
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        began = time.monotonic()
        end = began + timeout
        while True:
            try:
                done = self._attempt(work, end, write)
            except Again:
                if time.monotonic() < end:
                    continue
                raise self._unavailable("other writers were always faster") from None
            except DBAPIError as exc:
                stale = exc.connection_invalidated or self._dialect.is_retryable(exc)
                if stale and time.monotonic() < end:
                    time.sleep(0.005)
                    # An idle connection that died is no reason to fail; a server
                    # that is away refuses the next connect at once.
                    continue
                raise self._unavailable(str(exc.orig)) from exc
            except (SQLAlchemyError, OSError) as exc:
                raise self._unavailable(str(exc)) from exc
            taken = time.monotonic() - began
            self.stats.transactions += 1
            self.stats.latency = taken
            self.stats.latency_max = max(self.stats.latency_max, taken)
            return done

    def _attempt(self, work: Callable[[Work], _T], end: float, write: bool) -> _T:
        if self.threads > 1:
            return self._transact(work, end, write)
        with self._quiet:
            return self._transact(work, end, write)

    def _transact(self, work: Callable[[Work], _T], end: float, write: bool) -> _T:
        with self._engine.connect() as conn:
            try:
                if not conn.info.get("seqcache"):
                    self._dialect.prepare(conn)
                    conn.info["seqcache"] = True
                if not self._ready:
                    self._dialect.begin(conn, _left(end), True)
                    ensure_tables(conn, self._tables)
                    self._ready = True
                self._dialect.begin(conn, _left(end), write)
                done = work(Work(conn, write))
                conn.commit()
                return done
            finally:
                if self._closed and self._owned:
                    conn.invalidate()  # no pool waits for it any more

    def _unavailable(self, cause: str) -> CeilingError:
        self.stats.errors += 1
        first = cause.strip().splitlines()[0] if cause.strip() else "no answer"
        return CeilingError(
            f"the ceiling store {self.name} grants no numbers: {first}",
            executed=False,
            hint="is the database up, and its user allowed to write?",
            reason="unavailable",
        )


def _left(end: float) -> float:
    return max(0.001, end - time.monotonic())


def _make_engine(url: str) -> Engine:
    parsed = _parsed(url)
    try:
        kind_of(parsed.get_backend_name())  # before a driver is asked for in vain
        if parsed.get_backend_name() == "sqlite":
            return sa.create_engine(
                parsed, poolclass=sa.QueuePool, pool_size=4, max_overflow=12
            )
        return sa.create_engine(
            parsed,
            pool_size=4,
            max_overflow=12,
            pool_timeout=2,
            connect_args=_bounded_connect(parsed.get_backend_name()),
        )
    except (SQLAlchemyError, ImportError) as exc:
        raise ConfigError(f"ceilings: {exc}", hint=EXAMPLES, option="ceilings") from exc


def _parsed(url: str) -> sa.URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # Their text, and their traceback, may hold a part of the password.
        raise ConfigError(
            "ceilings: the URL cannot be read: is its port a number? In a password"
            " write / ? # @ : % percent-encoded, e.g. %40 for @",
            hint=EXAMPLES,
            option="ceilings",
        ) from None


def _bounded_connect(backend: str) -> dict[str, Any]:
    """A dead host must not hold a connect for longer than a call lives."""
    if backend == "postgresql":
        return {"connect_timeout": 2, "keepalives_idle": 5, "tcp_user_timeout": 4000}
    return {}


# SQLite keeps locks of a process in its memory: a child that is forked in the middle of
# a transaction would find its own file locked for ever. So a fork waits for its end.
_stores: WeakSet[SqlStore] = WeakSet()
_held: list[threading.Lock] = []
_FORK_SECONDS = 1.0


def _before_fork() -> None:
    _held[:] = [
        store._quiet for store in _stores if store._quiet.acquire(timeout=_FORK_SECONDS)
    ]


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    _held.clear()
    for store in list(_stores):
        store._quiet = threading.Lock()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
