"""The short form of the chaos suite: a few scenarios, once. `make chaos` has all."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy")

from conftest import missing  # noqa: E402

from chaos.postgres import NoPostgres, Postgres  # noqa: E402
from chaos.run import run  # noqa: E402
from chaos.scenarios import SCENARIOS, Scenario  # noqa: E402

NAMED = {one.name: one for one in SCENARIOS}
SHORT = (
    "no fault",
    "kill and old snapshot",
    "flushall between take and install",
    "failover to a lagging replica",
    "split brain then healed",
)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scenario", [NAMED[name] for name in SHORT], ids=SHORT)
def test_plain_is_caught_and_ours_is_clean(scenario: Scenario) -> None:
    options = {"threads": 1}
    if scenario.lossy:
        assert run(scenario, "plain", scale=0.4, **options).broken > 0
    ours = run(scenario, "lease", scale=0.4, **options)
    assert ours.broken == 0, (ours.report.texts, ours.kept)
    assert ours.report.calls > 100


@pytest.mark.timeout(180)
def test_split_brain_breaks_order_without_a_lease_and_nothing_else() -> None:
    scenario = NAMED["split brain then healed"]
    outcome = run(scenario, "connection", scale=0.4, threads=1)
    assert outcome.report.U == 0
    assert outcome.disorder > 0  # the lease is what makes the difference


@pytest.mark.timeout(180)
def test_commits_repeated_after_a_failover_are_harmless_in_postgresql() -> None:
    try:
        server = Postgres()
    except NoPostgres as exc:
        missing(str(exc))
    scenario = NAMED["take that arrives twice after a failover"]
    with server:
        ours = run(scenario, "lease", ceilings=server.url, scale=0.4, threads=1)
    assert ours.broken == 0, (ours.report.texts, ours.kept)
