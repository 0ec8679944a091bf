"""Ceilings in an SQLite file that this process owns, by the standard library alone.

The tables are those of `seqcache.ceilings`, so that the same tools read them. The
lock beside the file stands for the lease: whoever had an earlier epoch is dead.
"""

from __future__ import annotations

import os
import sqlite3
import time

from ..durable.rows import StoreStats, rolled_back
from ..errors import CeilingError, OutcomeUnknown, StartupError
from . import schema
from .rows import Answer, Record, Row, Want, block_of, decide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from ..durable.epoch import DurableStats

VERSION = 1
#: Seconds for which a transaction waits for a tool that is writing.
BUSY_SECONDS = 2.0
#: Records of tokens that are cleared away with each one that is written.
CLEAR = 2
#: Keys in one question, below what every SQLite takes.
MANY = 500


class Ledger:
    """The ceilings of one deployment in one file; used by one thread at a time.

    Parameters
    ----------
    path:
        The file, without symbolic links; made if it is not there.
    deployment:
        Whose ceilings.
    step:
        Numbers between two ceilings of a key at first.

    Raises
    ------
    StartupError
        If the file belongs to another program, or is damaged, or not ours to write.
    """

    #: The lock is no lease: nothing has to be renewed.
    tick_seconds = 0.0
    #: The records of tokens are in the file, and survive the process.
    keeps_tokens = True

    def __init__(self, path: str, deployment: str, step: int) -> None:
        self.name = f"sqlite:///{path}"
        self.stats = StoreStats()
        self._path = path
        self._deployment = deployment
        self._step = step
        self._gid = os.urandom(8).hex()
        try:
            self._conn = sqlite3.connect(
                path,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise self._unusable(str(error)) from error
        try:
            self._prepare()
        except BaseException as error:
            self._conn.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise self._unusable(str(error)) from error
            if isinstance(
                error, OutcomeUnknown
            ):  # of a commit: nobody has a number yet
                raise self._unusable(str(error.cause)) from error
            raise

    # ---------------------------------------------------------------- opening

    def _unusable(self, why: str) -> StartupError:
        return StartupError(
            f"{self._path} cannot keep ceilings: {why}",
            hint="it must be a file of seqcache, or none yet, on a local disk, and we"
            " must be allowed to write it",
        )

    def _prepare(self) -> None:
        conn = self._conn
        self._check_tables()
        mode = conn.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise self._unusable(f"no write-ahead log there, but {mode!r}")
        conn.execute("PRAGMA synchronous=FULL")
        self._inode = os.stat(self._path)
        if self._inode.st_nlink > 1:
            # The lock is on one name; who opens the other would own the file as well.
            raise self._unusable("it has several names (hard links)")
        self._transact(self._make_tables)
        self._sync_folder()
        self._epoch = self._transact(self._begin_epoch)

    def _check_tables(self) -> None:
        """Refuse a file that is not ours, or damaged, before anything is written."""
        names = self._names()
        if names and "seq_version" not in names:
            raise self._unusable("it is the database of another program")
        (found,) = self._conn.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self._unusable(f"it is damaged: {found}")

    def _names(self) -> set[str]:
        query = "SELECT name FROM sqlite_master"
        return {name for (name,) in self._conn.execute(query)}

    def _make_tables(self) -> None:
        execute = self._conn.execute
        if "seq_version" not in self._names():
            for statement in schema.TABLES.split(";"):
                execute(statement)
        for statement in schema.TOKENS.split(";"):
            execute(statement)
        (version,) = execute("SELECT version FROM seq_version WHERE id = 1").fetchone()
        if version != VERSION:
            raise self._unusable(
                f"its tables have version {version}, this seqcache needs {VERSION}"
            )

    def _sync_folder(self) -> None:
        """A new file is only there for good once its folder is written."""
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _begin_epoch(self) -> int:
        """Begin an epoch; earlier ones are over, or their owner had the lock."""
        execute = self._conn.execute
        execute(
            "UPDATE seq_epoch SET state = 'closed' WHERE d = ? AND state <> 'closed'",
            (self._deployment,),
        )
        done = execute(
            "INSERT INTO seq_epoch (d, rnd, run_id, lease_ms, state)"
            " VALUES (?, ?, ?, 0, 'open')",
            (self._deployment, os.urandom(4).hex(), f"process {os.getpid()}"),
        )
        assert done.lastrowid is not None
        return done.lastrowid

    # ----------------------------------------------------------- transactions

    def _transact(self, work: Callable[[], Any]) -> Any:
        began = time.monotonic()
        conn = self._conn
        conn.execute("BEGIN IMMEDIATE")
        try:
            done = work()
            self._commit()
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
        taken = time.monotonic() - began
        self.stats.transactions += 1
        self.stats.latency = taken
        self.stats.latency_max = max(self.stats.latency_max, taken)
        return done

    def _commit(self) -> None:
        try:
            self._conn.execute("COMMIT")
        except sqlite3.Error as error:
            # The log may hold it, to be found when the file is opened again.
            raise OutcomeUnknown(
                f"the commit into {self.name} failed: {error}",
                executed=None,
                cause=error,
            ) from error

    def _unavailable(self, why: str) -> CeilingError:
        self.stats.errors += 1
        return CeilingError(
            f"the ceiling store {self.name} grants no numbers: {why}",
            executed=False,
            reason="unavailable",
        )

    def _check_file(self) -> None:
        """What is committed into a file that was replaced would be lost with it."""
        try:
            same = os.path.samestat(self._inode, os.stat(self._path))
        except OSError as error:
            raise self._unavailable(f"the file is gone: {error.strerror}") from error
        if not same:
            raise rolled_back(f"{self._path} was replaced by another file")

    def ready(self, stats: DurableStats) -> None:
        """Do nothing: the lock of the file is held for good."""

    def grant(
        self, wants: Mapping[bytes, Want], stats: DurableStats
    ) -> dict[bytes, Answer]:
        """Commit ceilings; None for a read of a key that has no row."""
        try:
            if all(want.reads for want in wants.values()):
                return self._granted(wants, stats)
            return self._transact(lambda: self._granted(wants, stats))  # type: ignore[no-any-return]
        except OutcomeUnknown as unknown:
            # A ceiling that was committed after all is a gap at most.
            raise self._unavailable(str(unknown.cause)) from unknown
        except sqlite3.Error as error:
            raise self._unavailable(str(error)) from error

    def _granted(
        self, wants: Mapping[bytes, Want], stats: DurableStats
    ) -> dict[bytes, Answer]:
        rows = self._rows(list(wants))
        now = int(time.time())
        blocks: dict[bytes, Answer] = {}
        new: list[dict[str, Any]] = []
        for key, want in wants.items():
            row = rows.get(key)
            self._check_known(key, row, want)
            made = decide(row, want, self._step, now)
            if made is not None:
                if made.mine:
                    stats.raises += 1
                else:
                    stats.takes += 1
                    if row is not None:
                        stats.skipped += row.ceiling - row.base
                new.append(self._values(key, made))
                row = made
            if row is None:
                blocks[key] = None
            elif (block := block_of(row, want, made)) is not None:
                blocks[key] = block
        if new:
            self._check_file()
            self._conn.executemany(schema.PUT, new)
        return blocks

    def _check_known(self, key: bytes, row: Row | None, want: Want) -> None:
        """What was granted once cannot be unknown: the file was put back."""
        have = 0 if want.have is None else want.have[1]
        there = 0 if row is None else row.ceiling
        if there < have:
            name = key.decode(errors="backslashreplace")
            raise rolled_back(f"{name} has ceiling {have}, but {there} in {self.name}")

    def _values(self, key: bytes, row: Row) -> dict[str, Any]:
        return {
            "d": self._deployment,
            "k": key,
            "ceiling": row.ceiling,
            "base": row.base,
            "epoch": self._epoch,
            "gid": self._gid,
            "step": row.step,
            "raised_at": row.raised_at,
        }

    def _rows(self, keys: list[bytes]) -> dict[bytes, Row]:
        found: dict[bytes, Row] = {}
        for start in range(0, len(keys), MANY):
            some = keys[start : start + MANY]
            query = (
                "SELECT k, ceiling, base, step, raised_at, gid FROM seq_ceiling"
                f" WHERE d = ? AND k IN ({', '.join('?' * len(some))})"
            )
            for row in self._conn.execute(query, (self._deployment, *some)):
                mine = row[5] == self._gid
                found[row[0]] = Row(row[1], row[2], row[3], row[4], mine)
        return found

    # ------------------------------------------------------------------ tokens

    def recall(self, tokens: list[tuple[bytes, bytes]]) -> list[Record]:
        """What these tokens of these keys have counted, as far as they have."""
        now = int(time.time())
        found: list[Record] = []
        try:
            for key, token in tokens:
                words = (self._deployment, key, token, now)
                for row in self._conn.execute(schema.RECALL, words):
                    found.append(Record(*row))
        except sqlite3.Error as error:
            raise self._unavailable(str(error)) from error
        return found

    def remember(self, count: Callable[[], list[Record]]) -> list[Record]:
        """Commit what tokens count, before anybody is told.

        Parameters
        ----------
        count:
            Counts, once the file can be written, and returns what.

        Raises
        ------
        CeilingError
            If nothing was committed.
        OutcomeUnknown
            If it may have been.
        """
        try:
            return self._transact(lambda: self._remembered(count))  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise self._unavailable(str(error)) from error

    def _remembered(self, count: Callable[[], list[Record]]) -> list[Record]:
        self._check_file()
        records = count()
        self._conn.executemany(
            schema.REMEMBER, [(self._deployment, *record) for record in records]
        )
        old = (int(time.time()), CLEAR * len(records))
        self._conn.execute(schema.CLEAR_AWAY, old)
        return records

    # -------------------------------------------------------------- the others

    def page(
        self, prefix: bytes, after: bytes | None, count: int
    ) -> list[tuple[bytes, int]]:
        """Up to `count` keys in order that begin with `prefix`, and their ceilings."""
        try:
            rows = self._conn.execute(
                "SELECT k, ceiling FROM seq_ceiling WHERE d = ? AND"
                f" {'k >= ?' if after is None else 'k > ?'} ORDER BY k LIMIT ?",
                (self._deployment, prefix if after is None else after, count),
            ).fetchall()
        except sqlite3.Error as error:
            raise self._unavailable(str(error)) from error
        return [row for row in rows if row[0].startswith(prefix)]

    def renew(self, _stats: DurableStats) -> bool:
        """Tell that the file is still ours."""
        return True

    def ping(self) -> None:
        """Read something from the file."""
        self._rows([b"\0"])

    def close(self, numbers: Iterable[tuple[bytes, int]] | None) -> None:
        """Close the file.

        Parameters
        ----------
        numbers:
            The final number of each key, when nothing is given any more and the
            ceilings may come down to them; None leaves gaps.
        """
        try:
            if numbers is not None:
                self._transact(lambda: self._lower(numbers))
        finally:
            self._conn.close()

    def _lower(self, numbers: Iterable[tuple[bytes, int]]) -> None:
        self._check_file()
        self._conn.executemany(schema.LOWER, self._lowered(numbers))
        self._conn.execute(
            "UPDATE seq_epoch SET state = 'closed' WHERE epoch = ?", (self._epoch,)
        )

    def _lowered(
        self, numbers: Iterable[tuple[bytes, int]]
    ) -> Iterator[dict[str, Any]]:
        for key, seq in numbers:
            yield {"d": self._deployment, "k": key, "seq": seq, "gid": self._gid}
