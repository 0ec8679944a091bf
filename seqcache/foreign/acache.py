"""The asyncio face of third parties' backends, and how it is opened."""

from __future__ import annotations

import asyncio
import time
import warnings

from .. import _common, _connect, _live, _outcome
from .._acache import AsyncSeqCache
from .._common import DEFAULT
from .._glob import compile_glob
from ..errors import ConnectError
from .cache import (
    PAGE,
    Pages,
    ask_ping,
    factory_of,
    is_async,
    same,
    select,
    trouble,
)
from .calls import Desk, Request, raise_from
from .carriers import Carrier, Looped, Threaded
from .operations import Operations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any, Self

    from .. import _native
    from .._common import Stats
    from .._native import Awaitable
    from ..backends import AsyncBackend, BackendFactory
    from ..config import Config


class AsyncForeignCache(Operations, AsyncSeqCache):
    """An `AsyncSeqCache` over a third party's backend."""

    __slots__ = ("_carrier", "_desk")

    _desk: Desk

    def __init__(
        self,
        engine: _native.Engine,
        prefix: bytes,
        config: Config,
        *,
        view: bool,
        carrier: Carrier,
    ) -> None:
        super().__init__(engine, prefix, config, connector=None, view=view)
        self._carrier = carrier
        self._desk = carrier.desk
        if not view:
            _live.begin(self, self._desk.where, self._desk.stats)

    def _enter(self, method: str) -> None:
        if self.closed:
            raise _outcome.closed(method, self._desk.where)
        if asyncio._get_running_loop() is None:
            raise _common.no_loop(method)

    def _perform(self, request: Request) -> Any:
        return self._carrier.send(request, asyncio.get_running_loop())

    async def scan(
        self,
        match: str | bytes = "*",
        *,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - of each page
    ) -> AsyncIterator[tuple[str | bytes, int]]:
        """Iterate as `AsyncSeqCache.scan`."""
        self._enter("scan")
        pattern = compile_glob(match)
        pages = self._pages()
        try:
            while True:
                request = self._plain("scan", pages.next, same, timeout)
                page = await self._perform(request)
                for pair in select(page, self._prefix, pattern):
                    yield pair
                if len(page) < PAGE:
                    return
        finally:
            if not self.closed:
                self._perform(self._plain("scan", pages.end, same, None))

    def _pages(self) -> Any:
        if isinstance(self._carrier, Looped):
            return AsyncPages(self._prefix)
        return Pages(self._prefix)

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, on the same backend."""
        config = self._config.replace(prefix=prefix)
        view = type(self)(
            self._engine, config.key_prefix, config, view=True, carrier=self._carrier
        )
        view._parent = self
        return view

    def ping(
        self,
        *,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - passed on
    ) -> Awaitable[float]:
        """Let the backend make one round trip; return how many seconds it took."""
        self._enter("ping")
        start = time.perf_counter()

        def spent(_: Any) -> float:
            return time.perf_counter() - start

        call: Awaitable[float] = self._perform(
            self._plain("ping", ask_ping, spent, timeout)
        )
        return call

    def stats(self) -> Stats:
        """Return the counters of the cache, its views included."""
        return self._desk.stats()

    async def aclose(self) -> None:
        """End the cache; calls that wait end with `ClosedError`. Idempotent.

        The backend is closed when the call that it is in has ended.
        """
        self._closed = True
        if self._is_view or self._engine.closed:
            return
        self._engine.close()
        self._carrier.end_calls()
        await self._carrier.aclose()

    def __del__(self) -> None:
        if getattr(self, "_is_view", True):
            return
        _live.end(self)
        if self.closed:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        self._engine.close()
        self._carrier.let_go()


class AsyncPages:
    """A scan of an AsyncBackend, cut into pages."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._found: Any = None

    async def next(
        self, backend: AsyncBackend, _left: float | None
    ) -> list[tuple[bytes, int]]:
        """Return the next page; one that is not full is the last."""
        if self._found is None:
            self._found = aiter(backend.scan(self._prefix))
        page: list[tuple[bytes, int]] = []
        while len(page) < PAGE:
            try:
                page.append(await anext(self._found))
            except StopAsyncIteration:
                break
        return page

    async def end(self, _backend: AsyncBackend, _left: float | None) -> None:
        """Let go of the backend's iterator."""
        found, self._found = self._found, None
        if hasattr(found, "aclose"):
            await found.aclose()


# --- opening ---------------------------------------------------------------------


async def open_acache(config: Config) -> AsyncSeqCache:
    """Open an asyncio cache; the errors are those of `foreign.cache.open_cache`.

    A factory that is a class with ``close`` runs in the backend's thread, any other
    one in the loop.
    """
    factory = factory_of(config)
    patience = _connect._Patience(config)
    while True:
        try:
            carrier = await _carrier(factory, config)
            break
        except ConnectError as error:
            pause = patience.pause(error)
        await asyncio.sleep(pause)
    engine = _common.open_engine(config, None, 0)
    carrier.desk = Desk(config, engine)
    return AsyncForeignCache(
        engine, config.key_prefix, config, view=False, carrier=carrier
    )


async def _carrier(factory: BackendFactory, config: Config) -> Carrier:
    blocks = isinstance(factory, type) and not hasattr(factory, "aclose")
    try:
        if blocks:
            threaded = Threaded(config)
            await threaded.make(factory, None)
            return threaded
        made = factory(config)
        if is_async(config, made):
            looped = Looped(config, factory)
            await looped.adopt(made)  # type: ignore[arg-type]
            return looped
        threaded = Threaded(config)
        await threaded.make(None, made)
        return threaded
    except Exception as error:
        raise_from(trouble(config, error), error)
