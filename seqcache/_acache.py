"""The asyncio face: `acache` opens an `AsyncSeqCache`; hot calls are in C."""

from __future__ import annotations

import os
import time
import warnings

from . import _common, _live, _native, _outcome
from ._admin import AsyncAdmin
from ._common import DEFAULT
from ._leasing import AsyncLeasing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import (
        AsyncIterator,
        Callable,
        Coroutine,
        Generator,
        Iterable,
        Mapping,
    )
    from typing import Any, Self, Unpack

    from ._common import Items, Stats, UserId
    from ._fields import Overrides
    from .config import Config

__all__ = ["AsyncSeqCache", "acache"]

_WRITE = "`cache = await seqcache.acache(...)` or `async with seqcache.acache(...)`"


class AsyncSeqCache(AsyncAdmin, AsyncLeasing, _native.AsyncClient):
    """A cache of sequences for asyncio; open one with `acache`.

    A call is under way when it returns its awaitable, which is an asyncio future:
    await it, or hand it to gather, wait_for, shield or create_task (for
    ``asyncio.wait`` wrap it in a task). There is one link for each event loop.
    """

    __slots__ = ("_config", "_connector", "_is_view", "_parent")

    _config: Config
    _connector: Connector | None
    _is_view: bool
    _parent: Self  # of a view: keeps the cache open

    def __init__(
        self,
        engine: _native.Engine,
        prefix: bytes,
        config: Config,
        *,
        connector: Connector | None,
        view: bool,
    ) -> None:
        self._config = config
        self._connector = connector
        self._is_view = view
        if not view:
            _live.begin(self, engine.where, _common.reader_of(engine))

    def __new__(cls, engine: _native.Engine, prefix: bytes, *_: Any, **__: Any) -> Self:
        """Make a view of an engine; `acache` does that for you."""
        return super().__new__(cls, engine, prefix)

    @property
    def config(self) -> Config:
        """What the cache was opened with."""
        return self._config

    @property
    def closed(self) -> bool:
        """Whether this cache (or view) was closed."""
        return self._closed or self._engine.closed

    def raise_seqs(
        self,
        pairs: Items | Iterable[tuple[UserId, int]],
        *,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - of each batch
    ) -> _native.Awaitable[int]:
        """Move many sequences forward, never back; repeating it is harmless.

        Parameters
        ----------
        pairs:
            (user id, number) pairs or a mapping; any iterable, read in batches.
        timeout:
            Seconds for each batch of 1000.

        Returns
        -------
        How many pairs were read.
        """
        words = {} if timeout is DEFAULT else {"timeout": timeout}

        async def stream() -> int:
            total = 0
            for batch in _common.batches(pairs):
                total += await self._raise_batch(batch, **words)
            return total

        return self._start("raise_seqs", stream)

    def delete_seq(
        self,
        user_id: UserId,
        *,
        restart_from_one: bool = False,
        timeout: float | None = DEFAULT,
    ) -> _native.Awaitable[bool]:
        """Delete a sequence: its numbers start again at 1.

        Parameters
        ----------
        user_id:
            1 to 512 bytes.
        restart_from_one:
            Must be true: says that numbers may repeat.
        timeout:
            Seconds for the whole call.

        Returns
        -------
        Whether there was a key. A lost answer is `OutcomeUnknown`.
        """
        _common.check_restart(restart_from_one)
        words = {} if timeout is DEFAULT else {"timeout": timeout}
        return self._delete_key(user_id, **words)

    async def scan(
        self,
        match: str | bytes = "*",
        *,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - of each page
    ) -> AsyncIterator[tuple[str | bytes, int]]:
        """Iterate over the sequences of this prefix without blocking the server.

        Parameters
        ----------
        match:
            Glob pattern of the user ids.
        timeout:
            Seconds for each page.

        Yields
        ------
        (user id, number); perhaps more than once, in no order. Ids are str, bytes
        where they are not UTF-8.
        """
        if self._config.location.kind == "memory":
            for pair in _common.scan_store(self, match):
                yield pair
            return
        words = {} if timeout is DEFAULT else {"timeout": timeout}
        pattern = _common.scan_pattern(self._prefix, match)
        cursor: bytes | int = 0
        while True:
            _common.check_open(self, "scan")
            page = await self._execute(_common.scan_command(cursor, pattern), **words)
            cursor, found = page
            keys = _common.own_keys(found, self._prefix)
            if keys:
                values = await self._execute(("MGET", *keys), **words)
                for pair in _common.pairs_of(keys, values, self._prefix):
                    yield pair
            if int(cursor) == 0:
                return

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, on the same connections.

        Closing a view closes the view alone; closing the cache closes all views.
        """
        config = self._config.replace(prefix=prefix)
        view = type(self)(
            self._engine, config.key_prefix, config, connector=None, view=True
        )
        view._parent = self
        return view

    def ping(
        self,
        *,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - the engine's own
    ) -> _native.Awaitable[float]:
        """Make one round trip; return how many seconds it took."""
        words = {} if timeout is DEFAULT else {"timeout": timeout}

        async def trip() -> float:
            start = time.perf_counter()
            if self._config.location.kind == "memory":
                await self.get_seq(b"\0")
            else:
                await self._execute(("PING",), **words)
            return time.perf_counter() - start

        return self._start("ping", trip)

    def _start(
        self, method: str, work: Callable[[], Coroutine[Any, Any, Any]]
    ) -> _native.Awaitable[Any]:
        """Start what takes several calls, as the engine starts one."""
        import asyncio

        from ._future import start

        if self.closed:
            raise _outcome.closed(method, self._engine.where)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise _common.no_loop(method) from None
        return start(work(), loop)

    def stats(self) -> Stats:
        """Return the counters of the cache, its views included; takes no lock."""
        return _common.stats_of(self._engine)

    async def aclose(self) -> None:
        """End the cache; calls that wait end with `ClosedError`. Idempotent.

        Links of other running loops are closed there, a moment later.
        """
        import asyncio

        self._closed = True
        if self._is_view:
            return
        here = asyncio.get_running_loop()
        for link in self._engine.take_links():
            if link.loop is here:
                link.close()
            elif not link.loop.is_closed():
                link.loop.call_soon_threadsafe(link.close)
        if self._connector is not None:
            self._connector.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<{type(self).__name__} {self._config!r}{state}>"

    def _repr_html_(self) -> str:
        from ._html import cache_table

        return cache_table(self)

    def __del__(self) -> None:
        if getattr(self, "_is_view", True):
            return
        _live.end(self)
        if self.closed:
            return
        if self._connector is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, self)
            self._connector.close()
        self._engine.let_go()  # not a word to any loop


class Connector:
    """Makes the connections of an engine; `first` is the factory's own, if any."""

    def __init__(self, config: Config, first: socket.socket | None) -> None:
        self._config = config
        self._first = first
        self._pid = os.getpid()

    async def __call__(self, seconds: float | None) -> int:
        """Return the descriptor of a connection that shook hands."""
        from . import _connect

        first, self._first = self._first, None
        if first is not None and self._pid == os.getpid():
            return first.detach()
        if first is not None:
            first.close()
        deadline = None if seconds is None else time.monotonic() + seconds
        return (await _connect.open_asyncio(self._config, deadline)).detach()

    def close(self) -> None:
        """Close the first connection if nobody took it."""
        if self._first is not None:
            self._first.close()
            self._first = None


class Opening:
    """What `acache` returns: await it, or use it in ``async with``."""

    __slots__ = ("_cache", "_config", "_overrides")

    def __init__(
        self,
        config: str | Config | Mapping[str, Any] | None,
        overrides: Overrides,
    ) -> None:
        self._config = config
        self._overrides = overrides
        self._cache: AsyncSeqCache | None = None

    def __await__(self) -> Generator[Any, None, AsyncSeqCache]:
        return _open(self._config, self._overrides).__await__()

    async def __aenter__(self) -> AsyncSeqCache:
        self._cache = await _open(self._config, self._overrides)
        return self._cache

    async def __aexit__(self, *_: object) -> None:
        if self._cache is not None:
            await self._cache.aclose()

    if not TYPE_CHECKING:  # or every name would be known to type checkers

        def __enter__(self) -> None:
            raise TypeError(f"acache() needs a coroutine, write {_WRITE}")

        def __exit__(self, *_: object) -> None: ...

        def __getattr__(self, name: str) -> object:
            raise AttributeError(
                f"no {name}: acache() was not awaited, write {_WRITE}",
                name=name,
                obj=self,
            )


async def _open(
    config: str | Config | Mapping[str, Any] | None, overrides: Overrides
) -> AsyncSeqCache:
    from .config import Config

    made = Config.coerce(config, **overrides)
    if made.is_embedded:
        from .embedded.acache import open_acache as open_embedded

        return await open_embedded(made)
    if made.ceilings is not None:
        from .durable.acache import open_acache as open_durable

        return await open_durable(made)
    if made.location.kind == "memory":
        engine = _common.open_engine(made, None, 0)
        return AsyncSeqCache(engine, made.key_prefix, made, connector=None, view=False)
    if made.location.kind == "other":
        from .foreign.cache import open_acache

        return await open_acache(made)
    from . import _connect

    first = await _connect.startup_asyncio(made)
    connector = Connector(made, None)
    engine = _common.open_engine(made, connector, 0)
    cache = AsyncSeqCache(
        engine, made.key_prefix, made, connector=connector, view=False
    )
    cache._adopt(first.detach())
    return cache


def acache(
    config: str | Config | Mapping[str, Any] | None = None,
    **overrides: Unpack[Overrides],
) -> Opening:
    """Open a cache for asyncio: ``await acache(...)`` or ``async with acache(...)``.

    It connects, authenticates and checks the server.

    Parameters
    ----------
    config:
        A URL, a `Config`, a mapping of its fields, or None for the environment
        (``SEQCACHE_URL``, ``REDIS_URL``, else ``redis://localhost:6379/0``).
    **overrides:
        Fields of `Config` that go before it.

    Raises
    ------
    ConfigError
        If an option is unknown or impossible.
    AuthError
        If the server refuses the credentials.
    StartupError
        If the cache cannot be opened for another reason; the cause is chained.
    """
    return Opening(config, overrides)
