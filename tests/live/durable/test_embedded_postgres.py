"""memory:// with its ceilings in PostgreSQL: held by a lease, shared slowly."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("psycopg")

import sqlalchemy as sa
from chaos.history import Record, check
from conftest import make_face

import seqcache

LEASE = 0.4
OPTIONS = {"fence_time": LEASE, "step": 64, "timeout": 20}


@pytest.fixture(params=["sync-tcp", "async-tcp"])
def face(request):
    made = make_face(request.param, "memory://")
    yield made
    made.close()


@pytest.fixture
def store(postgres):
    postgres.empty()
    return postgres.url


@pytest.fixture
def open_host(store):
    """Open a cache as another machine would: a store of its own in this process."""
    engines, caches = [], []

    def opened(**options):
        engines.append(sa.create_engine(store))
        words = {"ceilings": engines[-1]} | OPTIONS | options
        caches.append(seqcache.cache("memory://", **words))
        return caches[-1]

    yield opened
    for cache in caches:
        cache.close()
    for engine in engines:
        engine.dispose()


def in_process(store, code):
    """Run a script that is killed, or ends, in a fresh process."""
    command = [sys.executable, "-c", textwrap.dedent(code), store]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_the_operations_and_a_clean_restart_without_gaps(face, store):
    with face.open(ceilings=store, **OPTIONS) as cache:
        assert [cache.increase_seq("alice") for _ in range(3)] == [1, 2, 3]
        assert cache.reserve("alice", 1000) == range(4, 1004)
        assert cache.raise_seq("bob", 5000) == 5000
        assert cache.increase_seqs(["alice", "bob", "carol"]) == [1004, 5001, 1]
        assert cache.get_seqs(["alice", "nobody"]) == [1004, 0]
        assert dict(cache.scan()) == {"alice": 1004, "bob": 5001, "carol": 1}
        assert cache.ping() > 0
        for n in range(1000):
            assert cache.increase_seq("dave") == n + 1
    with face.open(ceilings=store, **OPTIONS) as cache:
        assert cache.increase_seqs(["alice", "bob", "dave"]) == [1005, 5002, 1001]
        assert cache.stats().durable["waits"] == 0


def test_after_a_kill_the_lease_is_waited_for_and_no_number_repeats(face, store):
    code = f"""
        import os, signal, sys, seqcache
        cache = seqcache.cache("memory://", ceilings=sys.argv[1], **{OPTIONS!r})
        for _ in range(10):
            cache.increase_seq("alice")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    in_process(store, code)
    with face.open(ceilings=store, **OPTIONS) as cache:
        with pytest.raises(seqcache.CeilingError) as caught:
            cache.increase_seq("alice", timeout=LEASE / 4)
        assert caught.value.reason == "fence"
        assert caught.value.executed is False
        assert cache.increase_seq("bob") == 1  # nobody had it
        assert cache.increase_seq("alice") == 65
        assert cache.stats().durable["waits"] == 1


@pytest.mark.parametrize(
    "where", ["u:hush@127.0.0.1:1/d", "127.0.0.1:1/d?password=hush"]
)
def test_a_store_that_is_away_is_named_without_its_password(face, where):
    with pytest.raises(seqcache.StartupError, match=r"127\.0\.0\.1:1/d") as caught:
        face.open(ceilings=f"postgresql+psycopg://{where}")
    assert "hush" not in str(caught.value)
    assert "hush" not in str(caught.value.__cause__)


def test_a_second_process_of_this_machine_is_refused_with_the_pid(store):
    code = """
        import sys, seqcache
        try:
            seqcache.cache("memory://", ceilings=sys.argv[1])
        except seqcache.StartupError as error:
            print(error.args[0])
        cache = seqcache.cache("memory://other", ceilings=sys.argv[1])
        print(cache.increase_seq("alice"))
        cache.close()
    """
    import os

    with seqcache.cache("memory://", ceilings=store, **OPTIONS):
        done = in_process(store, code)
    assert f"used by process {os.getpid()}\n1\n" in done.stdout, done.stderr


def test_who_takes_a_key_of_another_host_goes_on_above_it(open_host):
    one, two = open_host(), open_host()
    last = 0
    for _ in range(2):
        for cache in (one, two):
            number = cache.increase_seq("alice")
            assert number > last
            last = number
            assert cache.get_seq("alice") == last
    assert two.get_seq("alice") >= last


def test_numbers_of_two_hosts_never_repeat_or_go_back(open_host, caplog):
    caches = [open_host(timeout=3), open_host(timeout=3)]
    records, end = [], time.monotonic() + 6

    def call(cache, n):
        while time.monotonic() < end:
            start = time.monotonic()
            op = "get" if n == 1 else "incr"
            try:
                if op == "get":
                    value = cache.get_seq("alice")
                else:
                    value = cache.increase_seq("alice")
                error = None
            except seqcache.CeilingError as failed:
                value, error = None, failed.reason
            now = time.monotonic()
            by = 0 if n == 1 else 1
            records.append(Record(start, now, "alice", op, by, None, value, error))
            time.sleep(0.002)

    threads = [
        threading.Thread(target=call, args=(cache, n))
        for cache in caches
        for n in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = check(records)
    assert report.violations("UMG") == 0, report.texts
    assert report.calls - report.failed > 100
    assert "needs a deployment of its own" in caplog.text


def test_a_store_that_is_away_is_not_noticed_before_the_lease_ends(postgres, open_host):
    cache = open_host(timeout=1, fence_time=3)
    assert cache.increase_seq("alice") == 1
    postgres.pause()
    try:
        for n in range(10):
            assert cache.increase_seq("alice") == n + 2
            time.sleep(0.05)
        time.sleep(3.2)
        with pytest.raises(seqcache.CeilingError) as caught:
            cache.increase_seq("alice")
        assert caught.value.reason == "unavailable"
        with pytest.raises(seqcache.CeilingError):
            cache.get_seq("alice")
    finally:
        postgres.resume()
    assert cache.increase_seq("alice", timeout=20) == 12


def test_without_a_lease_nobody_waits_and_no_number_repeats(open_host):
    one, two = open_host(fence="connection"), open_host(fence="connection")
    numbers = [cache.increase_seq("alice") for cache in (one, two, one, two)]
    assert len(set(numbers)) == 4
    assert two.stats().durable["waits"] == 0


def test_an_operator_may_lift_the_ceilings_meanwhile(open_host, store):
    from seqcache.ceilings import CeilingStore
    from seqcache.durable.admin import raise_all

    cache = open_host()
    assert cache.increase_seq("alice") == 1
    tool = CeilingStore(store, "main/memory")
    assert raise_all(tool, 10_000) == 1
    tool.close()
    numbers = [cache.increase_seq("alice") for _ in range(200)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > 10_000


def test_the_last_number_is_reached_and_not_passed(open_host):
    cache = open_host()
    assert cache.raise_seq("alice", 2**53 - 5) == 2**53 - 5
    assert cache.reserve("alice", 3) == range(2**53 - 4, 2**53 - 1)
    with pytest.raises(seqcache.SequenceOverflow):
        cache.reserve("alice", 2)
    assert cache.increase_seq("alice") == 2**53 - 1
    with pytest.raises(seqcache.SequenceOverflow):
        cache.increase_seq("alice")
    cache.close()
    cache = open_host()
    with pytest.raises(seqcache.SequenceOverflow):
        cache.increase_seq("alice", 7)
    assert cache.get_seq("alice") == 2**53 - 1
