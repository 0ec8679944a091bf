"""The single-id operations of API.md, one body for every face."""

from __future__ import annotations

import pytest

import seqcache

MAX = 2**63 - 1


@pytest.fixture
def last(face):
    """The last number of a sequence."""
    return face.last


def test_unknown_id_reads_zero(cache):
    assert cache.get_seq("nobody") == 0


def test_first_increase_is_one_then_two(cache):
    assert [cache.increase_seq("alice") for _ in range(3)] == [1, 2, 3]
    assert cache.get_seq("alice") == 3


def test_increase_by_amount_returns_the_new_value(cache):
    assert cache.increase_seq("alice", 5) == 5
    assert cache.increase_seq("alice", by=10) == 15
    assert cache.increase_seq("bob", by=2**40) == 2**40


def test_results_are_plain_ints(cache):
    values = [cache.get_seq("a"), cache.increase_seq("a"), cache.raise_seq("a", 9)]
    assert [type(value) for value in values] == [int, int, int]


@pytest.mark.parametrize("by", [0, -1, -(2**63)])
def test_increase_by_less_than_one_is_refused(cache, by):
    with pytest.raises(ValueError, match="by"):
        cache.increase_seq("alice", by)
    assert cache.get_seq("alice") == 0


def test_increase_by_more_than_64_bits_is_refused(cache):
    with pytest.raises((ValueError, OverflowError)):
        cache.increase_seq("alice", 2**63)
    assert cache.get_seq("alice") == 0


@pytest.mark.parametrize("by", [1.0, "1", None])
def test_increase_by_no_integer_is_type_error(cache, by):
    with pytest.raises(TypeError):
        cache.increase_seq("alice", by)
    assert cache.get_seq("alice") == 0


def test_increase_past_the_end_overflows_and_changes_nothing(cache, last):
    assert cache.raise_seq("alice", last - 1) == last - 1
    assert cache.increase_seq("alice") == last
    with pytest.raises(seqcache.SequenceOverflow) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is False
    assert isinstance(caught.value, OverflowError)
    with pytest.raises(seqcache.SequenceOverflow):
        cache.increase_seq("alice", by=MAX)
    assert cache.get_seq("alice") == last


def test_reserve_gives_consecutive_numbers(cache):
    assert cache.reserve("alice", 3) == range(1, 4)
    assert cache.increase_seq("alice") == 4
    assert cache.reserve("alice", 1) == range(5, 6)
    assert cache.reserve("alice", count=10) == range(6, 16)
    assert cache.get_seq("alice") == 15


@pytest.mark.parametrize("count", [0, -3])
def test_reserve_of_nothing_is_refused(cache, count):
    with pytest.raises(ValueError, match="count"):
        cache.reserve("alice", count)


def test_reserve_to_the_very_end_is_exact(cache, last):
    cache.raise_seq("alice", last - 3)
    assert cache.reserve("alice", 3) == range(last - 2, last + 1)
    with pytest.raises(seqcache.SequenceOverflow):
        cache.reserve("alice", 1)


def test_raise_goes_forward_only(cache):
    assert cache.raise_seq("alice", 10) == 10
    assert cache.raise_seq("alice", 7) == 10
    assert cache.raise_seq("alice", 10) == 10
    assert cache.raise_seq("alice", 11) == 11
    assert cache.get_seq("alice") == 11


@pytest.mark.parametrize(
    "to", [9, 10, 99, 100, 2**53 - 1, 2**53, 2**53 + 1, 10**18, MAX - 1, MAX]
)
def test_raise_is_exact_up_to_the_last_number(cache, last, to):
    if to > last:
        with pytest.raises(seqcache.SequenceOverflow):
            cache.raise_seq("alice", to)
        to = last
    assert cache.raise_seq("alice", to) == to
    assert cache.get_seq("alice") == to
    assert cache.raise_seq("alice", to - 1) == to
    assert cache.raise_seq("alice", 5) == to


def test_raise_beyond_64_bits_is_refused(cache):
    with pytest.raises((ValueError, OverflowError)):
        cache.raise_seq("alice", 2**63)
    assert cache.get_seq("alice") == 0


def test_raise_to_zero_leaves_an_unknown_id_at_zero(cache):
    assert cache.raise_seq("alice", 0) == 0
    assert cache.get_seq("alice") == 0


def test_concurrent_raises_end_at_the_highest(cache):
    tops = [13, 1000, 999, 42, 1001, 7]
    results = cache.start_all("raise_seq", [("alice", to) for to in tops])
    assert all(value >= to for value, to in zip(results, tops, strict=True))
    assert cache.get_seq("alice") == 1001


def test_concurrent_increases_are_all_different(cache):
    numbers = cache.start_all("increase_seq", [("alice",)] * 200)
    assert sorted(numbers) == list(range(1, 201))


def test_delete_wants_to_be_told_that_numbers_start_again(plain_cache):
    plain_cache.increase_seq("alice")
    with pytest.raises(ValueError, match="restart_from_one"):
        plain_cache.delete_seq("alice")
    assert plain_cache.get_seq("alice") == 1


def test_delete_says_whether_there_was_a_key(plain_cache):
    plain_cache.increase_seq("alice", 5)
    assert plain_cache.delete_seq("alice", restart_from_one=True) is True
    assert plain_cache.delete_seq("alice", restart_from_one=True) is False
    assert plain_cache.get_seq("alice") == 0
    assert plain_cache.increase_seq("alice") == 1


def test_ping_is_a_time_in_seconds(cache):
    took = cache.ping()
    assert isinstance(took, float)
    assert 0 <= took < 5


def test_per_call_timeout_is_accepted_by_every_operation(cache):
    assert cache.get_seq("a", timeout=5) == 0
    assert cache.increase_seq("a", timeout=5.0) == 1
    assert cache.reserve("a", 2, timeout=5) == range(2, 4)
    assert cache.raise_seq("a", 9, timeout=5) == 9
    assert cache.get_seqs(["a", "b"], timeout=5) == [9, 0]
    assert cache.increase_seqs(["a", "b"], timeout=5) == [10, 1]
    assert cache.raise_seqs({"b": 3}, timeout=5) == 1
    assert cache.increase_seq("a", timeout=None) == 11
    if not cache.face.is_durable:
        assert cache.delete_seq("b", restart_from_one=True, timeout=5) is True


def test_stats_count_what_happened(live_cache):
    live_cache.increase_seq("alice")
    live_cache.get_seq("alice")
    stats = live_cache.stats()
    assert sum(stats.calls.values()) == 2
    assert sum(stats.errors.values()) == 0
    assert stats.in_flight == 0
    assert stats.latency_count == 2
    assert 0 <= stats.latency_p50 <= stats.latency_p99 <= stats.latency_max < 5
    assert sum(count for _, count in stats.latency_buckets) == 2
    assert 0 < stats.latency_sum < 10
    assert stats.latency_buckets[-1][0] >= stats.latency_max


def test_stats_of_the_in_process_store_count_calls(memory_face):
    cache = memory_face.open()
    cache.increase_seqs(["a", "b"])
    cache.get_seq("a")
    assert sum(cache.stats().calls.values()) == 3
    assert cache.stats().links == 0


def test_stats_count_errors_and_bytes(server, live_cache):
    server.admin("RPUSH", "seq:list", "x")
    with pytest.raises(seqcache.NotASequence):
        live_cache.increase_seq("list")
    stats = live_cache.stats()
    assert stats.errors["NotASequence"] == 1
    assert stats.bytes_out > 20
    assert stats.bytes_in > 20
    assert stats.links == 1


def test_repr_names_no_secret(live_face):
    with live_face.open(client_name="who") as cache:
        assert "SeqCache" in repr(cache.raw)
