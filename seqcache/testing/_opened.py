"""Factories that remember what they opened, and close it when the test is over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Unpack

from .._acache import AsyncSeqCache, Opening
from .._cache import SeqCache, cache

if TYPE_CHECKING:
    from .._fields import Overrides

__all__ = ["AsyncCaches", "Caches"]


class Caches:
    """Opens caches for threads at one address: the fixture ``seq_cache_factory``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: list[SeqCache] = []

    def __call__(self, **overrides: Unpack[Overrides]) -> SeqCache:
        """Open a cache; keywords are fields of `seqcache.Config`."""
        opened = cache(self.url, **overrides)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Close what the test left open."""
        for opened in self._opened:
            opened.close()


class AsyncCaches:
    """Opens caches for asyncio at one address: ``async_seq_cache_factory``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: list[AsyncSeqCache] = []

    def __call__(self, **overrides: Unpack[Overrides]) -> Opening:
        """Open a cache: await the result, or use it in ``async with``.

        Keywords are fields of `seqcache.Config`.
        """
        return NotedOpening(self.url, overrides, self._opened)

    def close(self) -> None:
        """Close what the test left open, whatever became of its event loop.

        Links of a loop that lives on are closed there, when it runs next.
        """
        left = [opened for opened in self._opened if not opened.closed]
        if not left:
            return

        async def close_all() -> None:
            for opened in left:
                await opened.aclose()

        # In a thread: a notebook has a running loop in this one.
        thread = threading.Thread(target=asyncio.run, args=(close_all(),))
        thread.start()
        thread.join()


class NotedOpening(Opening):
    """An opening that notes the cache."""

    __slots__ = ("_opened",)

    def __init__(
        self, url: str, overrides: Overrides, opened: list[AsyncSeqCache]
    ) -> None:
        super().__init__(url, overrides)
        self._opened = opened

    def __await__(self) -> Generator[Any, None, AsyncSeqCache]:
        opened = yield from super().__await__()
        self._opened.append(opened)
        return opened

    async def __aenter__(self) -> AsyncSeqCache:
        opened = await super().__aenter__()
        self._opened.append(opened)
        return opened
