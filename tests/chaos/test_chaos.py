"""The short form of the chaos suite: a few scenarios, once. `make chaos` has all."""

from __future__ import annotations

import pytest

from chaos.run import run
from chaos.scenarios import SCENARIOS, Scenario

SHORT = {
    "no fault",
    "kill and old snapshot",
    "flushall",
    "failover to a lagging replica",
    "split brain then healed",
    "many clients begin at once",
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.name in SHORT], ids=lambda s: s.name
)
def test_plain_is_caught_and_ours_is_clean(scenario: Scenario) -> None:
    pytest.importorskip("sqlalchemy")
    options = {"threads": 1}
    if scenario.lossy:
        assert run(scenario, "plain", scale=0.4, **options).broken > 0
    ours = run(scenario, "lease", scale=0.4, **options)
    assert ours.broken == 0, (ours.report.texts, ours.kept)
    assert ours.report.calls > 100


@pytest.mark.timeout(180)
def test_split_brain_breaks_order_without_a_lease_and_nothing_else() -> None:
    pytest.importorskip("sqlalchemy")
    scenario = next(s for s in SCENARIOS if s.name == "split brain then healed")
    outcome = run(scenario, "connection", scale=0.4, threads=1)
    assert outcome.report.U == 0
    assert outcome.report.M > 0  # the lease is what makes the difference
