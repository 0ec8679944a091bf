"""Each rule of DURABLE section 7: it holds, and without it a promise breaks.

Two server processes stand for the two sides of a fail-over: `b` gets a copy of
`a`'s data, as a replica or an old snapshot would have.  SQL is the real store on
SQLite.  `without` names the rule that is switched off in the test build.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chaos.functions import Functions, load, meta_key
from servers import Server

from seqcache.ceilings import CeilingStore, Extend, Grant, Owner, Take

KEY, G1, G2, G3 = "k", "1" * 16, "2" * 16, "3" * 16
T = 5.0


class Side:
    """One server process, its functions, and its run_id for the store."""

    def __init__(self, server: Server, store: CeilingStore, *without: str) -> None:
        self.server, self.store = server, store
        server.admin("FLUSHALL")
        server.admin("FUNCTION", "FLUSH")
        load(server, *without)
        self.f = Functions(server.address)
        self.run_id = server.info("server")["run_id"]

    def begin(self, rnd: str, old: str = "", token: str | None = None) -> str:
        """Open and begin an epoch; `token` is sent again instead of a new one."""
        answer = self.f.call("seq_open", (), rnd, old)
        assert answer[0] == "go", answer
        token = token or self.store.begin_epoch(self.run_id, T)
        self.f.call("seq_begin", (), token, rnd)
        return token

    def take(self, epoch: str, gid: str, by: int = 1, token: str | None = None) -> Any:
        """A whole take-over by a client that knows nothing."""
        owner = self.store.owners([b"k"], epoch, T)[0]
        assert owner.verdict in ("none", "free"), owner
        marked = self.f.call("seq_mark", (KEY, meta_key(KEY)), epoch, gid)
        assert marked[0] == "ok", marked
        grant = self.grant(epoch, gid, owner.gid, marked, by)
        return self.install(epoch, gid, grant, by, token)

    def grant(
        self, epoch: str, gid: str, seen: str | None, marked: Any, by: int = 1
    ) -> Any:
        """TAKE with what seq_mark found."""
        gids = frozenset(g for g in marked[2].split(",") if g)
        take = Take(
            b"k", gid, seen, gids, int(marked[3]), int(marked[4]), int(marked[1]), by
        )
        return self.store.take([take], epoch, T)[0]

    def install(
        self, epoch: str, gid: str, grant: Grant, by: int = 1, token: str | None = None
    ) -> Any:
        """seq_install of a grant."""
        return self.f.install(
            KEY, epoch, gid, grant.base, grant.ceiling, by,
            floor=grant.floor, token=token,
        )  # fmt: skip

    def extend(self, epoch: str, full: Any) -> bool:
        """EXTEND after a `full` verdict; False when it is refused."""
        one = Extend(b"k", full[1], int(full[2]), int(full[3]))
        raised = self.store.extend([one], epoch, T)[0]
        if raised.verdict == "ok":
            args = (epoch, full[1], raised.ceiling, raised.ceiling)
            self.f.call("seq_extend", (KEY, meta_key(KEY)), *args)
        return raised.verdict == "ok"

    def count(self, epoch: str, times: int) -> list[int]:
        """Numbers of that many increases, with extensions; stops when refused."""
        out: list[int] = []
        for _ in range(times):
            answer = self.f.incr(KEY, epoch)
            if isinstance(answer, list) and answer[0] == "full":
                if not self.extend(epoch, answer):
                    break
                answer = self.f.incr(KEY, epoch)
            if isinstance(answer, list) and answer[0] == "low":
                answer = answer[1]
            if not isinstance(answer, int):
                break
            out.append(answer)
        return out

    def data(self) -> dict[str, str]:
        """Every key."""
        names = self.f.ask("KEYS", "*")
        return {name: self.f.ask("GET", name) for name in names}

    def restore(self, data: dict[str, str]) -> None:
        """This data and nothing else, as a resync or a snapshot leaves it."""
        self.f.ask("FLUSHALL")
        for name, value in data.items():
            self.f.ask("SET", name, value)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """Two servers for all tests here."""
    with Server("--enable-debug-command", "local") as a, Server() as b:
        yield a, b


@pytest.fixture
def sides(
    servers: tuple[Server, Server], tmp_path: Path
) -> Iterator[Callable[..., tuple[Side, Side]]]:
    """`sides("R3")`: both processes with functions that lack that rule."""
    store = CeilingStore(f"sqlite:///{tmp_path}/c.db", step=4)
    made: list[Side] = []

    def make(*without: str) -> tuple[Side, Side]:
        if store._ready:
            with store._engine.begin() as conn:
                conn.execute(store._tables.ceiling.delete())
        a, b = (Side(server, store, *without) for server in servers)
        made.extend((a, b))
        return a, b

    yield make
    for side in made:
        side.f.close()
    store.close()


def close(side: Side, epoch: str) -> None:
    """The lease of a primary is waited out."""
    number = int(epoch.split(".")[0])
    side.store.close_epoch(number, T)
    assert side.store.epoch_state(number, T) == "closed"


def take_over(a: Side, b: Side, epoch: str, rnd: str = "b", gid: str = G2) -> str:
    """B begins an epoch and waits out the other one; its token."""
    new = b.begin(rnd)
    assert b.store.owners([b"k"], new, T)[0].verdict == "wait"
    close(b, epoch)
    return new


def test_r1_number_sent_again_to_another_process(sides):
    def run(*without: str) -> list[int]:
        a, b = sides(*without)
        e = a.begin("1")
        out = [a.take(e, G1)]
        b.restore(a.data())
        b.f.call("seq_open", (), "2")
        b.f.call("seq_begin", (), e, "1")  # the late or repeated seq_begin
        return out + a.count(e, 2) + b.count(e, 2)

    with_rule, broken = run(), run("R1")
    assert len(with_rule) == len(set(with_rule)) == 3
    assert len(broken) > len(set(broken))


def test_r1_same_process_short_cut_closes_only_the_dead(sides):
    def run(*without: str) -> bool:
        """Is a living epoch closed by a later one of its process?"""
        a, _ = sides(*without)
        assert a.f.call("seq_open", (), "3")[0] == "go"
        e3 = a.store.begin_epoch(a.run_id, T)
        time.sleep(0.31)  # until the challenge of that client is old
        e4 = a.begin("4")
        a.server.admin("FUNCTION", "FLUSH")
        load(a.server, *without)
        a.f.call("seq_begin", (), e3, "3")
        if a.f.incr(KEY, e3)[0] == "epoch":
            return False
        a.take(e3, G1)
        a.store.owners([b"k"], e4, T)
        number = int(e3.split(".")[0])
        return a.store.epoch_state(number, T) == "closed" and bool(a.count(e3, 1))

    assert not run()
    assert run("R1")


def test_r2_install_repeated_after_flushall(sides):
    def run(*without: str) -> list[int]:
        a, _ = sides(*without)
        e = a.begin("1")
        marked = a.f.call("seq_mark", (KEY, meta_key(KEY)), e, G1)
        grant = a.grant(e, G1, None, marked)
        out = [a.install(e, G1, grant), *a.count(e, 2)]
        a.f.ask("FLUSHALL")
        a.f.call("seq_get", ("none", meta_key("none")), e, 0)
        again = a.install(e, G1, grant)
        out += [again] if isinstance(again, int) else []
        return out + a.count(e, 2)

    with_rule, broken = run(), run("R2")
    assert len(with_rule) == len(set(with_rule)) >= 3
    assert len(broken) > len(set(broken))


def grant_that_comes_back(side: Side) -> list[int]:
    """A cell of a lost grant returns, as by SWAPDB, in the same epoch."""
    e = side.begin("1")
    out = [side.take(e, G1)]
    old = side.data()
    side.f.ask("FLUSHALL")
    assert side.f.incr(KEY, e) == ["take", "0"]
    out.append(side.take(e, G2))
    side.restore(old)
    return out + side.count(e, 8)


def test_r3_extension_does_not_pass_to_a_cell_that_came_back(sides, monkeypatch):
    numbers = grant_that_comes_back(sides()[0])
    assert numbers == [1, 5, 2, 3, 4]  # late, but nobody has had them
    real = CeilingStore._extend

    def by_epoch_only(self: Any, one: Any, row: Any, epoch: int, changed: Any) -> Any:
        loose = Extend(one.key, row.gid, row.ceiling, one.target)
        return real(self, loose, row, epoch, changed)

    monkeypatch.setattr(CeilingStore, "_extend", by_epoch_only)
    broken = grant_that_comes_back(sides("R3")[0])
    assert len(broken) > len(set(broken))


def test_r3_late_take_grants_no_second_block(sides, monkeypatch):
    def run() -> list[int]:
        a, b = sides()
        e = a.begin("1")
        marked = a.f.call("seq_mark", (KEY, meta_key(KEY)), e, G1)
        grant = a.grant(e, G1, None, marked)
        out = [a.install(e, G1, grant)]
        b.restore(a.data())
        e2 = take_over(a, b, e)
        out.append(b.take(e2, G2))
        with monkeypatch.context() as patch:
            if blind:
                patch.setattr(CeilingStore, "_owner", lambda *_: Owner("free"))
            a.grant(e, G1, None, marked)  # the first TAKE arrives once more
        return out + a.count(e, 8)

    blind = False
    numbers = run()
    assert len(numbers) == len(set(numbers))
    blind = True  # neither the row it saw nor the order of epochs is compared
    numbers = run()
    assert len(numbers) > len(set(numbers))


def test_r4_token_is_compared_when_the_call_executes(sides):
    def run(*without: str) -> list[int]:
        a, _ = sides(*without)
        e = a.begin("1")
        out = [a.take(e, G1)]
        old = a.data()
        out += a.count(e, 2)
        a.restore(old)  # an RDB that is older, loaded by DEBUG RELOAD
        a.server.admin("FUNCTION", "FLUSH")
        load(a.server, *without)
        return out + a.count(e, 2)

    with_rule, broken = run(), run("R4")
    assert len(with_rule) == len(set(with_rule)) == 3
    assert len(broken) > len(set(broken))


def test_r5_stranded_primary_stops_at_the_end_of_its_block(sides, monkeypatch):
    def run() -> tuple[list[int], str]:
        """What A went on with, and whether it may have another block."""
        a, b = sides()
        a.store.lease_ms = 0  # fence="connection": nobody waits for A
        e = a.begin("1")
        first = a.take(e, G1)
        b.restore(a.data())
        other = b.take(b.begin("2"), G2)
        out = [first, other, *a.count(e, 8)]
        assert len(out) == len(set(out)) == 5  # the block had four
        return out, a.store.owners([b"k"], e, T)[0].verdict

    assert run()[1] == "fenced"
    real = CeilingStore._owner

    def any_order(self: Any, tx: Any, row: Any, token: str) -> Owner:
        return real(self, tx, row and SimpleNamespace(epoch=0, gid=row.gid), token)

    monkeypatch.setattr(CeilingStore, "_owner", any_order)
    assert run()[1] == "free"  # it would go on for ever, beside the other one


@pytest.mark.parametrize("without", ["R7 missing", "R7 last", "R7"])
@pytest.mark.parametrize("fault", ["deleted", "set back"])
def test_r7_counter_is_compared_with_its_cell(sides, without, fault):
    def run(*rules: str) -> list[int]:
        a, _ = sides(*rules)
        e = a.begin("1")
        out = [a.take(e, G1), *a.count(e, 2)]
        if fault == "deleted":
            a.f.ask("DEL", KEY)
        else:
            a.f.ask("SET", KEY, 1)
        return out + a.count(e, 1)

    with_rule = run()
    assert len(with_rule) == len(set(with_rule)) == 3
    both_catch = without != "R7" and fault == "deleted"
    caught_by_last = without == "R7 missing"
    broken = run(without)
    if both_catch or caught_by_last:
        assert len(broken) == len(set(broken))  # the other half still sees it
    else:
        assert len(broken) > len(set(broken))


def test_r8_records_of_a_lost_branch_do_not_count(sides):
    def run(*without: str) -> tuple[int, int]:
        """The number of the other side, and what the token got after it."""
        a, b = sides(*without)
        e = a.begin("1")
        a.take(e, G1)
        b.restore(a.data())
        e2 = take_over(a, b, e)
        other = b.take(e2, G2)
        a.f.incr(KEY, e, token="t")  # executed late at the old primary
        e3 = a.begin("3", old=e)
        assert a.store.owners([b"k"], e3, T)[0].verdict == "wait"
        close(a, e2)
        answer = a.take(e3, G3, token="t")
        return other, answer[1] if isinstance(answer, list) else answer

    other, number = run()
    assert number > other
    other, number = run("R8 never below")
    assert number < other


def test_r8_records_survive_a_clean_failover(sides):
    def run(*without: str) -> tuple[Any, Any]:
        a, b = sides(*without)
        e = a.begin("1")
        a.take(e, G1)
        first = a.f.incr(KEY, e, token="t")
        b.restore(a.data())
        e2 = take_over(a, b, e)
        again = b.take(e2, G2, token="t")
        return first, again[1] if isinstance(again, list) else again

    first, again = run()
    assert first == again
    first, again = run("R8 never kept")
    assert first != again


def test_r9_process_that_came_back_by_partial_resync_forgets(sides):
    def run(*without: str) -> tuple[int, list[int]]:
        """What B issued, and what A issues when it is the primary again."""
        a, b = sides(*without)
        e = a.begin("1")
        a.take(e, G1)
        b.restore(a.data())
        e2 = take_over(a, b, e)
        other = b.take(e2, G2)
        # A partial resync there and back: its memory lives, its replid changes.
        a.server.admin("REPLICAOF", "127.0.0.1", "1")
        a.server.admin("REPLICAOF", "NO", "ONE")
        answer = a.f.incr(KEY, e, v="v")
        return other, [answer] if isinstance(answer, int) else []

    assert run()[1] == []
    other, back = run("R9")
    assert back
    assert back[0] < other
