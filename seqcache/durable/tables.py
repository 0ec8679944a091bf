"""Tables of the ceiling store, and what each SQL database needs told.

Imported only by `seqcache.ceilings`; needs SQLAlchemy (``seqcache[sql]``).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ..errors import CeilingError, ConfigError

SCHEMA_VERSION = 1
"""Version of the tables; another one found in the database is refused."""

# Text would be compared by collations that merge Alice and alice, or pad blanks.
_Key = sa.LargeBinary(600)
_EpochId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Tables:
    """The three tables under one name prefix (default ``seq_``)."""

    def __init__(self, prefix: str) -> None:
        meta = self.metadata = sa.MetaData()
        self.epoch = sa.Table(
            f"{prefix}epoch",
            meta,
            # No cache of identities: epochs must ascend in order of allocation.
            sa.Column("epoch", _EpochId, sa.Identity(cache=1), primary_key=True),
            sa.Column("d", sa.String(80), nullable=False),
            sa.Column("rnd", sa.String(8), nullable=False),
            sa.Column("run_id", sa.String(40), nullable=False),
            sa.Column("lease_ms", sa.Integer, nullable=False),
            sa.Column("state", sa.String(8), nullable=False),
            sa.Column("created", sa.DateTime, server_default=sa.func.now()),
            sqlite_autoincrement=True,
        )
        self.ceiling = sa.Table(
            f"{prefix}ceiling",
            meta,
            sa.Column("d", sa.String(80), primary_key=True),
            sa.Column("k", _Key, primary_key=True),
            sa.Column("ceiling", sa.BigInteger, nullable=False),
            sa.Column("base", sa.BigInteger, nullable=False),
            sa.Column("tok_floor", sa.BigInteger, nullable=False),
            sa.Column("epoch", sa.BigInteger, nullable=False),
            sa.Column("gid", sa.String(16), nullable=False),
            sa.Column("step", sa.Integer, nullable=False),
            sa.Column("raised_at", sa.BigInteger, nullable=False),
        )
        self.version = sa.Table(
            f"{prefix}version",
            meta,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("version", sa.Integer, nullable=False),
        )


class Dialect:
    """How one kind of database begins, bounds and inserts."""

    for_update = True

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def prepare(self, conn: Connection) -> None:
        """Once for each connection: settings that make a commit durable."""

    def begin(self, conn: Connection, seconds: float, write: bool) -> None:
        """Begin a transaction of which no statement outlasts `seconds`."""

    def insert_new(
        self, conn: Connection, table: sa.Table, rows: list[dict[str, Any]]
    ) -> int:
        """INSERT what is not there yet; how many rows that were."""
        statement = self.insert_or_skip(table).returning(table.c.k)
        return len(conn.execute(statement, rows).all())

    def insert_or_skip(self, table: sa.Table) -> Any:
        """INSERT .. ON CONFLICT DO NOTHING."""
        raise NotImplementedError

    def is_retryable(self, error: DBAPIError) -> bool:
        """Did another transaction get in the way, so that ours may be repeated?"""
        return False


class SQLite(Dialect):
    """One writer at a time; the file lock stands for the row lock."""

    for_update = False

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        if engine.url.database in (None, "", ":memory:"):
            raise ConfigError(
                "ceilings in an in-memory SQLite database are gone with the process",
                hint="name a file: sqlite:///ceilings.db",
                option="ceilings",
            )

    def prepare(self, conn: Connection) -> None:
        conn.exec_driver_sql("PRAGMA busy_timeout=2000")
        conn.exec_driver_sql("PRAGMA journal_mode=WAL")
        conn.exec_driver_sql("PRAGMA synchronous=FULL")
        conn.rollback()

    def begin(self, conn: Connection, seconds: float, write: bool) -> None:
        conn.exec_driver_sql(f"PRAGMA busy_timeout={_milliseconds(seconds)}")
        conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def insert_or_skip(self, table: sa.Table) -> Any:
        from sqlalchemy.dialects.sqlite import insert

        return insert(table).on_conflict_do_nothing()

    def is_retryable(self, error: DBAPIError) -> bool:
        # BEGIN IMMEDIATE waits by itself; the change to WAL does not.
        return "locked" in str(error.orig)


class PostgreSQL(Dialect):
    """READ COMMITTED with row locks."""

    def prepare(self, conn: Connection) -> None:
        row = conn.exec_driver_sql(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
            " pg_is_in_recovery()"
        ).one()
        conn.rollback()
        if row[2]:
            raise CeilingError(
                "the ceiling store is a read-only replica",
                hint="name the primary, e.g. with target_session_attrs=read-write",
                reason="unavailable",
            )
        if row[0] == "off":
            raise CeilingError(
                "the ceiling store runs with fsync=off and forgets commits",
                hint="set fsync=on",
                reason="unavailable",
            )
        if row[1] == "off":
            conn.exec_driver_sql("SET synchronous_commit = on")
            conn.commit()

    def begin(self, conn: Connection, seconds: float, write: bool) -> None:
        limit = _milliseconds(seconds)
        conn.execute(
            sa.text(
                "SELECT set_config('statement_timeout', :ms, true),"
                " set_config('lock_timeout', :ms, true),"
                " set_config('idle_in_transaction_session_timeout', :ms, true)"
            ),
            {"ms": str(limit)},
        )

    def insert_or_skip(self, table: sa.Table) -> Any:
        from sqlalchemy.dialects.postgresql import insert

        return insert(table).on_conflict_do_nothing()

    def is_retryable(self, error: DBAPIError) -> bool:
        # serialization failure, deadlock, concurrent CREATE TABLE in two guises
        return getattr(error.orig, "sqlstate", None) in (
            "40001",
            "40P01",
            "23505",
            "42P07",
        )


def kind_of(name: str) -> type[Dialect]:
    """The dialect of a kind of database; ConfigError if it was never shown to hold."""
    kind = {"sqlite": SQLite, "postgresql": PostgreSQL}.get(name)
    if kind is None:
        raise ConfigError(
            f"ceilings in {name} are not supported: its transactions were not shown to"
            " keep the guarantees",
            hint="use postgresql+psycopg:// or sqlite:///",
            option="ceilings",
        )
    return kind


def dialect_of(engine: Engine) -> Dialect:
    """The dialect of an engine; ConfigError for one that cannot be a store."""
    kind = kind_of(engine.dialect.name)
    if engine.dialect.is_async:
        raise ConfigError(
            f"ceilings need a blocking driver, not {engine.url.drivername}",
            hint="use postgresql+psycopg://; SQL never runs in the event loop's thread",
            option="ceilings",
        )
    if kind is PostgreSQL:
        engine = engine.execution_options(isolation_level="READ COMMITTED")
    return kind(engine)


def ensure_tables(conn: Connection, tables: Tables) -> None:
    """Make the tables unless they are there, and check their version.

    Several clients may do so at once: who loses the race fails in a way that
    `Dialect.is_retryable` knows, and finds them made the next time.
    """
    found = _read_version(conn, tables)
    if found is None:
        tables.metadata.create_all(conn)
        row = {"id": 1, "version": SCHEMA_VERSION}
        conn.execute(sa.insert(tables.version).values(row))
        found = SCHEMA_VERSION
    conn.commit()
    if found != SCHEMA_VERSION:
        raise CeilingError(
            f"the ceiling tables have version {found}, this seqcache needs"
            f" {SCHEMA_VERSION}",
            hint="use the seqcache that made them, or migrate the tables",
            reason="unavailable",
        )


def _read_version(conn: Connection, tables: Tables) -> int | None:
    if not sa.inspect(conn).has_table(tables.version.name):
        return None
    query = sa.select(tables.version.c.version).where(tables.version.c.id == 1)
    return conn.execute(query).scalar_one_or_none()


def _milliseconds(seconds: float) -> int:
    return max(1, min(int(seconds * 1000), 2**31 - 1))
