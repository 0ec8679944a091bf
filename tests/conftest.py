"""Fixtures of the whole suite: private servers, the faces, patience.

A missing server skips the test on a developer's machine and fails it when
CI=true.  SEQCACHE_TEST_SERVER names the server program.  SEQCACHE_TEST_SLACK is
the number of seconds by which a call may miss its deadline (default 0.5, since
test machines are shared; 0.05 on a quiet one proves GOALS.md R7).
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import NoServer, Server, find_old_binary

from fakes.node import FakeNode
from seqcache.testing import Faults

SLACK_SECONDS = float(os.environ.get("SEQCACHE_TEST_SLACK", "0.5"))
TEST_SECONDS = 60.0

# A suite started in the background inherits an ignored Ctrl-C, and so would the
# programs that it interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

FACES = ["sync-tcp", "sync-unix", "async-tcp", "async-uvloop"]
MEMORY = ["memory-sync", "memory-async"]
EMBEDDED = ["sqlite-sync", "sqlite-async"]


# The files that take longest go first, so that none of them is what the end of a run
# on several workers waits for (test.sh keeps the order).
LONG = (
    "unit/test_build.py",
    "plugin",
    "typing",
    "isolated",
    "live/test_cli.py",
    "kill",
)

# What shows a promise: one failure is one too many, whatever a second try would say.
PROMISES = (
    "chaos/test_chaos.py",
    "chaos/test_directed.py",
    "isolated",
    "kill",
    "live/durable/test_fast_path.py",
    "live/durable/test_functions.py",
    "live/durable/test_functions_keys.py",
    "live/durable/test_rules.py",
    "live/test_cancel.py",
    "live/test_outcome.py",
    "live/test_tokens_lost.py",
    "live/test_unsent.py",
)
AGAIN = "SEQCACHE_TEST_AGAIN" in os.environ


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail the second try of what shows a promise."""
    here = Path(__file__).parent
    if AGAIN and any(item.path.is_relative_to(here / name) for name in PROMISES):
        pytest.fail("it failed before: a promise has no second try")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test has a time limit: a hang names its test. Long files go first."""
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        path = item.path
        found = [n for n, name in enumerate(LONG) if path.is_relative_to(here / name)]
        return found[0] if found else len(LONG)

    items.sort(key=rank)
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def pytest_collection_finish() -> None:
    """Leave the 5000 tests out of garbage collections: with them each takes long."""
    gc.collect()
    gc.freeze()


def missing(reason: str) -> Any:
    """Skip here, fail in CI: a thing that the test needs is not there."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def session_server() -> Iterator[Server]:
    """The one server that most tests share."""
    try:
        server = Server()
    except NoServer as exc:
        missing(str(exc))
    with server:
        yield server


@pytest.fixture
def server(session_server: Server) -> Server:
    """The shared real server, empty at the start of the test."""
    session_server.flush()
    return session_server


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    """Start further servers: `make_server("--requirepass", "x", password="x")`."""
    made: list[Server] = []

    def make(*args: str, **options: Any) -> Server:
        try:
            made.append(Server(*args, **options))
        except NoServer as exc:
            missing(str(exc))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def own_server(make_server: Callable[..., Server]) -> Server:
    """A server of this test alone, to kill and freeze."""
    return make_server()


@pytest.fixture
def old_server(make_server: Callable[..., Server]) -> Server:
    """A Redis before 7.0."""
    try:
        binary = find_old_binary()
    except NoServer as exc:
        missing(str(exc))
    return make_server(binary=binary)


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A healthy scripted node; the test adds the faults."""
    with FakeNode() as fake:
        yield fake


@pytest.fixture
def faults(server: Server) -> Iterator[Faults]:
    """What stands before the shared real server."""
    with Faults(server.url) as between:
        yield between


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The event loop factory behind "asyncio" or "uvloop"."""
    if name == "asyncio":
        return asyncio.new_event_loop
    if importlib.util.find_spec("uvloop") is None:
        missing("uvloop is not installed")
    import uvloop

    return uvloop.new_event_loop


@pytest.fixture(params=["asyncio", "uvloop"])
def run_async(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """`run_async(main())` on a new stock loop, and on a new uvloop."""
    factory = loop_factory(request.param)

    def run(coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)

    return run


def make_face(name: str, url: str) -> Any:
    """A face by the name of its fixture parameter."""
    import faces

    if name in ("sync-tcp", "sync-unix", "memory-sync", "sqlite-sync"):
        return faces.SyncFace(name, url)
    loop = "uvloop" if name == "async-uvloop" else "asyncio"
    return faces.AsyncFace(name, url, loop_factory(loop))


def face_of(name: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The face, pointed at the shared server or at memory, closed at the end."""
    if name.startswith("memory"):
        url = "memory://"
    elif name.startswith("sqlite"):
        folder = request.getfixturevalue("tmp_path")
        url = f"sqlite:///{folder}/seq.db?timeout=20"  # a shared disk may be slow
    else:
        shared: Server = request.getfixturevalue("server")
        url = shared.sock_url if name == "sync-unix" else shared.url
    face = make_face(name, url)
    yield face
    face.close()


@pytest.fixture(params=FACES + MEMORY + EMBEDDED)
def face(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Every face, memory included."""
    yield from face_of(request.param, request)


@pytest.fixture(params=FACES + MEMORY)
def plain_face_or_memory(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Every face that is not durable."""
    yield from face_of(request.param, request)


@pytest.fixture
def plain_cache(plain_face_or_memory: Any) -> Any:
    """An open cache whose sequences may be deleted."""
    return plain_face_or_memory.open()


@pytest.fixture(params=EMBEDDED)
def embedded_face(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Both faces of a file of ceilings."""
    yield from face_of(request.param, request)


@pytest.fixture(params=FACES)
def live_face(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Every face that talks to a server."""
    yield from face_of(request.param, request)


@pytest.fixture(params=["sync-tcp", "async-tcp", "async-uvloop"])
def net_face(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Faces over TCP without a server of their own: for nodes and proxies."""
    face = make_face(request.param, "redis://127.0.0.1:1/0")
    yield face
    face.close()


@pytest.fixture(params=["sync-tcp", "async-tcp"])
def plain_face(request: pytest.FixtureRequest) -> Iterator[Any]:
    """`net_face` without uvloop: for slow tests in which the loop is no part."""
    face = make_face(request.param, "redis://127.0.0.1:1/0")
    yield face
    face.close()


@pytest.fixture(params=MEMORY)
def memory_face(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Both faces of the in-process store."""
    yield from face_of(request.param, request)


@pytest.fixture
def cache(face: Any) -> Any:
    """An open cache with the defaults, on every face."""
    return face.open()


@pytest.fixture
def live_cache(live_face: Any) -> Any:
    """An open cache with the defaults, on every face with a server."""
    return live_face.open()


class Elapsed:
    """How long the block took, in seconds."""

    seconds = 0.0


@pytest.fixture
def ends_within() -> Callable[[float], Any]:
    """`with ends_within(0.3):` the block keeps its deadline, with slack."""

    @contextmanager
    def check(deadline: float) -> Iterator[Elapsed]:
        elapsed, began = Elapsed(), time.monotonic()
        yield elapsed
        elapsed.seconds = time.monotonic() - began
        assert elapsed.seconds <= deadline + SLACK_SECONDS

    return check
