"""One test body over every face: blocking, asyncio, uvloop, and memory.

A `Face` opens caches; an opened `Handle` has every operation of API.md as a
plain blocking call, whatever the face.  asyncio caches live on a loop of their
own in a helper thread, so that `start` can have many calls under way:

    def test_first_number_is_one(face):
        with face.open() as cache:
            assert cache.increase_seq("alice") == 1
            future = cache.start("increase_seq", "alice")
            assert future.result(5) == 2
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Any

import seqcache

CALL_SECONDS = 30.0


class LoopThread:
    """An event loop that runs in a daemon thread until `close`."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop = factory()
        self.thread = threading.Thread(target=self._main, daemon=True)
        self.thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Call `function` on the loop; if it gives an awaitable, await that."""

        async def run() -> Any:
            result = function()
            if asyncio.isfuture(result) or hasattr(result, "__await__"):
                result = await result
            return result

        return asyncio.run_coroutine_threadsafe(run(), self.loop)

    def run(self, function: Callable[[], Any]) -> Any:
        """`submit` and wait for the result."""
        return self.submit(function).result(CALL_SECONDS)

    def close(self) -> None:
        """Stop and close the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


class Handle:
    """An open cache of either face, blocking; `raw` is the cache itself."""

    def __init__(self, face: Face, raw: Any) -> None:
        self.face = face
        self.raw = raw

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.call(name, *args, **kwargs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Run one operation by name and wait for its result."""
        return self.face.run(lambda: getattr(self.raw, name)(*args, **kwargs))

    def start(self, name: str, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin one operation; the future of its result."""
        return self.face.submit(lambda: getattr(self.raw, name)(*args, **kwargs))

    def start_all(self, name: str, items: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Begin many operations at once; a list of results and exceptions."""
        futures = [self.start(name, *args) for args in items]
        wait(futures, CALL_SECONDS)
        return [future.exception(0) or future.result(0) for future in futures]

    def scan(self, *args: Any, **kwargs: Any) -> list[tuple[str | bytes, int]]:
        """All pairs of a scan."""
        return self.face.collect(lambda: self.raw.scan(*args, **kwargs))

    def namespace(self, prefix: str) -> Handle:
        """A view with another prefix, wrapped the same way."""
        return Handle(self.face, self.call("namespace", prefix))

    def lease(self, *args: Any, **kwargs: Any) -> LeaseHandle:
        """A lease, wrapped the same way."""
        return LeaseHandle(self.face, self.raw.lease(*args, **kwargs))

    def stats(self) -> Any:
        """The cache's statistics."""
        return self.call("stats")

    def close(self) -> None:
        """close() or aclose(), as the face has it."""
        self.call("close" if self.face.kind == "sync" else "aclose")


class LeaseHandle:
    """A lease of either face, blocking; `raw` is the lease itself."""

    def __init__(self, face: Face, raw: Any) -> None:
        self.face = face
        self.raw = raw

    def _next(self) -> Any:
        return next(self.raw) if self.face.kind == "sync" else self.raw.next()

    def next(self) -> int:
        """The next number."""
        return self.face.run(self._next)

    def many(self, count: int) -> list[int]:
        """That many numbers, one after the other, without leaving the face."""
        if self.face.kind == "sync":
            return [next(self.raw) for _ in range(count)]

        async def take() -> list[int]:
            return [await self.raw.next() for _ in range(count)]

        return self.face.run(take)

    def take(self, count: int) -> range:
        """Numbers in a row."""
        return self.face.run(lambda: self.raw.take(count))

    def start(self, count: int = 0) -> Future[Any]:
        """Begin to get the next number, or `count` in a row."""
        return self.face.submit(
            self._next if not count else lambda: self.raw.take(count)
        )

    def close(self) -> None:
        """close() or aclose()."""
        self.face.run(self.raw.close if self.face.kind == "sync" else self.raw.aclose)


class Face:
    """How to open caches of one kind; `url` is the default target."""

    kind = ""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.opened: list[Handle] = []

    @property
    def is_memory(self) -> bool:
        """Is the default target the in-process store?"""
        return self.url.startswith("memory:")

    @property
    def is_durable(self) -> bool:
        """Does the default target never give a number twice?"""
        return self.url.startswith("sqlite:")

    @property
    def last(self) -> int:
        """The last number of a sequence at the default target."""
        return 2**53 - 1 if self.is_durable else 2**63 - 1

    def open(self, config: Any = None, **overrides: Any) -> Handle:
        """Open a cache at `config` (default: this face's server)."""
        target = self.url if config is None else config
        handle = Handle(self, self._open(target, overrides))
        self.opened.append(handle)
        return handle

    def _open(self, target: Any, overrides: dict[str, Any]) -> Any:
        raise NotImplementedError

    def run(self, function: Callable[[], Any]) -> Any:
        """Run one call of the face to its result."""
        raise NotImplementedError

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Begin one call of the face."""
        raise NotImplementedError

    def collect(self, function: Callable[[], Any]) -> list[Any]:
        """Exhaust an iterator of the face."""
        raise NotImplementedError

    def close(self) -> None:
        """Close every cache that a test left open."""
        for handle in self.opened:
            handle.close()


class SyncFace(Face):
    """The blocking face; `start` uses a thread for each call."""

    kind = "sync"

    def _open(self, target: Any, overrides: dict[str, Any]) -> Any:
        return seqcache.cache(target, **overrides)

    def run(self, function: Callable[[], Any]) -> Any:
        return function()

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                result = function()
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(result)

        threading.Thread(target=work, daemon=True).start()
        return future

    def collect(self, function: Callable[[], Any]) -> list[Any]:
        return list(function())


class AsyncFace(Face):
    """The asyncio face, on a loop in a helper thread."""

    kind = "async"

    def __init__(
        self, name: str, url: str, factory: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        super().__init__(name, url)
        self.loop = LoopThread(factory)

    def _open(self, target: Any, overrides: dict[str, Any]) -> Any:
        return self.loop.run(lambda: seqcache.acache(target, **overrides))

    def run(self, function: Callable[[], Any]) -> Any:
        return self.loop.run(function)

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        return self.loop.submit(function)

    def collect(self, function: Callable[[], Any]) -> list[Any]:
        async def gather() -> list[Any]:
            return [item async for item in function()]

        return self.loop.run(gather)

    def close(self) -> None:
        super().close()
        self.loop.close()
