"""The faults of DURABLE section 11 that need neither Sentinel nor Cluster.

A scenario is a function of a `World` whose workers count already; it does its
damage and comes back when the servers are well again.  `lossy` ones must catch
plain mode; `promised` are the letters that `fence="connection"` keeps there, `always`
those of the lease (fewer only where DURABLE section 9 says so: SWAPDB); T
is judged where no record is lost (`tokens`); in a `quiet` one no call may fail.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from servers import Server

from chaos.functions import meta_key
from chaos.world import KEYS, World, follow, promote, role_is, wait_for


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table."""

    name: str
    number: str
    run: Callable[[World], None]
    seconds: float = 1.5
    lossy: bool = True
    replica: bool = False
    promised: str = "UMGT"
    always: str = "UMGT"
    tokens: bool = False
    dense: bool = False
    quiet: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    server_args: tuple[str, ...] = ()


SCENARIOS: list[Scenario] = []


def scenario(number: str, **options: Any) -> Callable[..., Any]:
    """Register a scenario under its number in DURABLE section 11."""

    def register(run: Callable[[World], None]) -> Callable[[World], None]:
        name = run.__name__.replace("_", " ")
        SCENARIOS.append(Scenario(name, number, run, **options))
        return run

    return register


@scenario(
    "D",
    lossy=False,
    dense=True,
    options={"kinds": ["incr", "incr", "block", "get", "batch", "token", "bulk token"]},
)
def no_fault(world: World) -> None:
    """The numbers are 1, 2, 3, ... with blocks, batches and prefetch."""
    time.sleep(0.5)


@scenario("1")
def kill_and_old_snapshot(world: World) -> None:
    """SAVE at n, on to n + 50 and more, kill -9, restart on the snapshot."""
    world.a.admin("SAVE")
    world.wait_calls(60)
    world.a.kill()
    world.a.start()


@scenario("2", server_args=("--appendonly", "yes", "--appendfsync", "no"))
def append_only_file_cut(world: World) -> None:
    """The tail of the AOF is lost with the machine."""
    files = sorted((world.a.dir / "appendonlydir").glob("*.incr.aof"))
    size = files[-1].stat().st_size
    world.wait_calls(60)
    world.a.kill()
    with open(files[-1], "r+b") as file:
        file.truncate(size)
    world.a.start()


@scenario("3")
def flushall(world: World) -> None:
    """Again and again, so that some fall between TAKE and install."""
    for _ in range(15):
        world.a.admin("FLUSHALL")
        time.sleep(0.03)


@scenario("5")
def single_keys_deleted(world: World) -> None:
    """Counter, cell, record, each alone."""
    for n in range(15):
        world.a.admin("DEL", KEYS[0])
        world.a.admin("DEL", meta_key(KEYS[1]))
        names = world.a.admin("KEYS", "sqc:t:*")
        if names and n == 7:
            world.a.admin("DEL", KEYS[2])
        time.sleep(0.02)


@scenario("6", options={"keys": [f"seq:{n}" for n in range(12)]})
def eviction(world: World) -> None:
    """maxmemory with allkeys-random, filled by somebody else."""
    world.a.admin("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    used = int(world.a.info("memory")["used_memory"])
    world.a.admin("CONFIG", "SET", "maxmemory", str(used + 300_000))
    for n in range(600):
        world.a.admin("SET", f"filler:{n}", "x" * 3000)
    world.a.admin("CONFIG", "SET", "maxmemory", "0")


@scenario("7", replica=True)
def failover_to_a_lagging_replica(world: World) -> None:
    """The replica is frozen, the primary dies with what it had not sent."""
    leave_behind(world)
    world.a.kill()
    world.b.resume()
    promote(world.b)
    world.board.point(world.b.port)


def leave_behind(world: World) -> None:
    """Freeze B and cut its stream, so that it misses what A does from now on."""
    world.b.pause()
    world.a.admin("CLIENT", "KILL", "TYPE", "replica")
    world.wait_calls(60)


@scenario("8", replica=True)
def there_and_back_by_full_resync(world: World) -> None:
    """A to B with loss, A resyncs in full from B on live sockets, back to A."""
    leave_behind(world)
    world.a.pause()
    world.b.resume()
    promote(world.b)
    world.a.resume()
    follow(world.a, world.b)
    promote(world.a)
    follow(world.b, world.a)


@scenario("9", replica=True, seconds=2.0)
def failover_there_and_back(world: World) -> None:
    """FAILOVER to B; what B writes is lost; A is promoted, its memory alive."""
    world.a.admin("FAILOVER")
    wait_for(role_is(world.b, "master"))
    wait_for(role_is(world.a, "slave"))
    world.a.pause()
    world.board.point(world.b.port)
    time.sleep(1.2)
    world.b.pause()
    world.a.resume()
    promote(world.a)
    world.board.point(world.a.port)
    world.b.kill()


@scenario("10", replica=True, promised="U", seconds=2.0)
def split_brain_then_healed(world: World) -> None:
    """Half of the clients stay with the old primary; then it becomes a replica."""
    split(world)
    world.board.point(world.b.port)
    world.a.admin("REPLICAOF", "127.0.0.1", world.b.port)


@scenario("10", replica=True, promised="U", seconds=2.0)
def split_brain_and_the_old_branch_wins(world: World) -> None:
    """The promoted one dies; the old primary serves all again."""
    split(world)
    world.b.kill()
    world.board.point(world.a.port)


def split(world: World) -> None:
    """Workers 0 and 1 do not hear of the promotion for two seconds."""
    promote(world.b)
    world.board.point(world.b.port, 2, 3)
    world.a.admin("CLIENT", "KILL", "TYPE", "normal")
    time.sleep(2.0)


@scenario("14", lossy=False, quiet=True, options={"fence_time": 3.0, "step": 60_000})
def store_away_within_the_lease(world: World) -> None:
    """Less than 0.8 L, with blocks that last: no call fails."""
    lock_store(world, 2.0)


@scenario("14", lossy=False, seconds=2.5, options={"fence_time": 1.0})
def store_away_beyond_the_lease(world: World) -> None:
    """Locked for longer: calls fail by themselves, then all is well again."""
    lock_store(world, 3.0)


def lock_store(world: World, seconds: float) -> None:
    """Hold the write lock of an SQLite store, or freeze a PostgreSQL."""
    if world.outage is not None:
        world.outage(seconds)
        return
    import sqlite3

    path = world.options["ceilings"].removeprefix("sqlite:///")
    conn = sqlite3.connect(path, isolation_level=None)
    # WAL lets readers pass: exclusive mode keeps them out as well.
    conn.execute("PRAGMA busy_timeout=5000")
    conn.execute("BEGIN IMMEDIATE")
    time.sleep(seconds)
    conn.execute("ROLLBACK")
    conn.close()


@scenario("20", lossy=False, tokens=True, quiet=True)
def debug_reload(world: World) -> None:
    """Nothing is lost but the memory of the process: no wait, T holds."""
    for _ in range(3):
        world.a.admin("DEBUG", "RELOAD")
        time.sleep(0.2)


@scenario("21", replica=True, lossy=False, tokens=True, seconds=2.0)
def tokens_across_a_clean_failover(world: World) -> None:
    """FAILOVER under load: whoever repeats a token gets its number."""
    world.a.admin("FAILOVER")
    wait_for(role_is(world.b, "master"))
    wait_for(role_is(world.a, "slave"))
    world.board.point(world.b.port)


@scenario("16", lossy=False, tokens=True, quiet=True)
def many_clients_begin_at_once(world: World) -> None:
    """FUNCTION FLUSH under load: all load the library and open an epoch."""
    for _ in range(5):
        world.a.admin("FUNCTION", "FLUSH")
        time.sleep(0.2)


@scenario("18", replica=True, seconds=2.0)
def client_frozen_during_a_failover(world: World) -> None:
    """SIGSTOP of two client processes for longer than the lease."""
    leave_behind(world)
    frozen = world.workers[:2]
    for worker in frozen:
        os.kill(worker.pid, signal.SIGSTOP)
    time.sleep(0.2)
    world.a.kill()
    world.b.resume()
    promote(world.b)
    world.board.point(world.b.port)
    time.sleep(1.0)
    for worker in frozen:
        os.kill(worker.pid, signal.SIGCONT)


@scenario("19", replica=True, lossy=False, tokens=True, seconds=2.5)
def three_failovers_in_a_row(world: World) -> None:
    """Within one lease; nobody waits for more than three of them."""
    for old, new in ((world.a, world.b), (world.b, world.a), (world.a, world.b)):
        old.admin("FAILOVER")
        wait_for(role_is(new, "master"))
        wait_for(role_is(old, "slave"))
        world.board.point(new.port)
        time.sleep(0.1)


@scenario("20")
def debug_reload_of_an_old_snapshot(world: World) -> None:
    """The data goes back in the same process, under the same sockets."""
    world.a.admin("SAVE")
    world.wait_calls(30)
    world.a.admin("DEBUG", "RELOAD", "NOSAVE")


@scenario("20", lossy=False, tokens=True, quiet=True)
def first_replica_attached(world: World) -> None:
    """The replication id changes: the epoch does too, and nobody waits."""
    with Server() as replica:
        follow(replica, world.a)
        time.sleep(0.2)


@scenario("22", options={"adopt": 5000})
def plain_counters_adopted_and_lost(world: World) -> None:
    """Counters of plain mode go on; a crash right after costs a gap."""
    world.a.admin("SAVE")
    world.wait_calls(40)
    world.a.kill()
    world.a.start()


@scenario("24", promised="U", always="U")
def swapdb_there_and_back(world: World) -> None:
    """Another database in place of ours for a moment."""
    world.a.admin("SWAPDB", "0", "1")
    time.sleep(0.3)
    world.a.admin("SWAPDB", "0", "1")


@scenario("25", lossy=False)
def memory_refused(world: World) -> None:
    """OOM for a while: calls fail, nothing is counted twice."""
    world.a.admin("CONFIG", "SET", "maxmemory", "1")
    time.sleep(0.4)
    world.a.admin("CONFIG", "SET", "maxmemory", "0")


@scenario("13", lossy=False, options={"fence_time": 0.5}, seconds=2.0)
def client_processes_killed(world: World) -> None:
    """kill -9 of clients in the middle of whatever they do, with takes going on."""
    stop = threading.Event()

    def flush() -> None:
        while not stop.wait(0.05):
            world.a.admin("DEL", *(meta_key(key) for key in KEYS))

    thread = threading.Thread(target=flush)
    thread.start()
    for worker in world.workers[:3]:
        time.sleep(0.2)
        worker.kill()
    stop.set()
    thread.join()
