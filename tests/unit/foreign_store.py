"""Backends for the tests of foreign caches: a dict, and how it misbehaves."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from seqcache.errors import NotASequence, SequenceOverflow

MOST = 2**63 - 1


class Gate:
    """A `fault` that holds up the first call that comes, until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, *_: Any) -> None:
        self.entered.set()
        assert self.opened.wait(30)

    async def taken(self) -> None:
        """Wait until a call is held up."""
        await asyncio.get_running_loop().run_in_executor(None, self.entered.wait, 30)


class DictBackend:
    """A right and blocking backend; `seen` are the calls, `fault` raises in them."""

    shared: dict[bytes, Any]

    def __init__(self, config: Any = None) -> None:
        self.config = config
        self.numbers: dict[bytes, Any] = {}
        self.lock = threading.Lock()
        self.seen: list[tuple[Any, ...]] = []
        self.fault: Any = None
        self.closed = 0
        self.thread = threading.get_ident()

    def _note(self, *call: Any) -> None:
        self.seen.append((*call, threading.get_ident()))
        if isinstance(self.fault, BaseException):
            raise self.fault
        if self.fault is not None:
            self.fault(*call)

    def _each(self, items: Any, change: Any) -> list[Any]:
        with self.lock:
            return [self._one(key, value, change) for key, value in items]

    def _one(self, key: bytes, value: int, change: Any) -> Any:
        held = self.numbers.get(key, 0)
        if not isinstance(held, int):
            return NotASequence(f"{held!r} is no sequence", code="WRONGTYPE")
        number = change(held, value)
        if number > MOST:
            return SequenceOverflow("full", code="ERR")
        if number:
            self.numbers[key] = number
        return number

    def get(self, keys: Any, *, timeout: float | None) -> list[Any]:
        self._note("get", list(keys), timeout)
        return self._each([(key, 0) for key in keys], lambda held, _: held)

    def increase(self, keys: Any, by: int, *, timeout: float | None) -> list[Any]:
        self._note("increase", list(keys), by, timeout)
        return self._each([(key, by) for key in keys], lambda held, by: held + by)

    def raise_to(self, items: Any, *, timeout: float | None) -> list[Any]:
        self._note("raise_to", list(items), timeout)
        return self._each(items, max)

    def scan(self, prefix: bytes) -> Any:
        self._note("scan", prefix)
        return (
            (key, number)
            for key, number in list(self.numbers.items())
            if key.startswith(prefix) and isinstance(number, int)
        )

    def ping(self, *, timeout: float | None) -> None:
        self._note("ping", timeout)

    def close(self) -> None:
        self.closed += 1


class DeletingBackend(DictBackend):
    """One that can delete, too."""

    def delete(self, keys: Any, *, timeout: float | None) -> list[bool]:
        self._note("delete", list(keys), timeout)
        return [self.numbers.pop(key, None) is not None for key in keys]


class LoopBackend:
    """The same for asyncio, around a DictBackend; `hold` suspends its calls."""

    made: list[LoopBackend]

    def __init__(self, config: Any = None) -> None:
        self.inner = DeletingBackend(config)
        self.loop = asyncio.get_running_loop()
        self.hold: asyncio.Event | None = None
        self.cancelled = 0

    async def _wait(self) -> None:
        await asyncio.sleep(0)
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

    async def get(self, keys: Any, *, timeout: float | None) -> Any:  # noqa: ASYNC109
        await self._wait()
        return self.inner.get(keys, timeout=timeout)

    async def increase(
        self,
        keys: Any,
        by: int,
        *,
        timeout: float | None,  # noqa: ASYNC109
    ) -> Any:
        await self._wait()
        return self.inner.increase(keys, by, timeout=timeout)

    async def raise_to(
        self,
        items: Any,
        *,
        timeout: float | None,  # noqa: ASYNC109
    ) -> Any:
        await self._wait()
        return self.inner.raise_to(items, timeout=timeout)

    async def delete(
        self,
        keys: Any,
        *,
        timeout: float | None,  # noqa: ASYNC109
    ) -> Any:
        await self._wait()
        return self.inner.delete(keys, timeout=timeout)

    async def scan(self, prefix: bytes) -> Any:
        for pair in self.inner.scan(prefix):
            await asyncio.sleep(0)
            yield pair

    async def ping(self, *, timeout: float | None) -> None:  # noqa: ASYNC109
        await self._wait()
        self.inner.ping(timeout=timeout)

    async def aclose(self) -> None:
        self.inner.close()
