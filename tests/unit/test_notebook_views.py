"""What a notebook shows of caches, counters and settings: short, escaped, no secret."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

import seqcache
from fakes.node import FakeNode
from seqcache._tally import BadLine, ExportReport, ImportReport


class Cells(HTMLParser):
    """The rows of a table; anything but a table is an error."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag in ("table", "tr", "th", "td")
        assert not attrs
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.rows[-1][-1] += data


def rows(shown):
    """The rows of what a notebook shows, by their first cell."""
    return dict(Cells(shown._repr_html_()).rows)


def test_cache_says_what_it_is_and_what_it_did(memory_face):
    cache = memory_face.open(prefix="send:", timeout=0.5)
    cache.increase_seqs(["a", "b"])
    kind = type(cache.raw).__name__
    assert rows(cache.raw) == {
        kind: "open",
        "server": "memory://",
        "prefix": "'send:'",
        "timeout": "0.5",
        "calls": "2",
        "errors": "0",
    }
    cache.close()
    assert rows(cache.raw)[kind] == "closed"


def test_view_shows_its_own_prefix():
    with seqcache.cache("memory://") as cache:
        assert rows(cache)["prefix"] == "'seq:'"
        assert rows(cache.namespace("<b>"))["prefix"] == "'<b>'"


def test_stats_show_what_happened_and_nothing_else():
    with seqcache.cache("memory://") as cache:
        assert rows(cache.stats()) == {"stats": "value"}
        cache.increase_seqs(str(n) for n in range(1200))
        assert rows(cache.stats()) == {"stats": "value", "calls: increase": "1,200"}
        full = cache.stats()._replace(
            errors={"CallTimeout": 2, "BusyError": 0},
            links=1,
            bytes_out=10_000,
            latency_count=3,
            latency_p50=0.0001,
            latency_p99=0.25,
            latency_max=1.5,
            durable={"takes": 3, "waits": 0, "lease_left": 4.25},
        )
    assert rows(full) == {
        "stats": "value",
        "calls: increase": "1,200",
        "errors: CallTimeout": "2",
        "links": "1",
        "bytes out": "10,000",
        "latency p50": "0.100 ms",
        "latency p99": "250.000 ms",
        "latency max": "1,500.000 ms",
        "durable: takes": "3",
        "durable: lease_left": "4.25",
    }


SECRETS = {
    "username": "hunter1",
    "password": "hunter2",
    "ceilings": "postgresql://app:hunter3@db/app",
}


def test_no_secret_is_shown():
    words = {"password": "hunter2", "prefix": "<script>"}
    with (
        FakeNode(password="hunter2") as node,
        seqcache.cache(node.url, **words) as cache,
    ):
        for shown in (cache, cache.config, cache.config.explain()):
            html = shown._repr_html_()
            assert "hunter2" not in html
            assert "<script>" not in html
            assert Cells(html).rows
    for name, value in SECRETS.items():
        config = seqcache.Config("redis://h", **{name: value})
        assert value not in config._repr_html_()
        assert "hunter3" not in config._repr_html_()


@pytest.mark.parametrize("bad", ["<b>bold</b>", '" onload="x', "a&amp;b"])
def test_text_is_escaped(bad):
    report = ImportReport(3, 1, 1, 1, (BadLine(7, bad),))
    assert rows(report)["line 7"] == bad
    assert rows(ExportReport(1200)) == {"export": "rows", "written": "1,200"}
