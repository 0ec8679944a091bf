"""How a call of asyncio reaches a third party's backend, and its answer the loop.

A blocking `Backend` lives in one thread, so that calls keep their order and the loop
never waits; an `AsyncBackend` lives in the loop, one instance for each loop.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from functools import partial

from .._future import CallFuture
from .._workers import Workers
from ..errors import ClosedError
from .cache import is_async
from .calls import Desk, Request, raise_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from ..backends import AsyncBackend, Backend, BackendFactory
    from ..config import Config

    Loop: TypeAlias = asyncio.AbstractEventLoop
    Work: TypeAlias = Any  # an asyncio.Task or a concurrent.futures.Future

# Seconds for the backend to tell by itself that its time is up: it knows more.
_GRACE = 0.02


class Carrier:
    """Brings requests to the backend and answers to the loops."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.desk: Desk
        self._pending: set[tuple[CallFuture, Work]] = set()

    def begin(self, request: Request, loop: Loop) -> Work:
        """Start the work of a request."""
        raise NotImplementedError

    def withdraw(self, work: Work) -> bool:
        """End the work; tell whether the backend never saw it."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close the backend, after the pending calls were ended."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Give up without a loop, for a finalizer."""

    def send(self, request: Request, loop: Loop) -> CallFuture:
        """Start a call; return its future."""
        call = CallFuture(loop=loop)
        if request.least is not None and not request.keys:
            call.set_result(request.shape([]))
            return call
        work = self.begin(request, loop)
        entry = (call, work)
        self._pending.add(entry)
        timer = None
        if request.timeout is not None:
            expire = partial(self._expire, call, work, request)
            timer = loop.call_later(request.timeout + _GRACE, expire)

        def forget(_: object) -> None:
            self._pending.discard(entry)
            call.on_cancel = None
            if timer is not None:
                timer.cancel()

        call.on_cancel = partial(self.withdraw, work)
        call.add_done_callback(forget)
        work.add_done_callback(partial(_hand_over, loop, call))
        return call

    def _expire(self, call: CallFuture, work: Work, request: Request) -> None:
        if call.done():
            return
        desk = self.desk
        if self.withdraw(work):
            call.set_exception(request.late(desk.where, False))
        else:
            call.set_exception(desk.out_of_time(request))

    def end_calls(self) -> None:
        """End all pending calls with ClosedError, each in its own loop."""
        here = asyncio.get_running_loop()
        for call, work in list(self._pending):
            loop = call.get_loop()
            if loop is here:
                self._end(call, work)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(self._end, call, work)

    def _end(self, call: CallFuture, work: Work) -> None:
        if call.done():
            return
        executed = False if self.withdraw(work) else None
        text = f"call at {self.desk.where}: the cache was closed meanwhile"
        call.set_exception(ClosedError(text, executed=executed))


def _hand_over(loop: Loop, call: CallFuture, work: Work) -> None:
    """Give the result to the call, in whatever thread the work ended."""
    if work.cancelled() or isinstance(work, asyncio.Task):
        _settle(call, work)
    elif not loop.is_closed():
        try:
            loop.call_soon_threadsafe(_settle, call, work)
        except RuntimeError:
            # The loop was closed this moment: nobody is left to be told.
            if not loop.is_closed():
                raise


def _settle(call: CallFuture, work: Work) -> None:
    if work.cancelled():
        # Withdrawn: whoever did that told the call, unless a backend cancels itself.
        if isinstance(work, asyncio.Task):
            call.cancel()
        return
    error = work.exception()
    if call.done():
        return
    if error is None:
        call.set_result(work.result())
    else:
        call.set_exception(error)


class Threaded(Carrier):
    """A blocking backend in a thread of its own."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._backend: Backend | None = None
        self._workers = Workers("seqcache-backend", 1)
        self._pid = os.getpid()

    async def make(self, factory: BackendFactory | None, made: Any) -> None:
        """Let the thread make the backend, unless it was made, and ping it."""

        def work() -> None:
            backend: Any = made if factory is None else factory(self.config)
            is_async(self.config, backend)
            try:
                backend.ping(timeout=self.config.connect_timeout)
            except BaseException:
                backend.close()
                raise
            self._backend = backend

        try:
            await asyncio.wrap_future(self._submit(work))
        except asyncio.CancelledError:
            self.let_go()
            raise
        except BaseException:
            self._workers.end()
            raise

    def _submit(self, function: Callable[[], Any]) -> Work:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._workers.reset()
        return self._workers.submit(function)

    def begin(self, request: Request, loop: Loop) -> Work:
        """Queue the request."""
        return self._submit(lambda: self.desk.run(request, self._backend))

    def withdraw(self, work: Work) -> bool:
        """Take it off the queue, if it is still there; else it goes on."""
        return bool(work.cancel())

    async def aclose(self) -> None:
        """Close the backend once the call that it is in has ended."""
        await asyncio.wrap_future(self._end_thread())
        self._workers.join(1.0)  # it has nothing left to do

    def _close(self) -> None:
        if self._backend is not None:
            self._backend.close()

    def _end_thread(self) -> Work:
        closing = self._submit(self._close)
        closing.add_done_callback(lambda _: self._workers.end())
        return closing

    def let_go(self) -> None:
        """Close the backend in its thread, which then ends."""
        self._end_thread()


class Looped(Carrier):
    """One AsyncBackend for each loop."""

    def __init__(self, config: Config, factory: BackendFactory) -> None:
        super().__init__(config)
        self._factory = factory
        self._backends: weakref.WeakKeyDictionary[Loop, AsyncBackend]
        self._backends = weakref.WeakKeyDictionary()

    async def adopt(self, backend: AsyncBackend) -> None:
        """Keep the backend of this loop once it has answered."""
        try:
            async with asyncio.timeout(self.config.connect_timeout):
                await backend.ping(timeout=self.config.connect_timeout)
        except BaseException:
            await backend.aclose()
            raise
        self._backends[asyncio.get_running_loop()] = backend

    def backend_of(self, loop: Loop) -> Any:
        """Return the backend of a loop, made when the loop comes first."""
        backend = self._backends.get(loop)
        if backend is None:
            made = self._factory(self.config)
            is_async(self.config, made)
            backend = self._backends[loop] = made  # type: ignore[assignment]
        return backend

    def begin(self, request: Request, loop: Loop) -> Work:
        """Start a task."""
        return loop.create_task(self._run(request, self.backend_of(loop)))

    async def _run(self, request: Request, backend: AsyncBackend) -> Any:
        left = self.desk.start(request)
        try:
            answer = await request.ask(backend, left)
        except Exception as error:
            raise_from(self.desk.failed(request, error), error)
        except BaseException:
            self.desk.stopped(request)
            raise
        return self.desk.finish(request, answer)

    def withdraw(self, work: Work) -> bool:
        """Cancel the task; the backend has seen the call."""
        work.cancel()
        return False

    async def aclose(self) -> None:
        """Close the backends, each in its loop."""
        here = asyncio.get_running_loop()
        for loop, backend in list(self._backends.items()):
            if loop is here:
                await backend.aclose()
            elif not loop.is_closed():
                asyncio.run_coroutine_threadsafe(_aclose(backend), loop)
        self._backends.clear()


async def _aclose(backend: AsyncBackend) -> None:
    await backend.aclose()
