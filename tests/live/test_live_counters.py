"""The counters of a process: every kind of cache is among them, and lets go."""

from __future__ import annotations

import gc

import pytest
from spans import only_mine

import seqcache
from seqcache import _live

__all__ = ["only_mine"]


def counted():
    """Increases of all caches that there are and were."""
    return sum(stats.calls["increase"] for stats in _live.read().values())


def alive():
    """How many caches are read."""
    return sum(callable(source) for _, source in _live._sources.values())


def let_go(face, handle):
    """Close a cache and drop it."""
    handle.close()
    face.opened.remove(handle)
    face.run(gc.collect)  # the loop has no frame of the last call any more
    del handle


def test_cache_that_is_gone_leaves_its_counts_and_nothing_else(only_mine, face):
    for turn in (1, 2, 3):
        handle = face.open()
        handle.increase_seqs(["alice", "bob"])
        assert (counted(), alive()) == (2 * turn, 1)
        let_go(face, handle)
        del handle
        gc.collect()
        assert (counted(), alive()) == (2 * turn, 0)


def test_store_of_two_caches_is_told_once(only_mine, tmp_path):
    url = f"sqlite:///{tmp_path}/seq.db?timeout=20"
    with seqcache.cache(url) as one, seqcache.cache(url) as other:
        one.increase_seq("alice")
        other.increase_seq("bob")
        (told,) = _live.read().values()
        assert told.calls["increase"] == 2
        transactions = one.stats().durable["store_transactions"]
        assert told.durable["store_transactions"] == pytest.approx(transactions, abs=1)
