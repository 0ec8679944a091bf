"""The asyncio factory under the plugins that run coroutines."""

from __future__ import annotations

import pytest

STRICT = """
    import asyncio

    import pytest
    import pytest_asyncio
    import seqcache

    pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

    @pytest_asyncio.fixture(loop_scope="{scope}")
    async def opened(async_seq_cache_factory):
        return await async_seq_cache_factory(timeout=5.0)

    async def test_awaited(async_seq_cache_factory):
        cache = await async_seq_cache_factory()
        assert isinstance(cache, seqcache.AsyncSeqCache)
        assert await cache.increase_seq("alice") == 1

    async def test_in_a_block(async_seq_cache_factory, seqcache_url):
        async with async_seq_cache_factory(prefix="x:") as cache:
            assert await asyncio.gather(*map(cache.increase_seq, "aaa")) == [1, 2, 3]
        assert cache.closed

    async def test_in_an_async_fixture(opened, seq_cache):
        assert await opened.increase_seq("alice") == 1
        assert await asyncio.to_thread(seq_cache.increase_seq, "alice") == 2

    async def test_left_busy(async_seq_cache_factory):
        cache = await async_seq_cache_factory()
        cache.increase_seq("alice")  # closed with the call under way
"""

AUTO = """
    async def test_auto(async_seq_cache_factory):
        cache = await async_seq_cache_factory()
        assert await cache.increase_seq("alice") == 1
"""

ANYIO = """
    import pytest

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    async def opened(async_seq_cache_factory):
        async with async_seq_cache_factory() as cache:
            yield cache

    async def test_anyio(opened, async_seq_cache_factory):
        assert await opened.increase_seq("alice") == 1
        assert await (await async_seq_cache_factory()).increase_seq("alice") == 2
"""


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_strict_mode_of_pytest_asyncio(live_project, scope):
    live_project.write("test_it.py", STRICT.replace("{scope}", scope))
    live_project.passes(4)


def test_auto_mode_and_anyio_in_one_project(live_project):
    live_project.write("test_auto.py", AUTO)
    live_project.write("test_anyio.py", ANYIO)
    live_project.passes(1, "-o", "asyncio_mode=auto", "test_auto.py")
    live_project.passes(1, "-p", "no:asyncio", "test_anyio.py")


def test_factory_on_memory(project):
    project.write("test_it.py", STRICT.replace("{scope}", "session"))
    project.passes(4, "--seqcache-url", "memory://")
