"""Durable mode through the asyncio driver, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chaos.engine import SocketEngine
from servers import Server

from seqcache.ceilings import CeilingStore
from seqcache.durable.drive import boottime
from seqcache.durable.drive_async import AsyncDriver
from seqcache.durable.items import INCR, Item
from seqcache.durable.machine import Durable
from seqcache.errors import CeilingError, SeqCacheError

PATIENCE = 20.0
"""Seconds of a call that has to succeed: a disk may take its time to sync."""


class ThreadEngine:
    """The blocking engine of the tests, called from threads."""

    def __init__(self, server: Server) -> None:
        self.sync = SocketEngine(lambda: server.address)

    async def fcalls(self, *args: Any) -> Any:
        return await asyncio.to_thread(self.sync.fcalls, *args)

    async def load(self, *args: Any) -> None:
        await asyncio.to_thread(self.sync.load, *args)

    async def rediscover(self, *args: Any) -> None:
        await asyncio.to_thread(self.sync.rediscover, *args)


class AsyncClient:
    """An asynchronous client of one loop."""

    def __init__(self, server: Server, url: str, **options: Any) -> None:
        self.store = CeilingStore(url, step=50, lease_ms=options.pop("lease_ms", 5000))
        self.engine = ThreadEngine(server)
        self.durable = Durable(boottime, store_name=self.store.name, **options)
        self.driver = AsyncDriver(self.engine, self.store, self.durable)

    async def increase(
        self, *keys: str, token: bytes | None = None, seconds: float = PATIENCE
    ) -> Any:
        """One call; the results as `slow` gives them."""
        items = [Item(INCR, key.encode(), 1, token) for key in keys]
        return await self.driver.run(self.durable.slow(items), seconds)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything, also when an assertion failed."""
        await self.driver.aclose()
        self.engine.sync.close()
        self.store.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An SQLite store."""
    return f"sqlite:///{tmp_path}/c.db"


def test_tasks_share_takeovers_and_numbers_are_unique(durable_server, url):
    async def main() -> None:
        async with AsyncClient(durable_server, url) as client:
            first = await asyncio.gather(*(client.increase("k") for _ in range(40)))
            await asyncio.to_thread(durable_server.admin, "FLUSHALL")
            later = await asyncio.gather(
                *(client.increase("k", "j") for _ in range(40))
            )
            numbers = [one[0] for one in first]
            assert sorted(numbers) == list(range(1, 41))
            after = [one[0] for one in later]
            assert len(set(after)) == 40
            assert min(after) > 40
            assert client.durable.stats.takes == 3

    asyncio.run(main())


def test_eight_tasks_with_one_token_get_one_number(durable_server, url):
    async def main() -> None:
        async with AsyncClient(durable_server, url) as client:
            calls = (client.increase("k", token=b"t") for _ in range(8))
            assert await asyncio.gather(*calls) == [[1]] * 8

    asyncio.run(main())


@contextmanager
def locked(store: CeilingStore) -> Iterator[None]:
    """The file of a store, locked by somebody else."""
    lock = store._engine.raw_connection()
    try:
        lock.driver_connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        lock.rollback()
        lock.close()


def test_loop_goes_on_while_sql_does_not_answer(durable_server, url):
    async def main() -> None:
        # A lease of the usual length: a disk may take 0.3 s for one commit.
        async with AsyncClient(durable_server, url) as client:
            assert await client.increase("k") == [1]
            with locked(client.store):
                call = asyncio.create_task(client.increase("new", seconds=1.0))
                turns = 0
                while not call.done():
                    await asyncio.sleep(0.01)
                    turns += 1
                (error,) = call.result()
            assert isinstance(error, CeilingError)
            assert error.reason == "unavailable"
            assert turns > 10  # a loop that waited for SQL has one or two
            (number,) = await client.increase("new")
            assert isinstance(number, int), number

    asyncio.run(main())


def test_restart_waits_once_for_all_tasks(own_server, url):
    async def main() -> None:
        async with AsyncClient(own_server, url, lease=3.0, lease_ms=3000) as client:
            await client.increase("a", "b", "c")
            await asyncio.to_thread(own_server.restart)
            await client.increase("a")  # its link was cut: unknown
            out = await asyncio.gather(*(client.increase(k) for k in "abcabcabc"))
            assert not any(isinstance(one[0], SeqCacheError) for one in out), out
            assert client.durable.stats.waits == 1

    asyncio.run(main())
