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
    from seqcache.testing import AsyncCaches, Caches, Faults, Server

# In the stash of a test that has the address of the server itself.
_BARE = pytest.StashKey[bool]()


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
def _seqcache_empty(request: pytest.FixtureRequest) -> str:
    """The address of the server itself, without any numbers."""
    try:
        server: Server = request.getfixturevalue("seqcache_server")
    except pytest.skip.Exception:
        if "seqcache_faults" not in request.fixturenames:
            raise
        return "memory://"  # faults can be had without a server
    return server.empty_url()


@pytest.fixture
def seqcache_url(request: pytest.FixtureRequest, _seqcache_empty: str) -> str:
    """The address for this test, without any numbers: give it to your code.

    The server (of --seqcache-url: its database) is emptied before each test. With
    seqcache_faults in the test, the address leads through them.
    """
    if "seqcache_faults" in request.fixturenames:
        faults: Faults = request.getfixturevalue("seqcache_faults")
        return faults.url
    request.node.stash[_BARE] = True
    return _seqcache_empty


@pytest.fixture
def seqcache_faults(
    request: pytest.FixtureRequest, _seqcache_empty: str
) -> Iterator[Faults]:
    """Stands between this test's caches and the server, and makes calls fail.

    ``seqcache_faults.lose_reply()``: the server runs the next call, and its answer is
    lost. So do silence, delay, reset, error, readonly and go_back, each at the nth
    call; hold, hang_up, black_hole and down act on connections. Without a server
    program it is a stand-in in this process.
    """
    from seqcache.testing import Faults

    if _BARE in request.node.stash:
        pytest.fail(
            "seqcache_faults must be an argument of the test (or of a fixture, or in "
            "usefixtures): here it comes after caches that lead past it",
            pytrace=False,
        )
    with Faults(_seqcache_empty) as faults:
        yield faults


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
