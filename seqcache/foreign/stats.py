"""What a cache of a third party's backend counts and remembers.

The C engine does both by itself; here it is Python, under the desk's lock.
"""

from __future__ import annotations

from .._common import Stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from .. import _native
    from .calls import Request

#: Keys of which the highest number is remembered, as in the engine.
KNOWN_MOST = 65536


def bucket_end(seconds: float) -> float:
    """Return the end of the bucket of a latency, as the engine cuts them.

    Eight an octave, in units of 128 ns (csrc/core/stats.c).
    """
    units = int(seconds * 1e9) >> 7
    octave = max(units.bit_length() - 4, 0)
    return (((units >> octave) + 1) << octave) * 128 / 1e9


class Counters:
    """The numbers behind `Stats`."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.in_flight = 0
        self.regressions = 0
        self.latency_sum = 0.0
        self.latencies: dict[float, int] = {}  # calls by the end of the bucket

    def began(self, operation: str, count: int) -> None:
        """Count a call of ``count`` ids, or of none."""
        count = max(count, 1)
        self.in_flight += count
        self.calls[operation] = self.calls.get(operation, 0) + count

    def ended(self, count: int, seconds: float, results: Iterable[Any]) -> None:
        """Count its end, its errors by class, and how long it took."""
        self.in_flight -= max(count, 1)
        self.latency_sum += seconds
        end = bucket_end(seconds)
        self.latencies[end] = self.latencies.get(end, 0) + 1
        for item in results:
            if isinstance(item, BaseException):
                name = type(item).__name__
                self.errors[name] = self.errors.get(name, 0) + 1

    def quantile(self, share: float) -> float:
        """Return the end, in seconds, of the bucket with that quantile."""
        left = share * sum(self.latencies.values())
        for end in sorted(self.latencies):
            left -= self.latencies[end]
            if left <= 0:
                return end
        return 0.0

    def stats(self, engine: _native.Engine) -> Stats:
        """Return them as `Stats`; the engine, which is idle, knows all the names."""
        idle = engine.stats()
        return Stats(
            **idle
            | {
                "calls": idle["calls"] | self.calls,
                "errors": idle["errors"] | self.errors,
                "in_flight": self.in_flight,
                "links": 0 if engine.closed else 1,
                "regressions": self.regressions,
                "latency_count": sum(self.latencies.values()),
                "latency_p50": self.quantile(0.5),
                "latency_p99": self.quantile(0.99),
                "latency_max": self.quantile(1.0),
                "latency_sum": self.latency_sum,
                "latency_buckets": tuple(sorted(self.latencies.items())),
            }
        )


class Known:
    """The highest number known of each key, for on_regress; bounded."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._deletes = 0

    def start(self, request: Request) -> list[int | None]:
        """Return what is known of each key when the backend is asked.

        While a delete is under way that is nothing: which of the numbers were
        before it cannot be told.
        """
        if request.operation == "delete":
            self._deletes += 1
        if self._deletes:
            return [None] * len(request.keys)
        return [self._numbers.get(key) for key in request.keys]

    def end(self, request: Request) -> None:
        """Note that the backend answered, or that nobody waits any more."""
        if request.operation == "delete":
            self._deletes -= 1
            for key in request.keys:
                self._numbers.pop(key, None)

    def learn(self, request: Request, results: Sequence[Any]) -> list[tuple[int, int]]:
        """Remember new numbers; return (place, known) of those that went back.

        A number that went back is the truth from now on: a loss is told once.
        """
        lost: list[tuple[int, int]] = []
        # What a token gets again may be of before a delete.
        if request.operation == "delete" or request.token is not None:
            return lost
        for at, (key, number) in enumerate(zip(request.keys, results, strict=True)):
            if not isinstance(number, int):
                continue
            floor = request.floors[at]
            before = number - request.by  # 0 for a read
            if floor is not None and before < floor and request.operation != "raise":
                lost.append((at, floor))
                self._numbers[key] = number
            else:
                self._remember(key, number)
        return lost

    def _remember(self, key: bytes, number: int) -> None:
        if number >= self._numbers.get(key, -1):
            self._numbers[key] = number
        if len(self._numbers) > KNOWN_MOST:
            del self._numbers[next(iter(self._numbers))]
