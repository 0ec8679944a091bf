"""A link that went silent is replaced; one that is only slow is kept."""

from __future__ import annotations

import threading
import time

import pytest

import seqcache
from fakes import node as actions


def test_black_holed_link_is_replaced(server, faults, plain_face):
    cache = plain_face.open(faults.url, timeout=0.3)
    assert cache.increase_seq("alice") == 1
    faults.black_hole()
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice")
    time.sleep(1.2)  # a second of silence, and the link is dead
    assert cache.increase_seq("alice", timeout=5) == 2
    assert faults.connections >= 2
    assert server.admin("GET", "seq:alice") == b"2"


def test_black_holed_link_is_replaced_while_callers_come_and_go(
    server, faults, plain_face
):
    """Callers with short timeouts must not keep a dead link alive."""
    cache = plain_face.open(faults.url, timeout=0.1)
    assert cache.increase_seq("alice") == 1
    good: list[float] = []
    bad: list[seqcache.SeqCacheError] = []
    stop = threading.Event()

    def caller() -> None:
        while not stop.is_set():
            try:
                cache.increase_seq("alice")
                good.append(time.monotonic())
            except seqcache.SeqCacheError as exc:
                bad.append(exc)
                time.sleep(0.01)

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    faults.black_hole()
    cut = time.monotonic()
    while time.monotonic() < cut + 6 and not (good and good[-1] > cut + 0.3):
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert good[-1] > cut + 0.3, "the black hole was never replaced"
    value = int(server.admin("GET", "seq:alice"))
    unknown = sum(error.executed is None for error in bad)
    assert 1 + len(good) <= value <= 1 + len(good) + unknown


def test_reads_on_a_black_holed_link_go_on_over_the_next(server, faults, plain_face):
    cache = plain_face.open(faults.url, timeout=0.3)
    cache.increase_seq("alice", 7)
    faults.black_hole()
    calls = [("get_seq", "alice"), ("get_seqs", ["alice"]), ("raise_seq", "alice", 3)]
    futures = [cache.start(*call, timeout=10) for call in calls]
    assert [future.result(10) for future in futures] == [7, [7], 7]


def test_a_slow_reply_does_not_cost_the_link(node, plain_face):
    cache = plain_face.open(node.url, timeout=5)
    cache.increase_seq("warm")
    node.on("INCR", actions.delay(1.5), key="seq:slow")
    before = node.connection_count
    assert cache.increase_seq("slow") == 1
    assert node.connection_count == before


def test_steady_replies_keep_the_link_though_single_calls_time_out(node, plain_face):
    """What counts is silence, not one caller's patience."""
    cache = plain_face.open(node.url, timeout=5)
    cache.increase_seq("warm")
    before = node.connection_count
    node.on("INCR", actions.delay(0.25), times=8)
    for _ in range(8):
        with pytest.raises(seqcache.OutcomeUnknown):
            cache.increase_seq("alice", timeout=0.05)
        time.sleep(0.3)
    assert node.connection_count == before
    assert cache.increase_seq("alice") == 9


def test_server_restart_is_seen_by_stats(own_server, plain_face):
    cache = plain_face.open(own_server.url, timeout=10)
    cache.increase_seq("alice")
    own_server.restart()
    time.sleep(0.05)
    assert cache.increase_seq("alice") == 1
    assert cache.stats().reconnects >= 1


def test_half_closed_link_is_replaced(node, plain_face):
    cache = plain_face.open(node.url, timeout=5)
    node.on("INCR", actions.half_close)
    assert cache.increase_seq("alice") == 1
    time.sleep(0.05)
    assert cache.increase_seq("alice") == 2
    assert node.applied["seq:alice"] == 2


def test_reconnect_attempts_back_off(node, plain_face):
    cache = plain_face.open(node.url, timeout=1.0)
    cache.increase_seq("warm")
    node.accept = "reset"
    node.drop_all()
    time.sleep(0.05)
    before = node.connection_count
    with pytest.raises(seqcache.ConnectError):
        cache.increase_seq("alice")
    assert 1 <= node.connection_count - before <= 60


def test_one_link_serves_every_thread(node, plain_face):
    cache = plain_face.open(node.url, timeout=10)
    before = node.connection_count
    numbers = cache.start_all("increase_seq", [("alice",)] * 50)
    assert sorted(numbers) == list(range(1, 51))
    assert node.connection_count == before


def test_connections_option_opens_more_links(node):
    with seqcache.cache(node.url, connections=3, timeout=10) as cache:
        results = []

        def work() -> None:
            results.extend(cache.increase_seq("alice") for _ in range(50))

        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(results) == list(range(1, 601))
        assert node.connection_count <= 4
