"""One blocking cache for any number of threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import seqcache
from fakes import node as faults


@pytest.fixture(params=["tcp", "unix", "memory"])
def cache(request):
    if request.param == "memory":
        url = "memory://"
    else:
        server = request.getfixturevalue("server")
        url = server.url if request.param == "tcp" else server.sock_url
    with seqcache.cache(url, timeout=20) as opened:
        yield opened


@pytest.mark.parametrize("count", [2, 8, 32])
def test_threads_get_every_number_once(cache, count):
    with ThreadPoolExecutor(count) as pool:
        work = lambda _: [cache.increase_seq("alice") for _ in range(200)]  # noqa: E731
        numbers = [n for part in pool.map(work, range(count)) for n in part]
    assert sorted(numbers) == list(range(1, count * 200 + 1))


def test_each_thread_sees_its_own_calls_in_order(cache):
    def work(_):
        last = 0
        for _ in range(200):
            number = cache.increase_seq("alice")
            assert last < number <= cache.get_seq("alice")
            last = number

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))


def test_each_thread_gets_its_own_answers(cache):
    cache.raise_seqs({f"u{n}": (n + 1) * 10**6 for n in range(24)})

    def work(n):
        for step in range(1, 101):
            assert cache.increase_seq(f"u{n}") == (n + 1) * 10**6 + step
            first, second = cache.get_seqs([f"u{n}", f"u{n}"])
            assert first == second == (n + 1) * 10**6 + step

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(work, range(24)))


def test_threads_with_bulks_and_single_calls(cache):
    ids = [f"g{n}" for n in range(300)]

    def work(n):
        if n % 2:
            for _ in range(10):
                cache.increase_seqs(ids)
        else:
            for uid in ids * 10:
                cache.increase_seq(uid)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert cache.get_seqs(ids) == [60] * 300


def test_nobody_is_served_much_less_than_the_others(server):
    """Fairness: the lead is handed over, no thread starves."""
    counts = [0] * 8
    stop = threading.Event()

    def work(n):
        while not stop.is_set():
            cache.increase_seq(f"u{n}")
            counts[n] += 1

    with seqcache.cache(server.url, timeout=20) as cache:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        stop.wait(1.0)
        stop.set()
        for thread in threads:
            thread.join()
    assert min(counts) > max(counts) / 4


def test_a_leader_that_gives_up_hands_over(node):
    """The impatient thread waits for the slow reply first; others go on."""
    with seqcache.cache(node.url, timeout=10) as cache:
        cache.increase_seq("warm")
        node.on("INCR", faults.delay(0.6), key="seq:slow")
        with ThreadPoolExecutor(10) as pool:
            slow = pool.submit(cache.increase_seq, "slow", timeout=0.2)
            node.wait_for(lambda: node.applied["seq:slow"])
            others = [pool.submit(cache.increase_seq, f"u{n}", n + 5) for n in range(8)]
            assert isinstance(slow.exception(5), seqcache.OutcomeUnknown)
            assert [future.result(5) for future in others] == list(range(5, 13))


def test_threads_over_a_restart_lose_and_double_nothing(make_server):
    own_server = make_server("--appendonly", "yes", "--appendfsync", "always")
    got, unknown = [], []
    stop = threading.Event()

    def work():
        while not stop.is_set():
            try:
                got.append(cache.increase_seq("alice"))
            except seqcache.SeqCacheError as exc:
                if exc.executed is not False:
                    unknown.append(exc)

    with seqcache.cache(own_server.url, timeout=10) as cache:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            stop.wait(0.4)
            own_server.restart()
        stop.wait(0.4)
        stop.set()
        for thread in threads:
            thread.join()
        top = cache.get_seq("alice")
    assert len(set(got)) == len(got)
    assert len(got) <= top <= len(got) + len(unknown)
