"""close: every waiting call is answered, nothing leaks, twice is harmless."""

from __future__ import annotations

import gc
import threading
import time
import warnings

import pytest

import seqcache
from fakes import node as faults


def test_close_is_idempotent_and_calls_are_refused(cache):
    cache.increase_seq("alice")
    cache.close()
    cache.close()
    for name, args in [
        ("get_seq", ("alice",)),
        ("increase_seq", ("alice",)),
        ("reserve", ("alice", 2)),
        ("raise_seq", ("alice", 2)),
        ("get_seqs", (["alice"],)),
        ("increase_seqs", (["alice"],)),
        ("raise_seqs", ({"alice": 2},)),
        ("ping", ()),
    ]:
        with pytest.raises(seqcache.ClosedError) as caught:
            cache.call(name, *args)
        assert caught.value.executed is False
        assert isinstance(caught.value, RuntimeError)


def test_with_closes(face):
    with face.open() as cache:
        cache.increase_seq("alice")
    with pytest.raises(seqcache.ClosedError):
        cache.get_seq("alice")


def test_async_with_and_await_open_the_same(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            assert await cache.increase_seq("alice") == 1
        with pytest.raises(seqcache.ClosedError):
            await cache.get_seq("alice")
        cache = await seqcache.acache(server.url)
        assert await cache.increase_seq("alice") == 2
        await cache.aclose()
        async with await seqcache.acache(server.url) as cache:
            assert await cache.increase_seq("alice") == 3

    run_async(main())


@pytest.mark.parametrize("calls", [1, 20])
def test_close_answers_every_waiting_call(net_face, node, calls, ends_within):
    cache = net_face.open(node.url, timeout=30)
    node.on("INCR", faults.hang)
    futures = [cache.start("increase_seq", f"u{n}") for n in range(calls)]
    node.wait_for(lambda: node.seen("INCR"))
    time.sleep(0.1)
    with ends_within(0.5):
        cache.close()
        errors = [future.exception(5) for future in futures]
    assert all(isinstance(error, seqcache.ClosedError) for error in errors)
    assert any(error.executed is None for error in errors)


def test_close_answers_a_bulk_under_way(net_face, node):
    cache = net_face.open(node.url, timeout=30)
    node.on("INCR", faults.hang, nth=3)
    future = cache.start("increase_seqs", [f"u{n}" for n in range(50)])
    node.wait_for(lambda: node.seen("INCR") >= 3)
    time.sleep(0.1)
    cache.close()
    error = future.exception(5)
    assert isinstance(error, seqcache.ClosedError | seqcache.BulkError)
    assert error.executed is None


def test_close_while_connecting_ends_the_callers(net_face, node, ends_within):
    cache = net_face.open(node.url, timeout=30, connect_timeout=30)
    node.accept = "ignore"
    node.drop_all()
    time.sleep(0.05)
    future = cache.start("increase_seq", "alice")
    time.sleep(0.2)
    with ends_within(1):
        cache.close()
        error = future.exception(5)
    assert isinstance(error, seqcache.ClosedError)
    assert error.executed is False


def test_close_by_many_threads_while_others_call(server):
    for _ in range(10):
        cache = seqcache.cache(server.url)
        errors = []

        def work(cache=cache, errors=errors):
            try:
                while True:
                    cache.increase_seq("alice")
            except BaseException as exc:
                errors.append(exc)

        threads = [threading.Thread(target=work) for _ in range(6)]
        threads += [threading.Thread(target=cache.close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert [type(error) for error in errors] == [seqcache.ClosedError] * 6


def test_nothing_to_do_is_refused_by_a_closed_cache_as_well(face):
    cache = face.open()
    cache.close()
    for call in (cache.raise_seqs, cache.increase_seqs, cache.get_seqs):
        with pytest.raises(seqcache.ClosedError):
            call([])


def test_closed_cache_has_no_connection_left(server, live_face):
    cache = live_face.open(client_name="gone-test")
    cache.increase_seq("alice")
    assert server.client_count("gone-test") == 1
    cache.close()
    end = time.monotonic() + 5
    while server.client_count("gone-test"):
        assert time.monotonic() < end
        time.sleep(0.01)


def drop(caches):
    """Let go of the caches, and of what refers to them in circles."""
    caches.clear()
    gc.collect()


def test_a_cache_dropped_unclosed_warns(server):
    caches = [seqcache.cache(server.url, client_name="dropped-test")]
    caches[0].increase_seq("alice")
    with pytest.warns(ResourceWarning, match="seqcache|SeqCache|unclosed"):
        drop(caches)
    time.sleep(0.1)
    assert server.client_count("dropped-test") == 0


def test_an_async_cache_dropped_unclosed_warns(server, run_async):
    async def main():
        caches = [await seqcache.acache(server.url, client_name="dropped-test")]
        await caches[0].increase_seq("alice")
        with pytest.warns(ResourceWarning, match="seqcache|SeqCache|unclosed"):
            drop(caches)

    run_async(main())
    gc.collect()


def test_a_closed_cache_dropped_is_silent(face):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = face.open()
        cache.increase_seq("alice")
        cache.close()
        face.opened.clear()
        del cache
        gc.collect()


def test_a_view_dropped_does_not_warn_or_close(cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.namespace("x:").increase_seq("alice")
        gc.collect()
    assert cache.increase_seq("alice") == 1
