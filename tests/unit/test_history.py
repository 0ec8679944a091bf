"""The checker of histories must itself catch what it is there for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chaos.history import Record, check, load, save


def record(start: float, end: float, value: int | None, **fields: Any) -> Record:
    """An increase of one key, unless told otherwise."""
    base: dict[str, Any] = {"key": "k", "op": "incr", "by": 1, "token": None}
    return Record(start, end, value=value, **{**base, **fields})


@pytest.mark.parametrize(
    ("letter", "records"),
    [
        ("U", [record(0, 1, 1), record(0, 1, 1)]),
        ("U", [record(0, 1, 5, by=5), record(0, 1, 3)]),
        ("M", [record(0, 1, 2), record(2, 3, 1)]),
        ("M", [record(0, 1, 4), record(2, 3, 9, by=6)]),
        ("G", [record(0, 1, 2), record(2, 3, 1, op="get")]),
        ("G", [record(0, 1, 7, op="get"), record(2, 3, 6, op="get")]),
        ("G", [record(0, 1, 7, op="raise"), record(2, 3, 7)]),
        ("G", [record(0, 1, 7, op="raise"), record(2, 3, 6, op="raise")]),
        ("T", [record(0, 1, 1, token="t"), record(2, 3, 2, token="t")]),
        ("D", [record(0, 1, 1), record(2, 3, 3)]),
    ],
)
def test_each_violation_is_caught(letter, records):
    assert check(records, dense=True).violations(letter) == 1


@pytest.mark.parametrize(
    "records",
    [
        [record(0, 3, 2), record(1, 2, 1)],  # they ran at the same time
        [record(0, 1, None, error="x"), record(2, 3, 1)],
        [record(0, 1, 1, token="t"), record(2, 3, 2), record(4, 5, 1, token="t")],
        [
            record(0, 1, None, token="t", error="x"),
            record(2, 3, 2),
            record(4, 5, 1, token="t"),
        ],
        [record(0, 1, 1), record(2, 3, 2, key="j", op="get")],
        [record(0, 1, 9, op="get"), record(2, 3, 10)],
    ],
)
def test_what_is_allowed_passes(records):
    report = check(records)
    assert report.violations("UMGT") == 0, report.texts


def test_gaps_and_failures_are_counted():
    report = check(
        [record(0, 1, 5, by=2), record(0, 1, None, error="E"), record(2, 4, 9)]
    )
    assert (report.gaps, report.failed, report.errors) == (6, 1, {"E": 1})
    assert report.slowest == 2


def test_history_survives_the_disk(tmp_path: Path):
    records = [record(0, 1, 1), record(1, 2, None, error="x", token="t")]
    save(tmp_path / "h", records)
    with (tmp_path / "h").open("a") as file:
        file.write('{"start": 1')  # a worker was killed here
    assert load(tmp_path / "h") == records
