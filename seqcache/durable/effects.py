"""What the durable state machine asks of its driver, and what it gets back.

The machine is made of generators that yield the effects below and never wait,
never open a socket and never read a clock that they were not handed. A driver
performs an effect and sends its outcome in, or throws the error that it met. When
the caller's deadline comes first, it throws `TimeUp`: the step is abandoned, and
whatever arrives for it later is never used (rule R10 of docs/durable.md).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Arg: TypeAlias = "bytes | str | int"


class TimeUp(Exception):
    """The deadline came while an effect was being performed; never leaves a face."""


@dataclass(frozen=True, slots=True)
class Fcall:
    """One call of a server function; a part of `Fcalls`."""

    name: str
    keys: tuple[bytes, ...]
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Fcalls:
    """Send these calls, pipelined; answered by `Replies`.

    With `link` they travel on that link or not at all: if it is gone, each value
    is an error with ``executed`` False. They are never repeated by the driver.
    """

    calls: tuple[Fcall, ...]
    link: Hashable = None


@dataclass(frozen=True, slots=True)
class Replies:
    """For each call what the server said, or the SeqCacheError that took it away.

    ``executed`` of such an error is False when the call certainly did not run.
    """

    values: list[Any]
    link: Hashable


@dataclass(frozen=True, slots=True)
class Load:
    """FUNCTION LOAD of the library; that it is there already is no error."""


@dataclass(frozen=True, slots=True)
class Sql:
    """Call a method of the ceiling store, off the event loop's thread."""

    method: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Rediscover:
    """Ask discovery again who serves, and connect there; error: nobody does."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Await a job that runs once for all who ask for `key`, in the background.

    It is begun unless it runs already, and goes on by itself, for at most
    `seconds`, when this caller's time is up.
    """

    key: Hashable
    make: Callable[[], Step[Any]]
    seconds: float


@dataclass(frozen=True, slots=True)
class Background:
    """As `Shared`, but nobody waits for it; its errors are logged."""

    key: Hashable
    make: Callable[[], Step[Any]]
    seconds: float


Effect: TypeAlias = Fcalls | Load | Sql | Sleep | Rediscover | Shared | Background
Step: TypeAlias = Generator[Effect, Any, T]


class Engine(Protocol):
    """What a blocking driver needs of the engine that owns the links.

    Times are seconds from now, None is without limit.
    """

    def fcalls(
        self, calls: tuple[Fcall, ...], link: Hashable, seconds: float | None
    ) -> Replies:
        """Perform `Fcalls`; raises nothing that belongs to a single call."""

    def load(self, library: str, seconds: float | None) -> None:
        """Perform `Load`; a foreign library of that name is a StartupError."""

    def rediscover(self, seconds: float | None) -> None:
        """Perform `Rediscover`."""


class AsyncEngine(Protocol):
    """The same for the asyncio driver."""

    async def fcalls(
        self, calls: tuple[Fcall, ...], link: Hashable, seconds: float | None
    ) -> Replies:
        """Perform `Fcalls`; raises nothing that belongs to a single call."""

    async def load(self, library: str, seconds: float | None) -> None:
        """Perform `Load`; a foreign library of that name is a StartupError."""

    async def rediscover(self, seconds: float | None) -> None:
        """Perform `Rediscover`."""
