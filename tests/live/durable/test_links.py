"""The C engine as the durable drivers see it: once, and on one connection (R2, R6)."""

from __future__ import annotations

import asyncio
import time

import pytest

import seqcache
from seqcache.durable.effects import Fcall
from seqcache.errors import ConnectError, ServerError

READ = Fcall("seq_get", (b"k", b"sqc:m:{k}"), ("", 0))


def blocking(server, url, steps):
    with seqcache.cache(server.url, ceilings=url, client_name="link") as cache:
        link = cache._works.link
        return [link.fcalls((READ, READ), step, 5.0) for step in steps(server)]


def asynchronous(server, url, steps):
    async def main():
        async with seqcache.acache(
            server.url, ceilings=url, client_name="link"
        ) as cache:
            link = cache._works.here().link
            return [await link.fcalls((READ, READ), n, 5.0) for n in steps(server)]

    return asyncio.run(main())


@pytest.mark.parametrize("run", [blocking, asynchronous])
def test_calls_bound_to_a_lost_connection_are_not_sent(run, durable_server, url):
    """R2: an install travels on the connection of its mark, or not at all."""

    def steps(server):
        yield None
        yield 1  # the same connection
        for line in server.admin("CLIENT", "LIST").decode().splitlines():
            if "name=link" in line.split():
                server.admin("CLIENT", "KILL", "ID", line.split()[0].partition("=")[2])
        time.sleep(0.01)  # what was heard a moment ago is not looked at again
        yield 1
        yield None

    first, same, gone, after = run(durable_server, url, steps)
    assert [one.link for one in (first, same)] == [1, 1]
    assert all(isinstance(value, list) for value in first.values + same.values)
    assert all(isinstance(value, ConnectError) for value in gone.values)
    assert all(value.executed is False for value in gone.values)
    assert after.link == 2
    assert all(isinstance(value, list) for value in after.values)


@pytest.mark.parametrize("run", [blocking, asynchronous])
def test_what_the_server_refuses_is_sent_once(run, durable_server, url):
    def steps(server):
        server.admin("FUNCTION", "FLUSH")
        server.admin("CONFIG", "RESETSTAT")
        yield None

    (refused,) = run(durable_server, url, steps)
    assert all(isinstance(value, ServerError) for value in refused.values)
    assert "unction not found" in str(refused.values[0])
    stats = durable_server.info("commandstats")["cmdstat_fcall"]
    assert stats.startswith("calls=2,"), stats
