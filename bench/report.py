"""Turns the results of a run into the table that is printed, and into Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.goals import Row, count
from bench.results import Results
from bench.task import Point

HEAD = ("#", "what", "goal", "measured", "against", "ratio", "verdict", "note")
ORDER = ("async_calls", "threads", "bulk", "fairness", "durable", "telemetry")


def ratio_text(ratio: float | None) -> str:
    """Return a ratio with as many digits as it deserves."""
    if ratio is None:
        return ""
    return f"{ratio:.0f} x" if ratio >= 100 else f"{ratio:.3g} x"


def cells(row: Row) -> tuple[str, ...]:
    """Return the texts of one row, in the order of HEAD."""
    ratio = ratio_text(row.ratio)
    start = (row.number, row.what, row.goal, row.measured, row.against)
    return (*start, ratio, row.verdict, row.note)


def columns(table: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table, aligned by spaces."""
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    return [
        "  ".join(
            text.ljust(width) for text, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in table
    ]


def markdown(table: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of the same table in Markdown."""
    rule = tuple("---" for _ in table[0])
    lines = [table[0], rule, *table[1:]]
    return [
        "| " + " | ".join(c.replace("|", "/") for c in line) + " |" for line in lines
    ]


def goal_table(rows: Iterable[Row]) -> list[tuple[str, ...]]:
    """Return head and rows of the table of goals."""
    return [HEAD, *(cells(row) for row in rows)]


def number(value: float | None, digits: int = 3) -> str:
    """Return a measured number, or a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.{digits}g}"


def detail_table(results: Results, question: str) -> list[tuple[str, ...]]:
    """Return everything that was measured for one question, client by client."""
    head = (
        "load",
        "client",
        "median",
        "best",
        "CPU us",
        "p50 us",
        "p99 us",
        "one core",
    )
    table: list[tuple[str, ...]] = [head]
    for record in results.records:
        point = record.point
        if point.question == question:
            table.append(detail(results, point))
    return table


def detail(results: Results, point: Point) -> tuple[str, ...]:
    """Return the row of one point: medians, and the best rate."""
    late = point.question == "fairness"
    names = ("late_p50_us", "late_p99_us") if late else ("p50_us", "p99_us")
    runs = len(results.values(point, "same_core"))
    shared = f"{len(results.on_one_core(point))} of {runs}" if runs else "-"
    words = (
        point.variant,
        point.client,
        "unix" if point.transport == "unix" else "",
    )
    return (
        str(point.load),
        " ".join(word for word in words if word),
        count(results.median(point, "ops")),
        count(results.best(point, "ops")),
        number(results.median(point, "cpu_us")),
        *(number(results.median(point, name)) for name in names),
        shared if point.load == 1 else "",
    )


def other_table(results: Results) -> list[tuple[str, ...]]:
    """Return memory in flight, import times and in-process calls of every client."""
    units = {"inflight_memory": "bytes", "import_time": "ms"}
    units |= {"leases": "ns", "memory": "ns"}
    table: list[tuple[str, ...]] = [
        ("question", "client", "load", "median", "best", "unit")
    ]
    for record in results.records:
        point = record.point
        unit = units.get(point.question)
        if unit:
            median, best = results.median(point, unit), results.best(point, unit)
            name = f"{point.question} {point.variant}".strip()
            load = str(point.load) if point.load > 1 else ""
            values = (number(median, 4), number(best, 4))
            table.append((name, point.client, load, *values, unit))
    return table


def failures(results: Results) -> list[str]:
    """Return a line for each reason why points failed, wholly or in some rounds."""
    reasons: dict[str, list[str]] = {}
    for record in results.records:
        if record.errors:
            tried = len(record.errors) + len(record.runs)
            share = "" if not record.runs else f" ({len(record.errors)} of {tried})"
            where = reasons.setdefault(record.errors[-1], [])
            where.append(f"{record.point}{share}")
    return [f"{reason}: {', '.join(where)}" for reason, where in reasons.items()]


def conditions(about: dict[str, Any]) -> list[str]:
    """Return the lines that say where and when the figures were made."""
    installed = ", ".join(f"{name} {ver}" for name, ver in about["versions"].items())
    lines = [
        f"{about['date']}; {about['cores']} cores, {about['processor']}; "
        f"{about['system']}; {about['python']}; {about['server']}; "
        f"seqcache at {about['revision']}",
        installed,
        f"{about['rounds']} rounds of {about['seconds']} s, {about['loop']} loop, "
        f"cores {about['pin']}, seed {about['seed']}; "
        f"load average {about['load_before']} before, {about['load_after']} after",
    ]
    if about["is_busy"]:
        lines.append(
            "The machine was busy: trust client CPU a call, not operations a second."
        )
    return lines


def is_table(body: list[Any]) -> bool:
    """Return whether a section's body is a table (which begins with its head)."""
    return bool(body) and isinstance(body[0], tuple)


def sections(
    about: dict[str, Any], results: Results, rows: list[Row]
) -> list[tuple[str, list[tuple[str, ...]] | list[str]]]:
    """Return titles with a table or plain lines each, leaving out the empty ones."""
    found: list[tuple[str, list[tuple[str, ...]] | list[str]]] = [
        ("", conditions(about)),
        ("Goals", goal_table(rows)),
    ]
    for question in ORDER:
        found.append((question, detail_table(results, question)))
    found.append(("Memory, import, in process", other_table(results)))
    found.append(("Did not run", failures(results)))
    return [each for each in found if len(each[1]) > is_table(each[1])]


def as_text(about: dict[str, Any], results: Results, rows: list[Row]) -> str:
    """Return the whole report for a terminal."""
    return render(about, results, rows, columns, "{}")


def as_markdown(about: dict[str, Any], results: Results, rows: list[Row]) -> str:
    """Return the whole report as Markdown."""
    return render(about, results, rows, markdown, "## {}")


def render(
    about: dict[str, Any],
    results: Results,
    rows: list[Row],
    layout: Any,
    title_form: str,
) -> str:
    """Return all sections, their tables laid out by ``layout``."""
    bullet = "- " if layout is markdown else ""
    blocks = []
    for title, body in sections(about, results, rows):
        lines = [title_form.format(title), ""] if title else []
        if is_table(body):
            lines += layout(body)
        else:
            lines += [f"{bullet}{line}" for line in body]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
