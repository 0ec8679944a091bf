"""What links tell the durable state machine beside a call: its result stays."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import sys

import pytest
from durable_faces import STEP, anyface, cache, face

import seqcache.durable.acache
import seqcache.durable.cache

__all__ = ["anyface", "cache", "face"]


@pytest.fixture
def unraisable(monkeypatch):
    """What was reported beside the calls."""
    reported = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda told: reported.append(told.exc_value)
    )
    return reported


@pytest.fixture
def fail(monkeypatch, cache):
    """`fail(error)`: from now on whoever is told news raises it."""

    def install(error):
        def begin(*_):
            raise error

        for module in (seqcache.durable.acache, seqcache.durable.cache):
            monkeypatch.setattr(module, "begin", begin)

    cache.increase_seq("alice")
    yield install
    monkeypatch.undo()  # the end of the cache needs it


def test_a_number_is_not_lost_with_a_failed_prefetch(cache, fail, unraisable):
    fail(ValueError("no prefetch"))
    last = STEP - 1  # a new block is then needed
    assert [cache.increase_seq("alice") for _ in range(2, last + 1)] == list(
        range(2, last + 1)
    )
    assert [str(error) for error in unraisable] == ["no prefetch"] * len(unraisable)
    assert unraisable
    assert cache.increase_seqs(["alice"] * STEP) == list(range(STEP, 2 * STEP))
