"""Spans and durations of calls, after the conventions for database clients."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import NamedTuple

from opentelemetry import context as contexts
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

from ...errors import SeqCacheError, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Span, Tracer

    from ..._acache import AsyncSeqCache
    from ..._cache import SeqCache
    from ...config import Config

    Cache: TypeAlias = SeqCache | AsyncSeqCache

#: Those that are many operations of one kind; get_seqs is one, as MGET is.
BATCHES = {"increase_seqs": "increase_seq", "raise_seqs": "raise_seq"}
#: Those of one user id.
SINGLES = {
    "get_seq",
    "increase_seq",
    "reserve",
    "raise_seq",
    "delete_seq",
    "ack_seq",
    "trim_seq",
    "state",
    "wait_seq",
}
#: From the conventions: what suits databases in seconds; and below, for us.
BOUNDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005),
    *(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0),
)
#: Addresses whose attributes are kept at hand.
_MOST_PLACES = 1000
_SILENT = contexts._SUPPRESS_INSTRUMENTATION_KEY
#: In a call of ours: what it calls of ours is a part of it.
_INSIDE = contexts.create_key("seqcache-call")


class Plan(NamedTuple):
    """What all calls of one operation at one database have in common."""

    name: str
    kind: SpanKind
    attributes: dict[str, Any]


class Telemetry:
    """Where spans and durations go, and what is said in them."""

    def __init__(self, tracer: Tracer, meter: Meter, capture_ids: bool) -> None:
        self.tracer = tracer
        self.capture_ids = capture_ids
        self.durations = meter.create_histogram(
            "db.client.operation.duration",
            "s",
            "Duration of database client operations.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self._places: dict[str, dict[str, Plan]] = {}

    def begin(
        self, cache: Cache, method: str, args: tuple[Any, ...], given: dict[str, Any]
    ) -> Call:
        """Start the span of a call."""
        if method in BATCHES:
            return self._begin_batch(cache, method, args, given)
        plan = self._plan(cache, method)
        told = plan.attributes
        if self.capture_ids and method in SINGLES:
            user_id = args[0] if args else given.get("user_id")
            told = {**told, "db.operation.parameter.user_id": _text(user_id)}
        span = self.tracer.start_span(plan.name, kind=plan.kind, attributes=told)
        return Call(self, span, plan.attributes, False)

    def _begin_batch(
        self, cache: Cache, method: str, args: tuple[Any, ...], given: dict[str, Any]
    ) -> Call:
        items: Any = args[0] if args else given.get("user_ids", given.get("pairs"))
        size = len(items) if hasattr(items, "__len__") else None
        name = BATCHES[method] if size == 1 else f"BATCH {BATCHES[method]}"
        plan = self._plan(cache, name)
        told = plan.attributes
        if size is not None and size != 1:
            told = {**told, "db.operation.batch.size": size}
        span = self.tracer.start_span(plan.name, kind=plan.kind, attributes=told)
        return Call(self, span, plan.attributes, size is None)

    def _plan(self, cache: Cache, operation: str) -> Plan:
        where = cache._engine.where
        place = self._places.get(where)
        if place is None:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            place = self._places[where] = {}
        plan = place.get(operation)
        if plan is None:
            plan = place[operation] = plan_of(cache.config, operation)
        return plan


class Call:
    """One call that is under way."""

    __slots__ = ("_attributes", "_began", "_counted", "_span", "_telemetry")

    def __init__(
        self,
        telemetry: Telemetry,
        span: Span,
        attributes: dict[str, Any],
        counted: bool,
    ) -> None:
        self._telemetry = telemetry
        self._span = span
        self._attributes = attributes  # shared
        self._counted = counted  # the size of the batch is known by its result
        self._began = perf_counter()

    def enter(self) -> Any:
        """Make the span current, for what the call does; return the token."""
        inside = contexts.set_value(_INSIDE, True)
        return contexts.attach(set_span_in_context(self._span, inside))

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        """End the span and note the duration."""
        seconds = perf_counter() - self._began
        span = self._span
        attributes = self._attributes
        if error is not None:
            attributes = {**attributes, "error.type": type(error).__qualname__}
            self._tell(span, error)
        elif self._counted and span.is_recording():
            size = result if isinstance(result, int) else len(result)
            if size != 1:
                span.set_attribute("db.operation.batch.size", size)
        # An exemplar leads to a span that is kept.
        context = set_span_in_context(span) if span.is_recording() else None
        self._telemetry.durations.record(seconds, attributes, context)
        span.end()

    def _tell(self, span: Span, error: BaseException) -> None:
        if not span.is_recording():
            return
        span.set_attribute("error.type", type(error).__qualname__)
        if isinstance(error, ServerError) and error.code:
            span.set_attribute("db.response.status_code", error.code)
        if isinstance(error, SeqCacheError):
            executed = {None: "unknown", True: "true", False: "false"}
            span.set_attribute("seqcache.executed", executed[error.executed])
        if self._telemetry.capture_ids:  # messages name ids
            span.record_exception(error)
            span.set_status(StatusCode.ERROR, str(error))
        else:
            span.set_status(StatusCode.ERROR, type(error).__qualname__)

    def ended(self, future: asyncio.Future[Any]) -> None:
        """End with a future, leaving to its owner to have seen its exception."""
        if future.cancelled():
            self.end(asyncio.CancelledError())
        else:
            error = future._exception
            self.end(error, None if error is not None else future.result())


def plan_of(config: Config, operation: str) -> Plan:
    """Say which database it is, and name the spans."""
    location = config.location
    if location.kind not in ("tcp", "unix"):
        place = {"db.system.name": location.scheme, "db.operation.name": operation}
        return Plan(operation, SpanKind.INTERNAL, place)
    address = location.host or location.path
    attributes: dict[str, Any] = {
        "db.system.name": "redis",  # so for Valkey, too
        "db.namespace": str(config.db),
        "db.operation.name": operation,
        "server.address": address,
    }
    name = operation
    if location.port:
        attributes["server.port"] = location.port
        name = f"{operation} {address}:{location.port}"
    return Plan(name, SpanKind.CLIENT, attributes)


def _text(user_id: Any) -> str:
    if isinstance(user_id, bytes):
        return user_id.decode(errors="backslashreplace")
    return str(user_id)


def is_untold() -> bool:
    """Whether a call is not to be told of: a part of another, or suppressed."""
    current = contexts.get_current()
    return _INSIDE in current or bool(current.get(_SILENT))
