"""Calls that travel as one FCALL, and what happens to it: each call ends by itself.

Calls that wait for a connection are written in one go, in the order in which they were
made, so that a connection that is held back in its handshake is where they gather.
"""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import time

import pytest
from durable_faces import STEP, anyface, cache, face, lossy

from seqcache.errors import CallTimeout, CeilingError, OutcomeUnknown
from seqcache.testing import Faults
from seqcache.testing._pair import Fate

__all__ = ["anyface", "cache", "face"]

awaited = pytest.mark.parametrize(
    "anyface", ["async-tcp", "async-uvloop"], indirect=True
)

PATIENCE = 20.0


def until(condition):
    """Wait for a condition."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def gather(faults, cache, calls):
    """Begin calls that wait for a connection; `faults.release` lets them go."""
    faults.hang_up()
    time.sleep(0.05)  # so that the next call looks at the link
    faults.hold()
    futures = []
    for name, *args, options in calls:
        futures.append(cache.start(name, *args, **options))
        if cache.face.kind == "sync":
            time.sleep(0.02)  # threads: most come in their order
    return futures


def increases(user, count, **options):
    return [("increase_seq", user, options)] * count


def batches(faults):
    """How many increases each FCALL of several carried."""
    return [
        int(words[2])
        for words in faults.calls
        if words[:2] == (b"FCALL", b"seq_incr_keys")
    ]


@pytest.fixture
def far(face, durable_server):
    """A durable cache behind faults, warm, whose calls have time."""
    faults, cache = lossy(face, durable_server, timeout=PATIENCE)
    with faults:
        yield faults, cache
        cache.close()


def results(futures):
    """A number or an error for each call."""
    return [f.exception(PATIENCE) or f.result(0) for f in futures]


# --- epochs ----------------------------------------------------------------------


def test_calls_that_wait_together_travel_as_one(far):
    faults, cache = far
    futures = gather(faults, cache, increases("alice", 20))
    faults.release()
    assert sorted(results(futures)) == list(range(2, 22))
    assert batches(faults) == [2, 20]  # the first warmed it


def test_epoch_that_changes_between_two_batches_counts_each_call_once(
    face, far, durable_server
):
    faults, cache = far
    other = face.open()

    def begin_anew():
        durable_server.admin("FUNCTION", "FLUSH")
        other.increase_seq("carol")

    calls = [*increases("alice", 5), ("get_seq", "alice", {}), *increases("alice", 5)]
    futures = gather(faults, cache, calls)
    change = faults._order("anew", Fate(before=begin_anew), 2, 1, "FCALL", None)
    faults.release()
    numbers = results(futures)
    assert change.fired == 1
    del numbers[5]
    before = sorted(n for n in numbers if n <= STEP)
    after = sorted(n for n in numbers if n > STEP)
    assert before == list(range(2, 2 + len(before)))
    assert after == list(range(STEP + 1, STEP + 11 - len(before)))
    assert before
    assert after
    assert cache.get_seq("alice") == after[-1]


# --- one call of several ----------------------------------------------------------


@awaited
def test_call_cancelled_before_its_batch_was_sent_is_not_counted(far):
    faults, cache = far
    futures = gather(faults, cache, increases("alice", 5))
    futures[2].cancel()
    faults.release()
    del futures[2]
    assert results(futures) == [2, 3, 4, 5]
    assert cache.get_seq("alice") == 5


@awaited
def test_call_cancelled_after_its_batch_was_sent_leaves_one_gap(far, durable_server):
    faults, cache = far
    futures = gather(faults, cache, increases("alice", 5))
    faults.delay(1.0, command="FCALL")
    faults.release()
    until(lambda: durable_server.admin("GET", "seq:alice") == b"6")
    futures[2].cancel()
    del futures[2]
    assert results(futures) == [2, 3, 5, 6]
    assert cache.increase_seq("alice") == 7


def test_call_whose_time_is_up_leaves_the_others_of_its_batch_alone(far):
    faults, cache = far
    calls = increases("alice", 5)
    calls[2] = ("increase_seq", "alice", {"timeout": 1.0})
    futures = gather(faults, cache, calls)
    faults.delay(2.0, command="FCALL")
    faults.release()
    numbers = results(futures)
    late = numbers.pop(2)
    counted = 5 if isinstance(late, OutcomeUnknown) else 4
    assert isinstance(late, (OutcomeUnknown, CallTimeout))
    assert len(set(numbers)) == 4
    assert set(numbers) <= set(range(2, 2 + counted))
    assert cache.increase_seq("alice") == 2 + counted


# --- a batch whose reply is lost ---------------------------------------------------


def test_lost_reply_of_a_batch_is_unknown_for_each_call_and_counts_once(far):
    faults, cache = far
    futures = gather(faults, cache, increases("alice", 8))
    lost = faults.lose_reply(command="FCALL")
    faults.release()
    errors = results(futures)
    assert lost.fired == 1
    assert batches(faults)[-1] == 8
    for error in errors:
        assert isinstance(error, OutcomeUnknown)
        assert (error.executed, error.user_id, error.by) == (None, "alice", 1)
    assert [cache.increase_seq("alice") for _ in range(3)] == [10, 11, 12]


def test_tokens_of_a_batch_whose_reply_is_lost_are_repeated(far):
    faults, cache = far
    calls = [("increase_seq", "alice", {"token": f"t{n}"}) for n in range(8)]
    futures = gather(faults, cache, calls)
    lost = faults.lose_reply(command="FCALL")
    faults.release()
    assert sorted(results(futures)) == list(range(2, 10))
    assert lost.fired == 1
    assert cache.get_seq("alice") == 9


# --- the next block ---------------------------------------------------------------


def test_next_block_is_there_before_this_one_is_used_up(cache, durable_server):
    """What a batch is told of a low block is heeded, so that no call meets SQL."""
    cache.increase_seq("alice")
    before = cache.stats().durable
    assert cache.increase_seqs(["alice"] * 30)[-1] == 31
    cell = "sqc:m:{seq:alice}"
    until(lambda: int(durable_server.admin("GET", cell).split(b":")[4]) > STEP)
    assert cache.increase_seqs(["alice"] * 60)[-1] == 91
    after = cache.stats().durable
    assert after["prefetches"] > before["prefetches"]
    assert after["sql_waits"] == before["sql_waits"]


# --- leases -----------------------------------------------------------------------


@pytest.fixture
def store_away(monkeypatch):
    """`store_away()`: from now on no lease is renewed."""

    def state(*_):
        raise CeilingError("away", reason="unavailable", executed=False)

    return lambda: monkeypatch.setattr("seqcache.ceilings.CeilingStore.state", state)


def test_calls_whose_lease_ends_while_they_wait_are_not_sent(
    face, durable_server, store_away
):
    """R6: the clock is read when they are written, not when they were made."""
    faults, cache = lossy(face, durable_server, timeout=1.5, fence_time=0.5)
    with faults:
        store_away()
        futures = gather(faults, cache, increases("alice", 5))
        until(lambda: cache.stats().durable["lease_left"] == 0)
        sent = len(faults.calls)
        faults.release()
        for error in results(futures):
            assert isinstance(error, CeilingError)
            assert (error.reason, error.executed) == ("unavailable", False)
        assert faults.calls[sent:] == []
        cache.close()


# --- rights -----------------------------------------------------------------------


@pytest.fixture
def limited(durable_server):
    """The address of a user who may touch alice and dave, and no other."""
    durable_server.admin(
        "ACL", "SETUSER", "limited", "on", ">pw", "+@all", "resetkeys",
        "~seq:alice", "~seq:dave", "~sqc:*",
    )  # fmt: skip
    yield durable_server.url.replace("://", "://limited:pw@")
    durable_server.admin("ACL", "DELUSER", "limited")


def test_key_that_a_user_may_not_touch_fails_alone_in_its_batch(face, limited):
    with Faults(limited) as faults:
        cache = face.open(faults.url, timeout=PATIENCE)
        cache.increase_seq("alice")
        cache.increase_seq("dave")
        users = ["alice", "bob", "dave", "alice"]
        calls = [("increase_seq", user, {}) for user in users]
        futures = gather(faults, cache, calls)
        faults.release()
        alice, bob, dave, again = results(futures)
        assert batches(faults)[0] == 4
        assert isinstance(bob, PermissionError)
        assert bob.executed is False
        assert dave == 2
        assert {alice, again} == {2, 3}
        cache.close()
