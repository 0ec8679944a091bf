"""Looks at a server at even intervals in a thread, and remembers the last minutes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from .._metrics import Family, Sample
from ..errors import ClosedError, SeqCacheError
from .output import message_of
from .sampler import Look, Sampler

if TYPE_CHECKING:
    from .._metrics import Kind

#: Looks that are remembered.
HISTORY = 300


class Point(NamedTuple):
    """What of an old look is drawn."""

    time: float
    per_second: float
    latency: float


class Watch:
    """The newest look, and points of those before; safe to read from any thread.

    The first look is taken at once, and its errors are raised.
    """

    def __init__(self, sampler: Sampler, interval: float) -> None:
        self._sampler = sampler
        self.interval = interval
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._points: deque[Point] = deque(maxlen=HISTORY)
        self._look = sampler.look()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def look(self) -> Look:
        """The newest look."""
        return self._look

    @property
    def trouble(self) -> str:
        """Why the server cannot be read, empty if it can."""
        look = self._look
        age = time.time() - look.time
        if not look.trouble and age > 5 * self.interval + 10:
            return f"the last answer is {age:.0f} s old"
        return look.trouble

    def points(self) -> list[Point]:
        """Return the remembered points, the oldest first."""
        with self._lock:
            return list(self._points)

    def close(self) -> None:
        """End the thread; the cache is closed by whoever opened it."""
        self._end.set()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            # A look that took too long does not make the next ones come at once.
            due = max(due + self.interval, time.monotonic())
            if self._end.wait(max(0.0, due - time.monotonic())):
                return
            try:
                look = self._sampler.look_patiently()
            except ClosedError:
                return
            except SeqCacheError as error:
                look = self._look._replace(time=time.time(), trouble=message_of(error))
            self._look = look
            if look.seconds or look.trouble:  # else there is no rate yet
                with self._lock:
                    latency = 0.0 if look.trouble else look.latency
                    self._points.append(Point(look.time, look.per_second, latency))


def metrics(watch: Watch) -> Iterator[Family]:
    """Yield what is known of the server; no id is among the labels."""
    look, trouble = watch.look, watch.trouble
    where = {"server": look.server}

    def one(name: str, text: str, value: float | None) -> Iterator[Family]:
        if value is not None:
            sample = Sample("", where, float(value))
            yield Family(f"seqcache_server_{name}", "gauge", text, [sample])

    yield from one("up", "Whether the server answers.", not trouble)
    if trouble:
        return
    yield from one("ping_seconds", "Time of a round trip.", look.latency)
    yield from one("uptime_seconds", "Time since its start.", look.uptime)
    yield from one("connections", "Connections of all clients.", look.clients)
    yield from one("seqcache_connections", "Those of seqcache.", look.links)
    yield from one("memory_bytes", "Memory in use.", look.memory)
    yield from one("keys", "Keys of the database.", look.keys)
    yield from one("ids_known", "Ids whose number was read.", look.known)
    yield from one("ids_moving", "Ids that moved lately.", look.moving)
    counter: Kind = "counter"
    for kind, name, text, label in (
        ("calls", "commands", "Calls of all clients.", "command"),
        ("failed", "command_failures", "Calls that were refused or failed.", "command"),
        ("usec", "command_seconds", "Time spent in calls.", "command"),
        ("errors", "errors", "Errors, by their first word.", "code"),
    ):
        unit = 1e-6 if kind == "usec" else 1.0
        samples = [
            Sample("_total", {**where, label: key}, value * unit)
            for key, value in look.totals.get(kind, {}).items()
        ]
        if samples:
            yield Family(f"seqcache_server_{name}", counter, text, samples)
