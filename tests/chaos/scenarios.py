"""All scenarios that need neither Sentinel nor Cluster, in the protocol's order."""

from __future__ import annotations

from chaos import edges, failovers, losses, stores
from chaos.scenario import SCENARIOS as _FOUND
from chaos.scenario import Scenario

__all__ = ["SCENARIOS", "Scenario", "edges", "failovers", "losses", "stores"]


def _place(one: Scenario) -> tuple[bool, int, str]:
    return (one.number.isdigit(), int(one.number) if one.number.isdigit() else 0, "")


SCENARIOS = sorted(_FOUND, key=_place)
