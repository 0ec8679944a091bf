"""The blocking face of `sqlite:///`, and of `memory://` with ceilings."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial

from .. import _common, _live, _outcome
from .._cache import SeqCache
from .._common import DEFAULT
from ..errors import CeilingError, ClosedError, OutcomeUnknown, SeqCacheError
from .store import Store, close_store, drop_store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import Any, Self

    from .. import _native
    from .._common import Stats
    from ..config import Config

__all__ = ["EmbeddedCache", "Keeper", "open_cache"]


def told(store: Store, call: _native.Stalled, error: BaseException) -> bool:
    """End what is left of a call with an error; whether nothing is left of it."""
    if isinstance(error, CancelledError | ClosedError):
        call.end()
    elif isinstance(error, TimeoutError):
        call.refuse(too_late(store))
    elif isinstance(error, OutcomeUnknown):
        call.doubt(f"unavailable {error.args[0]}")
    elif isinstance(error, CeilingError):
        call.refuse(f"{error.reason or 'unavailable'} {error.args[0]}")
    else:
        raise error
    return call.run()


def too_late(store: Store) -> str:
    """Write the same for a call whose time is up."""
    if store.granter.fenced:
        return f"fence another process may still give its numbers from {store.name}"
    return f"unavailable the ceiling store {store.name} did not answer in time"


class Keeper:
    """What the engine asks at a ceiling: the call waits in its own thread."""

    def __init__(self, store: Store, token_ttl: int) -> None:
        self.store = store
        self.token_ttl = token_ttl
        self.closed = False
        self._waiting: set[Future[Any]] = set()

    def low(self, key: bytes) -> None:
        """A cell should get more soon."""
        self.store.granter.low(key)

    def stalled(self, call: _native.Stalled) -> Any:
        """Wait until the call can go on, or refuse it; what the caller gets."""
        while True:
            future = self.store.granter.ask(call.wanted(), self.token_ttl)
            self._waiting.add(future)
            error: BaseException | None = None
            try:
                if self.closed:
                    future.cancel()
                for key in future.result(call.left()):
                    call.absent(key)
            except (FutureTimeout, CancelledError, SeqCacheError) as failed:
                future.cancel()
                error = failed
            finally:
                self._waiting.discard(future)
            if call.run() or (error is not None and told(self.store, call, error)):
                return call.result()

    def close(self) -> None:
        """End the calls that wait."""
        self.closed = True
        for future in list(self._waiting):
            future.cancel()


def reader_of(engine: _native.Engine, store: Store) -> Callable[[], Stats]:
    """Return what reads the counters of a cache and of its store."""
    return lambda: _common.stats_of(engine)._replace(durable=store.stats())


class EmbeddedOperations:
    """What both faces refuse, and tell."""

    __slots__ = ()

    _engine: _native.Engine
    _store: Store

    def delete_seq(self, *_: Any, **__: Any) -> Any:
        """Refuse: a deleted sequence would give its numbers again."""
        raise SeqCacheError(
            f"delete_seq() at {self._engine.where}: refused in durable mode, which"
            " never gives a number twice",
            executed=False,
            hint="give what begins anew an id of its own",
        )

    def stats(self) -> Stats:
        """Return the counters of the cache, its views and its store included."""
        return reader_of(self._engine, self._store)()

    def _page(
        self, prefix: bytes, after: bytes | None
    ) -> tuple[list[tuple[bytes, int]], bytes | None]:
        """Read a page of a scan: pairs, and the key after which the next begins."""
        rows = self._store.ledger.page(prefix, after, _common.BATCH)
        look = self._store.cells.look
        pairs = []
        for key, ceiling in rows:
            have = look(key)
            pairs.append((key, ceiling if have is None else have[0]))
        return pairs, rows[-1][0] if len(rows) == _common.BATCH else None


def fitting(
    pairs: list[tuple[bytes, int]], prefix: bytes, match: str | bytes
) -> Iterator[tuple[str | bytes, int]]:
    """Yield (user id, number) of those that a scan asks for."""
    from .._glob import compile_glob

    fits = compile_glob(match).fullmatch
    numbers = dict(pairs)
    for key in _common.own_keys(numbers, prefix):
        if numbers[key] and fits(key[len(prefix) :]):
            yield _common.user_id_of(key, prefix), numbers[key]


class EmbeddedCache(EmbeddedOperations, SeqCache):
    """A `SeqCache` whose numbers are in this process, under ceilings."""

    __slots__ = ("_keeper", "_store")

    _keeper: Keeper

    def __init__(
        self,
        engine: _native.Engine,
        prefix: bytes,
        config: Config,
        *,
        view: bool,
        store: Store,
        keeper: Keeper,
    ) -> None:
        super().__init__(engine, prefix, config, view=view)
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
            view=True,
            store=self._store,
            keeper=self._keeper,
        )
        view._parent = self
        return view

    def _query(self, method: str, function: Callable[[], Any], timeout: Any) -> Any:
        """Use the database for something that is no number."""
        if self.closed:
            raise _outcome.closed(method, self._engine.where)
        seconds = self._config.timeout if timeout is DEFAULT else timeout
        future = self._store.granter.run(function)
        try:
            return future.result(seconds)
        except FutureTimeout:
            future.cancel()
            call = f"{method}() at {self._engine.where}"
            raise _outcome.ceiling(call, too_late(self._store)) from None
        except ClosedError:
            raise _outcome.closed(method, self._engine.where) from None

    def scan(
        self, match: str | bytes = "*", *, timeout: float | None = DEFAULT
    ) -> Iterator[tuple[str | bytes, int]]:
        """Iterate over the sequences of this prefix, in the order of their keys."""
        after: bytes | None = None
        while True:
            pairs, after = self._query(
                "scan", partial(self._page, self._prefix, after), timeout
            )
            yield from fitting(pairs, self._prefix, match)
            if after is None:
                return

    def ping(self, *, timeout: float | None = DEFAULT) -> float:
        """Read from the database; return how many seconds it took."""
        start = time.perf_counter()
        self._query("ping", self._store.ledger.ping, timeout)
        return time.perf_counter() - start

    def close(self) -> None:
        """End the cache; calls that wait end with `ClosedError`. Idempotent.

        The last cache of a store writes down the exact numbers, so that the next
        one goes on without a gap.
        """
        ends = not self._is_view and not self.closed
        super().close()
        if ends:
            self._keeper.close()
            close_store(self._store)

    def __del__(self) -> None:
        if getattr(self, "_is_view", True):
            return
        _live.end(self)
        if self.closed:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, self)
        self._engine.close()
        drop_store(self._store)


def open_cache(config: Config) -> SeqCache:
    """Open an embedded cache for threads; raises as `seqcache.cache` does."""
    store = open_store(config)
    try:
        engine = _common.open_engine(config, None, 0)
        keeper = Keeper(store, config.token_ttl)
        engine.keep(store.cells, keeper)
        return EmbeddedCache(
            engine, config.key_prefix, config, view=False, store=store, keeper=keeper
        )
    except BaseException:
        close_store(store)
        raise
