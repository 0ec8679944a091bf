"""The Grafana dashboard asks for metrics that exist, with labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import seqcache
from seqcache import _metrics
from seqcache.durable.epoch import DurableStats
from seqcache.durable.rows import StoreStats

BOARD = json.loads(
    (Path(__file__).parents[2] / "docs" / "grafana-dashboard.json").read_text()
)
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = {variable["name"] for variable in BOARD["templating"]["list"]}
WORDS = {"sum", "by", "rate", "increase", "histogram_quantile", "min", "max"}


@pytest.fixture(scope="module")
def series():
    """The labels of every metric of a durable cache, by its full name."""
    with seqcache.cache("memory://") as cache:
        stats = cache.stats()
    durable = {name: 0.0 for name in DurableStats.__slots__}
    durable |= {f"store_{name}": 0.0 for name in StoreStats.__slots__}
    stats = stats._replace(durable=durable | {"lease_left": 1.0})
    found = {}
    for family in _metrics.families({"s": stats}):
        for suffix, labels, _ in family.samples:
            found.setdefault(family.name + suffix, set()).update(labels)
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_query_asks_for_what_is_there(query, series):
    names = re.findall(r"seqcache_\w+", query)
    assert names
    for name in names:
        assert name in series, name
        for by in re.findall(r"by \((\w+)\)", query):
            assert by in series[name]
        for label in re.findall(r"[{,](\w+)=", query):
            assert label in series[name]
    plain = re.sub(r"\{[^}]*\}|\[[^]]*\]|by \(\w+\)|seqcache_\w+", "", query)
    assert set(re.findall(r"[a-z_]+", plain)) <= WORDS
    assert query.count("(") == query.count(")")


def test_counters_are_never_shown_as_they_are(series):
    for query in QUERIES:
        for name in re.findall(r"seqcache_\w+(?:_total|_bucket|_count|_sum)\b", query):
            assert re.search(rf"(rate|increase)\({name}\{{", query), query


def test_every_metric_is_on_the_dashboard(series):
    asked = set(re.findall(r"seqcache_\w+", " ".join(QUERIES)))
    own = {name for name in series if "_durable_" not in name}
    assert own <= asked


def test_legends_and_variables_are_known():
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"])
            used = set(re.findall(r"\$\{?(\w+)", json.dumps(target)))
            assert used <= VARIABLES | {"__rate_interval"}


def test_panels_have_ids_and_places_of_their_own():
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= mine
    assert all(panel["description"] for panel in PANELS)
