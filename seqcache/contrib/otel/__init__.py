"""Traces and metrics for OpenTelemetry (``pip install seqcache[otel]``).

>>> from seqcache.contrib.otel import SeqCacheInstrumentor
>>> SeqCacheInstrumentor().instrument()

It follows the semantic conventions for database clients: a span and a
``db.client.operation.duration`` for each call of either face, the counters of
``stats()`` as observable instruments. Nothing of it is in the way of a call before
`instrument` and after `uninstrument`. ``opentelemetry-instrument`` finds it by itself.
"""

from __future__ import annotations

import os

from opentelemetry import metrics, trace

from ... import __version__
from .calls import Telemetry
from .counters import Counters
from .wrappers import patch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from .instrumentor import BaseInstrumentor
else:
    try:
        from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
    except ImportError:  # the API alone is enough
        from .instrumentor import BaseInstrumentor

__all__ = ["SeqCacheInstrumentor"]

_CAPTURE = "OTEL_PYTHON_SEQCACHE_CAPTURE_USER_IDS"


class SeqCacheInstrumentor(BaseInstrumentor):
    """Turns telemetry of all caches of the process on and off; there is only one.

    ``instrument(tracer_provider=None, meter_provider=None, capture_user_ids=None,
    calls=True)``:

    tracer_provider, meter_provider:
        Instead of the global ones.
    capture_user_ids:
        Whether spans tell the user id of a call and the text of an error, which names
        ids. Default: false, unless the environment has
        ``OTEL_PYTHON_SEQCACHE_CAPTURE_USER_IDS=true``.
    calls:
        False leaves out spans and durations: the counters alone, which cost a call
        nothing.

    ``uninstrument()`` takes all of it back; calls under way end their spans.
    """

    _undo: Callable[[], None] | None = None
    _counters: Counters | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what is instrumented: this very package."""
        return ("seqcache",)

    def _instrument(self, **options: Any) -> None:
        about = ("seqcache", __version__)
        meter = metrics.get_meter(*about, meter_provider=options.get("meter_provider"))
        self._counters = Counters(meter)
        if options.get("calls", True):
            provider = options.get("tracer_provider")
            tracer = trace.get_tracer(*about, tracer_provider=provider)
            asked = options.get("capture_user_ids")
            if asked is None:
                asked = os.environ.get(_CAPTURE, "").strip().lower() == "true"
            self._undo = patch(Telemetry(tracer, meter, asked))

    def _uninstrument(self, **_: Any) -> None:
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()
        if self._counters is not None:
            self._counters.stop()
            self._counters = None
