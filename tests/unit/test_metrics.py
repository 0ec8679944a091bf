"""The counters as metrics: exact, bounded, never going back, and without secrets."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from spans import only_mine

import seqcache
from seqcache import _live, _metrics
from seqcache.contrib.prometheus import SeqCacheCollector

__all__ = ["only_mine"]

pytestmark = pytest.mark.usefixtures("only_mine")


def value(name, **labels):
    """One number of the process's metrics; None if it is not there."""
    registry = CollectorRegistry()
    registry.register(SeqCacheCollector())
    return registry.get_sample_value(name, labels)


def increases(server="memory://"):
    return value("seqcache_calls_total", server=server, operation="increase")


def stats_with(**fields):
    """The counters of an idle cache, some changed."""
    with seqcache.cache("memory://") as cache:
        return cache.stats()._replace(**fields)


def test_calls_of_all_caches_and_views_are_counted():
    one, other = seqcache.cache("memory://"), seqcache.cache("memory://")
    one.increase_seqs(["a", "b"])
    other.namespace("x:").increase_seq("a")
    other.get_seqs(["a", "b"])
    assert increases() == 3
    name = "seqcache_calls_total"
    assert value(name, server="memory://", operation="get_many") == 2


def test_counters_stay_when_a_cache_is_gone():
    kept = seqcache.cache("memory://")
    kept.increase_seq("a")
    for n in range(1, 5):
        cache = seqcache.cache("memory://")
        cache.increase_seq("a")
        assert increases() == n + 1
        if n % 2:
            cache.close()
            assert increases() == n + 1
        del cache
        assert increases() == n + 1
    assert increases() == 5


def test_dropped_caches_take_no_room():
    for _ in range(50):
        seqcache.cache("memory://").increase_seq("a")
    assert len(_live._sources) <= 2
    assert increases() == 50


def test_cache_that_ends_while_another_begins_is_counted(monkeypatch):
    doomed = [seqcache.cache("memory://")]
    doomed[0].increase_seq("a")
    fold = _live._fold

    def collect_meanwhile():
        doomed.clear()  # as the garbage collector may, with the lock taken
        fold()

    monkeypatch.setattr(_live, "_fold", collect_meanwhile)
    kept = seqcache.cache("memory://")
    kept.increase_seq("a")
    assert increases() == 2


def test_asyncio_is_counted(run_async):
    async def main():
        async with seqcache.acache("memory://") as cache:
            await cache.increase_seqs(["a", "b"])

    run_async(main())
    assert increases() == 2


def test_labels_are_bounded():
    caches = [seqcache.cache(f"memory://m{n}") for n in range(_live.MOST_SERVERS + 20)]
    for cache in caches:
        cache.increase_seq("a")
    assert increases("memory://m0") == 1
    assert increases(_live.OTHERS) == 20
    calls, *_ = _metrics.live()
    labels = {sample.labels["server"] for sample in calls.samples}
    assert len(labels) == _live.MOST_SERVERS + 1


def test_strange_exceptions_share_a_label():
    errors = {"ServerError": 1, "MyOwnError": 2, "Another": 3}
    _, family, *_ = _metrics.families({"s": stats_with(errors=errors)})
    found = {s.labels["error"]: s.value for s in family.samples}
    assert found == {"ServerError": 1, "other": 5}


def test_latency_is_a_cumulative_histogram_in_seconds():
    buckets = ((20e-6, 3), (0.5, 2), (math.inf, 1))
    stats = stats_with(latency_buckets=buckets, latency_sum=7.5)
    family = next(f for f in _metrics.families({"s": stats}) if f.kind == "histogram")
    bars = {s.labels["le"]: s.value for s in family.samples if s.suffix == "_bucket"}
    assert list(bars.values()) == sorted(bars.values())
    assert bars["1.6384e-05"] == 0
    assert bars["3.2768e-05"] == 3
    assert bars["0.268435456"] == 3
    assert bars["0.536870912"] == 5
    assert bars["17.1798692"] == 5
    assert bars["+Inf"] == 6
    rest = {s.suffix: s.value for s in family.samples if s.suffix != "_bucket"}
    assert rest == {"_count": 6, "_sum": 7.5}


def test_bounds_are_ends_of_the_engines_buckets():
    """So a bar holds exactly the calls that were at most as long."""
    from seqcache.foreign.stats import bucket_end

    for bound in _metrics.BOUNDS:
        assert bucket_end(bound * 0.999) == pytest.approx(bound, rel=1e-12)
        assert bucket_end(bound * 1.001) > bound * 1.01


def test_durable_counters_have_their_own_metrics():
    one = stats_with(durable={"takes": 2, "lease_left": 3.5})
    other = stats_with(durable={"takes": 5, "lease_left": 1.5})
    found = {f.name: f for f in _metrics.families({"s": _live.added(one, other)})}
    assert found["seqcache_durable_takes"].samples == [("_total", {"server": "s"}, 7)]
    lease = found["seqcache_durable_lease_left_seconds"]
    assert lease.kind == "gauge"
    assert lease.samples == [("", {"server": "s"}, 1.5)]


def test_text_is_what_prometheus_reads():
    cache = seqcache.cache("memory://")
    cache.increase_seq("a")
    odd = {'a "quoted"\\\nname': cache.stats(), "s": cache.stats()}
    found = _metrics.families(odd)
    read = {
        (s.name, *sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(_metrics.render(found))
        for s in family.samples
    }
    said = {
        (f.name + s.suffix, *sorted(s.labels.items())): s.value
        for f in found
        for s in f.samples
    }
    assert read == said


def test_text_and_collector_say_the_same():
    cache = seqcache.cache("memory://")
    cache.increase_seq("a")
    registry = CollectorRegistry()
    registry.register(SeqCacheCollector())

    def read(text):
        return list(text_string_to_metric_families(text))

    text = _metrics.render(_metrics.live())
    assert read(text) == read(generate_latest(registry).decode())


def test_nothing_of_the_data_is_in_a_label():
    cache = seqcache.cache("memory://", prefix="tenant-17:")
    cache.increase_seq("alice@example.org")
    text = _metrics.render(_metrics.live())
    assert "alice" not in text
    assert "tenant" not in text


def test_child_can_collect_though_the_lock_was_taken():
    code = """
import os, signal, seqcache
from seqcache import _live, _metrics
cache = seqcache.cache("memory://")
_live._lock.acquire()
child = os.fork()
if child == 0:
    signal.alarm(10)
    cache.increase_seq("a")
    assert _live.read()["memory://"].calls["increase"] == 1
    os._exit(7)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    code = code.replace("with _live._lock:\n", "_live._lock.acquire()\nif True:\n")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=30)
    assert done.returncode == 7


def test_collector_needs_its_extra_and_seqcache_does_not():
    code = "import sys, seqcache, seqcache._metrics; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "seqcache._metrics" in loaded
    assert "prometheus_client" not in loaded
