"""The pytest plugin of seqcache: servers and caches as fixtures.

It stands outside of the package so that pytest can load it without importing
seqcache: that happens when a test asks for one of the fixtures.
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from seqcache import SeqCache
    from seqcache.testing import AsyncCaches, Caches, Server


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--seqcache-url``."""
    parser.getgroup("seqcache").addoption(
        "--seqcache-url",
        metavar="URL",
        help="server for the seqcache fixtures, with an empty database that the tests "
        "may use; by default a private redis-server or valkey-server is started "
        "(memory:// needs none)",
    )


@pytest.fixture(scope="session")
def seqcache_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """The server of this test run (of each worker of pytest-xdist).

    The one that --seqcache-url names, else a private redis-server or valkey-server;
    tests are skipped if there is none. ``seqcache_server.url`` is its address.
    """
    from seqcache.testing import _server

    if url := pytestconfig.getoption("--seqcache-url"):
        worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "gw0")
        try:
            server = _server.borrow(url, int(worker.removeprefix("gw")))
        except _server.NoServerError as why:
            pytest.fail(str(why), pytrace=False)
    else:
        try:
            server = _server.start_private()
        except _server.NoServerError as why:
            pytest.skip(str(why))
    with server:
        yield server


@pytest.fixture
def seqcache_url(seqcache_server: Server) -> str:
    """The address for this test, without any numbers: give it to your code.

    The server (of --seqcache-url: its database) is emptied before each test.
    """
    return seqcache_server.empty_url()


@pytest.fixture
def seq_cache_factory(seqcache_url: str) -> Iterator[Caches]:
    """Opens caches at seqcache_url: ``seq_cache_factory(timeout=0.5)``.

    Keywords are fields of seqcache.Config. They are closed after the test.
    """
    from seqcache.testing import Caches

    caches = Caches(seqcache_url)
    yield caches
    caches.close()


@pytest.fixture
def seq_cache(seq_cache_factory: Caches) -> SeqCache:
    """An open seqcache.SeqCache, empty at the start of the test."""
    return seq_cache_factory()


@pytest.fixture
def async_seq_cache_factory(seqcache_url: str) -> Iterator[AsyncCaches]:
    """Opens caches for asyncio: ``cache = await async_seq_cache_factory()``.

    Also ``async with async_seq_cache_factory(timeout=0.5) as cache``. Works with
    every plugin that runs coroutines, and every scope of its loop. What is left open
    is closed after the test.
    """
    from seqcache.testing import AsyncCaches

    caches = AsyncCaches(seqcache_url)
    yield caches
    caches.close()
