"""What a scenario is, and the list of all.

A scenario is a function of a `World` whose workers count already; it does its
damage and comes back when the servers are well again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaos.world import World


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table.

    Parameters
    ----------
    name, number, run:
        What it is, its number in the list of the protocol, and what it does.
    seconds:
        How long the workers go on after it.
    lossy:
        Data is lost: plain mode has to be caught.
    replica, taps:
        It needs a second server in step with the first; a proxy for each worker.
    promised, always:
        Letters that ``fence="connection"`` keeps there, and those of the lease.
    unordered:
        ``fence="connection"`` has to be caught losing order (M or G), as it may.
    tokens:
        T is judged: no record is lost.
    dense:
        D is judged: no faults, raises or lost replies.
    quiet:
        No call may fail.
    says:
        Words of an error that some call has to end with.
    waits:
        How many leases the slowest call may wait for, beside the time without any
        primary; None: not judged.
    """

    name: str
    number: str
    run: Callable[[World], None]
    seconds: float = 1.5
    lossy: bool = True
    replica: bool = False
    taps: bool = False
    promised: str = "UMGT"
    always: str = "UMGT"
    unordered: bool = False
    tokens: bool = False
    dense: bool = False
    quiet: bool = False
    says: str = ""
    waits: int | None = None
    schemes: tuple[str, ...] = ("lease", "connection")
    options: dict[str, Any] = field(default_factory=dict)
    server_args: tuple[str, ...] = ()


SCENARIOS: list[Scenario] = []


def scenario(number: str, **options: Any) -> Callable[..., Any]:
    """Register a scenario under its number in the list of the protocol."""

    def register(run: Callable[[World], None]) -> Callable[[World], None]:
        name = run.__name__.replace("_", " ")
        SCENARIOS.append(Scenario(name, number, run, **options))
        return run

    return register
