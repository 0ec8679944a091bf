"""Draws the chart of the README: three small panels of bars, as SVG by hand.

Greys and one blue that are legible on white and on black, no background, system
fonts: the same file serves light and dark pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from bench import async_clients, sync_clients
from bench.goals import count
from bench.machine import MISSING
from bench.plan import BULK
from bench.results import Results
from bench.task import OURS, PIPELINE, Point

OURS_COLOUR, OTHER_COLOUR, TEXT = "#2f81f7", "#8b949e", "#767e88"
WIDTH, NAMES, BARS, NUMBERS = 760, 150, 430, 620
LINE, BAR, PANEL_HEAD, PANEL_GAP, TOP = 22, 14, 26, 18, 14
FOOT_LINE = 15


@dataclass(frozen=True)
class Panel:
    """One title and the points under it."""

    title: str
    points: tuple[Point, ...]


PANELS = (
    Panel(
        "asyncio, 100 calls in flight: increases a second",
        tuple(
            Point("async_calls", client, 100)
            for client in (OURS, *async_clients.PEERS, PIPELINE)
        ),
    ),
    Panel(
        "32 threads on one client: increases a second",
        tuple(Point("threads", client, 32) for client in (OURS, *sync_clients.PEERS)),
    ),
    Panel(
        "1000 users in one call: increases a second",
        tuple(
            Point("bulk", client, BULK, "increase")
            for client in (OURS, *sync_clients.PEERS)
        ),
    ),
)


def text(x: float, y: float, words: str, size: int = 12, extra: str = "") -> str:
    """Return one line of text; ``y`` is its base line."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{TEXT}"{extra}>'
        f"{escape(words)}</text>"
    )


def bar(y: float, name: str, rate: float, most: float, ours: float | None) -> list[str]:
    """Return name, bar and number of one client; ``ours`` gives the factor behind."""
    is_ours = name == OURS
    length = max(2.0, (NUMBERS - NAMES - 10) * rate / most)
    colour = OURS_COLOUR if is_ours else OTHER_COLOUR
    weight = ' font-weight="600"' if is_ours else ""
    number = count(rate)
    if ours and not is_ours and rate:
        factor = ours / rate
        number += f"  (1/{factor:.0f})" if factor >= 10 else f"  (1/{factor:.1f})"
    base = y + BAR - 3
    return [
        text(NAMES - 8, base, name, extra=f' text-anchor="end"{weight}'),
        f'<rect x="{NAMES}" y="{y:g}" width="{length:.1f}" height="{BAR}" rx="2" '
        f'fill="{colour}"/>',
        text(NAMES + length + 6, base, number, 11, weight),
    ]


def panel(results: Results, one: Panel, top: float) -> tuple[list[str], float]:
    """Return the elements of a panel that begins at ``top``, and where it ends."""
    rates = [(point, results.median(point, "ops")) for point in one.points]
    known = [(point, rate) for point, rate in rates if rate]
    if not known:
        return [], top
    most = max(rate for _, rate in known)
    ours = results.median(one.points[0], "ops")
    parts = [text(0, top + 13, one.title, 13, ' font-weight="600"')]
    y = top + PANEL_HEAD
    for point, rate in sorted(known, key=lambda pair: -pair[1]):
        parts += bar(y, point.client, rate, most, ours)
        y += LINE
    return parts, y + PANEL_GAP


def footer(about: dict[str, Any]) -> list[str]:
    """Return the small print: date, machine, versions."""
    skipped = ("hiredis", "libvalkey", "uvloop")
    installed = [
        f"{name} {version}"
        for name, version in about["versions"].items()
        if name not in skipped and not version.startswith(MISSING)
    ]
    busy = " (the machine was busy)" if about["is_busy"] else ""
    return [
        f"Medians of {about['rounds']} interleaved rounds{busy}, {about['date']}; "
        f"{about['cores']} cores, {about['processor']}; {about['server']} on loopback; "
        f"{about['python']}.",
        "In brackets: the fraction of seqcache's rate. " + ", ".join(installed) + ".",
    ]


def wrap(words: str, width: int = 128) -> list[str]:
    """Return the text in lines of at most ``width`` characters."""
    lines = [""]
    for word in words.split(" "):
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def draw(about: dict[str, Any], results: Results) -> str:
    """Return the chart as the text of an SVG file."""
    parts: list[str] = []
    y: float = TOP
    for one in PANELS:
        drawn, y = panel(results, one, y)
        parts += drawn
    for line in [line for words in footer(about) for line in wrap(words)]:
        parts.append(text(0, y + 8, line, 10))
        y += FOOT_LINE
    height = y + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'width="{WIDTH}" height="{height:g}" role="img" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, sans-serif">\n'
        "<title>seqcache and other clients: increases a second</title>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )
