"""How blocking caches of third parties' backends are opened, watched and closed."""

from __future__ import annotations

import itertools

import pytest
from unit.foreign_store import DeletingBackend, DictBackend, LoopBackend

import seqcache
from seqcache import _live, backends
from seqcache.errors import (
    AuthError,
    BulkError,
    ClosedError,
    ConfigError,
    ConnectError,
    SequenceRegressed,
    StartupError,
    UserIdError,
)

MOST = 2**63 - 1


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Nothing is registered at the start, nothing is left at the end."""
    monkeypatch.setattr(backends, "_registered", {})
    for name in ("_sources", "_ended"):  # caches of other tests may still count
        monkeypatch.setattr(_live, name, {})


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


# --- on_regress --------------------------------------------------------------------


@pytest.fixture
def strict(store):
    with seqcache.cache("dict://here", on_regress="raise") as opened:
        yield opened


def test_lost_numbers_are_told_once(strict, store):
    strict.raise_seq("a", 100)
    store.numbers.clear()
    with pytest.raises(SequenceRegressed) as caught:
        strict.increase_seq("a")
    assert (caught.value.seen, caught.value.got) == (100, 1)
    assert strict.increase_seq("a") == 2
    assert strict.stats().regressions == 1


def test_reserve_is_compared_by_its_first_number(strict, store):
    strict.raise_seq("a", 100)
    store.numbers[b"seq:a"] = 99
    with pytest.raises(SequenceRegressed):
        strict.reserve("a", 10)


def test_reads_and_bulks_are_compared(strict, store):
    strict.increase_seqs(["a", "b"], by=5)
    store.numbers[b"seq:b"] = 1
    with pytest.raises(BulkError) as caught:
        strict.get_seqs(["a", "b"])
    assert caught.value.results[0] == 5
    assert isinstance(caught.value.results[1], SequenceRegressed)


def test_views_share_what_is_known_and_deletes_forget(strict, store):
    strict.raise_seq("a", 9)
    strict.delete_seq("a", restart_from_one=True)
    assert strict.increase_seq("a") == 1
    strict.namespace("seq:a").raise_seq("b", 5)
    del store.numbers[b"seq:ab"]
    with pytest.raises(SequenceRegressed):
        strict.get_seq("ab")


def test_numbers_read_while_a_delete_is_under_way_are_forgotten(strict, store):
    strict.raise_seq("a", 9)

    def read(operation, *_):
        if operation == "delete":
            assert strict.get_seq("a") == 9

    store.fault = read
    strict.delete_seq("a", restart_from_one=True)
    assert strict.increase_seq("a") == 1


def test_warning_is_logged_by_default(cache, store, caplog):
    cache.raise_seq("a", 9)
    store.numbers.clear()
    assert cache.get_seq("a") == 0
    assert "9 was given before" in caplog.text
    assert cache.stats().regressions == 1


def test_known_numbers_are_bounded(monkeypatch, strict):
    monkeypatch.setattr("seqcache.foreign.stats.KNOWN_MOST", 3)
    for n in range(10):
        strict.raise_seq(n, 5)
    assert len(strict._desk.known._numbers) == 3


# --- life ------------------------------------------------------------------------


def test_stats(cache, store):
    def counted():
        return sum(told.calls["increase"] for told in _live.read().values())

    before = counted()
    cache.increase_seqs(["a", "b"])
    cache.get_seq("a")
    store.fault = OSError("gone")
    with pytest.raises(ConnectError):
        cache.get_seq("a")
    stats = cache.stats()
    assert (stats.calls["increase"], stats.calls["get"], stats.in_flight) == (2, 2, 0)
    assert stats.errors["ConnectError"] == 1
    assert stats.errors["OutcomeUnknown"] == 0
    assert stats.latency_count == 3
    assert 0 < stats.latency_p50 <= stats.latency_p99 <= stats.latency_max
    assert sum(count for _, count in stats.latency_buckets) == 3
    assert 0 < stats.latency_sum < 3
    assert counted() == before + 2


def test_close_closes_the_backend_once(store):
    cache = seqcache.cache("dict://x")
    view = cache.namespace("v:")
    cache.close()
    cache.close()
    assert store.closed == 1
    assert cache.closed
    assert view.closed
    for call in (cache.ping, cache.scan, lambda: cache.get_seq("a"), view.ping):
        with pytest.raises(ClosedError, match="the cache is closed"):
            call()


def test_call_that_fails_because_of_close_says_so(store):
    cache = seqcache.cache("dict://x")

    def fault(*_):
        cache.close()
        raise OSError("bad descriptor")

    store.fault = fault
    with pytest.raises(ClosedError) as caught:
        cache.increase_seq("a")
    assert caught.value.executed is None


def test_dropped_cache_warns_and_closes(store):
    cache = seqcache.cache("dict://x")
    with pytest.warns(ResourceWarning, match="unclosed"):
        del cache
    assert store.closed == 1


def test_scan_matches_like_redis_and_skips_our_own_keys(cache, store):
    cache.raise_seqs({"abc": 1, "axc": 2, "a*c": 3, b"\xff": 4})
    store.numbers[b"seq:"] = 5
    assert sorted(cache.scan("a?c")) == [("a*c", 3), ("abc", 1), ("axc", 2)]
    assert sorted(cache.scan(r"a\*c")) == [("a*c", 3)]
    assert sorted(cache.scan("a[^b]c")) == [("a*c", 3), ("axc", 2)]
    assert list(cache.scan(b"\xff")) == [(b"\xff", 4)]
    everything = cache.namespace("")
    store.numbers[b"sqc:meta"] = 5
    assert ("sqc:meta", 5) not in list(everything.scan())


def test_scan_in_pages(cache, store):
    cache.raise_seqs({n: n + 1 for n in range(1200)})
    pairs = cache.scan()
    assert len(list(itertools.islice(pairs, 700))) == 700
    assert len(dict(cache.scan())) == 1200
    store.fault = OSError("gone")
    with pytest.raises(ConnectError):
        list(cache.scan())


# --- opening ---------------------------------------------------------------------


def test_factory_gets_the_config():
    made = []
    seqcache.register_backend("my", lambda config: made.append(config) or DictBackend())
    with seqcache.cache("my://u:secret@host/path?shard=7", timeout=3) as cache:
        assert made == [cache.config]
    assert made[0].password == "secret"
    assert "shard=7" in made[0].url


def test_asyncio_only_backend_is_refused():
    class Lazy(LoopBackend):
        def __init__(self, config):
            self.config = config

    seqcache.register_backend("my", Lazy)
    with pytest.raises(ConfigError, match="asyncio only") as caught:
        seqcache.cache("my://x")
    assert "acache" in caught.value.hint


def test_what_is_no_backend_is_refused():
    seqcache.register_backend("my", lambda config: object())
    with pytest.raises(ConfigError, match="it lacks get, increase"):
        seqcache.cache("my://x")


def test_backend_that_cannot_be_made_or_does_not_answer(store):
    def broken(config):
        raise OSError("cannot reach p4ss")

    seqcache.register_backend("my", broken)
    with pytest.raises(StartupError, match="OSError: cannot reach") as caught:
        seqcache.cache("my://u:p4ss@x")
    assert isinstance(caught.value.__cause__, OSError)
    assert "p4ss" not in str(caught.value)
    store.fault = RuntimeError("no answer")
    with pytest.raises(StartupError, match="no answer"):
        seqcache.cache("dict://x")
    assert store.closed == 1
    store.fault = AuthError("wrong password")
    with pytest.raises(AuthError):
        seqcache.cache("dict://x", startup_timeout=5)


def test_startup_timeout_keeps_trying():
    tries = []

    def late(config):
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return DictBackend()

    seqcache.register_backend("my", late)
    with seqcache.cache("my://x", startup_timeout=10) as cache:
        assert cache.increase_seq("a") == 1
    assert len(tries) == 3


def test_check_user_id_is_the_engines():
    from seqcache._native import check_user_id

    assert check_user_id("ä") == "ä".encode()
    assert check_user_id(42) == b"42"
    assert check_user_id(-(2**70)) == str(-(2**70)).encode()
    with pytest.raises(UserIdError, match="empty"):
        check_user_id(b"")
    with pytest.raises(TypeError, match="not bool"):
        check_user_id(True)
    assert check_user_id("sqc:x") == b"sqc:x"
    assert check_user_id("sqc:x", b"seq:") == b"sqc:x"
    with pytest.raises(UserIdError, match="reserved"):
        check_user_id("c:x", b"sq")
