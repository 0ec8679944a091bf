"""Leases in durable mode: what the server loses, no lease gives again."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

from durable_faces import anyface, cache, face

__all__ = ["anyface", "cache", "face"]


def over_a_flush(cache, server):
    """Numbers of a lease and of other calls, before and after all keys are gone."""
    lease = cache.lease("alice", size=100)
    given = lease.many(60)
    server.admin("FLUSHALL")
    given += lease.many(300)
    given += lease.take(250)
    given.append(cache.increase_seq("alice"))
    return given


def test_lease_gives_no_number_twice_over_a_flush(cache, durable_server):
    assert cache.stats().durable is not None
    given = over_a_flush(cache, durable_server)
    assert given == sorted(set(given))
    assert cache.stats().leases["failures"] == 0


def test_the_same_flush_repeats_numbers_without_ceilings(face, durable_server):
    plain = face.open_plain(durable_server.url, on_regress="off")
    given = over_a_flush(plain, durable_server)
    assert len(set(given)) < len(given)


def test_closed_lease_leaves_a_gap_and_lowers_nothing(cache):
    lease = cache.lease("alice", size=100)
    assert lease.many(3) == [1, 2, 3]
    lease.close()
    assert cache.increase_seq("alice") == 101
