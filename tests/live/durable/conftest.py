"""Fixtures of the durable tests: a server with its functions loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos.client import DurableClient
from chaos.functions import Functions, load
from conftest import missing
from servers import NoServer, Server


@pytest.fixture(scope="session")
def durable_session_server() -> Iterator[Server]:
    """One server for the tests that never break its process."""
    try:
        server = Server("--enable-debug-command", "local")
    except NoServer as exc:
        missing(str(exc))
    with server:
        yield server


@pytest.fixture
def durable_server(durable_session_server: Server) -> Server:
    """A server without data, functions or memory limits of another test."""
    server = durable_session_server
    server.admin("CONFIG", "SET", "maxmemory", "0")
    server.admin("FLUSHALL")
    server.admin("FUNCTION", "FLUSH")
    return server


@pytest.fixture
def functions(durable_server: Server) -> Iterator[Functions]:
    """The server functions of the product, called directly."""
    with Functions(durable_server.address) as made:
        load(durable_server)
        yield made


@pytest.fixture
def build(
    durable_server: Server, make_server: Callable[..., Server]
) -> Iterator[Callable[..., Any]]:
    """`build("R7")`: functions without that rule; `build()`: with all."""
    opened: list[Functions] = []

    def make(*without: str) -> Functions:
        durable_server.admin("FLUSHALL")
        durable_server.admin("FUNCTION", "FLUSH")
        load(durable_server, *without)
        opened.append(Functions(durable_server.address))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A private PostgreSQL for all tests."""
    from chaos.postgres import NoPostgres, Postgres

    try:
        server = Postgres()
    except NoPostgres as exc:
        missing(str(exc))
    with server:
        yield server


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The ceiling store of a test."""
    return f"sqlite:///{tmp_path}/ceilings.db"


@pytest.fixture
def client_of(url: str) -> Iterator[Callable[..., DurableClient]]:
    """Clients of a server, closed at the end."""
    made: list[DurableClient] = []

    def make(server: Server, **options: Any) -> DurableClient:
        options.setdefault("step", 50)
        options.setdefault("ceilings", url)
        made.append(DurableClient(lambda: server.address, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def client(
    client_of: Callable[..., DurableClient], durable_server: Server
) -> DurableClient:
    """A client with a step of fifty."""
    return client_of(durable_server)
