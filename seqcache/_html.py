"""Tables for notebooks: what the `_repr_html_` of reports and settings return."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._acache import AsyncSeqCache
    from ._cache import SeqCache
    from ._common import Stats


_LEVELS = ("in_flight", "links", "reconnects", "regressions", "bytes_out", "bytes_in")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table; every text is escaped."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    cells = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><tr>{names}</tr>{body}</table>"


def stats_table(stats: Stats) -> str:
    """Return what has happened: counters of 0 and the histogram are left out."""
    rows = [(f"calls: {name}", f"{n:,}") for name, n in stats.calls.items() if n]
    rows += [(f"errors: {name}", f"{n:,}") for name, n in stats.errors.items() if n]
    for name in _LEVELS:
        if value := getattr(stats, name):
            rows.append((name.replace("_", " "), f"{value:,}"))
    if stats.latency_count:
        for name in ("p50", "p99", "max"):
            seconds = getattr(stats, f"latency_{name}")
            rows.append((f"latency {name}", f"{seconds * 1e3:,.3f} ms"))
    counted = (stats.durable or {}).items()
    rows += [(f"durable: {name}", f"{n:,.4g}") for name, n in counted if n]
    return table(("stats", "value"), rows)


def cache_table(cache: SeqCache | AsyncSeqCache) -> str:
    """Return what a cache is and what it has done, in a few rows."""
    config, stats = cache.config, cache.stats()
    said = [row for row in config.explain()[1:] if row.source != "default"]
    rows = [("server", config.address), *((row.name, row.value) for row in said)]
    if "prefix" not in dict(rows):
        rows.append(("prefix", repr(config.prefix)))
    rows += [
        ("calls", f"{sum(stats.calls.values()):,}"),
        ("errors", f"{sum(stats.errors.values()):,}"),
    ]
    head = (type(cache).__name__, "closed" if cache.closed else "open")
    return table(head, rows)


def escape(text: str) -> str:
    """Return the text as HTML shows it, in quotes too."""
    for mark, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
        text = text.replace(mark, f"&{name};")
    return text
