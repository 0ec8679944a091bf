"""The caches of this process, for whoever collects metrics; it costs no call anything.

A counter that goes back reads as a restart of the process. So what a cache counted
outlives the cache: `end` leaves its last numbers, and `read` sums up by server.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from ._common import Stats

    Source: TypeAlias = Callable[[], Stats] | Stats

#: Servers that are told apart; what comes later is summed up as `OTHERS`. An address
#: is a label, and nobody else bounds the names of memory:// and socket paths.
MOST_SERVERS = 100
OTHERS = "other"

#: Of ``Stats.durable``, what does not count up; two caches have the worse of both.
GAUGES: Mapping[str, Callable[[float, float], float]] = {
    "lease_left": min,
    "store_latency": max,
    "store_latency_max": max,
}

# By the id of the cache: the server, and how to read its counters or, when the cache is
# gone, what they were.
_sources: dict[int, tuple[str, Source]] = {}
_ended: dict[str, Stats] = {}
_servers: set[str] = set()
_lock = allocate_lock()  # of _ended, and of the length of _sources


def _after_fork() -> None:
    global _lock
    _lock = allocate_lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


def begin(cache: object, where: str, read: Callable[[], Stats]) -> None:
    """Note a cache; `read`, which must not refer to it, returns its counters."""
    with _lock:
        _fold()
        _sources[id(cache)] = (_named(where), read)


def end(cache: object) -> None:
    """Keep the last counters of a cache that is being deleted.

    A finalizer runs in the middle of anything, `begin` included: no lock, one write.
    """
    found = _sources.get(id(cache))
    if found is not None and callable(found[1]):
        _sources[id(cache)] = (found[0], _last(found[1]()))


def _last(stats: Stats) -> Stats:
    counted = stats.durable
    if counted is not None:
        counted = {name: counted[name] for name in counted if name not in GAUGES}
    return stats._replace(in_flight=0, links=0, durable=counted)


def read() -> dict[str, Stats]:
    """Return for each server the counters of its caches, past ones too, as one."""
    with _lock:
        _fold()
        told = dict(_ended)
        sources = list(_sources.values())
    for where, source in sources:
        stats = source() if callable(source) else source
        told[where] = added(told[where], stats) if where in told else stats
    return told


def _fold() -> None:
    """Sum up what is gone: a process may open and drop caches for ever."""
    for key, (where, source) in list(_sources.items()):
        if not callable(source):
            before = _ended.get(where)
            _ended[where] = source if before is None else added(before, source)
            del _sources[key]


def _named(where: str) -> str:
    if where not in _servers and len(_servers) >= MOST_SERVERS:
        return OTHERS
    _servers.add(where)
    return where


def added(one: Stats, other: Stats) -> Stats:
    """Return the sum of two caches' counters; the quantiles, which have none, are 0."""
    buckets = dict(one.latency_buckets)
    for bucket_end, count in other.latency_buckets:
        buckets[bucket_end] = buckets.get(bucket_end, 0) + count
    return one._replace(
        calls=_sum(one.calls, other.calls),
        errors=_sum(one.errors, other.errors),
        in_flight=one.in_flight + other.in_flight,
        links=one.links + other.links,
        reconnects=one.reconnects + other.reconnects,
        regressions=one.regressions + other.regressions,
        bytes_out=one.bytes_out + other.bytes_out,
        bytes_in=one.bytes_in + other.bytes_in,
        latency_count=one.latency_count + other.latency_count,
        latency_p50=0.0,
        latency_p99=0.0,
        latency_max=0.0,
        latency_sum=one.latency_sum + other.latency_sum,
        latency_buckets=tuple(sorted(buckets.items())),
        leases=_sum(one.leases, other.leases),
        durable=_sum(one.durable or {}, other.durable or {}) or None,
    )


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    total = dict(one)
    for name, value in other.items():
        if name not in total:
            total[name] = value
        elif name in GAUGES:
            total[name] = GAUGES[name](total[name], value)
        else:
            total[name] += value
    return total
