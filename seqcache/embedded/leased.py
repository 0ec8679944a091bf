"""Ceilings in a database server: this process holds them by a lease, not by a lock.

Any number of processes may name one deployment of one store. The process is the
epoch of `docs/durable.md`: it gives numbers while its lease lasts, and who wants a
key of another one waits until that lease is over. Sharing is slow, never wrong.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
from functools import partial
from itertools import islice

import sqlalchemy as sa

from ..durable.drive import boottime
from ..durable.epoch import DRIFT, MARGIN_SECONDS, DurableStats
from ..durable.rows import Extend, Grant, Owner, Raised, Take, split_token
from ..errors import StartupError
from .rows import CAP, WAIT, Block, Record, Want

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from .. import _native
    from ..ceilings import CeilingStore
    from ..durable.rows import StoreStats
    from ..durable.sql import Work
    from .rows import Answer

logger = logging.getLogger("seqcache")

#: Seconds that a transaction may take.
SQL_SECONDS = 2.0
#: How often a key is tried that somebody else takes at the same moment.
TRIES = 5
#: Keys in one transaction of the end.
MANY = 500


class Fenced(Exception):
    """A later epoch has taken a key: ours is not the last any more."""


class LeasedLedger:
    """The ceilings of one deployment in a `CeilingStore`; one thread at a time.

    Parameters
    ----------
    store:
        Where they are.
    cells:
        Whose lease it keeps; they are forgotten with each new epoch.

    Raises
    ------
    CeilingError
        If the store does not answer.
    StartupError
        If another process of this machine uses the deployment.
    """

    #: The records of tokens are in the process, and end with it.
    keeps_tokens = False

    def __init__(self, store: CeilingStore, cells: _native.Cells) -> None:
        self._store = store
        self._cells = cells
        self._lease = store.lease_ms / 1000
        self._run_id = run_id_here()
        self._token = ""
        self._gid = ""
        self._until = -math.inf
        self._seen: dict[int, float] = {}
        self._check_others()
        self._begin(DurableStats())

    @property
    def name(self) -> str:
        """The store, for messages; no secrets."""
        return self._store.name

    @property
    def stats(self) -> StoreStats:
        """Counters of the store."""
        return self._store.stats

    @property
    def tick_seconds(self) -> float:
        """How often `renew` is due, and who waits tries again."""
        return self._lease / 5 or 1.0

    # ------------------------------------------------------------------ epochs

    def _check_others(self) -> None:
        for run_id in open_run_ids(self._store):
            pid = living_here(run_id)
            if pid is not None:
                raise StartupError(
                    f"{self._store.deployment} in {self.name} is used by process {pid}",
                    hint="each process that gives numbers by itself needs a deployment"
                    " of its own",
                )

    def _begin(self, stats: DurableStats) -> None:
        """Begin a later epoch: what this process was granted before is void."""
        began = boottime()
        self._token = self._store.begin_epoch(self._run_id, SQL_SECONDS)
        # The process gives nothing of its earlier epochs from here on, so they are
        # over as far as other rows of theirs are concerned (R1).
        self._cells.forget()
        self._gid = secrets.token_hex(8)
        stats.epochs += 1
        self._believe(began)

    def _believe(self, began: float) -> None:
        """The lease counts from before the question: its answer may be old."""
        self._until = began + self._lease if self._lease else math.inf
        end = None if self._until == math.inf else round(self._until * 1e9)
        self._cells.set_lease(end)

    def renew(self, stats: DurableStats) -> bool:
        """Go on with the epoch for another lease, if the store calls it open."""
        if not self._lease or not self._token:
            return bool(self._token)
        began = boottime()
        state, _ = self._store.state(self._token, SQL_SECONDS)
        stats.renewals += 1
        if state != "open":
            self._token = ""
            return False
        self._believe(began)
        return True

    def ready(self, stats: DurableStats) -> None:
        """See that the lease lasts; if it cannot, begin again with nothing."""
        while boottime() >= self._until or not self._token:
            if not self.renew(stats):
                self._fenced(stats)

    def _fenced(self, stats: DurableStats) -> None:
        """Another process wanted a key of ours: begin again, above what it got."""
        if self._until > boottime():
            logger.warning(
                "seqcache: another process uses %s in %s: each process that gives"
                " numbers by itself needs a deployment of its own",
                self._store.deployment,
                self.name,
            )
        stats.fenced += 1
        self._begin(stats)

    # ------------------------------------------------------------------ grants

    def grant(
        self, wants: Mapping[bytes, Want], stats: DurableStats
    ) -> dict[bytes, Answer]:
        """Commit ceilings: None for a read of a key that is nowhere, or WAIT."""
        self.ready(stats)
        while True:
            try:
                return self._grant(wants, stats)
            except Fenced:
                self._fenced(stats)
                for want in wants.values():
                    want.have = None

    def _grant(
        self, wants: Mapping[bytes, Want], stats: DurableStats
    ) -> dict[bytes, Answer]:
        answers = self._extend(wants, stats)
        left = {
            key: want
            for key, want in wants.items()
            if want.have is None and key not in answers
        }
        for _ in range(TRIES):
            if not left:
                break
            self._take(left, answers, stats)
            left = {key: want for key, want in left.items() if key not in answers}
        return answers

    def _extend(
        self, wants: Mapping[bytes, Want], stats: DurableStats
    ) -> dict[bytes, Answer]:
        extends: list[Extend] = []
        for key, want in wants.items():
            if want.have is None:
                continue
            number, ceiling = want.have
            target = max(number + want.need, want.to)
            if ceiling < CAP and (target > ceiling or want.ahead):
                target = min(target, CAP)
                extends.append(Extend(key, self._gid, ceiling, target))
        answers: dict[bytes, Answer] = {}
        if not extends:
            return answers
        told = self._store.extend(extends, self._token, SQL_SECONDS)
        stats.raises += len(extends)
        for one, raised in zip(extends, told, strict=True):
            if not isinstance(raised, Raised):
                continue  # at the last number: the cell says so itself
            if raised.verdict == "fenced":
                raise Fenced
            if raised.verdict == "gone":  # lifted by an operator
                wants[one.key].have = None
            else:
                low = raised.ceiling - raised.step // 2
                answers[one.key] = Block(0, raised.ceiling, low)
        return answers

    def _take(
        self,
        left: Mapping[bytes, Want],
        answers: dict[bytes, Answer],
        stats: DurableStats,
    ) -> None:
        owners = self._store.owners(list(left), self._token, SQL_SECONDS)
        takes: list[Take] = []
        for (key, want), owner in zip(left.items(), owners, strict=True):
            if owner.verdict == "fenced":
                raise Fenced
            if owner.verdict == "wait":
                if not self._is_over(owner, stats):
                    answers[key] = WAIT
            elif owner.verdict == "none" and want.reads:
                answers[key] = None
            else:
                need = 0 if want.full else want.need
                takes.append(Take(key, self._gid, owner.gid, need=need))
        if not takes:
            return
        told = self._store.take(takes, self._token, SQL_SECONDS)
        stats.takes += len(takes)
        for take, outcome in zip(takes, told, strict=True):
            if isinstance(outcome, Grant):
                stats.skipped += outcome.skipped
                low = outcome.ceiling - (outcome.ceiling - outcome.base) // 2
                answers[take.key] = Block(outcome.base, outcome.ceiling, low)
            elif not isinstance(outcome, Owner):
                left[take.key].full = True  # what is left of it, without the need
            elif outcome.verdict == "fenced":
                raise Fenced

    def _is_over(self, owner: Owner, stats: DurableStats) -> bool:
        """Whether nobody can still believe in the epoch that holds a key (R6)."""
        if owner.epoch not in self._seen:
            stats.waits += 1
        # Counted from after the commit that set or saw `closing`.
        since = self._seen.setdefault(owner.epoch, boottime())
        if boottime() < since + DRIFT * owner.lease + MARGIN_SECONDS:
            return False
        self._store.close_epoch(owner.epoch, SQL_SECONDS)
        return True

    def recall(self, _tokens: list[tuple[bytes, bytes]]) -> list[Record]:
        """Know nothing of tokens: the process itself does."""
        return []

    def remember(self, _count: Callable[[], list[Record]]) -> list[Record]:
        """Refuse: the process itself remembers."""
        raise AssertionError("the process remembers")

    # -------------------------------------------------------------- the others

    def page(
        self, prefix: bytes, after: bytes | None, count: int
    ) -> list[tuple[bytes, int]]:
        """Up to `count` keys in order that begin with `prefix`, and their ceilings."""
        return rows_after(self._store, prefix, after, count)

    def ping(self) -> None:
        """Read something from the store."""
        self._store.state(self._token, SQL_SECONDS)

    def close(self, numbers: Iterable[tuple[bytes, int]] | None) -> None:
        """Close the store; bring ceilings down to the final numbers, if there are."""
        try:
            if numbers is not None and self._token:
                lower(self._store, self._gid, numbers)
                end_epoch(self._store, self._token)
        finally:
            self._store.close()


# --- SQL -------------------------------------------------------------------------


def rows_after(
    store: CeilingStore, prefix: bytes, after: bytes | None, count: int
) -> list[tuple[bytes, int]]:
    """Read (key, ceiling) of the next keys that begin with `prefix`."""
    table = store._tables.ceiling
    query = (
        sa.select(table.c.k, table.c.ceiling)
        .where(table.c.d == store.deployment)
        .where(table.c.k >= prefix if after is None else table.c.k > after)
        .order_by(table.c.k)
        .limit(count)
    )

    def work(tx: Work) -> list[tuple[bytes, int]]:
        return [(bytes(row.k), row.ceiling) for row in tx.conn.execute(query)]

    rows = store._run(work, SQL_SECONDS, write=False)
    return [row for row in rows if row[0].startswith(prefix)]


def lower(store: CeilingStore, gid: str, numbers: Iterable[tuple[bytes, int]]) -> None:
    """Bring ceilings down to final numbers, where the grant is still the last one."""
    table = store._tables.ceiling
    seq: sa.BindParameter[int] = sa.bindparam("_seq")
    statement = (
        sa.update(table)
        .where(table.c.d == store.deployment, table.c.k == sa.bindparam("_k"))
        .where(table.c.gid == gid, table.c.base <= seq, table.c.ceiling >= seq)
        .values(ceiling=seq, base=seq, tok_floor=seq, epoch=0)
    )
    rest = iter(sorted(numbers))
    while some := [{"_k": key, "_seq": number} for key, number in islice(rest, MANY)]:
        store._run(partial(_execute, statement, some), SQL_SECONDS)


def _execute(statement: sa.Update, rows: list[dict[str, Any]], tx: Work) -> None:
    tx.conn.execute(statement, rows)


def end_epoch(store: CeilingStore, token: str) -> None:
    """Close an epoch in which nothing is given any more: nobody has to wait."""
    epoch, _ = split_token(token)
    table = store._tables.epoch
    statement = sa.update(table).where(table.c.epoch == epoch).values(state="closed")
    store._run(lambda tx: tx.conn.execute(statement), SQL_SECONDS)


def open_run_ids(store: CeilingStore) -> list[str]:
    """Read who has open epochs of this deployment."""
    table = store._tables.epoch
    query = sa.select(table.c.run_id).where(
        table.c.d == store.deployment, table.c.state == "open"
    )
    return store._run(
        lambda tx: list(tx.conn.execute(query).scalars()), SQL_SECONDS, write=False
    )


# --- processes -------------------------------------------------------------------


def _started(pid: int) -> str:
    """Return what tells a process from a later one of its number; '' if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""


def run_id_here() -> str:
    """Name this process, with a part that no other epoch's name has."""
    pid = os.getpid()
    name = f"{secrets.token_hex(4)}:{_started(pid)}:{pid}@{socket.gethostname()}"
    return name[:40]


def living_here(run_id: str) -> int | None:
    """Return the number of another process of this machine that has that name."""
    process, _, host = run_id.partition("@")
    _, started, pid = (process.split(":") + ["", ""])[:3]
    here = host and socket.gethostname().startswith(host)
    if not (here and started and pid.isdigit()) or int(pid) == os.getpid():
        return None
    return int(pid) if _started(int(pid)) == started else None
