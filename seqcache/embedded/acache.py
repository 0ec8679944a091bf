"""The asyncio face of `sqlite:///`, and of `memory://` with ceilings."""

from __future__ import annotations

import asyncio
import time
import warnings
from concurrent.futures import CancelledError, Future
from functools import partial

from .. import _common, _live, _outcome
from .._acache import AsyncSeqCache
from .._common import DEFAULT
from .._future import start
from .._workers import Workers
from ..errors import ClosedError, SeqCacheError
from .cache import EmbeddedOperations, fitting, reader_of, told, too_late
from .store import Store, close_store, drop_store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any, Self

    from .. import _native
    from .._acache import Connector
    from ..config import Config

__all__ = ["AsyncEmbeddedCache", "open_acache"]


class AsyncKeeper:
    """What the engine asks when a call meets a ceiling: the call waits as a task."""

    def __init__(self, store: Store, token_ttl: int) -> None:
        self.store = store
        self.token_ttl = token_ttl
        self.closed = False
        self._waiting: set[Future[Any]] = set()

    def low(self, key: bytes) -> None:
        """A cell should get more soon."""
        self.store.granter.low(key)

    def stalled(self, call: _native.Stalled) -> Any:
        """Return the future of a call that cannot end at once."""
        # It is under way now, not when its task begins: calls keep their order.
        return start(self._bring(call, self._ask(call)), asyncio.get_running_loop())

    def _ask(self, call: _native.Stalled) -> Future[frozenset[bytes]]:
        future = self.store.granter.ask(call.wanted(), self.token_ttl)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        if self.closed:
            future.cancel()
        return future

    async def _bring(
        self, call: _native.Stalled, future: Future[frozenset[bytes]]
    ) -> Any:
        while True:
            error: BaseException | None = None
            try:
                async with asyncio.timeout(call.left()):
                    for key in await asyncio.wrap_future(future):
                        call.absent(key)
            except asyncio.CancelledError:
                if not self.closed:
                    raise
                error = CancelledError()
            except (TimeoutError, SeqCacheError) as failed:
                error = failed
            if call.run() or (error is not None and told(self.store, call, error)):
                return call.result()
            future = self._ask(call)

    def close(self) -> None:
        """End the calls that wait."""
        self.closed = True
        for future in list(self._waiting):
            future.cancel()


class AsyncEmbeddedCache(EmbeddedOperations, AsyncSeqCache):
    """An `AsyncSeqCache` whose numbers are in this process, under ceilings."""

    __slots__ = ("_keeper", "_store")

    _keeper: AsyncKeeper

    def __init__(
        self,
        engine: _native.Engine,
        prefix: bytes,
        config: Config,
        *,
        connector: Connector | None,
        view: bool,
        store: Store,
        keeper: AsyncKeeper,
    ) -> None:
        super().__init__(engine, prefix, config, connector=connector, view=view)
        self._store = store
        self._keeper = keeper
        if not view and store.users == 1:  # the store's counters are told once
            _live.begin(self, engine.where, reader_of(engine, store))

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, on the same store."""
        config = self._config.replace(prefix=prefix)
        view = type(self)(
            self._engine,
            config.key_prefix,
            config,
            connector=None,
            view=True,
            store=self._store,
            keeper=self._keeper,
        )
        view._parent = self
        return view

    async def _query(
        self,
        method: str,
        function: Callable[[], Any],
        timeout: Any,  # noqa: ASYNC109 - the caller's
    ) -> Any:
        """Use the database for something that is no number."""
        if self.closed:
            raise _outcome.closed(method, self._engine.where)
        seconds = self._config.timeout if timeout is DEFAULT else timeout
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(self._store.granter.run(function))
        except TimeoutError:
            call = f"{method}() at {self._engine.where}"
            raise _outcome.ceiling(call, too_late(self._store)) from None
        except ClosedError:
            raise _outcome.closed(method, self._engine.where) from None

    async def scan(
        self,
        match: str | bytes = "*",
        *,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - of each page
    ) -> AsyncIterator[tuple[str | bytes, int]]:
        """Iterate over the sequences of this prefix, in the order of their keys."""
        after: bytes | None = None
        while True:
            pairs, after = await self._query(
                "scan", partial(self._page, self._prefix, after), timeout
            )
            for pair in fitting(pairs, self._prefix, match):
                yield pair
            if after is None:
                return

    def ping(
        self,
        *,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - as everywhere
    ) -> _native.Awaitable[float]:
        """Read from the database; return how many seconds it took."""

        async def trip() -> float:
            start = time.perf_counter()
            await self._query("ping", self._store.ledger.ping, timeout)
            return time.perf_counter() - start

        return self._start("ping", trip)

    async def aclose(self) -> None:
        """End the cache; calls that wait end with `ClosedError`. Idempotent.

        The last cache of a store writes down the exact numbers, so that the next
        one goes on without a gap.
        """
        ends = not self._is_view and not self.closed
        await super().aclose()
        if ends:
            self._keeper.close()
            await in_thread(lambda: close_store(self._store))

    def __del__(self) -> None:
        if getattr(self, "_is_view", True):
            return
        _live.end(self)
        if self.closed:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, self)
        self._engine.close()
        drop_store(self._store)


async def in_thread(function: Callable[[], Any]) -> Any:
    """Run what blocks in a thread of its own, which has ended with the result."""
    workers = Workers("seqcache-opening", 1)
    future = workers.submit(function)
    future.add_done_callback(lambda _: workers.end())
    result = await asyncio.shield(asyncio.wrap_future(future))
    workers.join(1.0)  # it may still hold what the function held
    return result


async def open_acache(config: Config) -> AsyncSeqCache:
    """Open an embedded cache for asyncio; raises as `seqcache.acache` does."""
    opened: list[Store] = []
    wanted = [True]

    def work() -> Store:
        store = open_store(config)
        opened.append(store)
        if not wanted:
            close_store(opened.pop())
        return store

    try:
        store = await in_thread(work)
    except BaseException:
        wanted.clear()
        if opened:
            drop_store(opened.pop())
        raise
    try:
        engine = _common.open_engine(config, None, 0)
        keeper = AsyncKeeper(store, config.token_ttl)
        engine.keep(store.cells, keeper)
        return AsyncEmbeddedCache(
            engine,
            config.key_prefix,
            config,
            connector=None,
            view=False,
            store=store,
            keeper=keeper,
        )
    except BaseException:
        drop_store(store)
        raise
