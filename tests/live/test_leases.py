"""Leases: numbers from memory, one body for every face."""

from __future__ import annotations

import time
from concurrent.futures import wait

import pytest

import seqcache
from fakes import node as faults

MAX = 2**63 - 1


def settle(cache, blocks):
    """Wait until that many blocks came."""
    end = time.monotonic() + 20
    while cache.stats().leases["blocks"] < blocks:
        assert time.monotonic() < end, cache.stats().leases
        time.sleep(0.002)


# --- numbers ----------------------------------------------------------------------


def test_numbers_go_up_by_one_over_many_blocks(cache):
    lease = cache.lease("alice", size=10)
    assert lease.many(95) == list(range(1, 96))


def test_nothing_is_reserved_before_the_first_number(cache):
    lease = cache.lease("alice", size=100)
    assert lease.raw.remaining == 0
    assert cache.get_seq("alice") == 0
    assert lease.next() == 1
    assert cache.get_seq("alice") == 100
    assert lease.raw.remaining == 99


def test_next_block_is_reserved_at_the_refill_point_and_not_before(cache):
    lease = cache.lease("alice", size=100, refill_at=0.75)
    assert lease.many(75) == list(range(1, 76))
    assert cache.get_seq("alice") == 100
    assert lease.next() == 76
    settle(cache, 2)
    assert cache.get_seq("alice") == 200
    assert lease.raw.remaining == 124
    assert lease.many(99) == list(range(77, 176))
    assert cache.get_seq("alice") == 200


@pytest.mark.parametrize(("refill_at", "after"), [(0, 200), (0.0, 200), (1, 100)])
def test_refill_at_its_ends(cache, refill_at, after):
    lease = cache.lease("alice", size=100, refill_at=refill_at)
    lease.many(50)
    settle(cache, after // 100)
    assert cache.get_seq("alice") == after
    assert lease.many(300) == list(range(51, 351))


def test_lease_of_one_number_at_a_time_works(cache):
    lease = cache.lease("alice", size=1)
    assert lease.many(20) == list(range(1, 21))
    assert lease.take(5) == range(21, 26)
    assert lease.next() == 26


def test_numbers_of_others_lie_between_the_blocks(cache):
    lease = cache.lease("alice", size=10, refill_at=1)
    assert lease.many(10) == list(range(1, 11))
    assert cache.increase_seq("alice", 90) == 100
    assert lease.many(10) == list(range(101, 111))


def test_two_leases_never_give_the_same_number(cache):
    leases = [cache.lease("alice", size=7) for _ in range(3)]
    given = [lease.next() for _ in range(50) for lease in leases]
    assert len(set(given)) == 150
    for n in range(3):
        mine = given[n::3]
        assert mine == sorted(mine)


def test_results_are_plain_ints_and_ranges(cache):
    lease = cache.lease(42, size=5)
    assert type(lease.next()) is int
    assert type(lease.take(2)) is range
    assert cache.get_seq("42") >= 5


def test_namespaces_and_bytes_name_the_same_keys_as_elsewhere(cache):
    view = cache.namespace("other:")
    assert view.lease(b"alice", size=5).next() == 1
    assert (view.get_seq("alice"), cache.get_seq("alice")) == (5, 0)


# --- take -------------------------------------------------------------------------


def test_take_gives_numbers_in_a_row(cache):
    lease = cache.lease("alice", size=100)
    assert lease.next() == 1
    assert lease.take(10) == range(2, 12)
    assert lease.next() == 12
    assert lease.take(1) == range(13, 14)


def test_take_begins_the_refill_as_next_does(cache):
    lease = cache.lease("alice", size=100)
    assert lease.next() == 1
    assert lease.take(59) == range(2, 61)
    settle(cache, 2)
    assert lease.raw.remaining == 140


@pytest.mark.parametrize("count", [100, 101, 999, 10**6])
def test_take_of_more_than_a_block_is_one_range(cache, count):
    lease = cache.lease("alice", size=100, refill_at=1)
    first = lease.next()
    taken = lease.take(count)
    assert len(taken) == count
    assert taken.step == 1
    assert taken[0] > first
    assert lease.next() == taken[-1] + 1


def test_what_take_skips_is_never_given(cache):
    lease = cache.lease("alice", size=10, refill_at=1)
    assert lease.many(4) == [1, 2, 3, 4]
    cache.increase_seq("alice", 5)  # so that the next block is not adjacent
    taken = lease.take(8)
    assert taken[0] > 15
    rest = lease.many(30)
    assert rest == sorted(rest)
    assert rest[0] > taken[-1]


@pytest.mark.parametrize("count", [0, -1])
def test_take_of_nothing_is_refused(cache, count):
    lease = cache.lease("alice")
    with pytest.raises(ValueError, match="count must be at least 1"):
        lease.take(count)


@pytest.mark.parametrize("count", [1.0, "1", None])
def test_take_of_no_integer_is_type_error(cache, count):
    lease = cache.lease("alice")
    with pytest.raises(TypeError):
        lease.take(count)
    assert lease.next() == 1


def test_take_beyond_64_bits_is_refused(cache):
    with pytest.raises(seqcache.SequenceOverflow):
        cache.lease("alice").take(2**63)


# --- arguments, the end -----------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"size": 0}, ValueError),
        ({"size": -5}, ValueError),
        ({"size": 2**63}, seqcache.SequenceOverflow),
        ({"size": 1.5}, TypeError),
        ({"refill_at": -0.1}, ValueError),
        ({"refill_at": 1.01}, ValueError),
        ({"refill_at": float("nan")}, ValueError),
        ({"refill_at": "x"}, ValueError),
    ],
)
def test_arguments_are_checked_at_once(cache, words, error):
    with pytest.raises(error):
        cache.raw.lease("alice", **words)


def test_user_id_is_checked_at_once(cache):
    with pytest.raises(seqcache.UserIdError):
        cache.raw.lease("")
    with pytest.raises(TypeError):
        cache.raw.lease(None)


def test_closed_lease_gives_nothing_and_the_counter_stays(cache):
    lease = cache.lease("alice", size=100)
    lease.many(3)
    lease.close()
    lease.close()
    for call in (lease.next, lambda: lease.take(1)):
        with pytest.raises(seqcache.ClosedError, match="alice") as caught:
            call()
        assert caught.value.executed is False
    assert lease.raw.closed
    assert lease.raw.remaining == 0
    assert cache.get_seq("alice") == 100
    assert cache.lease("alice").next() == 101


def test_lease_of_a_closed_cache_gives_nothing(face):
    cache = face.open()
    lease = cache.lease("alice", size=100)
    view = cache.namespace("v:")
    other = view.lease("bob", size=100)
    lease.many(3)
    other.many(3)
    view.close()
    with pytest.raises(seqcache.ClosedError):
        other.next()
    assert lease.next() == 4
    cache.close()
    assert lease.raw.closed
    for call in (lease.next, lambda: lease.take(1)):
        with pytest.raises(seqcache.ClosedError):
            call()
    with pytest.raises(seqcache.ClosedError):
        cache.raw.lease("alice")


def test_repr_tells_what_is_left_and_no_secret(face):
    cache = face.open()
    lease = cache.lease("al\nice", size=10)
    lease.next()
    assert "9 left" in repr(lease.raw)
    assert "\n" not in repr(lease.raw)
    lease.close()
    assert "closed" in repr(lease.raw)


# --- the end of the numbers -------------------------------------------------------


def test_last_numbers_are_exact_then_it_overflows(plain_cache):
    plain_cache.raise_seq("alice", MAX - 30)
    lease = plain_cache.lease("alice", size=10)
    assert lease.many(30) == list(range(MAX - 29, MAX + 1))
    for call in (lease.next, lambda: lease.take(2), lease.next):
        with pytest.raises(seqcache.SequenceOverflow):
            call()
    assert plain_cache.get_seq("alice") == MAX


def test_block_that_does_not_fit_any_more_is_an_overflow(plain_cache):
    plain_cache.raise_seq("alice", MAX - 5)
    lease = plain_cache.lease("alice", size=10)
    with pytest.raises(seqcache.SequenceOverflow):
        lease.next()
    assert plain_cache.get_seq("alice") == MAX - 5


def test_take_is_exact_from_2_to_53_on(plain_cache):
    plain_cache.raise_seq("alice", 2**53)
    lease = plain_cache.lease("alice", size=10)
    assert lease.take(25) == range(2**53 + 1, 2**53 + 26)
    assert lease.next() == 2**53 + 26


def test_negative_counter_of_somebody_else_counts_up(server, live_face):
    server.admin("SET", "seq:alice", "-5")
    lease = live_face.open().lease("alice", size=4)
    assert lease.many(12) == list(range(-4, 8))


def test_key_that_is_no_sequence_is_told_each_time(server, live_face):
    server.admin("RPUSH", "seq:alice", "1")
    lease = live_face.open().lease("alice")
    for _ in range(2):
        with pytest.raises(seqcache.NotASequence) as caught:
            lease.next()
        assert caught.value.executed is False
    server.admin("DEL", "seq:alice")
    assert lease.next() == 1


# --- many at once, and how often somebody waits -----------------------------------


def test_many_at_once_get_different_numbers(face):
    cache = face.open()
    lease = cache.lease("alice", size=7)
    calls = [lease.start(1 + n % 3 if n % 4 == 0 else 0) for n in range(300)]
    wait(calls, 30)
    given = []
    for call in calls:
        value = call.result(0)
        given += value if isinstance(value, range) else [value]
    assert len(set(given)) == len(given)


def test_steady_use_never_waits_for_a_block(face):
    cache = face.open()
    lease = cache.lease("alice", size=500)
    lease.next()
    for _ in range(40):
        lease.many(100)
        while lease.raw.remaining < 250:
            time.sleep(0.002)
    told = cache.stats().leases
    assert told["waits"] == 0
    assert told["failures"] == 0
    assert told["blocks"] >= 8


def test_block_that_is_late_is_waited_for_and_counted(net_face, node):
    cache = net_face.open(node.url, timeout=10)
    lease = cache.lease("alice", size=4)
    assert lease.many(2) == [1, 2]
    node.on("INCRBY", faults.delay(0.3))
    assert lease.many(6) == list(range(3, 9))
    assert cache.stats().leases["waits"] >= 1
