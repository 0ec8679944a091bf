"""A call whose time is up before it was sent is never counted later."""

from __future__ import annotations

import time

import pytest

import seqcache
from fakes import node as faults

TIMEOUT = 0.3


@pytest.mark.parametrize("how", ["close", "reset"])
def test_connection_found_dead_before_sending_just_succeeds(net_face, node, how):
    cache = net_face.open(node.url)
    assert cache.increase_seq("alice") == 1
    for expected in range(2, 7):
        node.drop_all(reset=how == "reset")
        time.sleep(0.05)
        assert cache.increase_seq("alice") == expected
    assert node.applied["seq:alice"] == 6


def test_connection_killed_by_the_server_just_succeeds(server, live_face):
    cache = live_face.open(client_name="killed-test")
    for expected in range(1, 4):
        assert cache.increase_seq("alice") == expected
        server.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(0.05)


def test_server_down_is_connect_error_and_never_counted(
    own_server, net_face, ends_within
):
    cache = net_face.open(own_server.url, timeout=TIMEOUT)
    cache.increase_seq("warm")
    own_server.kill()
    time.sleep(0.05)
    for _ in range(3):
        with ends_within(TIMEOUT), pytest.raises(seqcache.ConnectError) as caught:
            cache.increase_seq("alice")
        assert caught.value.executed is False
        assert isinstance(caught.value, ConnectionError)
        assert caught.value.__cause__ is not None
    own_server.start()
    assert cache.increase_seq("bob", timeout=5) == 1
    time.sleep(0.2)
    assert own_server.admin("GET", "seq:alice") is None


def test_call_during_a_restart_waits_and_counts_once(own_server, net_face):
    cache = net_face.open(own_server.url, timeout=15)
    cache.increase_seq("warm")
    own_server.kill()
    time.sleep(0.05)
    future = cache.start("increase_seq", "alice")
    time.sleep(0.3)
    assert not future.done()
    own_server.start()
    assert future.result(15) == 1
    assert own_server.admin("GET", "seq:alice") == b"1"


def test_server_frozen_counts_only_what_was_sent(own_server, net_face):
    cache = net_face.open(own_server.url, timeout=TIMEOUT, client_name="frozen")
    cache.increase_seq("warm")
    own_server.pause()
    results = cache.start_all("increase_seq", [("alice",)] * 30)
    own_server.resume()
    unknown = [e for e in results if isinstance(e, seqcache.OutcomeUnknown)]
    unsent = [e for e in results if isinstance(e, seqcache.CallTimeout)]
    assert len(unknown) + len(unsent) == 30, results
    assert unknown
    assert {error.executed for error in unsent} <= {False}
    value = cache.increase_seq("alice", timeout=10)
    time.sleep(0.2)
    assert value - 1 <= len(unknown)
    assert cache.get_seq("alice", timeout=10) <= 1 + len(unknown)


def test_socket_buffers_full_unsent_calls_are_never_counted(net_face, node):
    cache = net_face.open(node.url, timeout=TIMEOUT)
    cache.increase_seq("warm")
    node.stop_reading()
    ids = [f"{n:0512d}" for n in range(30_000)]
    filler = cache.start("increase_seqs", ids, timeout=0.8)
    time.sleep(0.2)
    with pytest.raises(seqcache.SeqCacheError) as caught:
        cache.increase_seq("late")
    assert caught.value.executed is False
    error = filler.exception(20)
    assert isinstance(error, seqcache.BulkError), error
    unsent = [
        uid
        for uid, result in zip(ids, error.results, strict=True)
        if not isinstance(result, int) and result.executed is False
    ]
    assert unsent
    node.clear()
    assert cache.increase_seq("next", timeout=10) == 1
    time.sleep(0.3)
    applied = node.applied
    assert applied["seq:late"] == 0
    assert not [uid for uid in unsent if applied[f"seq:{uid}"]]
    assert max(applied.values()) == 1


def test_unsent_part_of_a_bulk_continues_on_the_next_link(net_face, node):
    """The node reads a part, resets, and the rest counts on the next link."""
    cache = net_face.open(node.url, timeout=15)
    cache.increase_seq("warm")
    ids = [f"{n:0512d}" for n in range(30_000)]
    node.on("INCR", faults.reset_before, nth=100)
    with pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs(ids)
    results = caught.value.results
    applied = node.applied
    assert results[-1] == 1
    for uid, result in zip(ids, results, strict=True):
        # A reset also takes answers that were already on their way.
        assert result == 1 or isinstance(result, seqcache.OutcomeUnknown)
        assert result != 1 or applied[f"seq:{uid}"] == 1
    assert max(applied.values()) == 1
    assert sum(applied.values()) >= len(ids) // 2


def test_link_down_in_the_handshake_counts_nothing(net_face, node):
    cache = net_face.open(node.url, timeout=TIMEOUT)
    cache.increase_seq("warm")
    node.accept = "ignore"
    node.drop_all()
    time.sleep(0.05)
    with pytest.raises(seqcache.ConnectError) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is False
    node.clear()
    assert cache.increase_seq("bob", timeout=10) == 1
    time.sleep(0.2)
    assert node.applied["seq:alice"] == 0


def test_order_of_one_caller_is_kept_over_a_lost_idle_link(net_face, node):
    cache = net_face.open(node.url, timeout=5)
    for round_number in range(5):
        assert cache.increase_seq("alice") == round_number + 1
        assert cache.get_seq("alice") == round_number + 1
        node.drop_all()
        time.sleep(0.03)
