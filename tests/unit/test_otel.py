"""Turning telemetry on and off: what changes, and that nothing stays."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from spans import kept, only_mine, told

import seqcache
from seqcache.contrib.otel import SeqCacheInstrumentor
from seqcache.contrib.otel.wrappers import METHODS
from seqcache.durable.acache import AsyncDurableCache
from seqcache.durable.cache import DurableCache
from seqcache.foreign.acache import AsyncForeignCache
from seqcache.foreign.cache import ForeignCache

__all__ = ["kept", "only_mine", "told"]

CLASSES = [
    seqcache.SeqCache,
    seqcache.AsyncSeqCache,
    ForeignCache,
    AsyncForeignCache,
    DurableCache,
    AsyncDurableCache,
]


def test_off_is_as_if_it_had_never_been(kept):
    before = [dict(vars(cls)) for cls in CLASSES]
    kept.on()
    for cls in CLASSES:
        for name in METHODS:
            if hasattr(cls, name):
                assert hasattr(getattr(cls, name), "_seqcache_traced"), name
    kept.off()
    assert [dict(vars(cls)) for cls in CLASSES] == before
    method = seqcache.SeqCache.increase_seq
    assert type(method).__name__ == "method_descriptor"


def test_counters_alone_leave_every_method_alone(kept):
    before = [dict(vars(cls)) for cls in CLASSES]
    kept.on(calls=False)
    assert [dict(vars(cls)) for cls in CLASSES] == before


def test_methods_keep_their_signature_and_docstring(told):
    for name in METHODS:
        for cls in CLASSES:
            traced = getattr(cls, name, None)
            if traced is not None:
                original = inspect.unwrap(traced)
                assert inspect.signature(traced) == inspect.signature(original)
                assert traced.__doc__ == original.__doc__


def test_class_made_later_is_told_once(told):
    class Mine(seqcache.SeqCache):
        def increase_seq(self, *args, **words):
            return super().increase_seq(*args, **words)

    with seqcache.cache("memory://") as plain:
        cache = Mine(plain._engine, b"seq:", plain.config, view=True)
        cache.increase_seq("alice")
        cache.get_seq("alice")
    assert [s.name for s in told.spans()] == ["increase_seq", "get_seq"]


def test_foreign_class_that_comes_later_is_told(kept):
    kept.on()

    class Later(ForeignCache):
        __module__ = "seqcache.later"

        def increase_seq(self, user_id):
            return 7

    assert hasattr(Later.increase_seq, "_seqcache_traced")
    kept.off()
    assert not hasattr(Later.increase_seq, "_seqcache_traced")


def test_second_time_warns_and_changes_nothing(told, caplog):
    with caplog.at_level(logging.WARNING):
        told.on()
    assert "already instrumented" in caplog.text
    with seqcache.cache("memory://") as cache:
        cache.increase_seq("alice")
    assert len(told.spans()) == 1
    told.off()
    with caplog.at_level(logging.WARNING):
        told.instrumentor.uninstrument()
    assert "already uninstrumented" in caplog.text


def test_stopped_counters_observe_nothing(told):
    with seqcache.cache("memory://") as cache:
        cache.increase_seq("alice")
        assert told.points("seqcache.calls")
        told.off()
        assert not told.points("seqcache.calls")


def test_memory_is_no_remote_database(told):
    with seqcache.cache("memory://") as cache:
        cache.ping()
    span = told.span()
    assert span.kind.name == "INTERNAL"
    assert dict(span.attributes) == {
        "db.system.name": "memory",
        "db.operation.name": "ping",
    }


@pytest.mark.parametrize(("said", "seen"), [("true", 1), ("false", 0), ("", 0)])
def test_environment_asks_for_ids(kept, monkeypatch, said, seen):
    monkeypatch.setenv("OTEL_PYTHON_SEQCACHE_CAPTURE_USER_IDS", said)
    kept.on()
    with seqcache.cache("memory://") as cache:
        cache.get_seq("alice")
    assert ("alice" in kept.span().to_json()) == bool(seen)


def test_addresses_that_are_kept_are_bounded(told, monkeypatch):
    monkeypatch.setattr("seqcache.contrib.otel.calls._MOST_PLACES", 2)
    for n in range(5):
        with seqcache.cache(f"memory://otel{n}") as cache:
            cache.get_seq("alice")
    assert len(told.spans()) == 5


def test_opentelemetry_instrument_finds_it():
    (point,) = entry_points(group="opentelemetry_instrumentor", name="seqcache")
    assert point.load() is SeqCacheInstrumentor
    assert SeqCacheInstrumentor() is SeqCacheInstrumentor()
    assert SeqCacheInstrumentor()._check_dependency_conflicts() is None


def test_api_alone_is_enough():
    code = """
import sys
sys.modules["opentelemetry.instrumentation"] = None
import seqcache
from seqcache.contrib.otel import SeqCacheInstrumentor
one = SeqCacheInstrumentor()
assert one is SeqCacheInstrumentor()
one.instrument()
one.instrument()
assert one.is_instrumented_by_opentelemetry
assert seqcache.cache("memory://").increase_seq("a") == 1
one.uninstrument()
one.uninstrument()
assert not one.is_instrumented_by_opentelemetry
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "Attempting to instrument while already instrumented",
        "Attempting to uninstrument while already uninstrumented",
    ]


def test_seqcache_does_not_load_opentelemetry():
    code = "import sys, seqcache; seqcache.acache; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "opentelemetry" not in done.stdout
