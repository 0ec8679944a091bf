"""Either kind of backend as a blocking one, so that the rules are written once."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..backends import AsyncBackend, Backend

# Seconds for one call of an AsyncBackend; a call that hangs must not hang the test.
_PATIENCE = 60.0


class Blocking:
    """A `Backend` that may be stopped."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def get(self, keys: Sequence[bytes], *, timeout: float | None) -> Any:
        """As `Backend.get`."""
        return self.backend.get(keys, timeout=timeout)

    def increase(self, keys: Sequence[bytes], by: int, *, timeout: float | None) -> Any:
        """As `Backend.increase`."""
        return self.backend.increase(keys, by, timeout=timeout)

    def raise_to(
        self, items: Sequence[tuple[bytes, int]], *, timeout: float | None
    ) -> Any:
        """As `Backend.raise_to`."""
        return self.backend.raise_to(items, timeout=timeout)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, int]]:
        """As `Backend.scan`."""
        found: Iterator[tuple[bytes, int]] = iter(self.backend.scan(prefix))
        return found

    def ping(self, *, timeout: float | None) -> Any:
        """As `Backend.ping`."""
        return self.backend.ping(timeout=timeout)

    def close(self) -> None:
        """As `Backend.close`."""
        self.backend.close()

    def stop(self) -> None:
        """Close it, whatever happened before, and end what serves it."""
        self.close()


class OnLoop(Blocking):
    """An `AsyncBackend` on a loop in a thread; its calls are made concurrently."""

    def __init__(self, backend: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(backend)
        self._loop = loop

    def _run(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return await function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_PATIENCE)

    def get(self, keys: Sequence[bytes], *, timeout: float | None) -> Any:
        """As `Backend.get`."""
        return self._run(lambda: self.backend.get(keys, timeout=timeout))

    def increase(self, keys: Sequence[bytes], by: int, *, timeout: float | None) -> Any:
        """As `Backend.increase`."""
        return self._run(lambda: self.backend.increase(keys, by, timeout=timeout))

    def raise_to(
        self, items: Sequence[tuple[bytes, int]], *, timeout: float | None
    ) -> Any:
        """As `Backend.raise_to`."""
        return self._run(lambda: self.backend.raise_to(items, timeout=timeout))

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, int]]:
        """As `Backend.scan`."""

        async def pairs() -> list[tuple[bytes, int]]:
            return [pair async for pair in self.backend.scan(prefix)]

        return iter(self._run(pairs))

    def ping(self, *, timeout: float | None) -> Any:
        """As `Backend.ping`."""
        return self._run(lambda: self.backend.ping(timeout=timeout))

    def close(self) -> None:
        """As `AsyncBackend.aclose`."""
        self._run(self.backend.aclose)

    def stop(self) -> None:
        """Close it and its loop."""
        try:
            self.close()
        finally:
            _end_loop(self._loop)


def as_blocking(factory: Callable[[], Any]) -> Blocking:
    """Make the backend, inside a running loop, and wrap it by its kind."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def make() -> Any:
        return factory()

    try:
        backend = asyncio.run_coroutine_threadsafe(make(), loop).result(_PATIENCE)
        if inspect.iscoroutinefunction(getattr(backend, "get", None)):
            _require(backend, AsyncBackend)
            return OnLoop(backend, loop)
        _require(backend, Backend)
    except BaseException:
        _end_loop(loop)
        raise
    _end_loop(loop)
    return Blocking(backend)


def _require(backend: Any, protocol: type[Any]) -> None:
    names = [name for name in vars(protocol) if not name.startswith("_")]
    lacking = [name for name in names if not hasattr(backend, name)]
    if lacking:
        kind = type(backend).__name__
        words = ", ".join(lacking)
        raise AssertionError(f"{kind} is no {protocol.__name__}: it lacks {words}")


def _end_loop(loop: asyncio.AbstractEventLoop) -> None:
    async def stop() -> None:
        loop.call_soon(loop.stop)

    asyncio.run_coroutine_threadsafe(stop(), loop).result(_PATIENCE)
    while loop.is_running():
        threading.Event().wait(0.001)
    loop.close()
