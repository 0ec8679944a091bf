"""Durable mode through `cache` and `acache`, on a real server."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from conftest import make_face

import seqcache
from fakes.proxy import Proxy
from seqcache.errors import (
    BulkError,
    CallTimeout,
    CeilingError,
    ClosedError,
    NotASequence,
    OutcomeUnknown,
    SeqCacheError,
    SequenceOverflow,
    StartupError,
    TokenConflict,
    UserIdError,
)

STEP = 50
CAP = 2**53 - 1


@pytest.fixture(params=["sync-tcp", "async-tcp", "async-uvloop"])
def anyface(request):
    face = make_face(request.param, "redis://127.0.0.1:1/0")
    yield face
    face.close()


@pytest.fixture
def face(anyface, durable_server, url):
    """A face that opens durable caches at the shared server."""
    anyface.url = durable_server.url
    plain = anyface.open

    def opened(config=None, **options):
        return plain(config, **({"ceilings": url, "step": STEP} | options))

    anyface.open_plain = plain
    anyface.open = opened
    return anyface


@pytest.fixture
def cache(face):
    return face.open()


def test_numbers_are_dense_from_one(cache):
    assert cache.get_seq("alice") == 0
    assert [cache.increase_seq("alice") for _ in range(200)] == list(range(1, 201))
    assert cache.get_seq("alice") == 200
    assert cache.increase_seq("alice", 5) == 205
    assert cache.increase_seq(42) == 1
    assert cache.increase_seq("42") == 2
    assert isinstance(cache.raw, (seqcache.SeqCache, seqcache.AsyncSeqCache))


def test_reserve_and_raise_pass_ceilings_without_a_gap(cache):
    last = 0
    for count in (STEP - 1, 2, 3 * STEP, 1, 1000):
        assert cache.reserve("alice", count) == range(last + 1, last + count + 1)
        last += count
    assert cache.raise_seq("alice", last + 5000) == last + 5000
    assert cache.raise_seq("alice", 3) == last + 5000
    assert cache.increase_seq("alice") == last + 5001
    assert cache.raise_seq("bob", 7) == 7
    assert cache.increase_seq("bob") == 8


def test_bulk_calls_keep_the_order_of_the_ids(cache):
    ids = [f"u{n}" for n in range(700)]
    assert cache.increase_seqs(ids) == [1] * 700
    assert cache.increase_seqs(["u0", "u1", "u0"], 3) == [4, 4, 7]
    assert cache.get_seqs(["u1", "u0", "nobody", "u1"]) == [4, 7, 0, 4]
    assert cache.raise_seqs({"u1": 10, "x": 5}) == 2
    assert cache.raise_seqs([("u1", 1)]) == 1
    assert cache.get_seqs(["u1", "x"]) == [10, 5]
    assert cache.get_seqs([]) == cache.increase_seqs([]) == []
    assert dict(cache.scan("u1"))["u1"] == 10
    assert cache.ping() > 0


def test_many_calls_at_once_get_each_number_once(face):
    cache, other = face.open(), face.open()
    futures = [
        one.start("increase_seq", "alice") for _ in range(150) for one in (cache, other)
    ]
    numbers = [future.result(20) for future in futures]
    assert sorted(numbers) == list(range(1, 301))


def test_namespaces_share_the_epoch_and_no_number(cache):
    view = cache.namespace("other:")
    assert cache.increase_seq("alice") == view.increase_seq("alice") == 1
    assert view.increase_seq("alice") == 2
    assert cache.stats().durable["epochs"] == 1
    view.close()
    with pytest.raises(ClosedError):
        view.increase_seq("alice")
    assert cache.increase_seq("alice") == 2


# --- what Redis loses ------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        ("FLUSHALL",),
        ("DEL", "seq:alice"),
        ("SET", "seq:alice", "1"),
        ("DEL", "seq:alice", "sqc:m:{seq:alice}"),
        ("DEBUG", "RELOAD"),
        ("FUNCTION", "FLUSH"),
    ],
    ids=" ".join,
)
def test_no_number_twice_whatever_is_lost(cache, durable_server, loss):
    numbers = [cache.increase_seq("alice") for _ in range(20)]
    durable_server.admin(*loss)
    seen = cache.get_seq("alice")
    assert seen >= numbers[-1]
    numbers += [cache.increase_seq("alice") for _ in range(20)]
    assert numbers == sorted(set(numbers))
    assert numbers[20] > seen
    assert numbers[-1] <= 40 + 3 * STEP


def old_snapshot(server, cache):
    """Count, save, count on, crash: the server comes back with the old data."""
    server.admin("CONFIG", "SET", "save", "")
    numbers = [cache.increase_seq("alice") for _ in range(10)]
    server.admin("SAVE")
    numbers += [cache.increase_seq("alice") for _ in range(10)]
    server.restart()
    end = time.monotonic() + 10
    while len(numbers) < 30 and time.monotonic() < end:
        with contextlib.suppress(SeqCacheError):
            numbers.append(cache.increase_seq("alice"))
    assert len(numbers) == 30
    return numbers


def test_crash_with_an_old_snapshot_repeats_nothing(face, own_server):
    numbers = old_snapshot(own_server, face.open(own_server.url, fence_time=0.5))
    assert numbers == sorted(set(numbers))


def test_the_same_crash_repeats_numbers_without_ceilings(face, own_server):
    plain = face.open_plain(own_server.url, on_regress="off")
    numbers = old_snapshot(own_server, plain)
    assert len(set(numbers)) < len(numbers)


def test_plain_counters_are_adopted(face, durable_server):
    durable_server.admin("SET", "seq:alice", "1234")
    durable_server.admin("SET", "seq:bob", "77")
    cache = face.open()
    assert cache.get_seq("alice") == 1234
    assert cache.increase_seqs(["alice", "bob"]) == [1235, 78]
    durable_server.admin("FLUSHALL")
    assert cache.get_seq("alice") >= 1235


# --- tokens ----------------------------------------------------------------------


def test_token_repeated_gets_its_number_again(cache):
    assert cache.increase_seq("alice", token="m1") == 1
    assert cache.increase_seq("alice") == 2
    assert cache.increase_seq("alice", token=b"m1") == 1
    assert cache.reserve("alice", 5, token="m2") == range(3, 8)
    assert cache.reserve("alice", 5, token="m2") == range(3, 8)
    assert cache.increase_seqs(["alice", "bob"], token="m3") == [8, 1]
    assert cache.increase_seqs(["alice", "bob"], token="m3") == [8, 1]
    assert cache.get_seq("alice") == 8
    with pytest.raises(TokenConflict) as caught:
        cache.increase_seq("alice", 2, token="m1")
    assert caught.value.executed is False
    assert "increase_seq('alice')" in str(caught.value)


def test_eight_callers_with_one_token_get_one_number(cache):
    futures = [cache.start("increase_seq", "alice", token="m") for _ in range(8)]
    assert {future.result(10) for future in futures} == {1}
    assert cache.get_seq("alice") == 1


@pytest.mark.parametrize(
    ("token", "error"), [(3, TypeError), ("", ValueError), ("x" * 513, ValueError)]
)
def test_wrong_token_is_refused(cache, token, error):
    with pytest.raises(error):
        cache.increase_seq("alice", token=token)


def lossy(face, server, **options):
    """A durable cache behind a proxy; warm, so that one FCALL counts."""
    proxy = Proxy(server.address)
    cache = face.open(proxy.url, **options)
    cache.increase_seqs(["alice", "bob"])
    return proxy, cache


def cut_next_reply(proxy):
    proxy.replies.cut_after(0)


def test_lost_reply_is_unknown_and_never_counted_twice(face, durable_server):
    proxy, cache = lossy(face, durable_server, timeout=2.0)
    with proxy:
        cut_next_reply(proxy)
        with pytest.raises(OutcomeUnknown) as caught:
            cache.increase_seq("alice", 3)
        error = caught.value
        assert (error.executed, error.user_id, error.by) == (None, "alice", 3)
        assert error.token is None
        assert isinstance(error.cause, SeqCacheError)
        assert "increase_seq('alice')" in str(error)
        assert "command()" not in str(error)
        assert cache.increase_seq("alice") == 5
        cut_next_reply(proxy)
        with pytest.raises(BulkError) as many:
            cache.increase_seqs(["alice", "bob"])
        assert [e.user_id for e in many.value.results] == ["alice", "bob"]
        assert cache.increase_seqs(["alice", "bob"]) == [7, 3]
        cache.close()


def test_token_survives_lost_replies_by_itself(face, durable_server):
    proxy, cache = lossy(face, durable_server, timeout=5.0)
    with proxy:
        for number in range(2, 12):
            cut_next_reply(proxy)
            assert cache.increase_seq("alice", token=f"m{number}") == number
        cut_next_reply(proxy)
        assert cache.increase_seqs(["alice", "bob"], token="m") == [12, 2]
        cut_next_reply(proxy)
        assert cache.get_seq("alice") == 12
        cut_next_reply(proxy)
        assert cache.raise_seq("alice", 20) == 20
        cache.close()


def test_lost_answer_of_a_read_is_a_timeout(face, durable_server):
    proxy, cache = lossy(face, durable_server, retry="never")
    with proxy:
        cut_next_reply(proxy)
        with pytest.raises(CallTimeout) as caught:
            cache.get_seq("alice")
        assert caught.value.executed is None
        assert str(caught.value).startswith("get_seq('alice') at ")
        cache.close()


def test_gap_is_taken_instead_of_an_error_if_wanted(face, durable_server):
    proxy, cache = lossy(face, durable_server, retry="gap")
    with proxy:
        cut_next_reply(proxy)
        assert cache.increase_seq("alice") == 3
        cache.close()


# --- the store -------------------------------------------------------------------


def test_store_away_is_told_and_recovered_from(face, tmp_path, ends_within):
    path = tmp_path / "ceilings.db"
    cache = face.open(fence_time=0.5, timeout=0.6)
    assert cache.increase_seq("alice") == 1
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    errors, end = [], time.monotonic() + 5
    while not errors and time.monotonic() < end:
        try:
            cache.increase_seq("bob")
        except CeilingError as error:
            errors.append(error)
    lock.execute("ROLLBACK")
    lock.close()
    assert errors[0].reason == "unavailable"
    assert errors[0].executed is False
    assert str(path) in str(errors[0])
    assert str(errors[0]).startswith("increase_seq('bob') at ")
    cache.increase_seq("warm", timeout=5)
    assert cache.increase_seq("alice", timeout=5) == 2


def test_store_of_another_history_grants_nothing(face, durable_server, tmp_path):
    face.open().increase_seq("alice")
    with pytest.raises(StartupError) as caught:
        face.open(ceilings=f"sqlite:///{tmp_path}/other.db")
    assert isinstance(caught.value.__cause__, CeilingError)
    assert caught.value.__cause__.reason == "rolled_back"


def test_store_that_cannot_be_reached_fails_the_opening(face, tmp_path):
    with pytest.raises(StartupError) as caught:
        face.open(ceilings=f"sqlite:///{tmp_path}/no/such/dir/c.db")
    assert caught.value.__cause__.reason == "unavailable"


def test_old_server_is_refused_with_the_reason(face, old_server):
    with pytest.raises(StartupError, match=r"durable mode needs 7\.0") as caught:
        face.open(old_server.url)
    assert caught.value.hint
    assert old_server.client_count() == 0


# --- arguments, errors, the end ----------------------------------------------------


def test_arguments_are_checked_as_in_the_engine(cache):
    for wrong in ("", "x" * 513, "\ud800"):
        with pytest.raises(UserIdError):
            cache.increase_seq(wrong)
    for wrong in (None, 1.5, True):
        with pytest.raises(TypeError):
            cache.get_seq(wrong)
    with pytest.raises(TypeError):
        cache.get_seqs("alice")
    with pytest.raises(ValueError, match="by must be at least 1"):
        cache.increase_seq("alice", 0)
    with pytest.raises(ValueError, match="timeout"):
        cache.get_seq("alice", timeout=-1)
    with pytest.raises(SeqCacheError, match="durable mode"):
        cache.delete_seq("alice", restart_from_one=True)


def test_last_number_is_two_to_the_53_less_one(cache):
    assert cache.raise_seq("alice", CAP - 1) == CAP - 1
    assert cache.increase_seq("alice") == CAP
    with pytest.raises(SequenceOverflow):
        cache.increase_seq("alice")
    with pytest.raises(SequenceOverflow):
        cache.raise_seq("alice", CAP + 1)
    assert cache.get_seq("alice") == CAP


def test_wrong_key_fails_alone_in_a_bulk(cache, durable_server):
    durable_server.admin("LPUSH", "seq:list", "x")
    with pytest.raises(NotASequence) as caught:
        cache.increase_seq("list")
    assert str(caught.value).startswith("increase_seq('list') at ")
    assert "command()" not in str(caught.value)
    with pytest.raises(BulkError) as many:
        cache.increase_seqs(["alice", "list", "bob"])
    first, wrong, last = many.value.results
    assert (first, last) == (1, 1)
    assert isinstance(wrong, NotASequence)


def test_closed_cache_says_so_and_leaves_no_thread(face):
    cache = face.open()
    cache.increase_seqs(["alice", "bob"])
    cache.close()
    cache.close()
    with pytest.raises(ClosedError) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is False
    left = [t.name for t in threading.enumerate() if t.name.startswith("seqcache")]
    assert left == []


def test_close_ends_calls_that_wait(face, durable_server):
    proxy, cache = lossy(face, durable_server, timeout=30.0)
    with proxy:
        proxy.black_hole()
        waiting = cache.start("increase_seq", "alice")
        time.sleep(0.2)
        cache.close()
        with pytest.raises(ClosedError) as caught:
            waiting.result(5)
        assert caught.value.executed is None


def test_deadline_holds_on_a_silent_link(face, durable_server, ends_within):
    proxy, cache = lossy(face, durable_server)
    with proxy:
        proxy.black_hole()
        with ends_within(0.3), pytest.raises(OutcomeUnknown):
            cache.increase_seq("alice", timeout=0.3)
        cache.close()


def test_stats_count_calls_and_what_sql_did(cache):
    cache.increase_seq("alice")
    for _ in range(100):
        cache.increase_seq("alice")
    stats = cache.stats()
    assert stats.calls["increase"] == 101
    assert stats.in_flight == 0
    assert stats.latency_count == 101
    assert stats.durable["takes"] == 1
    assert stats.durable["raises"] >= 1
    assert 0 < stats.durable["lease_left"] <= 5.0
    assert stats.durable["store_transactions"] >= 3


def test_readme_example_works(durable_server, url):
    text = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    (code,) = [block for block in blocks if "ceilings=" in block]
    code = code.replace("redis://localhost:6379/0", durable_server.url)
    code = re.sub(r"postgresql\+psycopg://[^\"]+", url, code)
    names = {"seqcache": seqcache}
    exec(compile(code, "README", "exec"), names)
    with names["cache"] as cache:
        assert cache.increase_seq("alice", token="message-17") == 1
        assert cache.increase_seq("alice") == 2
