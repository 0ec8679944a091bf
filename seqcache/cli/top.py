"""`seqcache top`: what moves on a server, as it moves."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from .. import cache
from .output import Output, id_field, is_terminal, printable, printable_text
from .sampler import Look, Sampler
from .verbs import config_of, passive

Show: TypeAlias = Callable[[Look, "deque[float]", int], None]

SPARKS = " ▁▂▃▄▅▆▇█"
#: Looks that the line of rates goes back.
HISTORY = 60


def top(args: Namespace, out: Output) -> int:
    """Show looks until Ctrl-C; with ``--once`` one."""
    with cache(passive(config_of(args))) as seqs:
        sampler = Sampler(seqs, top=args.top)
        live = not (args.once or out.json_lines)
        looks = _looks(sampler, args.interval, patient=live)
        if args.once:
            look = next(looks)
            _record(out, look) if out.json_lines else _print(out, look, args.top)
            return 0
        if out.json_lines:
            for look in looks:
                _record(out, look)
                out.finish()  # somebody waits for the line
            return 0
        with _screen(out) as show:
            rates: deque[float] = deque(maxlen=HISTORY)
            for look in looks:
                rates.append(look.per_second)
                show(look, rates, args.top)
    return 0


def _looks(sampler: Sampler, interval: float, *, patient: bool) -> Iterator[Look]:
    """Look at even intervals, the first time when there is something to compare."""
    sampler.look()
    look = sampler.look_patiently if patient else sampler.look
    due = time.monotonic()
    while True:
        # A look that took too long does not make the next ones come at once.
        due = max(due + interval, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        yield look()


def _record(out: Output, look: Look) -> None:
    fields = look._asdict()
    del fields["totals"]
    fields["seconds"] = round(look.seconds, 6)
    fields["commands"] = [one._asdict() for one in look.commands]
    fields["ids"] = [
        {**id_field(one.user_id), "seq": one.seq, "per_second": one.per_second}
        for one in look.ids
    ]
    fields["back"] = [id_field(one) for one in look.back]
    out.record(**fields)


# --- text -----------------------------------------------------------------------------


def head_of(look: Look) -> list[tuple[str, str]]:
    """Return the facts of the first lines, without those that the server hides."""
    facts: list[tuple[str, str | None]] = [
        ("server", look.server),
        ("", f"{look.software} {look.role}".strip() or None),
        ("up", None if look.uptime is None else span(look.uptime)),
        ("round trip", f"{look.latency * 1000:.2f} ms"),
        ("commands", f"{amount(look.per_second)}/s"),
        ("connections", None if look.clients is None else f"{look.clients:,}"),
        ("of seqcache", None if look.links is None else f"{look.links:,}"),
        ("memory", None if look.memory is None else f"{look.memory / 2**20:,.1f} MB"),
    ]
    return [(name, value) for name, value in facts if value is not None]


def foot_of(look: Look) -> str:
    """Say what the rates of ids rest on."""
    text = f"{look.looked:,} ids read in this look, {look.moving:,} of them moving"
    if look.keys is not None and look.keys > look.looked:
        text += f"; the database has {look.keys:,} keys, the rest comes in turn"
    return text


def sparks(rates: deque[float]) -> str:
    """Draw rates as a line of blocks."""
    most = max(rates, default=0.0) or 1.0
    return "".join(SPARKS[round(rate / most * (len(SPARKS) - 1))] for rate in rates)


def amount(rate: float) -> str:
    """Return a rate with about three digits that mean something."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:,.1f}"


def span(seconds: float) -> str:
    """Return a time as a person says it: ``3 d 4 h``."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days >= 1:
        return f"{days:.0f} d {hours % 24:.0f} h"
    if hours >= 1:
        return f"{hours:.0f} h {minutes % 60:.0f} min"
    return f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"


def _print(out: Output, look: Look, most: int) -> None:
    """Write one look as text."""
    facts = (f"{name} {value}".strip() for name, value in head_of(look))
    out.line(" · ".join(facts))
    if look.trouble:
        out.line(out.style(printable_text(look.trouble), "red"))
    out.line()
    out.line(out.style(f"{'id':40}  {'number':>20}  {'per second':>12}", "bold"))
    for one in look.ids[:most]:
        name = _cut(printable(one.user_id), 40)
        out.line(f"{name:40}  {one.seq:>20,}  {amount(one.per_second):>12}")
    if not look.ids:
        out.line("no id moves")
    out.line(out.style(foot_of(look), "dim"))
    for lost in look.back:
        text = f"{printable(lost)} went back: the server lost numbers"
        out.line(out.style(text, "red"))
    if look.commands:
        out.line()
        head = f"{'command of all clients':40}  {'per second':>20}  {'us a call':>12}"
        out.line(out.style(head, "bold"))
    for command in look.commands[:most]:
        calls, usec = amount(command.per_second), f"{command.usec:,.1f}"
        out.line(f"{_cut(command.name, 40):40}  {calls:>20}  {usec:>12}")
    for code, rate in look.errors.items():
        out.line(out.style(f"{code:40}  {amount(rate):>20}  errors", "red"))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


@contextmanager
def _screen(out: Output) -> Iterator[Show]:
    """Give what shows a look: rich's live view, or text one below the other."""
    live = _live_view() if is_terminal(sys.stdout) else None
    if live is not None:
        with live() as show:
            yield show
        return

    def show_text(look: Look, rates: deque[float], most: int) -> None:
        _print(out, look, most)
        out.line()
        out.finish()

    yield show_text


def _live_view() -> Callable[[], AbstractContextManager[Show]] | None:
    try:
        from .top_rich import screen
    except ImportError:  # rich is not installed
        return None
    return screen
