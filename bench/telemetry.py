"""What does telemetry cost a call, turned off and on?

The same load as async_calls. Off is the extension's own method; ``counters`` are the
observable instruments alone; the others stand around each call: without an SDK, with
one that samples nothing, and with spans that a batch processor hands to nobody.
"""

from __future__ import annotations

from typing import Any

from bench import async_calls
from bench.task import Task

VARIANTS = ("off", "counters", "no SDK", "not sampled", "spans")


def turn_on(variant: str) -> None:
    """Instrument seqcache as the variant says."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    from seqcache.contrib.otel import SeqCacheInstrumentor

    class Nobody(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    options: dict[str, Any] = {"calls": variant != "counters"}
    if variant != "no SDK":
        sampler = ALWAYS_OFF if variant == "not sampled" else ALWAYS_ON
        tracers = TracerProvider(sampler=sampler)
        tracers.add_span_processor(BatchSpanProcessor(Nobody()))
        options["tracer_provider"] = tracers
        options["meter_provider"] = MeterProvider([InMemoryMetricReader()])
    SeqCacheInstrumentor().instrument(**options)


def measure(task: Task) -> dict[str, Any]:
    """Return what async_calls returns, with telemetry as the variant says."""
    if task.point.variant != "off":
        turn_on(task.point.variant)
    return async_calls.measure(task)
