"""Draws the chart of `bench`: bars as SVG, legible on white and on black."""

from __future__ import annotations

from html import escape
from typing import Any

from .rates import rounded

OURS, OTHER, TEXT = "#2f81f7", "#8b949e", "#767e88"
WIDTH, NAMES, BARS = 720, 150, 450
LINE, BAR, HEAD, GAP, TOP = 22, 14, 26, 16, 12


def draw(report: dict[str, Any]) -> str:
    """Return the SVG of a report: one group of bars for each work."""
    from .bench import by_work

    parts: list[str] = []
    y = TOP
    for label, row in by_work(report).items():
        parts.append(_text(0, y + 14, f"{label}: increases a second", bold=True))
        y += HEAD
        most = max(row.values()) or 1
        for name, rate in row.items():
            parts += _bar(y, name, rate, rate / most)
            y += LINE
        y += GAP
    foot = f"{report['server']}, {report['date']}, Python {report['python']}"
    parts.append(_text(0, y + 12, f"{foot}: a quick look"))
    y += 12 + TOP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
        f'width="{WIDTH}" height="{y}" font-family="system-ui, sans-serif" '
        'role="img" aria-label="increases a second by client">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _bar(y: int, name: str, rate: float, share: float) -> list[str]:
    length = max(1, round(BARS * share))
    colour = OURS if name.startswith("seqcache ") else OTHER
    return [
        _text(0, y + 12, name),
        f'<rect x="{NAMES}" y="{y}" width="{length}" height="{BAR}" rx="2" '
        f'fill="{colour}"/>',
        _text(NAMES + length + 8, y + 12, rounded(rate)),
    ]


def _text(x: int, y: int, words: str, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x}" y="{y}" font-size="12" fill="{TEXT}"{weight}'
    return f"<text {place}>{escape(words)}</text>"
