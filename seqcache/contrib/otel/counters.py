"""The counters of `stats()` as observable instruments of OpenTelemetry."""

from __future__ import annotations

from opentelemetry.metrics import Observation

from ... import _live
from ...errors import __all__ as error_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypeAlias

    from opentelemetry.metrics import CallbackOptions, Meter

    from ..._common import Stats

    #: Numbers of one server, by further attributes.
    Numbers: TypeAlias = Iterable[tuple[Mapping[str, str], float]]

# The name of a pool that has none is "server.address:server.port/db.namespace".
_POOL = "db.client.connection.pool.name"


class Counters:
    """Registers the instruments; `stop` silences them, as nobody can remove them."""

    def __init__(self, meter: Meter) -> None:
        self._stopped = False
        for kind, name, unit, text, numbers in INSTRUMENTS:
            make = getattr(meter, f"create_observable_{kind}")
            make(name, [self._observer(numbers)], unit, text)

    def stop(self) -> None:
        """Observe nothing any more."""
        self._stopped = True

    def _observer(
        self, numbers: Callable[[Stats], Numbers]
    ) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            if self._stopped:
                return
            for where, stats in _live.read().items():
                for attributes, value in numbers(stats):
                    yield Observation(value, {_POOL: where, **attributes})

        return observe


def _calls(stats: Stats) -> Numbers:
    return [({"seqcache.operation": k}, v) for k, v in stats.calls.items()]


def _errors(stats: Stats) -> Numbers:
    told: dict[str, float] = {}
    for name, value in stats.errors.items():
        # A backend of a third party may fail with anything.
        name = name if name in error_names else "_OTHER"
        told[name] = told.get(name, 0) + value
    return [({"error.type": name}, value) for name, value in told.items()]


def _leases(stats: Stats) -> Numbers:
    return [({"seqcache.lease.event": k}, v) for k, v in stats.leases.items()]


def _one(field: str) -> Callable[[Stats], Numbers]:
    return lambda stats: [({}, getattr(stats, field))]


def _links(stats: Stats) -> Numbers:
    return [({"db.client.connection.state": "used"}, stats.links)]


def _bytes(stats: Stats) -> Numbers:
    return [
        ({"network.io.direction": "transmit"}, stats.bytes_out),
        ({"network.io.direction": "receive"}, stats.bytes_in),
    ]


def _durable_events(stats: Stats) -> Numbers:
    told = stats.durable or {}
    counted = [(name, told[name]) for name in told if name not in _live.GAUGES]
    return [({"seqcache.durable.event": name}, value) for name, value in counted]


def _durable_times(stats: Stats) -> Numbers:
    told = stats.durable or {}
    times = [(name, told[name]) for name in told if name in _live.GAUGES]
    return [({"seqcache.durable.time": name}, value) for name, value in times]


# Kind, name, unit, description, how to read the numbers.
INSTRUMENTS: tuple[tuple[str, str, str, str, Callable[[Stats], Numbers]], ...] = (
    ("counter", "seqcache.calls", "{call}", "Calls; each id of a bulk is one.", _calls),
    ("counter", "seqcache.errors", "{error}", "Calls that failed.", _errors),
    (
        "up_down_counter",
        "seqcache.in_flight",
        "{command}",
        "Commands under way.",
        _one("in_flight"),
    ),
    (
        "up_down_counter",
        "db.client.connection.count",
        "{connection}",
        "Connections that are up.",
        _links,
    ),
    (
        "counter",
        "seqcache.reconnects",
        "{connection}",
        "Connections made again after a loss.",
        _one("reconnects"),
    ),
    (
        "counter",
        "seqcache.regressions",
        "{regression}",
        "Times that the server had lost numbers.",
        _one("regressions"),
    ),
    (
        "counter",
        "seqcache.leases",
        "{event}",
        "Blocks of leases, and waits for one.",
        _leases,
    ),
    ("counter", "seqcache.io", "By", "Bytes to and from the server.", _bytes),
    (
        "counter",
        "seqcache.durable.events",
        "{event}",
        "What durable mode did, by its name.",
        _durable_events,
    ),
    (
        "gauge",
        "seqcache.durable.time",
        "s",
        "Times of durable mode, by their name.",
        _durable_times,
    ),
)
