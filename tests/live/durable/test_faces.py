"""Durable mode through `cache` and `acache`, on a real server."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import contextlib
import time

import pytest
from durable_faces import STEP, anyface, cache, face, lossy

import seqcache
from seqcache.errors import (
    BulkError,
    CallTimeout,
    ClosedError,
    OutcomeUnknown,
    SeqCacheError,
    TokenConflict,
)

__all__ = ["anyface", "cache", "face"]


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


def test_lost_reply_is_unknown_and_never_counted_twice(face, durable_server):
    faults, cache = lossy(face, durable_server, timeout=2.0)
    with faults:
        faults.lose_reply()
        with pytest.raises(OutcomeUnknown) as caught:
            cache.increase_seq("alice", 3)
        error = caught.value
        assert (error.executed, error.user_id, error.by) == (None, "alice", 3)
        assert error.token is None
        assert isinstance(error.cause, SeqCacheError)
        assert "increase_seq('alice')" in str(error)
        assert "command()" not in str(error)
        assert cache.increase_seq("alice") == 5
        faults.lose_reply()
        with pytest.raises(BulkError) as many:
            cache.increase_seqs(["alice", "bob"])
        assert [e.user_id for e in many.value.results] == ["alice", "bob"]
        assert cache.increase_seqs(["alice", "bob"]) == [7, 3]
        cache.close()


def test_token_survives_lost_replies_by_itself(face, durable_server):
    faults, cache = lossy(face, durable_server, timeout=5.0)
    with faults:
        for number in range(2, 12):
            faults.lose_reply()
            assert cache.increase_seq("alice", token=f"m{number}") == number
        faults.lose_reply()
        assert cache.increase_seqs(["alice", "bob"], token="m") == [12, 2]
        faults.lose_reply()
        assert cache.get_seq("alice") == 12
        faults.lose_reply()
        assert cache.raise_seq("alice", 20) == 20
        cache.close()


def test_lost_answer_of_a_read_is_a_timeout(face, durable_server):
    faults, cache = lossy(face, durable_server, retry="never")
    with faults:
        faults.lose_reply()
        with pytest.raises(CallTimeout) as caught:
            cache.get_seq("alice")
        assert caught.value.executed is None
        assert str(caught.value).startswith("get_seq('alice') at ")
        cache.close()


def test_gap_is_taken_instead_of_an_error_if_wanted(face, durable_server):
    faults, cache = lossy(face, durable_server, retry="gap")
    with faults:
        faults.lose_reply()
        assert cache.increase_seq("alice") == 3
        cache.close()


def test_export_verifies_and_import_adopts_what_it_raises(cache, tmp_path):
    cache.increase_seqs([f"u{n}" for n in range(300)], 3)
    assert cache.export_seqs(tmp_path / "x.jsonl").written == 300
    copy = cache.namespace("copy:")
    (tmp_path / "more.csv").write_text(f"big,{2**53 - 1}\nbigger,{2**53}\nu0,3\n")
    assert copy.import_seqs(tmp_path / "x.jsonl", timeout=20).raised == 300
    report = copy.import_seqs(tmp_path / "more.csv")
    assert (report.read, report.raised, report.ahead, report.bad) == (3, 1, 1, 1)
    assert report.bad_lines[0].line == 2
    assert copy.get_seqs(["u0", "u299", "big"]) == [3, 3, 2**53 - 1]
    assert copy.increase_seq("u7") == 4


def test_export_is_of_verified_numbers(cache, durable_server, tmp_path):
    cache.increase_seq("alice", 5)
    durable_server.admin("SET", "seq:alice", 2)  # as an old snapshot would
    durable_server.admin("FUNCTION", "FLUSH")
    cache.export_seqs(tmp_path / "x.csv")
    (row,) = (tmp_path / "x.csv").read_text().splitlines()[1:]
    assert int(row.split(",")[1]) >= 5
