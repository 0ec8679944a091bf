"""The asyncio face of durable mode, and how it is opened."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial

from .. import _common, _connect, _live, _native
from .._acache import AsyncSeqCache, Connector
from ..errors import ClosedError, SeqCacheError, ServerError
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
from .drive_async import AsyncDriver
from .effects import Fcall, Replies, TimeUp
from .epoch import ProcessState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any, Self, TypeAlias

    from .._common import Stats
    from ..ceilings import CeilingStore
    from ..config import Config

    Loop: TypeAlias = asyncio.AbstractEventLoop

__all__ = ["AsyncDurableCache", "open_acache"]

#: Seconds in which calls end by themselves once their link is closed.
_ENDING = 0.05


class AsyncLink:
    """The C engine as the asyncio driver wants it."""

    def __init__(self, engine: _native.Engine) -> None:
        self._client = _native.AsyncClient(engine, b"")

    async def fcalls(
        self, calls: tuple[Fcall, ...], link: Hashable, seconds: float | None
    ) -> Replies:
        """Send the calls, each once, in one go."""
        bound = link if isinstance(link, int) else 0
        if seconds is not None and seconds <= 0:
            return unsent(calls)
        told = await self._client._execute_once(
            commands_of(calls), bound, timeout=seconds
        )
        return replies_of(calls, told, bound)

    async def load(self, library: str, seconds: float | None) -> None:
        """FUNCTION LOAD; that it is there already is success, if it is no older one."""
        try:
            await self._client._execute(("FUNCTION", "LOAD", library), timeout=seconds)
        except ServerError as error:
            if not check_loaded(error):
                return
            try:
                await self._client._execute(PROBE, timeout=seconds)
            except ServerError as why:
                if check_newest(why):
                    replace = ("FUNCTION", "LOAD", "REPLACE", library)
                    await self._client._execute(replace, timeout=seconds)

    async def rediscover(self, seconds: float | None) -> None:
        """See that the one server answers: there is no other place to ask for."""
        await self._client._execute(("PING",), timeout=seconds)

    async def info(self, seconds: float | None) -> Any:
        """INFO server; nothing where the ACL hides it."""
        try:
            return await self._client._execute(("INFO", "server"), timeout=seconds)
        except SeqCacheError as error:
            if isinstance(error, PermissionError):
                return b""
            raise


class LoopWorks:
    """The machine of one event loop, and the calls on their slow way there."""

    def __init__(self, works: Works, loop: Loop) -> None:
        self.loop = loop
        self.desk = works.desk
        self.fast = _native.FastPath(self._slow, self._prefetch, self._touch)
        config = works.desk.config
        self.durable = make_durable(config, works.store, works.process, self.fast)
        self.link = AsyncLink(works.desk.engine)
        self.driver = AsyncDriver(self.link, works.store, self.durable)
        self.calls: set[_native.SlowCall] = set()

    # --- what the engine leaves to Python, called in a callback of the loop

    def _slow(self, call: _native.SlowCall, *described: Any) -> None:
        """Bring a call to its end, in a task."""
        request = Request(*described)
        step = request.step(self.durable)
        task = self.loop.create_task(self.driver.run(step, request.left))
        call.on_cancel = task.cancel
        self.calls.add(call)
        task.add_done_callback(partial(self._ended, call, request))

    def _ended(
        self, call: _native.SlowCall, request: Request, task: asyncio.Task[Any]
    ) -> None:
        """Tell the caller, if there still is one."""
        self.calls.discard(call)
        if task.cancelled():
            call.cancel()
        elif (error := task.exception()) is not None:
            call.fail(error)
        elif not call.done:
            outcome = self.desk.outcome(request, task.result())
            if isinstance(outcome, BaseException):
                call.fail(outcome)
            else:
                call.finish(outcome)

    def _prefetch(self, token: str, key: bytes, verdict: list[Any]) -> None:
        begin(self.driver.begin, self.durable.prefetch(token, key, verdict))

    def _touch(self) -> None:
        begin(self.driver.begin, self.durable.touch())

    def _end_calls(self) -> None:
        text = f"call at {self.desk.where}: the cache was closed meanwhile"
        for call in list(self.calls):
            call.fail(ClosedError(text, executed=None))
            if call.on_cancel is not None:
                call.on_cancel()

    def forget(self) -> None:
        """The loop is gone, or about to go: not a word to it."""
        self.fast.close()
        self.driver.forget()

    def stop(self) -> None:
        """End everything, in the loop's thread."""
        self.fast.close()
        self._end_calls()
        self.driver.stop()

    async def aclose(self) -> None:
        """The links are closed: let the calls end, then the background work."""
        end = time.monotonic() + _ENDING
        # asyncio.wait() refuses what create_task() takes.
        while self.calls and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        self.fast.close()
        self._end_calls()
        await self.driver.aclose()


class Works:
    """What the views of one cache share: the store, and a machine for each loop."""

    def __init__(
        self, config: Config, engine: _native.Engine, store: CeilingStore
    ) -> None:
        self.store = store
        self.desk = Desk(config, engine)
        self.process = ProcessState()
        self._loops: dict[Loop, LoopWorks] = {}
        self._parents: list[dict[Loop, LoopWorks]] = []
        self._pid = os.getpid()
        engine.make_durable(lambda: self.here().fast)

    def here(self) -> LoopWorks:
        """Return the machine of the running loop, made when the loop comes first."""
        if self._pid != os.getpid():
            self._after_fork()
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is not None:
            return found
        for other, old in list(self._loops.items()):
            if other.is_closed():
                old.forget()
                del self._loops[other]
        made = self._loops[loop] = LoopWorks(self, loop)
        return made

    def _after_fork(self) -> None:
        """In the child: loops and their calls are the parent's.

        They are kept, as a task that is thrown away complains.
        """
        self._pid = os.getpid()
        self._parents.append(self._loops)
        self._loops = {}
        self.desk.after_fork()

    async def open(self, config: Config) -> None:
        """Check the server and join or begin its epoch; raises StartupError."""
        here, where = self.here(), self.desk.where
        end = time.monotonic() + config.startup_timeout
        while True:
            try:
                check_server(where, await here.link.info(config.connect_timeout))
                ready = here.durable.ready()
                await here.driver.run(ready, config.connect_timeout + 1.0)
                return
            except (SeqCacheError, TimeUp) as error:
                pause = later(error, end)
                if pause is None:
                    told = startup_error(where, error)
                    raise told from told.__cause__
            await asyncio.sleep(pause)

    def stats(self) -> Stats:
        """Return the counters, those of the store included."""
        machines = [one.durable for one in self._loops.values()]
        return self.desk.stats(self.store, machines)

    def let_go(self) -> None:
        """End what runs in other loops, and the store; not a word to any loop."""
        for works in self._loops.values():
            works.forget()
        self.store.close()

    async def aclose(self) -> None:
        """End the background work of all loops; the links were closed before."""
        if self._pid != os.getpid():
            self._after_fork()
        here = asyncio.get_running_loop()
        for loop, works in list(self._loops.items()):
            if loop is here:
                await works.aclose()
            elif loop.is_closed():
                works.forget()
            else:
                loop.call_soon_threadsafe(works.stop)
        self.store.close()


class AsyncDurableCache(DurableOperations, AsyncSeqCache):
    """An `AsyncSeqCache` whose numbers SQL vouches for."""

    __slots__ = ("_desk", "_works")

    _works: Works
    _desk: Desk

    def __init__(
        self,
        engine: _native.Engine,
        prefix: bytes,
        config: Config,
        *,
        connector: Connector | None,
        view: bool,
        works: Works,
    ) -> None:
        super().__init__(engine, prefix, config, connector=connector, view=view)
        self._works = works
        self._desk = works.desk
        if not view:
            _live.begin(self, engine.where, works.stats)

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, on the same connections and store."""
        config = self._config.replace(prefix=prefix)
        view = type(self)(
            self._engine,
            config.key_prefix,
            config,
            connector=None,
            view=True,
            works=self._works,
        )
        view._parent = self
        return view

    def stats(self) -> Stats:
        """Return the counters of the cache, its views and its store included."""
        return self._works.stats()

    async def aclose(self) -> None:
        """End the cache; calls that wait end with `ClosedError`. Idempotent."""
        await super().aclose()
        if not self._is_view:
            await self._works.aclose()

    def __del__(self) -> None:
        unclosed = not getattr(self, "_is_view", True) and not self.closed
        super().__del__()
        if unclosed:
            self._works.let_go()


async def open_acache(config: Config) -> AsyncSeqCache:
    """Open a durable cache for asyncio; raises as `seqcache.acache` does."""
    check_config(config)
    store = make_store(config)
    try:
        connector = Connector(config, await _connect.startup_asyncio(config))
    except BaseException:
        store.close()
        raise
    engine = _common.open_engine(config, connector, 0)
    works = Works(config, engine, store)
    opened = AsyncDurableCache(
        engine, config.key_prefix, config, connector=connector, view=False, works=works
    )
    try:
        await works.open(config)
    except BaseException:
        await opened.aclose()
        raise
    return opened
