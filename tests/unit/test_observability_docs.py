"""docs/observability.md is true: its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import seqcache
from seqcache import _live, _metrics
from seqcache.contrib.otel.counters import INSTRUMENTS

TEXT = (Path(__file__).parents[2] / "docs" / "observability.md").read_text("utf-8")


def section(title):
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    return found


def names(text, pattern=r"`(\w+)`"):
    """What the first cells of a table name."""
    rows = [line.split(" | ")[0] for line in text.splitlines() if line[:3] == "| `"]
    return [name for row in rows for name in re.findall(pattern, row)]


def test_fields_are_those_of_stats():
    assert sorted(names(section("`stats\\(\\)`"))) == sorted(seqcache.Stats._fields)


def test_example_returns_what_it_says():
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", section("`stats\\(\\)`"), re.M | re.S
    )
    names = {"seqcache": seqcache}
    exec(code, names)
    stats = names["stats"]
    assert stats.calls["increase"] == 2
    assert stats.errors["OutcomeUnknown"] == stats.in_flight == 0


def test_metrics_are_those_of_the_collector():
    with seqcache.cache("memory://") as cache:
        gauges = dict.fromkeys(_live.GAUGES, 0.0)
        stats = cache.stats()._replace(durable={"NAME": 1.0, **gauges})
    told = {}
    for line in section("Prometheus").splitlines():
        if line.startswith("| `"):
            cells = line.strip("| ").split(" | ")
            labels = re.findall(r"`(\w+)`", cells[2]) if len(cells) > 2 else []
            for name in re.findall(r"`(\w+)`", cells[0]):
                told[name] = (re.match(r"\w+", cells[1])[0], labels)
    found = {}
    for family in _metrics.families({"s": stats}):
        labels = {key for sample in family.samples for key in sample.labels}
        name = family.name + "_total" * (family.kind == "counter")
        found[name] = (family.kind, sorted(labels - {"server", "le"}))
    assert told == found


def test_instruments_are_those_that_are_registered():
    told = set(
        re.findall(r"`((?:seqcache|db\.client)\.[\w.]+)`", section("OpenTelemetry"))
    )
    assert {name for _, name, *_ in INSTRUMENTS} <= told


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", TEXT):
        assert (Path(__file__).parents[2] / "docs" / target).exists(), target
