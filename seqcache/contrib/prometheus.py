"""Metrics for Prometheus (``pip install seqcache[prometheus]``).

>>> from prometheus_client import REGISTRY
>>> from seqcache.contrib.prometheus import SeqCacheCollector
>>> REGISTRY.register(SeqCacheCollector())

The engine counts anyway; a collector reads the counters when Prometheus asks, and
costs a call nothing.
"""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .. import _metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SeqCacheCollector"]


class SeqCacheCollector(Collector):
    """Collects the counters of every cache in this process, also of later ones.

    The labels are ``server`` (at most 100, the others are together), ``operation`` and
    ``error`` (both known beforehand). No user id, prefix or secret is among them.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        for name, kind, text, samples in _metrics.live():
            metric = Metric(name, text, kind)
            for suffix, labels, value in samples:
                metric.add_sample(name + suffix, labels, value)
            yield metric

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: a registry then need not collect to know the names."""
        return iter(())
