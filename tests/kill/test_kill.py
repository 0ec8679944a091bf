"""The short form of `python -m tests.kill`: a few lives on each face."""

from __future__ import annotations

import pytest

from kill.lives import play

KILLS = 6


@pytest.mark.timeout(180)
@pytest.mark.parametrize("face", ["sync", "async"])
def test_no_kill_makes_a_number_repeat_or_go_back(face, tmp_path):
    told = play(tmp_path, KILLS, url=f"sqlite:///{tmp_path}/seq.db", face=face)
    assert told.broken == 0, told.report.texts
    assert told.report.calls > 100


@pytest.mark.timeout(180)
def test_plain_memory_is_caught(tmp_path):
    told = play(tmp_path, KILLS, url="memory://", face="sync")
    assert told.report.violations("UM") > 0
