"""Durable mode over both faces: the store, arguments, errors, the end."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import re
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from durable_faces import CAP, anyface, cache, face, lossy

import seqcache
from seqcache import _live
from seqcache.errors import (
    BulkError,
    CeilingError,
    ClosedError,
    NotASequence,
    OutcomeUnknown,
    SeqCacheError,
    SequenceOverflow,
    StartupError,
    UserIdError,
)

__all__ = ["anyface", "cache", "face"]


# --- the store -------------------------------------------------------------------


def test_store_away_is_told_and_recovered_from(face, tmp_path, ends_within):
    path = tmp_path / "ceilings.db"
    cache = face.open(fence_time=0.5, timeout=0.6)
    assert cache.increase_seq("alice", timeout=20) == 1
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
    cache.increase_seq("warm", timeout=20)
    assert cache.increase_seq("alice", timeout=20) == 2


def test_store_of_another_history_grants_nothing(face, durable_server, tmp_path):
    face.open().increase_seq("alice")
    with pytest.raises(StartupError) as caught:
        face.open(ceilings=f"sqlite:///{tmp_path}/other.db")
    assert isinstance(caught.value.__cause__, CeilingError)
    assert caught.value.__cause__.reason == "rolled_back"


def test_store_that_cannot_be_reached_fails_the_opening(face, tmp_path):
    with pytest.raises(StartupError) as caught:
        face.open(ceilings=f"sqlite:///{tmp_path}/no/such/dir/c.db", startup_timeout=0)
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


@pytest.mark.parametrize("amount", [CAP, CAP + 1, 2**60 + 1, 2**63 - 1])
def test_amounts_beyond_the_last_number_overflow(cache, amount):
    """And leave no trace: no gap, and the records of tokens stay good."""
    assert cache.increase_seq("alice") == 1
    assert cache.increase_seq("alice", token="kept") == 2
    with pytest.raises(SequenceOverflow, match=r"2(\^|\*\*)53 - 1"):
        cache.increase_seq("alice", amount)
    with pytest.raises(SequenceOverflow, match=r"2(\^|\*\*)53 - 1"):
        cache.reserve("alice", amount, token="t")
    with pytest.raises((BulkError, SequenceOverflow)) as caught:
        cache.increase_seqs(["alice", "bob"], amount)
    if isinstance(caught.value, BulkError):  # bob has no number yet, and takes CAP
        assert amount == CAP
        assert isinstance(caught.value.results[0], SequenceOverflow)
    assert cache.get_seq("alice") == 2
    assert cache.increase_seq("alice", token="kept") == 2
    assert cache.increase_seq("alice") == 3


def test_last_number_is_two_to_the_53_less_one(cache):
    assert cache.raise_seq("alice", CAP - 1) == CAP - 1
    assert cache.increase_seq("alice") == CAP
    with pytest.raises(SequenceOverflow, match=r"2(\^|\*\*)53 - 1"):
        cache.increase_seq("alice")
    with pytest.raises(SequenceOverflow, match=r"2(\^|\*\*)53 - 1"):
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
    cache.ping()
    cache.close()
    before = set(threading.enumerate())  # what faces of the tests run in, too
    cache = face.open()
    cache.increase_seqs(["alice", "bob"])
    cache.close()
    cache.close()
    with pytest.raises(ClosedError) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is False
    assert set(threading.enumerate()) <= before


def test_close_ends_calls_that_wait(face, durable_server):
    faults, cache = lossy(face, durable_server, timeout=30.0)
    with faults:
        faults.black_hole()
        waiting = cache.start("increase_seq", "alice")
        time.sleep(0.2)
        cache.close()
        with pytest.raises(ClosedError) as caught:
            waiting.result(5)
        assert caught.value.executed is None


def test_deadline_holds_on_a_silent_link(face, durable_server, ends_within):
    faults, cache = lossy(face, durable_server)
    with faults:
        faults.black_hole()
        with ends_within(0.3), pytest.raises(OutcomeUnknown):
            cache.increase_seq("alice", timeout=0.3)
        cache.close()


def test_stats_count_calls_and_what_sql_did(cache):
    def taken():
        kept = [told.durable for told in _live.read().values() if told.durable]
        return sum(durable["takes"] for durable in kept)

    before = taken()
    cache.increase_seq("alice")
    for _ in range(100):
        cache.increase_seq("alice")
    stats = cache.stats()
    assert stats.calls["increase"] == 101
    end = time.monotonic() + 10
    while (under_way := cache.stats().in_flight) and time.monotonic() < end:
        cache.get_seq("alice")  # the block that is fetched ahead is put into the server
    assert under_way == 0
    assert stats.latency_count == 101
    assert sum(count for _, count in stats.latency_buckets) == 101
    assert stats.latency_sum > 0
    assert taken() == before + 1
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
