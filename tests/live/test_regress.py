"""on_regress: the cache notices that the server lost numbers."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

import seqcache


@pytest.fixture
def strict(live_face):
    return live_face.open(on_regress="raise")


def test_an_increase_below_a_known_number_raises(server, strict):
    strict.increase_seq("alice", 10)
    server.admin("SET", "seq:alice", 3)
    with pytest.raises(seqcache.SequenceRegressed) as caught:
        strict.increase_seq("alice")
    assert (caught.value.seen, caught.value.got) == (10, 4)
    assert caught.value.executed is True


def test_a_read_below_a_known_number_raises(server, strict):
    strict.increase_seq("alice", 10)
    server.admin("SET", "seq:alice", 9)
    with pytest.raises(seqcache.SequenceRegressed) as caught:
        strict.get_seq("alice")
    assert (caught.value.seen, caught.value.got) == (10, 9)


def test_a_lost_key_raises_though_it_reads_zero(server, strict):
    strict.increase_seq("alice")
    server.admin("DEL", "seq:alice")
    with pytest.raises(seqcache.SequenceRegressed) as caught:
        strict.get_seq("alice")
    assert (caught.value.seen, caught.value.got) == (1, 0)


def test_a_reserved_block_that_begins_too_low_raises(server, strict):
    strict.increase_seq("alice", 10)
    server.admin("SET", "seq:alice", 5)
    with pytest.raises(seqcache.SequenceRegressed) as caught:
        strict.reserve("alice", 100)
    assert (caught.value.seen, caught.value.got) == (10, 6)
    assert "started again at 6, but 10 was given before" in str(caught.value)


@pytest.mark.parametrize("teach", ["get_seq", "get_seqs", "raise_seq"])
def test_every_answer_teaches(server, strict, teach):
    server.admin("SET", "seq:alice", 50)
    args = {"get_seq": ["alice"], "get_seqs": [["alice"]], "raise_seq": ["alice", 1]}
    strict.call(teach, *args[teach])
    server.admin("SET", "seq:alice", 20)
    with pytest.raises(seqcache.SequenceRegressed):
        strict.increase_seq("alice")


def test_bulk_calls_tell_the_id(server, strict):
    strict.raise_seqs({"a": 5, "b": 6, "c": 7})
    assert strict.get_seqs(["a", "b", "c"]) == [5, 6, 7]
    server.admin("SET", "seq:b", 2)
    with pytest.raises(seqcache.BulkError) as caught:
        strict.increase_seqs(["a", "b", "c"])
    results = caught.value.results
    assert (results[0], results[2]) == (6, 8)
    assert isinstance(results[1], seqcache.SequenceRegressed)
    assert (results[1].seen, results[1].got) == (6, 3)
    assert caught.value.executed is not False


def test_views_share_what_is_known(server, strict):
    strict.namespace("x:").increase_seq("alice", 10)
    server.admin("SET", "x:alice", 3)
    with pytest.raises(seqcache.SequenceRegressed):
        strict.namespace("x:").increase_seq("alice")


def test_delete_forgets_the_key(server, strict):
    strict.increase_seq("alice", 10)
    strict.delete_seq("alice", restart_from_one=True)
    assert strict.get_seq("alice") == 0
    assert strict.increase_seq("alice") == 1


def test_warn_is_the_default_it_logs_counts_and_returns(server, live_cache, caplog):
    live_cache.increase_seq("alice", 10)
    server.admin("SET", "seq:alice", 3)
    with caplog.at_level(logging.WARNING, logger="seqcache"):
        assert live_cache.increase_seq("alice") == 4
    (record,) = [r for r in caplog.records if r.name.startswith("seqcache")]
    assert record.levelno == logging.WARNING
    assert "10" in record.getMessage()
    assert "4" in record.getMessage()
    assert live_cache.stats().regressions == 1


def test_off_says_nothing(server, live_face, caplog):
    cache = live_face.open(on_regress="off")
    cache.increase_seq("alice", 10)
    server.admin("SET", "seq:alice", 3)
    assert cache.increase_seq("alice") == 4
    assert not [r for r in caplog.records if r.name.startswith("seqcache")]


def test_no_false_alarm_with_many_calls_in_flight(strict):
    """What was known when a call was written counts, not what came meanwhile."""
    calls = [("get_seq", "a"), ("increase_seq", "a"), ("raise_seq", "a", 5)] * 100
    futures = [strict.start(*call) for call in calls]
    results = [future.result(20) for future in futures]
    assert all(isinstance(value, int) for value in results)


def test_forward_jumps_of_others_are_no_regress(server, strict):
    for value in (5, 100, 10**12):
        server.admin("SET", "seq:alice", value)
        assert strict.increase_seq("alice") == value + 1


def test_a_restart_without_data_is_noticed(own_server, net_face):
    cache = net_face.open(own_server.url, on_regress="raise", timeout=10)
    cache.increase_seq("alice", 10)
    own_server.restart()
    with pytest.raises(seqcache.SequenceRegressed):
        cache.increase_seq("alice")


def has_failed(cache):
    """Wait until a block did not come."""
    end = time.monotonic() + 20
    while not cache.stats().leases["failures"]:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_loss_that_is_told_to_a_call_that_waits_ends_it(run_async, server):
    async def main():
        async with seqcache.acache(server.url, on_regress="raise") as cache:
            lease = cache.lease("alice", size=10)
            for _ in range(5):
                await lease.next()
            await asyncio.to_thread(server.flush)
            await lease.next()  # begins the refill, for which nobody waits
            await asyncio.to_thread(has_failed, cache)
            first, second = lease.take(50), lease.take(8)  # which begins a refill
            assert len(await asyncio.wait_for(first, 10)) == 50
            with pytest.raises(seqcache.SequenceRegressed):
                await asyncio.wait_for(second, 10)
            assert await lease.next()

    run_async(main())
