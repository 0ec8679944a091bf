"""Backends of third parties: what they implement and how a URL finds them.

A backend keeps counters under keys. It is opened by the scheme of a URL, either
registered in this process::

    seqcache.register_backend("my", MyBackend)
    cache = seqcache.cache("my://somewhere?timeout=1")

or found through an installed package's entry point::

    [project.entry-points."seqcache.backends"]
    my = "my_package:MyBackend"

The factory gets the `Config` and returns a `Backend` or an `AsyncBackend`. A blocking
backend serves the asyncio face too, from a thread.
"""

# ruff: noqa: ASYNC109 - a timeout that is passed on beats one that cancels midway
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from . import _urls
from .errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from .config import Config

__all__ = [
    "ENTRY_POINT_GROUP",
    "AsyncBackend",
    "Backend",
    "BackendFactory",
    "find_backend",
    "known_schemes",
    "register_backend",
]

ENTRY_POINT_GROUP = "seqcache.backends"


@runtime_checkable
class Backend(Protocol):
    """What a blocking backend implements. It may be called from any thread.

    Keys are the prefix and the user id, as bytes; values are from 0 to 2^63 - 1.
    Results stand in the order of the arguments, one for each, duplicates included:
    an int, or the *exception instance* of what failed for that key alone
    (``seqcache.errors``: `NotASequence`, `SequenceOverflow`, `OutcomeUnknown`, ...).
    What fails for all of them is raised. ``timeout`` is in seconds, None = no limit.
    """

    def get(
        self, keys: Sequence[bytes], *, timeout: float | None
    ) -> Sequence[int | Exception]:
        """Return the value of each key, 0 for one that does not exist."""
        ...

    def increase(
        self, keys: Sequence[bytes], by: int, *, timeout: float | None
    ) -> Sequence[int | Exception]:
        """Add ``by`` (at least 1) to each key, atomically; return the new values.

        A key named twice is increased twice. Beyond 2^63 - 1 nothing changes and
        the result is a `SequenceOverflow`. Must not repeat by itself what may have
        been counted: that result is an `OutcomeUnknown`.

        A backend may also have ``increase_once(keys, by, token, *, ttl, timeout)``, for
        calls with a token (bytes): the same, but each key is increased once for each
        token, of which the number is known for at least ``ttl`` seconds; with another
        ``by`` the result is a `TokenConflict`. Without it a token is refused.
        """
        ...

    def raise_to(
        self, items: Sequence[tuple[bytes, int]], *, timeout: float | None
    ) -> Sequence[int | Exception]:
        """Lift each key to at least the given value, atomically, never lower it.

        Returns the values that hold afterwards.
        """
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, int]]:
        """Yield (key, value) of the keys that begin with ``prefix``, in any order.

        A key may come more than once; whatever is no sequence is left out.
        """
        ...

    def ping(self, *, timeout: float | None) -> None:
        """Make one round trip to wherever the numbers are, or raise."""
        ...

    def close(self) -> None:
        """Give everything back. Called once or more."""
        ...


@runtime_checkable
class AsyncBackend(Protocol):
    """What an asyncio backend implements: `Backend` with coroutines and ``aclose``.

    It serves `acache` only. The factory runs inside the event loop and must not
    block; connecting belongs into the first call (the cache pings at once).
    """

    async def get(
        self, keys: Sequence[bytes], *, timeout: float | None
    ) -> Sequence[int | Exception]:
        """As `Backend.get`."""
        ...

    async def increase(
        self, keys: Sequence[bytes], by: int, *, timeout: float | None
    ) -> Sequence[int | Exception]:
        """As `Backend.increase`."""
        ...

    async def raise_to(
        self, items: Sequence[tuple[bytes, int]], *, timeout: float | None
    ) -> Sequence[int | Exception]:
        """As `Backend.raise_to`."""
        ...

    def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, int]]:
        """As `Backend.scan`, an async iterator."""
        ...

    async def ping(self, *, timeout: float | None) -> None:
        """As `Backend.ping`."""
        ...

    async def aclose(self) -> None:
        """As `Backend.close`."""
        ...


BackendFactory: TypeAlias = Callable[["Config"], "Backend | AsyncBackend"]

_registered: dict[str, BackendFactory] = {}


def register_backend(scheme: str, factory: BackendFactory) -> None:
    """Open URLs of this scheme by ``factory`` from now on, in this process.

    Parameters
    ----------
    scheme:
        What stands before ``://``: letters, digits, ``+ - .``, in any case.
    factory:
        Called with the `Config`; returns a `Backend` or an `AsyncBackend`. It reads
        its own options from ``config.url``, which keeps those that are unknown to
        seqcache. Registering a scheme again replaces its factory.

    Raises
    ------
    ConfigError
        If the scheme is malformed or one of seqcache's own.
    TypeError
        If the factory is not callable.
    """
    name = scheme.lower()
    if not _urls.is_scheme(name):
        raise ConfigError(
            "a scheme is letters, digits, '+', '-' and '.', and begins with a letter",
            option="url",
        )
    if name in _urls.BUILT_IN or name in _urls.LATER:
        raise ConfigError(f"{name}:// belongs to seqcache itself", option="url")
    if not callable(factory):
        raise TypeError(f"factory must be callable, not {type(factory).__name__}")
    _registered[name] = factory


def known_schemes() -> tuple[str, ...]:
    """Return the schemes of all third-party backends, registered or installed."""
    installed = (point.name.lower() for point in _entry_points())
    return tuple(dict.fromkeys([*_registered, *installed]))


def find_backend(scheme: str) -> BackendFactory | None:
    """Return the factory of a scheme, or None if nobody offers it.

    A factory registered in this process goes before an installed one. An entry
    point is loaded now; what its import raises comes as the cause of a ConfigError.
    """
    name = scheme.lower()
    if name in _registered:
        return _registered[name]
    for point in _entry_points():
        if point.name.lower() != name:
            continue
        try:
            factory = point.load()
        except Exception as error:
            raise ConfigError(
                f"the backend of {name}:// cannot be loaded from {point.value!r}: "
                f"{type(error).__name__}: {error}",
                option="url",
            ) from error
        if not callable(factory):
            raise ConfigError(
                f"the backend of {name}:// is not callable: {point.value!r}",
                option="url",
            )
        return factory  # type: ignore[no-any-return]  # what an entry point loads
    return None


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINT_GROUP)
