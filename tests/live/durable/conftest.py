"""Fixtures of the durable tests: a server with its functions loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chaos.functions import Functions, load
from servers import NoServer, Server


@pytest.fixture(scope="session")
def durable_session_server() -> Iterator[Server]:
    """One server for the tests that never break its process."""
    try:
        server = Server("--enable-debug-command", "local")
    except NoServer as exc:
        pytest.skip(str(exc))
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
    """A private PostgreSQL; skipped where there is none."""
    from chaos.postgres import NoPostgres, Postgres

    try:
        server = Postgres()
    except NoPostgres as exc:
        pytest.skip(str(exc))
    with server:
        yield server
