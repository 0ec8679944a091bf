"""One server loses data: crash, snapshot, log, deletion, eviction."""

from __future__ import annotations

import threading
import time

from chaos.functions import meta_key
from chaos.scenario import scenario
from chaos.tap import Command
from chaos.world import KEYS, World


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
    """Again and again."""
    for _ in range(15):
        world.a.admin("FLUSHALL")
        time.sleep(0.03)


@scenario("3", taps=True)
def flushall_between_take_and_install(world: World) -> None:
    """SQL has granted the block; the marker is gone when it is to be installed."""

    def flush(_: Command) -> None:
        world.a.admin("FLUSHALL")

    rules = [tap.on("seq_install", flush, times=4) for tap in world.taps]
    world.a.admin("FLUSHALL")
    world.wait_rules(rules)


@scenario("4", taps=True)
def install_reply_cut_then_flushall(world: World) -> None:
    """The block is installed, others count in it, then everything is deleted."""

    def cut(_: Command) -> bool:
        time.sleep(0.02)
        world.a.admin("FLUSHALL")
        return True

    rules = [tap.on("seq_install", cut, times=3, reply=True) for tap in world.taps]
    world.a.admin("FLUSHALL")
    world.wait_rules(rules)


@scenario("5")
def single_keys_deleted(world: World) -> None:
    """Counter, cell, record, each alone."""
    for n in range(15):
        world.a.admin("DEL", KEYS[0])
        world.a.admin("DEL", meta_key(KEYS[1]))
        records = world.a.admin("KEYS", "sqc:t:*")
        if records:
            world.a.admin("DEL", records[0])
        if n == 7:
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


@scenario("13", options={"fence_time": 0.5}, seconds=2.0)
def client_processes_killed(world: World) -> None:
    """kill -9 of clients in the middle of whatever they do, with takes going on."""
    stop = threading.Event()

    def lose() -> None:
        while not stop.wait(0.05):
            world.a.admin("DEL", *(meta_key(key) for key in KEYS))
            world.a.admin("DEL", KEYS[0])

    thread = threading.Thread(target=lose)
    thread.start()
    for worker in world.workers[:3]:
        time.sleep(0.2)
        worker.kill()
    stop.set()
    thread.join()


@scenario("20")
def debug_reload_of_an_old_snapshot(world: World) -> None:
    """The data goes back in the same process, under the same sockets."""
    world.a.admin("SAVE")
    world.wait_calls(30)
    world.a.admin("DEBUG", "RELOAD", "NOSAVE")


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


@scenario(
    "24",
    options={
        "second": True,
        "each": {
            "1": {"prefix": "q:", "label": "q:"},
            "2": {"at": "b", "deployment": "other", "label": "other "},
            "3": {"at": "b", "deployment": "other", "prefix": "p:", "label": "p:"},
        },
    },
)
def neighbours_in_one_store(world: World) -> None:
    """Two servers, two deployments, two prefixes, one store; both lose numbers."""
    world.a.admin("FLUSHALL")
    world.wait_calls(30)
    world.b.admin("SAVE")
    world.wait_calls(30)
    world.b.kill()
    world.b.start()
