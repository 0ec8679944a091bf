"""Third parties' backends behind the blocking face."""

from __future__ import annotations

import pytest
from unit.foreign_store import DeletingBackend, DictBackend

import seqcache
from seqcache import backends
from seqcache.errors import (
    AuthError,
    BulkError,
    CallTimeout,
    ClosedError,
    ConnectError,
    NotASequence,
    OutcomeUnknown,
    SeqCacheError,
    SequenceOverflow,
    UserIdError,
)

MOST = 2**63 - 1


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Nothing is registered at the start, nothing is left at the end."""
    monkeypatch.setattr(backends, "_registered", {})


@pytest.fixture
def store():
    """The backend behind dict://."""
    made = DeletingBackend()
    seqcache.register_backend("dict", lambda config: made)
    return made


@pytest.fixture
def cache(store):
    with seqcache.cache("dict://here") as opened:
        store.seen.clear()
        yield opened


def test_no_id_reaches_our_own_keys(cache, store):
    view = cache.namespace("")
    for call in (view.get_seq, view.increase_seq, view.lease):
        with pytest.raises(UserIdError, match="reserved"):
            call("sqc:m:{seq:k}")
    assert not store.seen


def test_it_is_a_seqcache_like_any_other(cache):
    assert isinstance(cache, seqcache.SeqCache)
    assert cache.get_seq("alice") == 0
    assert cache.increase_seq("alice") == 1
    assert cache.increase_seq(b"alice", by=4) == 5
    assert cache.reserve("alice", 3) == range(6, 9)
    assert cache.raise_seq("alice", 100) == 100
    assert cache.raise_seq("alice", 7) == 100
    assert cache.get_seqs(["bob", "alice", "bob"]) == [0, 100, 0]
    assert cache.increase_seqs(["bob", "alice", "bob"], by=2) == [2, 102, 4]
    assert cache.raise_seqs({"carol": 3, 42: 5}) == 2
    assert sorted(cache.scan()) == [("42", 5), ("alice", 102), ("bob", 4), ("carol", 3)]
    assert cache.ping() >= 0
    assert cache.delete_seq("bob", restart_from_one=True) is True
    assert cache.delete_seq("bob", restart_from_one=True) is False
    assert cache.increase_seq(42) == 6
    assert "dict://here" in repr(cache)


def test_keys_have_the_prefix_and_views_share_the_backend(cache, store):
    cache.increase_seq("alice")
    view = cache.namespace("other:")
    assert type(view) is type(cache)
    assert view.increase_seq("alice") == 1
    assert store.numbers == {b"seq:alice": 1, b"other:alice": 1}
    assert list(view.scan()) == [("alice", 1)]
    view.close()
    with pytest.raises(ClosedError):
        view.get_seq("alice")
    assert cache.get_seq("alice") == 1
    assert view.closed
    assert not cache.closed
    assert store.closed == 0


def test_empty_bulks_ask_nobody(cache, store):
    assert cache.get_seqs([]) == []
    assert cache.increase_seqs(iter(())) == []
    assert cache.raise_seqs({}) == 0
    assert store.seen == []


BAD_CALLS = [
    ("get_seq", ("",)),
    ("get_seq", ("x" * 513,)),
    ("get_seq", ("\ud800",)),
    ("get_seq", (True,)),
    ("get_seq", (1.5,)),
    ("get_seqs", ("alice",)),
    ("get_seqs", (None,)),
    ("get_seqs", (["a", ""],)),
    ("increase_seq", ("a", 0)),
    ("increase_seq", ("a", 2**63)),
    ("increase_seq", ("a", 1.0)),
    ("reserve", ("a", 0)),
    ("reserve", ("a", "3")),
    ("raise_seq", ("a", -1)),
    ("raise_seq", ("a", 2**63)),
    ("increase_seqs", (["a"], -(2**70))),
    ("raise_seqs", ([("a", -1)],)),
    ("raise_seqs", ("ab",)),
    ("raise_seqs", ([("a", 1, 2)],)),
    ("delete_seq", ("a",)),
]
BAD_TIMEOUTS = [0, -1, float("nan"), float("inf"), "1", b"1", [], 2 + 1j]


@pytest.mark.parametrize(("method", "args"), BAD_CALLS)
def test_arguments_are_refused_in_the_engines_own_words(cache, store, method, args):
    engine = seqcache.cache("memory://")
    with pytest.raises((ValueError, TypeError, SeqCacheError)) as wanted:
        getattr(engine, method)(*args)
    with pytest.raises(type(wanted.value)) as caught:
        getattr(cache, method)(*args)
    assert type(caught.value) is type(wanted.value)
    assert str(caught.value) == str(wanted.value)
    assert store.seen == []


@pytest.mark.parametrize("timeout", BAD_TIMEOUTS)
def test_timeouts_are_refused_in_the_engines_own_words(cache, store, timeout):
    engine = seqcache.cache("memory://")
    with pytest.raises((ValueError, TypeError)) as wanted:
        engine.get_seq("a", timeout=timeout)
    with pytest.raises(type(wanted.value)) as caught:
        cache.get_seq("a", timeout=timeout)
    assert str(caught.value) == str(wanted.value)
    assert store.seen == []


@pytest.mark.parametrize(
    ("given", "passed"),
    [({}, 2.0), ({"timeout": None}, None), ({"timeout": 1e9}, None)],
)
def test_timeout_is_passed_on(cache, store, given, passed):
    cache.get_seq("a", **given)
    left = store.seen[-1][2]
    assert left == passed if passed is None else 1.0 < left <= passed
    cache.increase_seqs(["a"], timeout=0.5)
    assert 0.2 < store.seen[-1][3] <= 0.5


# --- failures --------------------------------------------------------------------


def test_counting_call_that_failed_somehow_is_an_unknown_outcome(cache, store):
    store.fault = OSError("gone")
    with pytest.raises(OutcomeUnknown) as caught:
        cache.increase_seq("alice", 3)
    error = caught.value
    assert (error.user_id, error.by, error.executed) == ("alice", 3, None)
    assert error.cause is store.fault is error.__cause__
    with pytest.raises(OutcomeUnknown):
        cache.reserve("alice", 3)
    with pytest.raises(OutcomeUnknown):
        cache.delete_seq("alice", restart_from_one=True)
    store.fault = ValueError("a bug")
    with pytest.raises(OutcomeUnknown):
        cache.increase_seq("alice")
    store.fault = CallTimeout("late")
    with pytest.raises(OutcomeUnknown):
        cache.increase_seq("alice")


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (OSError("gone"), ConnectError),
        (TimeoutError("late"), CallTimeout),
        (CallTimeout("late"), CallTimeout),
        (ZeroDivisionError("a bug"), ZeroDivisionError),
        (AuthError("no"), AuthError),
    ],
)
def test_read_that_failed_is_never_a_zero(cache, store, fault, wanted):
    store.fault = fault
    for call in (cache.get_seq, lambda key: cache.raise_seq(key, 1)):
        with pytest.raises(wanted) as caught:
            call("alice")
        assert caught.value is fault or caught.value.__cause__ is fault


def test_error_that_says_it_was_not_counted_comes_as_it_is(cache, store):
    store.fault = ConnectError("refused")
    with pytest.raises(ConnectError) as caught:
        cache.increase_seq("alice")
    assert caught.value is store.fault
    with pytest.raises(ConnectError):
        cache.increase_seqs(["alice", "bob"])


def test_bulk_gives_each_id_its_outcome(cache, store):
    store.numbers[b"seq:full"] = MOST
    store.numbers[b"seq:list"] = ["no", "number"]
    with pytest.raises(BulkError) as caught:
        cache.increase_seqs(["a", "full", "list", "a"])
    one, full, odd, two = caught.value.results
    assert (one, two, caught.value.executed) == (1, 2, None)
    assert isinstance(full, SequenceOverflow)
    assert isinstance(odd, NotASequence)
    with pytest.raises(BulkError) as caught:
        cache.get_seqs(["a", "list"])
    assert caught.value.executed is False
    with pytest.raises(SequenceOverflow):
        cache.increase_seq("full")
    with pytest.raises(NotASequence):
        cache.get_seqs(["list", "list"])
    with pytest.raises(BulkError):
        cache.raise_seqs({"a": 5, "list": 5})


def test_bulk_of_unknown_outcome_names_each_id(cache, store):
    store.fault = OutcomeUnknown("lost on the way")
    with pytest.raises(BulkError) as caught:
        cache.increase_seqs(["a", "b"], by=2)
    assert caught.value.executed is None
    assert [error.user_id for error in caught.value.results] == ["a", "b"]
    assert [error.by for error in caught.value.results] == [2, 2]


@pytest.mark.parametrize(
    "answer", [None, 5, [], [1, 2], ["1"], [True], [-1], [2**63], [0.5], "1"]
)
def test_answer_that_cannot_be_is_no_number(cache, store, answer):
    store.get = lambda keys, timeout: answer
    with pytest.raises(SeqCacheError, match="of the backend"):
        cache.get_seq("a")
    store.increase = lambda keys, by, timeout: answer
    with pytest.raises(OutcomeUnknown, match="of the backend"):
        cache.increase_seq("a", 2)


def test_deletes_are_optional(cache, store):
    plain = DictBackend()
    seqcache.register_backend("plain", lambda config: plain)
    with seqcache.cache("plain://x") as opened:
        with pytest.raises(SeqCacheError, match="cannot delete") as caught:
            opened.delete_seq("a", restart_from_one=True)
        assert caught.value.executed is False


def test_call_whose_time_is_up_does_not_reach_the_backend(cache, store):
    request = cache._count("increase_seq", ["a"], 1, list, 0.5)
    request.deadline -= 1.0
    with pytest.raises(CallTimeout, match="not sent within 0.5 s") as caught:
        cache._perform(request)
    assert caught.value.executed is False
    assert store.seen == []


def test_export_and_import_ask_the_backend_in_batches(cache, store, tmp_path):
    wanted = {f"u{n}": n for n in range(1, 1200)}
    cache.raise_seqs(wanted)
    assert cache.export_seqs(tmp_path / "x.csv").written == 1199
    other = cache.namespace("copy:")
    report = other.import_seqs(tmp_path / "x.csv")
    assert (report.read, report.raised, report.bad) == (1199, 1199, 0)
    assert dict(other.scan()) == wanted
    assert other.import_seqs(tmp_path / "x.csv").ahead == 1199
