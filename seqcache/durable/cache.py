"""The blocking face of durable mode, and how it is opened."""

from __future__ import annotations

import os
import time
import weakref

from .. import _common, _connect, _live, _native
from .._cache import Connector, SeqCache
from ..errors import SeqCacheError, ServerError
from .calls import (
    PROBE,
    Desk,
    DurableOperations,
    Request,
    begin,
    check_config,
    check_loaded,
    check_newest,
    check_server,
    commands_of,
    later,
    make_durable,
    make_store,
    replies_of,
    startup_error,
    unsent,
)
from .drive import BlockingDriver
from .effects import Fcall, Replies, TimeUp
from .epoch import ProcessState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any, Self

    from .._common import Stats
    from ..ceilings import CeilingStore
    from ..config import Config

__all__ = ["DurableCache", "open_cache"]


class Link:
    """The C engine as the blocking driver wants it."""

    def __init__(self, engine: _native.Engine) -> None:
        self._client = _native.Client(engine, b"")

    def fcalls(
        self, calls: tuple[Fcall, ...], link: Hashable, seconds: float | None
    ) -> Replies:
        """Send the calls, each once, in one go."""
        bound = link if isinstance(link, int) else 0
        if seconds is not None and seconds <= 0:
            return unsent(calls)
        told = self._client._execute_once(commands_of(calls), bound, timeout=seconds)
        return replies_of(calls, told, bound)

    def load(self, library: str, seconds: float | None) -> None:
        """FUNCTION LOAD; that it is there already is success, if it is no older one."""
        try:
            self._client._execute(("FUNCTION", "LOAD", library), timeout=seconds)
        except ServerError as error:
            if not check_loaded(error):
                return
            try:
                self._client._execute(PROBE, timeout=seconds)
            except ServerError as why:
                if check_newest(why):
                    replace = ("FUNCTION", "LOAD", "REPLACE", library)
                    self._client._execute(replace, timeout=seconds)

    def rediscover(self, seconds: float | None) -> None:
        """See that the one server answers: there is no other place to ask for."""
        self._client._execute(("PING",), timeout=seconds)

    def info(self, seconds: float | None) -> Any:
        """INFO server; nothing where the ACL hides it."""
        try:
            return self._client._execute(("INFO", "server"), timeout=seconds)
        except SeqCacheError as error:
            if isinstance(error, PermissionError):
                return b""
            raise


class Works:
    """What the views of one cache share: the machine and everything it drives."""

    def __init__(
        self, config: Config, engine: _native.Engine, store: CeilingStore
    ) -> None:
        self.engine = engine
        self.store = store
        self.desk = Desk(config, engine)
        self.fast = _native.FastPath(self._slow, self._prefetch, self._touch)
        self.durable = make_durable(config, store, ProcessState(), self.fast)
        engine.make_durable(self.fast)
        self.link = Link(engine)
        self.driver = BlockingDriver(self.link, store, self.durable)
        _all.add(self)

    def open(self, config: Config) -> None:
        """Check the server and join or begin its epoch; raises StartupError."""
        where = self.desk.where
        end = time.monotonic() + config.startup_timeout
        while True:
            try:
                check_server(where, self.link.info(config.connect_timeout))
                self.driver.run(self.durable.ready(), config.connect_timeout + 1.0)
                return
            except (SeqCacheError, TimeUp) as error:
                pause = later(error, end)
                if pause is None:
                    told = startup_error(where, error)
                    raise told from told.__cause__
            time.sleep(pause)

    # --- what the engine leaves to Python, called in a caller's thread

    def _slow(self, _: None, *described: Any) -> Any:
        """Bring a call to its end."""
        request = Request(*described)
        results = self.driver.run(request.step(self.durable), request.left)
        outcome = self.desk.outcome(request, results)
        if isinstance(outcome, BaseException):
            raise outcome from outcome.__cause__
        return outcome

    def _prefetch(self, token: str, key: bytes, verdict: list[Any]) -> None:
        begin(self.driver.run, self.durable.prefetch(token, key, verdict))

    def _touch(self) -> None:
        begin(self.driver.run, self.durable.touch())

    def stats(self) -> Stats:
        """Return the counters, those of the store included."""
        return self.desk.stats(self.store, [self.durable])

    def close(self, seconds: float = 1.0) -> None:
        """End the background work; the engine was closed before."""
        self.fast.close()
        self.driver.close(seconds)
        self.store.close()


_all: weakref.WeakSet[Works] = weakref.WeakSet()


def _after_fork() -> None:
    for works in list(_all):
        works.desk.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class DurableCache(DurableOperations, SeqCache):
    """A `SeqCache` whose numbers SQL vouches for."""

    __slots__ = ("_desk", "_works")

    _works: Works
    _desk: Desk

    def __init__(
        self,
        engine: _native.Engine,
        prefix: bytes,
        config: Config,
        *,
        view: bool,
        works: Works,
    ) -> None:
        super().__init__(engine, prefix, config, view=view)
        self._works = works
        self._desk = works.desk
        if not view:
            _live.begin(self, engine.where, works.stats)

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, on the same connection and store."""
        config = self._config.replace(prefix=prefix)
        view = type(self)(
            self._engine, config.key_prefix, config, view=True, works=self._works
        )
        view._parent = self
        return view

    def stats(self) -> Stats:
        """Return the counters of the cache, its views and its store included."""
        return self._works.stats()

    def close(self) -> None:
        """End the cache; calls that wait end with `ClosedError`. Idempotent."""
        super().close()
        if not self._is_view:
            self._works.close()

    def __del__(self) -> None:
        unclosed = not getattr(self, "_is_view", True) and not self.closed
        super().__del__()
        if unclosed:
            self._works.close(0.0)


def open_cache(config: Config) -> SeqCache:
    """Open a durable cache for threads; raises as `seqcache.cache` does."""
    check_config(config)
    store = make_store(config)
    connector = Connector(config)
    engine = _common.open_engine(config, connector, 1)
    try:
        engine.adopt(_connect.startup_blocking(config).detach())
        works = Works(config, engine, store)
    except BaseException:
        engine.close()
        store.close()
        raise
    try:
        works.open(config)
    except BaseException:
        engine.close()
        works.close()
        raise
    opened = DurableCache(engine, config.key_prefix, config, view=False, works=works)
    opened._connector = connector
    return opened
