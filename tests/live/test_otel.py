"""Spans and durations on every face, after the conventions of OpenTelemetry."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, StatusCode
from spans import kept, only_mine, told

import seqcache
from fakes.node import swallow

__all__ = ["kept", "only_mine", "told"]


def test_span_says_where_and_what(told, server, net_face):
    cache = net_face.open(server.url.replace("/0", "/3"))
    cache.increase_seq("alice")
    span = told.span()
    host, port = server.address
    assert span.name == f"increase_seq {host}:{port}"
    assert span.kind is SpanKind.CLIENT
    assert dict(span.attributes) == {
        "db.system.name": "redis",
        "db.namespace": "3",
        "db.operation.name": "increase_seq",
        "server.address": host,
        "server.port": port,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope.name == "seqcache"
    assert span.instrumentation_scope.version == seqcache.__version__


def test_socket_is_an_address_without_port(told, server):
    with seqcache.cache(server.sock_url) as cache:
        cache.get_seq("alice")
    span = told.span()
    assert span.name == "get_seq"
    assert span.attributes["server.address"] == server.path
    assert "server.port" not in span.attributes


def test_every_call_has_one_span(told, cache):
    cache.increase_seq("a")
    cache.get_seq("a")
    cache.reserve("a", 5)
    cache.raise_seq("a", 50)
    cache.get_seqs(["a", "b"])
    cache.increase_seqs(["a", "b"])
    cache.raise_seqs({"a": 90, "b": 90, "c": 90})
    with suppress(seqcache.SeqCacheError):  # durable numbers refuse it
        cache.delete_seq("b", restart_from_one=True)
    cache.scan()
    cache.ping()
    cache.stats()
    names = [span.attributes["db.operation.name"] for span in told.spans()]
    assert names == [
        "increase_seq",
        "get_seq",
        "reserve",
        "raise_seq",
        "get_seqs",
        "BATCH increase_seq",
        "BATCH raise_seq",
        "delete_seq",
        "scan",
        "ping",
    ]
    sizes = [span.attributes.get("db.operation.batch.size") for span in told.spans()]
    assert sizes == [None] * 5 + [2, 3] + [None] * 3


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, None), (2, 2)])
def test_size_of_a_batch_is_known_or_counted(told, cache, count, size):
    ids = [str(n) for n in range(count)]
    cache.increase_seqs(user_ids=ids)
    cache.increase_seqs(name for name in ids)
    cache.raise_seqs((name, 5) for name in ids)
    sized, streamed, raised = told.spans()
    told_size = [s.attributes.get("db.operation.batch.size") for s in told.spans()]
    assert told_size == [size, size, size]
    batch = "" if count == 1 else "BATCH "
    assert sized.attributes["db.operation.name"] == f"{batch}increase_seq"
    assert streamed.attributes["db.operation.name"] == "BATCH increase_seq"
    assert raised.attributes["db.operation.name"] == "BATCH raise_seq"


def test_error_is_told_with_its_code_and_without_ids(told, server, live_cache):
    server.admin("RPUSH", "seq:alice", "x")
    with pytest.raises(seqcache.NotASequence):
        live_cache.increase_seq("alice")
    span = told.span()
    assert span.attributes["error.type"] == "NotASequence"
    assert span.attributes["db.response.status_code"] == "WRONGTYPE"
    assert span.attributes["seqcache.executed"] == "false"
    assert span.status.status_code is StatusCode.ERROR
    assert "alice" not in span.to_json()


def test_lost_answer_is_told_as_unknown(told, node, net_face):
    node.on("INCR", swallow)
    cache = net_face.open(node.url)
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice", timeout=0.2)
    span = told.span()
    assert span.attributes["error.type"] == "OutcomeUnknown"
    assert span.attributes["seqcache.executed"] == "unknown"
    (key,) = told.points("db.client.operation.duration")
    assert dict(key)["error.type"] == "OutcomeUnknown"


def test_ids_are_told_when_asked(kept, server, net_face):
    kept.on(capture_user_ids=True)
    cache = net_face.open(server.url)
    server.admin("RPUSH", "seq:alice", "x")
    with pytest.raises(seqcache.NotASequence):
        cache.increase_seq("alice")
    cache.get_seq(42)
    cache.get_seq(user_id=b"\xff")
    cache.get_seqs(["dave"])
    cache.increase_seqs(["bob", "carol"])
    failed, *rest = kept.spans()
    key = "db.operation.parameter.user_id"
    assert failed.attributes[key] == "alice"
    assert "alice" in failed.status.description
    (event,) = failed.events
    assert event.name == "exception"
    assert [s.attributes.get(key) for s in rest] == ["42", r"\xff", None, None]


def test_durations_are_a_histogram_of_seconds(told, server, net_face):
    cache = net_face.open(server.url)
    for _ in range(5):
        cache.increase_seq("alice")
    cache.increase_seqs(["alice", "bob"])
    points = told.points("db.client.operation.duration")
    counts = {dict(key)["db.operation.name"]: points[key].count for key in points}
    assert counts == {"increase_seq": 5, "BATCH increase_seq": 1}
    for key, point in points.items():
        assert 0 < point.sum < 5
        assert point.explicit_bounds[-1] == 10
        assert set(dict(key)) == {
            "db.system.name",
            "db.namespace",
            "db.operation.name",
            "server.address",
            "server.port",
        }


def test_counters_of_the_engine_are_observed(kept, server, net_face):
    kept.on(calls=False)
    cache = net_face.open(server.url)
    cache.increase_seqs(["alice", "bob"])
    where = cache.raw._engine.where
    pool = ("db.client.connection.pool.name", where)
    calls = kept.points("seqcache.calls")
    assert calls[pool, ("seqcache.operation", "increase")].value == 2
    up = kept.points("db.client.connection.count")
    assert up[pool, ("db.client.connection.state", "used")].value == 1
    out = kept.points("seqcache.io")[pool, ("network.io.direction", "transmit")]
    assert out.value == cache.stats().bytes_out
    assert kept.spans() == []
    assert not kept.points("db.client.operation.duration")
    assert "alice" not in repr(calls)


# --- context -------------------------------------------------------------------------


def test_call_is_a_child_of_the_span_around_it(told, server):
    with seqcache.cache(server.url) as cache, told.tracer.start_as_current_span("mine"):
        cache.increase_seq("alice")
        list(cache.scan())
        assert trace.get_current_span().name == "mine"
    increase, scan, mine = told.spans()
    assert increase.parent.span_id == scan.parent.span_id == mine.context.span_id


def test_context_holds_across_await(told, server, run_async):
    async def request(cache, number):
        with told.tracer.start_as_current_span(f"request {number}"):
            await cache.increase_seq("alice")
            assert trace.get_current_span().name == f"request {number}"
            calls = [cache.get_seq("alice") for _ in range(3)]
            assert trace.get_current_span().name == f"request {number}"
            await asyncio.gather(*calls)
            async for _ in cache.scan():
                assert trace.get_current_span().name == f"request {number}"
            assert trace.get_current_span().name == f"request {number}"

    async def main():
        async with seqcache.acache(server.url) as cache, asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(request(cache, number))

    run_async(main())
    mine = {span.context.span_id: span for span in told.spans("request")}
    calls = [span for span in told.spans() if span.context.span_id not in mine]
    assert len(mine) == 20
    assert len(calls) == 20 * 5
    for call in calls:
        parent = mine[call.parent.span_id]
        assert call.context.trace_id == parent.context.trace_id
    parents = [call.parent.span_id for call in calls]
    assert all(parents.count(own) == 5 for own in mine)


def test_suppressed_calls_are_not_told(told, live_face):
    cache = live_face.open()
    key = context._SUPPRESS_INSTRUMENTATION_KEY

    def silent():
        token = context.attach(context.set_value(key, True))
        try:
            return cache.raw.increase_seq("alice")
        finally:
            context.detach(token)

    assert cache.face.run(silent) == 1
    assert told.spans() == []


# --- what stays as it was -----------------------------------------------------------


def test_awaitable_stays_a_future(told, server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            call = cache.increase_seq("alice")
            assert asyncio.isfuture(call)
            assert await asyncio.wait_for(asyncio.shield(call), 5) == 1
            task = asyncio.create_task(cache.increase_seq("alice"))
            assert await task == 2

    run_async(main())
    assert len(told.spans("increase_seq")) == 2


def test_cancelled_call_ends_its_span(told, node, run_async):
    node.on("GET", swallow)

    async def main():
        async with seqcache.acache(node.url) as cache:
            call = cache.get_seq("alice")
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    run_async(main())
    assert told.span().attributes["error.type"] == "CancelledError"


def test_unread_error_is_still_logged(told, server, run_async, caplog):
    server.admin("RPUSH", "seq:alice", "x")

    async def main():
        async with seqcache.acache(server.url) as cache:
            cache.increase_seq("alice")
            await cache.get_seq("bob")
            await asyncio.sleep(0)

    run_async(main())
    assert "exception was never retrieved" in caplog.text
    assert len(told.spans()) == 2


def test_scan_that_is_left_ends_its_span(told, server, run_async):
    with seqcache.cache(server.url) as cache:
        cache.raise_seqs((n, 1) for n in range(10))
        pairs = cache.scan()
        next(pairs)
        pairs.close()
        del pairs
    assert len(told.spans("scan")) == 1

    async def main():
        async with seqcache.acache(server.url) as cache:
            pairs = cache.scan()
            await anext(pairs)
            await pairs.aclose()

    run_async(main())
    left, other = told.spans("scan")
    assert "error.type" not in left.attributes
    assert "error.type" not in other.attributes


def test_failing_scan_tells_its_error(told, node, net_face):
    node.on("SCAN", swallow)
    cache = net_face.open(node.url)
    with pytest.raises(seqcache.CallTimeout):
        cache.scan(timeout=0.2)
    assert told.span("scan").attributes["error.type"] == "CallTimeout"
