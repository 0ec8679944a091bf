"""Spans of durable mode, and of the SQL that a call waits for."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from spans import kept, only_mine, told
from sqlalchemy import create_engine, event

import seqcache

__all__ = ["kept", "only_mine", "told"]


@pytest.fixture
def engine(url, told):
    """An SQL engine that makes a span of each statement, as its instrumentor does."""
    made = create_engine(url)

    @event.listens_for(made, "before_cursor_execute")
    def say(_connection, _cursor, statement, *_):
        told.tracer.start_span(f"SQL {statement.split()[0]}").end()

    yield made
    made.dispose()


def family(told):
    """The call's span, and those of its SQL statements; background work aside."""
    mine = told.span("mine")
    calls = [s for s in told.spans() if s.parent and s.parent == mine.context]
    (call,) = calls
    return call, [s for s in told.spans("SQL") if s.parent == call.context]


def test_sql_of_a_call_belongs_to_its_span(told, durable_server, engine):
    with (
        seqcache.cache(durable_server.url, ceilings=engine) as cache,
        told.tracer.start_as_current_span("mine"),
    ):
        assert cache.increase_seq("alice", token="t") == 1
        assert trace.get_current_span().name == "mine"
    call, statements = family(told)
    assert call.attributes["db.operation.name"] == "increase_seq"
    assert call.attributes["db.system.name"] == "redis"
    assert statements


def test_sql_of_an_asyncio_call_belongs_to_its_span(
    told, durable_server, engine, run_async
):
    async def main():
        async with seqcache.acache(durable_server.url, ceilings=engine) as cache:
            with told.tracer.start_as_current_span("mine"):
                assert await cache.increase_seqs(["alice", "bob"]) == [1, 1]
                assert trace.get_current_span().name == "mine"

    run_async(main())
    call, statements = family(told)
    assert call.attributes["db.operation.name"] == "BATCH increase_seq"
    assert statements


def test_events_of_durable_mode_are_observed(told, durable_server, url):
    with seqcache.cache(durable_server.url, ceilings=url) as cache:
        cache.increase_seq("alice")
        pool = ("db.client.connection.pool.name", cache._engine.where)
        events = told.points("seqcache.durable.events")
        assert events[pool, ("seqcache.durable.event", "takes")].value >= 1
        times = told.points("seqcache.durable.time")
        assert times[pool, ("seqcache.durable.time", "lease_left")].value > 0


def test_what_was_opened_before_and_after_is_told(kept, durable_server, url):
    with seqcache.cache(durable_server.url, ceilings=url) as cache:
        kept.on()
        cache.increase_seq("alice")
        kept.off()
        cache.increase_seq("alice")
        assert len(kept.spans()) == 1
