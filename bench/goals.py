"""The speed table: every goal, and what this run has to say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench import async_clients, sync_clients
from bench.leases import COUNTER, EMPTY
from bench.memory import EMBEDDED
from bench.plan import BULK, DICT, HELD, HELD_OTHERS
from bench.results import Results
from bench.task import FLOOR, HIREDIS, OURS, PIPELINE, RAW, Point

NEAR = 0.10  # a goal missed by no more than this share is "near"


@dataclass(frozen=True)
class Row:
    """One line of the printed table; all texts are ready to print.

    ``ratio`` is how many times better than ``against`` we are, as a number.
    """

    number: str
    what: str
    goal: str
    measured: str
    against: str = ""
    ratio: float | None = None
    verdict: str = ""
    note: str = ""


def count(value: float | None) -> str:
    """Return a rate as a person reads it: 372 k/s, 1.16 M/s."""
    if value is None:
        return "-"
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        # From where three digits of the smaller unit would round up to four.
        if value >= limit * 0.9995:
            scaled = value / limit
            digits = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
            return f"{scaled:.{digits}f} {unit}/s"
    return f"{value:.0f} /s"


def judge(value: float | None, goal: float, at_most: bool) -> str:
    """Return PASS, near or miss, or an empty text where nothing was measured."""
    if value is None:
        return ""
    if (value <= goal) if at_most else (value >= goal):
        return "PASS"
    slack = goal * (1 + NEAR) if at_most else goal * (1 - NEAR)
    return "near" if ((value <= slack) if at_most else (value >= slack)) else "miss"


class Table:
    """Builds the rows from the results of one run."""

    def __init__(self, results: Results) -> None:
        """Read from ``results``; what it lacks becomes a row without a verdict."""
        self._results = results

    def faster(
        self, number: str, what: str, goal: float, ours: Point, others: list[Point]
    ) -> Row:
        """Return the row "our rate is at least ``goal`` times the fastest other"."""
        results = self._results
        other = results.fastest(others)
        ratio = results.ratio(ours, other) if other else None
        value = ratio.value if ratio else None
        is_whole = all(results.was_asked(each) for each in others)
        notes = [results.error(ours), ratio.note if ratio else None]
        notes.append(self.absent(others) if value is not None else None)
        return Row(
            number,
            what,
            f">= {goal:g} x",
            count(results.median(ours, "ops")),
            f"{other.client} {count(results.median(other, 'ops'))}" if other else "",
            value,
            judge(value, goal, at_most=False) if is_whole else "",
            "; ".join(note for note in notes if note),
        )

    def absent(self, others: list[Point]) -> str:
        """Return the note that names the clients a comparison had to do without."""
        lacking = [p.client for p in others if self._results.median(p, "ops") is None]
        return f"without {', '.join(lacking)}" if lacking else ""

    def bounded(
        self,
        number: str,
        what: str,
        ours: Point,
        name: str,
        goal: float,
        show: Callable[[float], str],
        *,
        other: Point | None = None,
        at_least: bool = False,
    ) -> Row:
        """Return the row "our ``name`` is at most (or at least) ``goal``"."""
        results = self._results
        judged = results.cost(ours) if name == "cpu_us" else None
        value = judged.value if judged else results.median(ours, name)
        against = results.median(other, name) if other else None
        ratio = None
        if value and against:
            ratio = value / against if at_least else against / value
        return Row(
            number,
            what,
            f"{'>=' if at_least else '<='} {show(goal)}",
            "-" if value is None else show(value),
            f"{other.client} {show(against)}" if other and against is not None else "",
            ratio,
            judge(value, goal, not at_least),
            results.error(ours) or (judged.note if judged else ""),
        )

    def asyncio_rows(self) -> Iterable[Row]:
        """S1, S2, S3."""

        def point(client: str, load: int) -> Point:
            return Point("async_calls", client, load)

        loads = (1, 10, 100, 1000)
        for load, goal in zip(loads, (2.2, 9, 18, 18), strict=True):
            peers = [point(client, load) for client in async_clients.PEERS]
            yield self.faster(
                "S1", f"asyncio, {load} in flight", goal, point(OURS, load), peers
            )
        for client, name, goals in (
            ("redis-py", "redis-py pool", (3, 15, 35, 50)),
            (PIPELINE, "its pipeline", (4, 5, 7, 7)),
        ):
            for load, goal in zip(loads, goals, strict=True):
                what = f"against {name}, {load}"
                other = point(client, load)
                yield self.faster("S2", what, goal, point(OURS, load), [other])
        for load, goal in zip(loads, (10, 1.4, 0.55, 0.50), strict=True):
            yield self.bounded(
                "S3",
                f"CPU a call, {load} in flight",
                point(OURS, load),
                "cpu_us",
                goal,
                lambda us: f"{us:.3g} us",
                other=point(FLOOR, load),
            )

    def thread_rows(self) -> Iterable[Row]:
        """S4, S5."""

        def point(client: str, number: int) -> Point:
            return Point("threads", client, number)

        one = ((1.9, "redis-py"), (1.5, "valkey-py"), (0.95, HIREDIS))
        for goal, client in one:
            yield self.faster(
                "S4", "one thread", goal, point(OURS, 1), [point(client, 1)]
            )
        for number, over_redis_py, over_best in ((8, 4, 2.6), (32, 4.5, 2.5)):
            ours, what = point(OURS, number), f"{number} threads"
            best = [point(client, number) for client in sync_clients.PEERS]
            yield self.faster(
                "S5", what, over_redis_py, ours, [point("redis-py", number)]
            )
            yield self.faster("S5", f"{what}, the best other", over_best, ours, best)
        cpu: Callable[[float], str] = lambda us: f"{us:.3g} us"  # noqa: E731
        yield self.bounded(
            "S5",
            "32 threads, CPU a call",
            point(OURS, 32),
            "cpu_us",
            5.5,
            cpu,
            other=point("redis-py", 32),
        )
        for number in (8, 32):
            yield self.bounded(
                "S5",
                f"{number} threads, slowest over fastest",
                point(OURS, number),
                "fairness",
                0.9,
                lambda share: f"{share:.2f}",
                other=point("redis-py", number),
                at_least=True,
            )

    def bulk_rows(self) -> Iterable[Row]:
        """S6."""

        def point(client: str, variant: str) -> Point:
            return Point("bulk", client, BULK, variant)

        for variant, name, goals in (
            ("increase", "increase_seqs of 1000", ((0.9, HIREDIS), (8, "redis-py"))),
            ("get", "get_seqs of 1000", ((0.9, HIREDIS), (1.7, "redis-py"))),
        ):
            for goal, client in goals:
                others = [point(client, variant)]
                yield self.faster("S6", name, goal, point(OURS, variant), others)

    def memory_rows(self) -> Iterable[Row]:
        """S7, S9, S10."""
        for variant, what, goal in (
            ("next", "next(lease)", 25),
            ("awaited", "await lease.next()", 110),
        ):
            yield self.bounded(
                "S7",
                what,
                Point("leases", OURS, variant=variant),
                "ns",
                goal,
                lambda ns: f"{ns:.3g} ns",
                other=Point("leases", EMPTY, variant=variant),
            )
        yield self.bounded(
            "S9",
            "memory://, a call",
            Point("memory", OURS, variant="call"),
            "ns",
            100,
            lambda ns: f"{ns:.3g} ns",
            other=Point("memory", DICT, variant="call"),
        )
        yield self.bounded(
            "S9",
            "memory://, ids in bulk",
            Point("memory", OURS, variant="bulk"),
            "ops",
            10e6,
            count,
            other=Point("memory", DICT, variant="bulk"),
            at_least=True,
        )
        yield self.bounded(
            "S9",
            "sqlite:///, calls between two ceilings",
            Point("memory", OURS, variant=EMBEDDED),
            "ops",
            1e6,
            count,
            at_least=True,
        )
        yield self.bounded(
            "S10",
            "memory of a call in flight",
            Point("inflight_memory", OURS, HELD.get(OURS, HELD_OTHERS)),
            "bytes",
            1100,
            lambda size: f"{size:,.0f} B",
            other=Point("inflight_memory", FLOOR, HELD_OTHERS),
        )

    def durable_rows(self) -> Iterable[Row]:
        """S8: beside plain increases of the same run; threads without a goal."""
        ours = Point("durable", OURS, 100, "asyncio")
        what = "durable increase, 100 in flight"
        times: Callable[[float], str] = lambda ratio: f"{ratio:.2f} x"  # noqa: E731
        yield self.bounded(
            "S8", f"{what}, of plain", ours, "rate_ratio", 0.6, times, at_least=True
        )
        yield self.bounded("S8", f"{what}, CPU of plain", ours, "cpu_ratio", 1.2, times)
        waits = self._results.values(ours, "sql_waits")
        yield Row(
            "S8",
            f"{what}, waited for SQL",
            "0",
            f"{sum(waits):.0f}" if waits else "-",
            verdict=judge(sum(waits), 0, at_most=True) if waits else "",
            note=self._results.error(ours) or "",
        )
        for number in (1, 8, 32):
            point = Point("durable", OURS, number, "threads")
            rate = self._results.median(point, "rate_ratio")
            cpu = self._results.median(point, "cpu_ratio")
            if rate is not None and cpu is not None:
                text = f"{times(rate)}, CPU {times(cpu)}"
                yield Row("", f"durable, threads: {number}, of plain", "", text)

    def other_rows(self) -> Iterable[Row]:
        """S11, S12."""
        ours = Point("import_time", OURS)
        yield self.bounded(
            "S11",
            "import, over bare Python",
            ours,
            "ms",
            40,
            lambda ms: f"{ms:.3g} ms",
            other=Point("import_time", "redis-py"),
        )
        loaded = self._results.last(ours, "loaded")
        yield Row(
            "S11",
            "asyncio, ssl, extras imported",
            "none",
            "-" if loaded is None else ", ".join(loaded) or "none",
            verdict="" if loaded is None else "miss" if loaded else "PASS",
        )
        yield self.bounded(
            "S11",
            "size of the extension",
            ours,
            "extension_kb",
            250,
            lambda size: f"{size:.0f} kB",
        )
        size, other = (
            self._results.last(Point("import_time", client), "installed_mb")
            for client in (OURS, "redis-py")
        )
        yield Row(
            "S11",
            "installed, with what it requires",
            "",
            "-" if size is None else f"{size:.1f} MB",
            "" if other is None else f"redis-py {other:.1f} MB",
            other / size if size and other else None,
        )
        yield self.bounded(
            "S12",
            "1 ms timer late, 1000 in flight, p50",
            Point("fairness", OURS, 1000),
            "late_p50_us",
            1500,
            lambda us: f"{us / 1000:.2f} ms",
            other=Point("fairness", "valkey-glide", 1000),
        )

    def limit_rows(self) -> Iterable[Row]:
        """What no goal is about, but what tells how much room is left."""
        for load in (100, 1000):
            ours = Point("async_calls", OURS, load)
            for client in (FLOOR, HIREDIS, RAW):
                other = Point("async_calls", client, load)
                row = self.faster("", f"asyncio, {load}, the limits", 0, ours, [other])
                yield Row("", row.what, "", row.measured, row.against, row.ratio)
        lease, counter = (
            Point("leases", client, variant="next") for client in (OURS, COUNTER)
        )
        row = self.faster("", "next(lease), the limit", 0, lease, [counter])
        yield Row("", row.what, "", row.measured, row.against, row.ratio)

    def rows(self) -> list[Row]:
        """Return the rows that this run says anything about, in the table's order."""
        parts = (
            self.asyncio_rows,
            self.thread_rows,
            self.bulk_rows,
            self.memory_rows,
            self.durable_rows,
            self.other_rows,
            self.limit_rows,
        )
        return [
            row
            for part in parts
            for row in part()
            if row.measured != "-" or (row.number and row.note)
        ]
