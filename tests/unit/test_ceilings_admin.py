# ruff: noqa: F811 (fixtures are imported by name)
"""What operators do with a ceiling store: look, check, raise, fence, adopt."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy")

from unit.test_ceilings import (  # noqa: E402, F401
    G1,
    G2,
    G3,
    RUN_A,
    RUN_B,
    T,
    extend,
    make_store,
    store,
    take,
    url,
)

from seqcache.ceilings import CAP, Grant, Raised, Take  # noqa: E402
from seqcache.durable import admin as admin  # noqa: E402


def test_ls_pages_through_a_prefix_in_order(store):
    epoch = store.begin_epoch(RUN_A, T)
    keys = [b"seq:%04d" % n for n in range(1100)] + [b"sep", b"ser"]
    store.take([Take(k, f"{n:016x}", None) for n, k in enumerate(keys)], epoch, 20)
    assert [row.key for row in admin.ls(store, b"seq:")] == keys[:1100]
    assert len(list(admin.ls(store))) == 1102


def test_check_names_what_the_store_does_not_cover(store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1)
    report = admin.check(store, [(b"k", 10), (b"k", 11), (b"new", 1)])
    assert (report.keys, report.ok) == (1, False)
    assert report.behind == [(b"k", 10, 11)]
    assert report.missing == [(b"new", 1)]
    assert report.epochs == {"open": 1}
    assert admin.check(store, [(b"k", 10)]).ok


def test_cell_without_a_row_is_a_store_that_forgot(store, monkeypatch):
    monkeypatch.setattr(admin, "LISTED", 2)
    report = admin.check(store, (), [(b"%d" % n, 5) for n in range(7)])
    assert (report.behind_count, report.missing_count) == (7, 0)
    assert report.behind == [(b"0", 0, 5), (b"1", 0, 5)]


def test_raise_all_lifts_every_row_above_redis(store, make_store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1)
    take(store, epoch, G2, key=b"high", at_least=CAP - 20)
    other = make_store("other/0")
    take(other, other.begin_epoch(RUN_A, T), G3)
    assert admin.raise_all(store, 1000, [(b"k", 500), (b"new", 7)]) == 3
    rows = {row.key: row for row in admin.ls(store)}
    assert rows[b"k"].ceiling == 1500
    assert rows[b"new"].ceiling == 1007
    assert rows[b"high"].ceiling == CAP
    assert {row.epoch for row in rows.values()} == {0}
    assert extend(store, epoch, G1, 10, 10) == Raised("gone")
    assert take(store, epoch, G3, seen=None).verdict == "again"
    assert take(store, epoch, G3).base == 1500
    assert [row.ceiling for row in admin.ls(other)] == [10]


def test_fence_ends_every_wait(store):
    old = store.begin_epoch(RUN_A, T)
    take(store, old, G1)
    new = store.begin_epoch(RUN_B, T)
    assert store.owners([b"k"], new, T)[0].verdict == "wait"
    assert admin.fence(store) == 2
    assert store.owners([b"k"], new, T)[0].verdict == "free"


def test_adopt_writes_rows_that_take_goes_on_from(store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1, key=b"old")
    report = admin.adopt(store, [(b"k", 41), (b"old", 10), (b"neg", -4)])
    assert (report.added, report.existing, report.behind) == (2, 1, [])
    assert admin.adopt(store, [(b"old", 11)]).behind == [b"old"]
    assert admin.adopt(store, [(b"big", CAP), (b"huge", CAP + 1)]).beyond == [b"huge"]
    assert {row.key for row in admin.ls(store)} == {b"k", b"old", b"neg", b"big"}
    assert take(store, epoch, G1) == Grant(41, 51, 41)
    assert take(store, epoch, G2, key=b"neg").base == 0
