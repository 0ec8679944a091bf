"""The counters of the caches as metrics, in the data model of Prometheus.

One list of metrics for the collector of `seqcache.contrib.prometheus`, the instruments
of `seqcache.contrib.otel` and the text of ``seqcache serve``: no package is needed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from . import _live, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Literal, TypeAlias

    from ._common import Stats

    Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
    Labels: TypeAlias = dict[str, str]

#: What a text of `render` is sent as.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Ends of the latency buckets, in seconds: each octave from 16.4 us to 16.8 s. They
#: are ends of the engine's own buckets, so that nothing is guessed.
BOUNDS = tuple(128e-9 * 2**n for n in range(7, 28))


class Sample(NamedTuple):
    """One number: what the name ends with, the labels, the value."""

    suffix: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """One metric: its name (of a counter without ``_total``), kind, help, samples."""

    name: str
    kind: Kind
    help: str
    samples: list[Sample]


# Field of Stats, kind, help.
_PLAIN: tuple[tuple[str, Kind, str], ...] = (
    ("in_flight", "gauge", "Commands under way."),
    ("links", "gauge", "Connections that are up."),
    ("reconnects", "counter", "Connections made again after a loss."),
    ("regressions", "counter", "Times that the server had lost numbers."),
    ("bytes_out", "counter", "Bytes written to the server."),
    ("bytes_in", "counter", "Bytes read from the server."),
)


def live() -> list[Family]:
    """Return the metrics of all caches of this process, one server a label."""
    return families(_live.read())


def families(by_server: Mapping[str, Stats]) -> list[Family]:
    """Return the metrics of some counters, by the name of their server.

    For one cache: ``families({cache.config.address: cache.stats()})``.
    """
    made = [
        _by_label("calls", "operation", "Calls; each id of a bulk is one.", by_server),
        _by_label("errors", "error", "Calls that failed, by exception.", by_server),
        _by_label("leases", "event", "Blocks of leases, and waits for one.", by_server),
    ]
    for name, kind, text in _PLAIN:
        values = {where: getattr(stats, name) for where, stats in by_server.items()}
        made.append(_plain(name, kind, text, values))
    buckets = [one for where, s in by_server.items() for one in _histogram(where, s)]
    text = "How long calls took; a bulk is one."
    name = "seqcache_call_duration_seconds"
    made.append(Family(name, "histogram", text, buckets))
    return made + _durable(by_server)


def _suffix(kind: Kind) -> str:
    return "_total" if kind == "counter" else ""


def _plain(name: str, kind: Kind, text: str, values: Mapping[str, float]) -> Family:
    samples = [
        Sample(_suffix(kind), {"server": where}, value)
        for where, value in values.items()
    ]
    return Family(f"seqcache_{name}", kind, text, samples)


def _by_label(
    field: str, label: str, text: str, by_server: Mapping[str, Stats]
) -> Family:
    samples = []
    for where, stats in by_server.items():
        values: dict[str, float] = {}
        for name, value in getattr(stats, field).items():
            # A backend of a third party may fail with anything.
            known = field != "errors" or name in errors.__all__
            name = name if known else _live.OTHERS
            values[name] = values.get(name, 0) + value
        samples += [
            Sample("_total", {"server": where, label: name}, value)
            for name, value in values.items()
        ]
    return Family(f"seqcache_{field}", "counter", text, samples)


def _histogram(where: str, stats: Stats) -> Iterator[Sample]:
    """Yield cumulative buckets, and a count that agrees with them."""
    left = list(stats.latency_buckets)
    below = 0
    for bound in (*BOUNDS, math.inf):
        while left and left[0][0] <= bound * (1 + 1e-9):
            below += left.pop(0)[1]
        edge = "+Inf" if bound == math.inf else f"{bound:.9g}"
        yield Sample("_bucket", {"server": where, "le": edge}, below)
    yield Sample("_count", {"server": where}, below)
    yield Sample("_sum", {"server": where}, stats.latency_sum)


def _durable(by_server: Mapping[str, Stats]) -> list[Family]:
    told = {where: s.durable for where, s in by_server.items() if s.durable}
    made = []
    for name in dict.fromkeys(name for durable in told.values() for name in durable):
        values = {w: durable[name] for w, durable in told.items() if name in durable}
        text = f"Durable mode, Stats.durable: {name}."
        if name in _live.GAUGES:  # all of them are times
            made.append(_plain(f"durable_{name}_seconds", "gauge", text, values))
        else:
            made.append(_plain(f"durable_{name}", "counter", text, values))
    return made


def render(found: Iterable[Family]) -> str:
    """Return metrics as the text that Prometheus reads (format 0.0.4)."""
    lines = []
    for family in found:
        name = family.name + _suffix(family.kind)
        lines.append(f"# HELP {name} {family.help}")
        lines.append(f"# TYPE {name} {family.kind}")
        for suffix, labels, value in family.samples:
            words = ",".join(f'{key}="{_quoted(labels[key])}"' for key in labels)
            lines.append(f"{family.name}{suffix}{{{words}}} {value:.17g}")
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
