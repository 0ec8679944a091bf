"""Fixtures: telemetry that is kept in memory, turned on for one test."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from seqcache import _live
from seqcache.contrib.otel import SeqCacheInstrumentor


class Kept:
    """What was told since the test began."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        self.tracer = self.tracers.get_tracer("test")
        self.instrumentor = SeqCacheInstrumentor()
        self.off()

    def on(self, **options: Any) -> None:
        """Turn it on, with these providers."""
        providers = {"tracer_provider": self.tracers, "meter_provider": self.meters}
        self.instrumentor.instrument(**providers | options)

    def off(self) -> None:
        """Turn it off if it is on."""
        if self.instrumentor.is_instrumented_by_opentelemetry:
            self.instrumentor.uninstrument()

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """The spans that ended, in that order; those whose name begins so."""
        ended = self.exporter.get_finished_spans()
        return [span for span in ended if span.name.startswith(name)]

    def span(self, name: str = "") -> ReadableSpan:
        """The only one."""
        (found,) = self.spans(name)
        return found

    def points(self, name: str) -> dict[tuple[Any, ...], Any]:
        """The data points of a metric, by their sorted attributes."""
        data = self.reader.get_metrics_data()
        found = {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        if name not in found:
            return {}
        points = found[name].data.data_points
        return {tuple(sorted(point.attributes.items())): point for point in points}


@pytest.fixture
def only_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters of the caches that this test opens, and of no other."""
    gc.collect()
    monkeypatch.setattr(_live, "_sources", {})
    monkeypatch.setattr(_live, "_ended", {})
    monkeypatch.setattr(_live, "_servers", set())


@pytest.fixture
def kept(only_mine: None) -> Iterator[Kept]:
    """Telemetry in memory; the test turns it on."""
    made = Kept()
    yield made
    made.off()
    made.tracers.shutdown()
    made.meters.shutdown()


@pytest.fixture
def told(kept: Kept) -> Kept:
    """Telemetry in memory, on, without ids."""
    kept.on()
    return kept
