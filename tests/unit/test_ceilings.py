"""The ceiling store, on SQLite; the same tests run on PostgreSQL in tests/live."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sa = pytest.importorskip("sqlalchemy")

from seqcache.ceilings import (  # noqa: E402
    CAP,
    CeilingStore,
    Extend,
    Grant,
    Owner,
    Raised,
    Take,
)
from seqcache.durable.rows import split_token  # noqa: E402
from seqcache.errors import (  # noqa: E402
    CeilingError,
    SequenceOverflow,
)

RUN_A, RUN_B = "a" * 40, "b" * 40
G1, G2, G3 = "1" * 16, "2" * 16, "3" * 16
T = 5.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the store is; tests/live/durable replaces it by PostgreSQL."""
    return f"sqlite:///{tmp_path}/ceilings.db"


@pytest.fixture
def make_store(url: str) -> Iterator[Callable[..., CeilingStore]]:
    """Stores over one database, closed at the end."""
    made: list[CeilingStore] = []

    def make(*args: Any, **options: Any) -> CeilingStore:
        options.setdefault("step", 10)
        made.append(CeilingStore(url, *args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def store(make_store: Callable[..., CeilingStore]) -> CeilingStore:
    """One store with a step of ten."""
    return make_store()


def take(store: CeilingStore, epoch: str, nonce: str, **fields: Any) -> Any:
    """TAKE of the key `k`, over the row that is there."""
    fields.setdefault("key", b"k")
    fields.setdefault("need", 1)
    if "seen" not in fields:
        fields["seen"] = store.owners([fields["key"]], epoch, T)[0].gid
    return store.take([Take(nonce=nonce, **fields)], epoch, T)[0]


def extend(store: CeilingStore, epoch: str, gid: str, c: int, target: int) -> Any:
    """EXTEND of the key `k`."""
    return store.extend([Extend(b"k", gid, c, target)], epoch, T)[0]


def state(store: CeilingStore, token: str) -> str:
    """State of an epoch, without its lease."""
    return store.epoch_state(split_token(token)[0], T)


def test_epochs_ascend_and_are_open(store):
    first, second = store.begin_epoch(RUN_A, T), store.begin_epoch(RUN_A, T)
    assert split_token(first)[0] < split_token(second)[0]
    assert store.state(first, T) == ("open", 5.0)


def test_unknown_epoch_is_a_rolled_back_store(store, make_store):
    token = store.begin_epoch(RUN_A, T)
    number, _ = split_token(token)
    for wrong in (f"{number}.deadbeef", f"{number + 1}.x", "junk", "1."):
        with pytest.raises(CeilingError) as caught:
            store.state(wrong, T)
        assert caught.value.reason == "rolled_back"
        assert caught.value.executed is False
    with pytest.raises(CeilingError, match="deployment"):
        make_store("other/0").state(token, T)


def test_every_transaction_refuses_a_foreign_epoch(store):
    number, _ = split_token(store.begin_epoch(RUN_A, T))
    token = f"{number}.deadbeef"
    for call in (
        lambda: store.owners([b"k"], token, T),
        lambda: store.take([Take(b"k", G1, None)], token, T),
        lambda: store.extend([Extend(b"k", G1, 1, 1)], token, T),
    ):
        with pytest.raises(CeilingError, match="another"):
            call()


def test_first_take_begins_at_zero_or_above_the_plain_counter(store):
    epoch = store.begin_epoch(RUN_A, T)
    assert store.owners([b"k"], epoch, T) == [Owner("none")]
    assert take(store, epoch, G1) == Grant(0, 10, 0)
    assert take(store, epoch, G2, key=b"j", at_least=70) == Grant(70, 80, 70)
    assert take(store, epoch, G3, key=b"i", need=25) == Grant(0, 25, 0)


def test_take_repeated_with_its_nonce_answers_the_same(store):
    epoch = store.begin_epoch(RUN_A, T)
    first = take(store, epoch, G1, seen=None)
    assert take(store, epoch, G1, seen=None) == first


def test_take_over_another_row_than_it_saw_is_told_again(store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1, seen=None)
    assert take(store, epoch, G2, seen=None) == Owner("again")
    assert take(store, epoch, G2, seen=None, gids=frozenset([G1])).base == 10


def test_late_repeat_of_a_take_grants_nothing(store):
    old = store.begin_epoch(RUN_A, T)
    take(store, old, G1, seen=None)
    new = store.begin_epoch(RUN_A, T)
    assert take(store, new, G2) == Grant(10, 20, 10)
    assert take(store, old, G1, seen=None).verdict == "fenced"
    assert take(store, new, G1, seen=None) == Owner("again")


def test_token_floor_is_inherited_only_from_the_last_grant(store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1)
    kept = take(store, epoch, G2, gids=frozenset([G1]), floor=3)
    assert kept == Grant(10, 20, 3)
    assert take(store, epoch, G3, gids=frozenset([G1]), floor=3).floor == 20


def test_extend_is_compare_and_set_on_gid_and_ceiling(store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1)
    raised = extend(store, epoch, G1, 10, 10)
    assert raised.verdict == "ok"
    assert raised.ceiling == 10 + raised.step
    assert extend(store, epoch, G1, 10, 10) == raised  # its reply was lost
    assert extend(store, epoch, G2, 10, 10) == Raised("gone")
    new = store.begin_epoch(RUN_A, T)
    take(store, new, G3)
    assert extend(store, epoch, G1, 10, 10) == Raised("fenced")


def test_extend_reaches_beyond_a_large_block(store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1)
    raised = extend(store, epoch, G1, 10, 5000)
    assert raised.ceiling == 5000 + raised.step


def test_step_doubles_when_raised_often_and_halves_when_seldom(store, monkeypatch):
    epoch = store.begin_epoch(RUN_A, T)
    now = [time.time()]
    monkeypatch.setattr("seqcache.ceilings.time.time", lambda: now[0])
    take(store, epoch, G1)
    c, steps = 10, []
    for pause in (1, 1, 100, 1, 4000, 4000):
        now[0] += pause
        raised = extend(store, epoch, G1, c, c)
        c = raised.ceiling
        steps.append(raised.step)
    assert steps == [64, 128, 128, 256, 128, 64]


def test_owner_in_another_process_is_closing_until_closed(store):
    old = store.begin_epoch(RUN_A, T)
    take(store, old, G1)
    new = store.begin_epoch(RUN_B, T)
    verdict = store.owners([b"k"], new, T)[0]
    assert verdict == Owner("wait", G1, split_token(old)[0], 5.0)
    assert state(store, old) == "closing"
    assert store.state(old, T)[0] == "closing"
    assert take(store, new, G2, seen=G1).verdict == "wait"
    store.close_epoch(split_token(old)[0], T)
    assert state(store, old) == "closed"
    assert store.owners([b"k"], new, T)[0] == Owner("free", G1)


def test_close_needs_closing(store):
    epoch = store.begin_epoch(RUN_A, T)
    store.close_epoch(split_token(epoch)[0], T)
    assert state(store, epoch) == "open"


def test_same_process_needs_no_wait(store):
    old = store.begin_epoch(RUN_A, T)
    take(store, old, G1)
    new = store.begin_epoch(RUN_A, T)
    assert store.owners([b"k"], new, T)[0].verdict == "free"
    assert state(store, old) == "closed"


def test_without_a_lease_nobody_waits(make_store):
    store = make_store(lease_ms=0)
    take(store, store.begin_epoch(RUN_A, T), G1)
    assert store.owners([b"k"], store.begin_epoch(RUN_B, T), T)[0].verdict == "free"


def test_higher_epoch_fences_the_lower(store):
    old, new = store.begin_epoch(RUN_A, T), store.begin_epoch(RUN_A, T)
    take(store, new, G1)
    assert store.owners([b"k"], old, T)[0] == Owner("fenced")
    assert take(store, old, G2, seen=G1) == Owner("fenced")


def test_cell_above_the_store_is_a_restored_backup(store):
    epoch = store.begin_epoch(RUN_A, T)
    for make in (
        lambda: take(store, epoch, G1, cell_ceiling=11),
        lambda: take(store, epoch, G1) and extend(store, epoch, G1, 11, 11),
    ):
        with pytest.raises(CeilingError, match="Redis has ceiling 11") as caught:
            make()
        assert caught.value.reason == "rolled_back"


def test_cell_without_a_row_is_a_restored_backup(store):
    """Nobody deletes rows: whatever the grant, what Redis has was committed once."""
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1)
    for one in (Extend(b"lost", G2, 10, 11), Extend(b"k", G2, 11, 11)):
        with pytest.raises(CeilingError, match="Redis has ceiling 1[01]") as caught:
            store.extend([one], epoch, T)
        assert caught.value.reason == "rolled_back"
    assert extend(store, epoch, G2, 10, 11) == Raised("gone")
    newer = store.begin_epoch(RUN_B, T)
    take(store, newer, G3, key=b"j")
    assert store.extend([Extend(b"j", G2, 99, 99)], epoch, T) == [Raised("fenced")]


def test_failed_batch_writes_nothing(store):
    epoch = store.begin_epoch(RUN_A, T)
    batch = [Take(b"a", G1, None), Take(b"b", G2, None, cell_ceiling=5)]
    with pytest.raises(CeilingError):
        store.take(batch, epoch, T)
    assert store.owners([b"a", b"b"], epoch, T) == [Owner("none")] * 2


def test_numbers_end_at_the_cap(store):
    epoch = store.begin_epoch(RUN_A, T)
    assert take(store, epoch, G1, at_least=CAP - 3) == Grant(CAP - 3, CAP, CAP - 3)
    assert isinstance(extend(store, epoch, G1, CAP, CAP), SequenceOverflow)
    assert isinstance(take(store, epoch, G2), SequenceOverflow)
    assert take(store, epoch, G2, need=0) == Grant(CAP, CAP, CAP)
    over = take(store, epoch, G3, key=b"j", at_least=CAP - 3, need=4)
    assert isinstance(over, SequenceOverflow)
    assert "2^53" in str(over)


def test_extend_beyond_the_cap_overflows_and_up_to_it_is_cut(store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1)
    assert isinstance(extend(store, epoch, G1, 10, CAP + 1), SequenceOverflow)
    assert extend(store, epoch, G1, 10, CAP - 1).ceiling == CAP


def test_batch_decides_each_key_for_itself(store):
    old = store.begin_epoch(RUN_B, T)
    take(store, old, G1, key=b"w")
    epoch = store.begin_epoch(RUN_A, T)
    batch = [
        Take(b"z", G1, None, need=1),
        Take(b"w", G2, G1, need=1),
        Take(b"o", G3, None, at_least=CAP, need=1),
        Take(b"a", G3, None, need=1),
        Take(b"a", G2, None, need=1),
    ]
    z, w, o, a, again = store.take(batch, epoch, T)
    assert (z, a, again) == (Grant(0, 10, 0), Grant(0, 10, 0), Owner("again"))
    assert w.verdict == "wait"
    assert isinstance(o, SequenceOverflow)
    assert state(store, old) == "closing"


def test_large_batches_are_one_transaction(store):
    epoch = store.begin_epoch(RUN_A, T)
    store.owners([], epoch, T)
    before = store.stats.transactions
    keys = [b"k%d" % n for n in range(1200)]
    takes = [Take(key, f"{n:016x}", None, need=1) for n, key in enumerate(keys)]
    grants = store.take(takes, epoch, 20)
    assert all(isinstance(one, Grant) for one in grants)
    extends = [Extend(key, f"{n:016x}", 10, 10) for n, key in enumerate(keys)]
    assert {one.verdict for one in store.extend(extends, epoch, 20)} == {"ok"}
    assert store.stats.transactions == before + 2


def test_keys_are_bytes_and_nothing_is_folded(store):
    epoch = store.begin_epoch(RUN_A, T)
    keys = [b"Alice", b"alice", b"alice ", b"\xff\x00'", "Ä".encode()]
    takes = [Take(k, f"{n:016x}", None, need=n) for n, k in enumerate(keys)]
    store.take(takes, epoch, T)
    assert [o.gid for o in store.owners(keys, epoch, T)] == [t.nonce for t in takes]


def test_deployments_share_a_store_and_nothing_else(make_store):
    one, two = make_store("one/0"), make_store("two/0")
    e1, e2 = one.begin_epoch(RUN_A, T), two.begin_epoch(RUN_A, T)
    assert take(one, e1, G1) == take(two, e2, G2) == Grant(0, 10, 0)
    assert one.owners([b"k"], e1, T)[0].gid == G1


def test_many_clients_take_one_row_once(make_store):
    stores = [make_store() for _ in range(6)]
    epoch = stores[0].begin_epoch(RUN_A, T)
    out: list[Any] = []

    def client(number: int) -> None:
        keys = [b"x", b"y", b"z"] if number % 2 else [b"z", b"y", b"x"]
        takes = [Take(k, f"{number:016x}", None, need=1) for k in keys]
        out.append(stores[number].take(takes, epoch, 20))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(out) == 6
    for at_key in zip(*out, strict=True):
        assert sum(isinstance(one, Grant) for one in at_key) <= 1
    assert sum(isinstance(one, Grant) for row in out for one in row) == 3


def test_many_clients_make_the_tables_at_once(make_store):
    stores = [make_store(tables="fresh_") for _ in range(6)]
    tokens: list[str] = []

    def client(store: CeilingStore) -> None:
        tokens.append(store.begin_epoch(RUN_A, 20))

    threads = [threading.Thread(target=client, args=(s,)) for s in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == 6


def test_other_schema_version_is_refused(store, make_store):
    store.begin_epoch(RUN_A, T)
    with store._engine.begin() as conn:
        conn.execute(sa.update(store._tables.version).values(version=2))
    with pytest.raises(CeilingError, match="version 2") as caught:
        make_store().begin_epoch(RUN_A, T)
    assert caught.value.reason == "unavailable"


def test_engine_of_the_caller_stays_open(url):
    engine = sa.create_engine(url)
    store = CeilingStore(engine)
    store.begin_epoch(RUN_A, T)
    store.close()
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT 1").scalar_one() == 1
    engine.dispose()


def test_statement_ends_with_its_deadline(store):
    epoch = store.begin_epoch(RUN_A, T)
    take(store, epoch, G1)
    with store._engine.connect() as conn:
        store._dialect.begin(conn, 5, True)
        store._rows(_work(conn), [b"k"], lock=True)
        began = time.monotonic()
        with pytest.raises(CeilingError) as caught:
            store.extend([Extend(b"k", G1, 10, 10)], epoch, 0.3)
        assert 0.2 < time.monotonic() - began < 1.5
        conn.rollback()
    assert caught.value.reason == "unavailable"
    assert store.name in str(caught.value)
    assert extend(store, epoch, G1, 10, 10).verdict == "ok"


def _work(conn: Any) -> Any:
    from seqcache.durable.sql import Work

    return Work(conn)
