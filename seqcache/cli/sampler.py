"""What moves on a server, seen from outside: `top` and `serve` look through this.

Nobody counts increases by user on a server. So counters are read, and read again:
the difference is the rate of an id. A keyspace that is too large for one look is
looked at in slices, in turn; ids that were seen moving are read at every look.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from .. import SeqCache
from .._health import number, parse_info, role_of, software_of
from ..errors import (
    AuthError,
    BulkError,
    CallTimeout,
    ConfigError,
    ConnectError,
    ServerError,
)
from .verbs import server_name

SLICE = 20_000  # counters of one look
KNOWN = 500_000  # ids whose last number is remembered
HOT = 500  # ids that are read at every look


class Moving(NamedTuple):
    """An id, its number, and how fast that moved since the last look at it."""

    user_id: str | bytes
    seq: int
    per_second: float


class Command(NamedTuple):
    """A command of the server: calls and failures a second, microseconds a call."""

    name: str
    per_second: float
    failed_per_second: float
    usec: float


class Look(NamedTuple):
    """What was seen at one moment. Rates are those since the look before.

    ``commands`` and ``errors`` (by their first word) are of the whole server, whoever
    calls; ``totals`` are its counters as they are. ``looked`` ids of at most ``keys``
    were read now, ``known`` are remembered. What the server hides is None or empty;
    ``trouble`` says why nothing could be read, all else is of the last time then.
    """

    time: float
    seconds: float
    server: str
    software: str
    role: str
    uptime: int | None
    latency: float
    clients: int | None
    links: int | None
    memory: int | None
    keys: int | None
    per_second: float
    commands: list[Command]
    errors: dict[str, float]
    ids: list[Moving]
    moving: int
    back: list[str | bytes]
    looked: int
    known: int
    totals: Mapping[str, Mapping[str, float]]
    trouble: str = ""


class Sampler:
    """Looks at a server again and again.

    Parameters
    ----------
    seqs:
        A plain cache of the server and prefix to look at, used by nobody else.
    top:
        How many ids a look tells.
    """

    def __init__(self, seqs: SeqCache, top: int = 20) -> None:
        if seqs.config.location.kind in ("memory", "sqlite"):
            raise ConfigError(
                f"nothing moves at {seqs.config.address}: its numbers are in one "
                "process alone",
                option="url",
                hint="watch a server: --url redis://...",
            )
        self._seqs = seqs
        self._top = top
        self._asks = seqs.config.location.kind in ("tcp", "unix")
        self._scan: Iterator[tuple[str | bytes, int]] = seqs.scan()
        self._known: dict[str | bytes, tuple[int, float]] = {}
        self._hot: dict[str | bytes, float] = {}
        self._back: list[str | bytes] = []
        self._before: dict[str, dict[str, float]] = {}
        self._then = 0.0
        self._last: Look | None = None

    def look_patiently(self) -> Look:
        """Look once; a server that does not answer is told in the look.

        At the first time there is nothing to tell it in: the error is raised.
        """
        try:
            return self.look()
        except (ConnectError, CallTimeout) as error:
            if self._last is None:
                raise
            self._then = 0.0  # a rate over the gap would say nothing
            nothing: dict[str, Any] = {"per_second": 0.0, "commands": [], "errors": {}}
            told = str(error.args[0])
            return self._last._replace(time=time.time(), trouble=told, **nothing)

    def look(self) -> Look:
        """Look once; errors of the cache are raised."""
        seqs = self._seqs
        latency = seqs.ping()
        now = time.monotonic()
        seconds, self._then = now - self._then if self._then else 0.0, now
        info = self._info()
        totals = totals_of(info)
        looked = self._read_counters()
        ids = heapq.nlargest(self._top, self._hot.items(), key=lambda item: item[1])
        software, version = software_of(info)
        look = Look(
            time=time.time(),
            seconds=seconds,
            server=server_name(seqs),
            software=f"{software} {version}".strip(),
            role=role_of(info),
            uptime=number(info, "uptime_in_seconds"),
            latency=latency,
            clients=number(info, "connected_clients"),
            links=self._links(),
            memory=number(info, "used_memory"),
            keys=keys_of(info, seqs.config.db),
            per_second=self._rate(totals, "all", "commands", seconds),
            commands=self._commands(totals, seconds),
            errors=self._errors(totals, seconds),
            ids=[Moving(one, self._known[one][0], rate) for one, rate in ids],
            moving=len(self._hot),
            back=self._back,
            looked=looked,
            known=len(self._known),
            totals=totals,
        )
        self._before = totals
        self._last = look
        return look

    # --- counters

    def _read_counters(self) -> int:
        """Read a slice of the keyspace and what moved lately; return how many ids."""
        self._back = []
        ids = list(dict.fromkeys([*self._hot, *self._slice()]))
        self._hot = {}
        seen = 0
        for first in range(0, len(ids), 1000):
            part = ids[first : first + 1000]
            for user_id, result in zip(part, self._get(part), strict=True):
                if isinstance(result, int):
                    self._note(user_id, result)
                    seen += 1
        if len(self._hot) > HOT:
            most = heapq.nlargest(HOT, self._hot.items(), key=lambda item: item[1])
            self._hot = dict(most)
        return seen

    def _slice(self) -> list[str | bytes]:
        """Return the ids whose turn it is; the numbers of a scan may be of before."""
        ids = [user_id for user_id, _ in islice(self._scan, SLICE)]
        if len(ids) < SLICE:  # the end: the next look begins again
            self._scan = self._seqs.scan()
        return ids

    def _get(self, ids: list[str | bytes]) -> list[int | BaseException]:
        try:
            return list(self._seqs.get_seqs(ids))
        except BulkError as error:
            return list(error.results)
        except ServerError as error:  # each of them holds something else now
            return [error] * len(ids)

    def _note(self, user_id: str | bytes, seq: int) -> None:
        now = time.monotonic()
        before = self._known.get(user_id)
        if before is not None:
            moved = seq - before[0]
            if moved > 0:
                self._hot[user_id] = moved / max(now - before[1], 1e-3)
            elif moved < 0:
                self._back.append(user_id)
        elif len(self._known) >= KNOWN:
            return
        self._known[user_id] = (seq, now)

    # --- the server's own counters

    def _info(self) -> dict[str, str]:
        if not self._asks:
            return {}
        try:
            return parse_info(self._seqs._execute(("INFO", "all")))
        except (AuthError, ServerError):
            return {}

    def _links(self) -> int | None:
        """Count the connections of seqcache, if we may list them."""
        if not self._asks:
            return None
        try:
            text = self._seqs._execute(("CLIENT", "LIST", "TYPE", "normal"))
        except (AuthError, ServerError):
            return None
        lines = text.decode("utf-8", "replace").splitlines()
        # By the library's name where servers keep it, else by the default name.
        return sum(
            " lib-name=seqcache" in one or " name=seqcache" in one for one in lines
        )

    def _rate(
        self, totals: Mapping[str, Mapping[str, float]], kind: str, name: str, s: float
    ) -> float:
        # A command is not listed before its first call.
        before = self._before.get(kind, {}).get(name, 0.0)
        now = totals.get(kind, {}).get(name, 0.0)
        # Less than before: the server was started again, or CONFIG RESETSTAT.
        if not self._before.get("all") or not s or now < before:
            return 0.0
        return (now - before) / s

    def _commands(
        self, totals: Mapping[str, Mapping[str, float]], seconds: float
    ) -> list[Command]:
        made: list[Command] = []
        for name in totals.get("calls", {}):
            rate = self._rate(totals, "calls", name, seconds)
            failed = self._rate(totals, "failed", name, seconds)
            spent = self._rate(totals, "usec", name, seconds)
            if rate or failed:
                usec = spent / rate if rate else 0.0
                made.append(Command(name, rate, failed, usec))
        return sorted(made, key=lambda one: -one.per_second)

    def _errors(
        self, totals: Mapping[str, Mapping[str, float]], seconds: float
    ) -> dict[str, float]:
        codes = totals.get("errors", {})
        rates = {code: self._rate(totals, "errors", code, seconds) for code in codes}
        return {code: rate for code, rate in rates.items() if rate}


def totals_of(info: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Read the counters of INFO: calls, usec and failed by command, errors by code."""
    out: dict[str, dict[str, float]] = {
        name: {} for name in ("all", "calls", "usec", "failed", "errors")
    }
    total = number(info, "total_commands_processed")
    if total is not None:
        out["all"]["commands"] = total
    for name, value in info.items():
        if name.startswith("cmdstat_"):
            fields = fields_of(value)
            command = name.removeprefix("cmdstat_")
            out["calls"][command] = fields.get("calls", 0.0)
            out["usec"][command] = fields.get("usec", 0.0)
            failed = fields.get("rejected_calls", 0.0) + fields.get("failed_calls", 0.0)
            out["failed"][command] = failed
        elif name.startswith("errorstat_"):
            count = fields_of(value).get("count", 0.0)
            out["errors"][name.removeprefix("errorstat_")] = count
    return out


def fields_of(text: str) -> dict[str, float]:
    """Read ``calls=1,usec=2.5``."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            continue  # a word, as newer servers may add
    return found


def keys_of(info: Mapping[str, str], db: int) -> int | None:
    """Return how many keys the database holds, None if the server hides it."""
    if not info:
        return None
    return int(fields_of(info.get(f"db{db}", "")).get("keys", 0))
