"""What `seqcache doctor` says about what it saw. Judgement only: no server here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from .. import Health
from .._health import number
from .._outcome import _HINTS
from ..config import Config
from .rights import DURABLE, READS, WRITES, Rights

if TYPE_CHECKING:
    from ..durable.admin import CheckReport

OK, NOTE, MEND = "ok", "note", "mend"
SLOW_S, SLOW_STORE_S, CLOCK_S = 0.02, 0.2, 1.0
LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")


class Finding(NamedTuple):
    """One thing that was looked at: its level, what was seen, what to do about it."""

    check: str
    level: str
    text: str
    remedy: str = ""


def of_server(health: Health, config: Config) -> Iterator[Finding]:
    """Judge what the server says about itself."""
    yield _version(health, config)
    yield _persistence(health, config)
    yield from _disk(health)
    yield _eviction(health)
    yield _replicas(health, config)
    yield _functions(health, config)
    yield _latency(health, config)
    yield _clock(health)
    yield from _clients(health)


def _version(health: Health, config: Config) -> Finding:
    name = f"{health.software} {health.version}".strip() or "unknown"
    role = f"{name}, {health.role}" if health.role else name
    major = health.version.partition(".")[0]
    if health.software == "redis" and major.isdecimal() and int(major) < 6:
        return Finding(
            "server",
            NOTE,
            f"{role}: too old for RESP3 and ACLs",
            "update to Redis 7 or Valkey 8",
        )
    if health.role == "replica":
        return Finding("server", MEND, f"{role}: no writes", "connect to the primary")
    return Finding("server", OK, role)


def _persistence(health: Health, config: Config) -> Finding:
    kept = health.persistence
    durable = config.ceilings is not None
    remedy = "CONFIG SET appendonly yes, then CONFIG REWRITE"
    if not kept:
        remedy = "let it be seen: +config|get and +info"
        return Finding("persistence", NOTE, "the server does not tell", remedy)
    if kept == "none":
        if durable:
            text = "off: each restart costs one gap per id, no number comes twice"
            return Finding("persistence", NOTE, text, remedy)
        text = "off: after a restart every sequence starts again at 1"
        return Finding("persistence", MEND, text, f"{remedy}; or durable mode")
    if "aof" not in kept and not durable:
        text = f"{kept} only: a crash loses what was given since the last snapshot"
        return Finding("persistence", NOTE, text, f"{remedy}; or durable mode")
    if "aof no" in kept and not durable:
        text = f"{kept}: the kernel decides when the log reaches the disk"
        remedy = "CONFIG SET appendfsync everysec, then CONFIG REWRITE"
        return Finding("persistence", NOTE, text, remedy)
    return Finding("persistence", OK, kept)


def _disk(health: Health) -> Iterator[Finding]:
    details = health.details
    for name, what in (
        ("rdb_last_bgsave_status", "the last snapshot"),
        ("aof_last_write_status", "the last write of the log"),
        ("aof_last_bgrewrite_status", "the last rewrite of the log"),
    ):
        if details.get(name, "ok") != "ok":
            yield Finding(
                "disk",
                MEND,
                f"{what} failed",
                "look for room on the disk, rights of the folder, and the server's log",
            )


def _eviction(health: Health) -> Finding:
    policy, limit, used = health.eviction, health.memory_limit, health.memory
    if not policy:
        return Finding("eviction", NOTE, "the server does not tell", "grant +info")
    if not limit:
        return Finding("eviction", OK, f"{policy}, memory without a limit")
    text = f"{policy}, {_size(used or 0)} of {_size(limit)} used"
    if policy.startswith("allkeys-"):
        gone = number(health.details, "evicted_keys") or 0
        told = f"; {gone:,} keys were evicted so far" if gone else ""
        return Finding(
            "eviction",
            MEND,
            f"{text}: a full memory throws counters away{told}",
            "CONFIG SET maxmemory-policy noeviction, then CONFIG REWRITE",
        )
    if (used or 0) > 0.9 * limit:
        remedy = "raise maxmemory, or make room"
        return Finding("eviction", MEND, f"{text}: writes are refused soon", remedy)
    return Finding("eviction", OK, text)


def _replicas(health: Health, config: Config) -> Finding:
    if health.replicas is None:
        return Finding("replicas", NOTE, "the server does not tell", "grant +info")
    if not health.replicas:
        remedy = "add a replica, if the service must survive the loss of this machine"
        return Finding("replicas", NOTE, "none", remedy)
    least = number(health.details, "min_slaves_good_slaves")
    text = f"{health.replicas} connected"
    if least is None and config.ceilings is None:
        return Finding(
            "replicas",
            NOTE,
            f"{text}; a failover may lose the last numbers",
            "CONFIG SET min-replicas-to-write 1 bounds the loss; durable mode ends it",
        )
    return Finding("replicas", OK, text)


def _functions(health: Health, config: Config) -> Finding:
    wanted = config.ceilings is not None
    if health.functions:
        return Finding("functions", OK, "there, as durable mode needs them")
    if health.functions is None:
        return Finding("functions", NOTE, "the server does not tell", "grant +info")
    module = health.software == "valkey" and not health.version.startswith(("7", "8"))
    remedy = "load its lua module" if module else "Redis 7 or Valkey 8"
    text = "none: durable mode is not possible"
    return Finding("functions", MEND if wanted else NOTE, text, remedy)


def _latency(health: Health, config: Config) -> Finding:
    seconds = health.latency
    text = f"{seconds * 1000:.2f} ms a round trip"
    if config.timeout is not None and seconds > config.timeout / 4:
        text += f", with a timeout of {config.timeout:g} s"
        return Finding("latency", MEND, text, "a server nearby, or a longer timeout")
    if seconds > SLOW_S:
        remedy = "a server nearby; SLOWLOG GET tells of slow commands"
        return Finding("latency", NOTE, text, remedy)
    return Finding("latency", OK, text)


def _clock(health: Health) -> Finding:
    if health.clock is None:
        return Finding("clock", NOTE, "the server does not tell", "grant +time")
    ahead = health.clock
    if abs(ahead) > max(CLOCK_S, health.latency):
        where = "ahead" if ahead > 0 else "behind"
        return Finding(
            "clock",
            NOTE,
            f"the server is {abs(ahead):.1f} s {where} of this machine",
            "synchronize both (NTP), for the logs: no number depends on it",
        )
    return Finding("clock", OK, f"{ahead * 1000:+.1f} ms from ours")


def _clients(health: Health) -> Iterator[Finding]:
    most = number(health.details, "maxclients")
    if health.clients is not None and most:
        text = f"{health.clients:,} of {most:,} connections"
        if health.clients > 0.9 * most:
            yield Finding("clients", MEND, text, "raise maxclients, or close idle ones")
        else:
            yield Finding("clients", OK, text)


def of_rights(rights: Rights, config: Config) -> Iterator[Finding]:
    """Judge what the user may do."""
    who = f"user {rights.user}"
    durable = config.ceilings is not None
    needed = set(DURABLE) if durable else {*READS, *WRITES}
    lacking = [name for name in rights.missing if name in needed]
    spare = [name for name in rights.missing if name not in needed]
    if lacking:
        grant = " ".join(f"+{name}" for name in lacking)
        text = f"{who} may not use {', '.join(lacking)}"
        yield Finding("rights", MEND, text, f"ACL SETUSER {rights.user} {grant}")
    if rights.keys:
        prefix = config.key_prefix.decode("utf-8", "backslashreplace")
        grant = f"~{prefix}*" + (" ~sqc:*" if durable else "")
        text = f"{who} may not touch the keys of {prefix!r}"
        yield Finding("rights", MEND, text, f"ACL SETUSER {rights.user} {grant}")
    if spare:
        grant = " ".join(f"+{name}" for name in spare)
        uses = "deleting, fast imports, or this report"
        text = f"{who} may not use {', '.join(spare)}: for {uses}"
        yield Finding("rights", NOTE, text, f"ACL SETUSER {rights.user} {grant}")
    if not (lacking or rights.keys or spare):
        text = f"{who} may do all that is needed"
        if rights.untested:
            text += f" (as far as can be told; {rights.untested} needs +multi to try)"
        yield Finding("rights", OK, text)
    if rights.refusal:
        code = rights.refusal.partition(" ")[0]
        remedy = _HINTS.get(code, "see the server's log")
        yield Finding("writes", MEND, f"refused: {rights.refusal}", remedy)


def of_transport(config: Config) -> Iterator[Finding]:
    """Judge how the server is reached."""
    if config.location.kind != "tcp" or config.location.host in LOOPBACK:
        return
    guarded = bool(config.password or config.credentials)
    if not guarded:
        text = "no password, and not on this machine"
        yield Finding("auth", NOTE, text, "requirepass, or ACL users, on the server")


def of_values(sampled: int, foreign: int, prefix: str) -> Finding:
    """Judge a sample of the keys of the prefix."""
    if not foreign:
        return Finding("values", OK, f"{sampled:,} keys of {prefix!r} looked at")
    return Finding(
        "values",
        MEND,
        f"{foreign:,} of {sampled:,} keys of {prefix!r} are no sequences",
        "another prefix, or `seqcache migrate` where they are counters of another form",
    )


def of_ceilings(report: CheckReport) -> Iterator[Finding]:
    """Judge the store of durable mode."""
    speed = f"{report.latency * 1000:.1f} ms a statement"
    if report.latency > SLOW_STORE_S:
        remedy = "a database nearby: each new block of numbers waits for it"
        yield Finding("store", NOTE, speed, remedy)
    else:
        yield Finding("store", OK, f"{report.keys:,} ceilings, {speed}")
    if report.behind_count:
        text = f"{report.behind_count:,} ceilings are below what the server holds"
        remedy = "a restored backup, or another store? see docs/durable.md"
        yield Finding("ceilings", MEND, text, remedy)
    if report.missing_count:
        text = f"{report.missing_count:,} counters have no ceiling yet"
        remedy = "`seqcache ceilings adopt`: lost before, they would start again"
        yield Finding("ceilings", NOTE, text, remedy)
    if report.ok:
        yield Finding("ceilings", OK, "they cover all that was looked at")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
