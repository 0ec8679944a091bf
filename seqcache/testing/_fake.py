"""`fake` and `afake`: caches for unit tests, without a server or a socket."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, Unpack

from .. import _common
from .._acache import AsyncSeqCache
from .._cache import SeqCache
from ..config import Config
from ..errors import CallTimeout, ConfigError, OutcomeUnknown, SeqCacheError

if TYPE_CHECKING:
    from .._fields import Fields

__all__ = ["AsyncFakeCache", "FakeCache", "afake", "fake"]

# The calls that can be made to fail; the others return at once or are iterators.
FAILING = (
    *("get_seq", "increase_seq", "reserve", "raise_seq", "get_seqs"),
    *("increase_seqs", "raise_seqs", "delete_seq", "ping"),
)


@dataclass
class Failure:
    """What was ordered with ``fail_next``."""

    error: Exception | type[SeqCacheError]
    times: int
    method: str | None
    counted: bool | None

    def error_of(self, method: str, user_id: Any, by: int, token: Any) -> Exception:
        """Return the exception for a call."""
        if isinstance(self.error, Exception):
            return self.error
        text = f"{method}({user_id!r}): fail_next() said so"
        if issubclass(self.error, OutcomeUnknown):
            cause = CallTimeout("no answer: fail_next() said so")
            return self.error(text, cause=cause, user_id=user_id, by=by, token=token)
        return self.error(text)

    def counts(self, error: Exception) -> bool:
        """Tell whether the call takes effect before it fails."""
        if self.counted is not None:
            return self.counted
        return getattr(error, "executed", None) is not False


class Failing:
    """What both fakes have: failures that were ordered, shared with their views."""

    _failures: list[Failure]

    def fail_next(
        self,
        error: Exception | type[SeqCacheError],
        *,
        times: int = 1,
        method: str | None = None,
        counted: bool | None = None,
    ) -> None:
        """Make the next call raise an error, of this cache or one of its views.

        Failures that were ordered earlier come first. Iterators (``scan``), leases and
        what asks no server (``stats``) do not fail.

        Parameters
        ----------
        error:
            The exception, or one of seqcache's classes: then it names the call.
        times:
            How many calls in a row.
        method:
            Only calls of this method: ``"increase_seq"``.
        counted:
            Whether the call takes effect before it fails. By default what the error
            says: yes, unless its ``executed`` is False.

        Raises
        ------
        ValueError
            If the method is none that can fail, or times is below 1.
        """
        if method is not None and method not in FAILING:
            raise ValueError(f"{method!r} is none of {', '.join(FAILING)}")
        if times < 1:
            raise ValueError("times must be at least 1")
        self._failures.append(Failure(error, times, method, counted))

    def _failure_of(
        self, method: str, args: tuple[Any, ...], words: dict[str, Any]
    ) -> tuple[Exception, bool] | None:
        """Take the failure of a call: its exception, and whether it counts."""
        found = [one for one in self._failures if one.method in (None, method)]
        if not found:
            return None
        failure = found[0]
        failure.times -= 1
        if not failure.times:
            self._failures.remove(failure)
        whom = args[0] if args else words.get("user_id")
        by = args[1] if args[1:] else words.get("by", words.get("count", 1))
        error = failure.error_of(method, whom, by, words.get("token"))
        return error, failure.counts(error)


class FakeCache(Failing, SeqCache):
    """A `SeqCache` in memory that fails when told; `fake` makes one."""

    def __init__(self, *args: Any, **words: Any) -> None:
        super().__init__(*args, **words)
        self._failures = []

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, which fails with this cache."""
        view = super().namespace(prefix)
        view._failures = self._failures
        return view


class AsyncFakeCache(Failing, AsyncSeqCache):
    """An `AsyncSeqCache` in memory that fails when told; `afake` makes one."""

    def __init__(self, *args: Any, **words: Any) -> None:
        super().__init__(*args, **words)
        self._failures = []

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, which fails with this cache."""
        view = super().namespace(prefix)
        view._failures = self._failures
        return view


def _blocking(name: str) -> Any:
    real = getattr(SeqCache, name)

    @functools.wraps(real)
    def method(self: FakeCache, *args: Any, **words: Any) -> Any:
        failure = self._failure_of(name, args, words)
        if failure is None:
            return real(self, *args, **words)
        error, counts = failure
        if counts:
            real(self, *args, **words)
        raise error

    return method


def _asyncio(name: str) -> Any:
    real = getattr(AsyncSeqCache, name)

    @functools.wraps(real)
    def method(self: AsyncFakeCache, *args: Any, **words: Any) -> Any:
        failure = self._failure_of(name, args, words)
        if failure is None:
            return real(self, *args, **words)
        error, counts = failure
        call = real(self, *args, **words) if counts else None

        async def fail() -> Any:
            if call is not None:
                await call
            raise error

        return self._start(name, fail)

    return method


for _name in FAILING:
    setattr(FakeCache, _name, _blocking(_name))
    setattr(AsyncFakeCache, _name, _asyncio(_name))


def _parts(name: str, fields: Fields) -> tuple[Any, bytes, Config]:
    config = Config.from_url(f"memory://{name}", **fields)
    if config.ceilings is not None:
        raise ConfigError("a fake has no durable mode", option="ceilings")
    return _common.open_engine(config, None, 0), config.key_prefix, config


def fake(name: str = "", **fields: Unpack[Fields]) -> FakeCache:
    """Make a stand-in for a `SeqCache`: the real engine, counters in this process.

    ::

        cache = seqcache.testing.fake()
        cache.fail_next(seqcache.OutcomeUnknown)
        service = Service(cache)

    Parameters
    ----------
    name:
        Fakes of one name, and ``memory://name``, share their numbers; without a name
        the fake is alone.
    **fields:
        Fields of `Config`: ``prefix``, ``on_regress``, ...
    """
    return FakeCache(*_parts(name, fields), view=False)


def afake(name: str = "", **fields: Unpack[Fields]) -> AsyncFakeCache:
    """Make a stand-in for an `AsyncSeqCache`; no loop is needed to make it.

    Parameters are those of `fake`. It is open already: use it as it is, or in
    ``async with``.
    """
    return AsyncFakeCache(*_parts(name, fields), connector=None, view=False)
