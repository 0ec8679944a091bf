"""The ceiling store: away, slow, set back; and commits whose answer is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import sqlalchemy as sa

from chaos import board
from chaos.failovers import die_with_it, leave_behind
from chaos.functions import meta_key
from chaos.scenario import scenario
from chaos.world import KEYS, World, wait_for
from seqcache.ceilings import CeilingStore

LEASE = {"fence_time": 5.0, "timeout": 2.0}
LONG = {**LEASE, "step": 60_000}


def void_cells(world: World) -> None:
    """Every key has to be taken over: in plain mode its number is gone."""
    world.a.admin("DEL", *(meta_key(key) for key in KEYS))
    world.a.admin("DEL", KEYS[0])


def void_until(world: World, count: int) -> None:
    """Until that much went wrong at the stores; plain clients have none."""
    end = time.monotonic() + 10.0
    while world.faults() < count and world.scheme != "plain":
        void_cells(world)
        time.sleep(0.1)
        if time.monotonic() > end:
            raise RuntimeError("too little went wrong at the stores")


@scenario("13", options={"step": 8})
def take_and_extend_replies_lost(world: World) -> None:
    """SQL commits, and the client does not hear of it."""
    for n in range(12):
        fault = board.LOSE_TAKE if n % 2 else board.LOSE_EXTEND
        world.board.plan(fault, *range(len(world.workers)))
        void_cells(world)
        time.sleep(0.1)
    void_until(world, 2)


@scenario("13", replica=True)
def take_that_arrives_twice_after_a_failover(world: World) -> None:
    """Held on its way to SQL, repeated by its client, executed again much later."""
    world.board.plan(board.TAKE_AGAIN, 0, 1, 2, 3)
    void_until(world, 2)
    leave_behind(world)
    die_with_it(world)
    time.sleep(1.0)
    world.board.release()


@scenario("18", replica=True)
def clients_stopped_within_a_transaction(world: World) -> None:
    """SIGSTOP right before and right after TAKE; another primary goes on."""
    world.board.plan(board.STOP_BEFORE_TAKE, 0)
    world.board.plan(board.STOP_AFTER_TAKE, 1)
    if world.scheme == "plain":
        world.stop_workers(0, 1)
    void_until(world, 1)
    leave_behind(world, 2, 3)
    die_with_it(world)
    time.sleep(1.0)
    world.resume_workers()


def hide_store(world: World, seconds: float) -> None:
    """Nobody's question is answered: a PostgreSQL is frozen, an SQLite held."""
    if world.outage is not None:
        world.outage(seconds)
        return
    # A lock of the file would keep out writers only.
    world.board.away = True
    time.sleep(seconds)
    world.board.away = False


@scenario("14", lossy=False, quiet=True, options=LONG)
def store_away_for_3_s(world: World) -> None:
    """Less than 0.8 of the lease: no call fails."""
    hide_store(world, 3.0)


@scenario("14", lossy=False, quiet=True, options={**LONG, "prefetch": False})
def store_away_for_3_s_without_prefetch(world: World) -> None:
    """The same, where blocks are extended only when they are used up."""
    hide_store(world, 3.0)


@scenario(
    "14",
    lossy=False,
    seconds=2.5,
    options=LEASE,
    schemes=("lease",),
    says="unavailable",
)
def store_away_for_8_s(world: World) -> None:
    """Longer than the lease: calls fail by themselves, then all is well again."""
    hide_store(world, 8.0)


@scenario(
    "14",
    lossy=False,
    seconds=2.5,
    options={**LEASE, "step": 64, "prefetch": False},
    says="unavailable",
)
def store_away_for_8_s_without_prefetch(world: World) -> None:
    """Small blocks: they are used up at once, in both fences."""
    hide_store(world, 8.0)


@scenario("17", lossy=False, seconds=2.0, says="rolled_back", options={"step": 64})
def store_set_back_and_repaired(world: World) -> None:
    """A backup of the ceilings is restored under running clients, then lifted."""
    store = CeilingStore(world.options["ceilings"], "main/0")
    table = store._tables.ceiling

    def rows() -> list[dict[str, Any]]:
        with store._engine.begin() as conn:
            return [dict(row._mapping) for row in conn.execute(sa.select(table))]

    try:
        before = rows()
        # Blocks may be so large by now that no ceiling moves for long: all do here.
        world.a.admin("FUNCTION", "FLUSH")
        least = {row["k"]: row["ceiling"] for row in before}
        wait_for(lambda: all(r["ceiling"] > least.get(r["k"], 0) for r in rows()), 20)
        with store._engine.begin() as conn:
            for row in before:
                mine = (table.c.d == row["d"], table.c.k == row["k"])
                conn.execute(sa.update(table).where(*mine).values(row))
        # The guards see it where Redis still has the cell: all are refused.
        world.a.admin("FUNCTION", "FLUSH")
        world.wait_failing("rolled_back")
    finally:
        store.close()
    command = [sys.executable, "-m", "seqcache", "ceilings", "raise", "--from-redis"]
    command += ["--margin", "100", "--url", world.a.url, "--prefix", ""]
    command += ["--ceilings", world.options["ceilings"]]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    world.a.admin("FUNCTION", "FLUSH")


@scenario(
    "16", lossy=False, tokens=True, quiet=True, options={"processes": 8, "timeout": 5.0}
)
def eight_clients_begin_at_once(world: World) -> None:
    """FUNCTION FLUSH under load: all load the library and open an epoch."""
    for _ in range(5):
        world.a.admin("FUNCTION", "FLUSH")
        time.sleep(0.2)
