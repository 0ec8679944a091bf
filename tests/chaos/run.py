"""Running scenarios: one history each, judged, kept when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.history import Record, Report, check, save
from chaos.scenarios import Scenario
from chaos.world import World

KEEP = Path(__file__).parents[2] / "build" / "chaos"


@dataclass(slots=True)
class Outcome:
    """One run of a scenario under one scheme."""

    scenario: Scenario
    scheme: str
    report: Report
    stats: dict[str, float]
    away: float = 0.0
    kept: Path | None = None

    @property
    def letters(self) -> str:
        """The promises that this run has to keep."""
        one = self.scenario
        promised = one.promised if self.scheme == "connection" else one.always
        if not self.scenario.tokens:
            promised = promised.replace("T", "")
        return promised + ("D" if self.scenario.dense else "")

    @property
    def broken(self) -> int:
        """Violations of what is promised; for plain mode of U, M and G."""
        if self.scheme == "plain":
            return self.report.violations("UMG")
        failed = self.report.failed if self.scenario.quiet else 0
        return self.report.violations(self.letters) + failed + (not self.was_told)

    @property
    def was_told(self) -> bool:
        """Did some call end with the error that the scenario is about?"""
        says = self.scenario.says
        return not says or any(says in text for text in self.report.errors)

    @property
    def disorder(self) -> int:
        """How often order was lost: what a split brain may do without a lease."""
        return self.report.violations("MG")


def run(
    scenario: Scenario,
    scheme: str,
    *,
    seed: int = 0,
    ceilings: str | None = None,
    scale: float = 1.0,
    outage: Callable[[float], None] | None = None,
    **options: Any,
) -> Outcome:
    """Play a scenario; `scale` stretches the time after the fault."""
    merged = {**scenario.options, **options}
    adopt = merged.pop("adopt", 0)
    with World(
        scheme,
        ceilings=ceilings,
        seed=seed,
        replica=scenario.replica,
        taps=scenario.taps,
        server_args=scenario.server_args,
        **merged,
    ) as world:
        world.outage = outage
        if adopt:
            for key in world.options["keys"]:
                world.a.admin("SET", key, str(adopt))
        world.start()
        scenario.run(world)
        time.sleep(scenario.seconds * scale)
        world.wait_recovered(scheme)
        records = world.stop()
        complaints = world.log_of_workers()
        if complaints and scheme != "plain":
            raise RuntimeError(f"{scenario.name}: a worker said {complaints}")
        report = check(records, dense=scenario.dense and scheme != "plain")
        if adopt:
            report.gaps -= adopt * len(world.options["keys"])
        outcome = Outcome(scenario, scheme, report, world.stats(), world.away)
    if outcome.broken and scheme != "plain":
        outcome.kept = keep(outcome, records, seed)
    return outcome


def keep(outcome: Outcome, records: list[Record], seed: int) -> Path:
    """Write down a history that breaks a promise."""
    KEEP.mkdir(parents=True, exist_ok=True)
    name = outcome.scenario.name.replace(" ", "-")
    path = KEEP / f"{name}.{outcome.scheme}.{seed}.{int(time.time())}.jsonl"
    save(path, records)
    errors = [f"{count} x {text}" for text, count in outcome.report.errors.items()]
    path.with_suffix(".txt").write_text("\n".join(outcome.report.texts + errors) + "\n")
    return path
