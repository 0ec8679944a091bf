"""The live view of `seqcache top`, drawn by rich."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .output import printable, printable_text
from .sampler import Look
from .top import Show, amount, foot_of, head_of, sparks


@contextmanager
def screen() -> Iterator[Show]:
    """Take the terminal; give what draws a look; give the terminal back."""
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def show(look: Look, rates: deque[float], most: int) -> None:
            rows = max(3, console.size.height - 11)
            live.update(frame(look, rates, min(most, rows)), refresh=True)

        yield show


def frame(look: Look, rates: deque[float], most: int) -> RenderableType:
    """Draw one look."""
    head = Text()
    for name, value in head_of(look):
        head.append(f"{name} " if name else "", "dim")
        head.append(value, "bold")
        head.append("   ")
    line = Text(sparks(rates), "green", no_wrap=True)
    tables = Table.grid(expand=True, padding=(0, 2))
    tables.add_column(ratio=3)
    tables.add_column(ratio=2)
    tables.add_row(_ids(look, most), _commands(look, most))
    parts: list[RenderableType] = [head, line, Text(), tables, Text()]
    if look.trouble:
        parts.append(Text(printable_text(look.trouble), "bold red"))
    if look.back:
        names = ", ".join(printable(one) for one in look.back[:5])
        text = f"went back: {names}. The server lost numbers: seqcache doctor"
        parts.append(Text(text, "bold red"))
    parts.append(
        Text(f"{foot_of(look)}. Commands are those of all clients. Ctrl-C ends.", "dim")
    )
    return Panel(Group(*parts), title="seqcache top", border_style="dim")


def _ids(look: Look, most: int) -> Table:
    table = _table("id", "number", "per second", "")
    highest = max((one.per_second for one in look.ids), default=1.0)
    for one in look.ids[:most]:
        blocks = "█" * max(1, round(one.per_second / highest * 12))
        table.add_row(
            Text(printable(one.user_id), overflow="ellipsis", no_wrap=True),
            f"{one.seq:,}",
            amount(one.per_second),
            Text(blocks, "green"),
        )
    if not look.ids:
        table.add_row(Text("no id moves", "dim"), "", "", "")
    return table


def _commands(look: Look, most: int) -> Table:
    table = _table("command (all)", "per second", "us a call")
    errors = list(look.errors.items())[: max(0, most - 1)]
    for one in look.commands[: most - len(errors)]:
        table.add_row(one.name, amount(one.per_second), f"{one.usec:,.1f}")
    for code, rate in errors:
        table.add_row(Text(f"error {code}", "red"), Text(amount(rate), "red"), "")
    if not look.commands:
        table.add_row(Text("the server does not tell", "dim"), "", "")
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(expand=True, box=None, header_style="bold", pad_edge=False)
    table.add_column(first, ratio=1, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    return table
