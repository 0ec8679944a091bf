"""What leaves the process by OTLP: a receiver of our own decodes it.

No collector can be had from the package registries that tests may use; what a
collector reads are these messages.
"""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from spans import only_mine

import seqcache
from seqcache.contrib.otel import SeqCacheInstrumentor

__all__ = ["only_mine"]

MESSAGES = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Receiver(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps the decoded messages."""

    daemon_threads = True

    def __init__(self) -> None:
        self.received = {path: [] for path in MESSAGES}
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One export: a protobuf message, perhaps compressed."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        message = MESSAGES[self.path]()
        message.ParseFromString(body)
        self.server.received[self.path].append(message)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def receiver():
    made = Receiver()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def attributes(pairs):
    """The attributes of a message as a dict."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs
    }


def test_spans_and_metrics_arrive(only_mine, receiver):
    about = Resource.create({"service.name": "chat"})
    tracers = TracerProvider(resource=about)
    exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces")
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{receiver.url}/v1/metrics"), 3_600_000
    )
    meters = MeterProvider([reader], about)
    instrumentor = SeqCacheInstrumentor()
    instrumentor.instrument(tracer_provider=tracers, meter_provider=meters)
    try:
        with seqcache.cache("memory://otlp") as cache:
            for _ in range(3):
                cache.increase_seq("alice")
            with pytest.raises(ValueError, match="by"):
                cache.increase_seq("alice", by=0)
            tracers.shutdown()
            meters.shutdown()
    finally:
        instrumentor.uninstrument()

    (traces,) = receiver.received["/v1/traces"]
    (resource,) = traces.resource_spans
    assert attributes(resource.resource.attributes)["service.name"] == "chat"
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("seqcache", seqcache.__version__)
    assert [span.name for span in scope.spans] == ["increase_seq"] * 4
    assert all(
        span.end_time_unix_nano > span.start_time_unix_nano for span in scope.spans
    )
    assert attributes(scope.spans[3].attributes)["error.type"] == "ValueError"

    (sent,) = receiver.received["/v1/metrics"]
    (scope,) = sent.resource_metrics[0].scope_metrics
    found = {metric.name: metric for metric in scope.metrics}
    durations = found["db.client.operation.duration"]
    assert durations.unit == "s"
    counts = [point.count for point in durations.histogram.data_points]
    assert sorted(counts) == [1, 3]
    assert found["seqcache.calls"].sum.is_monotonic
    calls = {
        attributes(point.attributes)["seqcache.operation"]: point.as_int
        for point in found["seqcache.calls"].sum.data_points
    }
    assert calls["increase"] == 3
    assert b"alice" not in traces.SerializeToString() + sent.SerializeToString()
