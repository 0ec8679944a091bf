"""What one measurement is told, and what names it."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass

USERS = 10_000
OURS = "seqcache"
HIREDIS = "hiredis in C"
RAW = "hand-written C"
FLOOR = "bare future"
PIPELINE = "redis-py pipeline"


@dataclass(frozen=True)
class Point:
    """One cell of the tables: a question put to one client under one load.

    ``load`` is the number of calls in flight, of threads, or of ids in one call;
    ``variant`` tells questions with two forms apart; ``transport`` is tcp or unix.
    """

    question: str
    client: str
    load: int = 1
    variant: str = ""
    transport: str = "tcp"

    def __str__(self) -> str:
        """Return the point as a person would name it, for progress and errors."""
        words = [self.question, self.variant, self.client, str(self.load)]
        return " ".join(word for word in [*words, self.transport] if word)


@dataclass(frozen=True)
class Task:
    """A point, and the conditions of this run, as the worker process gets them.

    ``seconds`` is the measured time; ``path`` is the server's unix socket;
    ``loop`` is stock or uvloop; ``tool`` is the compiled limits.c, empty if none.
    """

    point: Point
    seconds: float
    host: str
    port: int
    path: str
    server_pid: int
    loop: str = "stock"
    tool: str = ""

    @property
    def is_unix(self) -> bool:
        """Return whether this measurement goes over the unix socket."""
        return self.point.transport == "unix"

    @property
    def url(self) -> str:
        """Return the address as seqcache, redis-py and valkey-py read it."""
        if self.is_unix:
            return f"unix://{self.path}"
        return f"redis://{self.host}:{self.port}/0"


class CannotMeasure(Exception):
    """This client cannot do what is asked; the text is the reason that is printed."""


def users(count: int = 65_536) -> list[str]:
    """Return ``count`` user ids at random out of USERS, the same in every process."""
    chance = random.Random(1)
    return [f"user{chance.randrange(USERS)}" for _ in range(count)]


def raise_file_limit() -> None:
    """Allow as many open files as we may: some peers need a socket a call."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))


def quantile_us(seconds: list[float], share: float) -> float | None:
    """Return the ``share`` quantile of durations in seconds, as microseconds."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    place = min(int(len(ordered) * share), len(ordered) - 1)
    return round(ordered[place] * 1e6, 2)
