"""No data is lost: replies, rights, memory, forks, and where the numbers end."""

from __future__ import annotations

import time

from chaos.scenario import scenario
from chaos.tap import lose
from chaos.world import World, wait_for
from seqcache.ceilings import CAP

DENSE = ["incr", "incr", "block", "get", "batch", "token", "bulk token", "big block"]
PATIENT = {"timeout": 5.0}
EDGES = ["incr", "block", "get", "batch", "token", "big block", "edge raise"]


@scenario("D", lossy=False, dense=True, quiet=True, options={"kinds": DENSE, **PATIENT})
def no_fault(world: World) -> None:
    """The numbers are 1, 2, 3, ... with blocks, batches and prefetch."""
    time.sleep(0.5)


@scenario("4", taps=True, lossy=False, tokens=True)
def install_replies_cut(world: World) -> None:
    """The block is installed; with a token the call gets its number all the same."""
    rules = [
        tap.on("seq_install", lose, times=2, reply=True)
        for tap in world.taps
        if world.scheme != "plain"
    ]
    for _ in range(4):
        world.a.admin("FUNCTION", "FLUSH")
        time.sleep(0.3)
    wait_for(lambda: sum(rule.done > 0 for rule in rules) >= 2)


@scenario("21", taps=True, lossy=False, tokens=True)
def counting_replies_cut(world: World) -> None:
    """Ten in a row for each client: a token counts once."""
    names = ("seq_incr", "seq_incr_many", "seq_incr_keys")
    rules = [
        tap.on(name, lose, times=10, reply=True) for tap in world.taps for name in names
    ]
    world.wait_rules(rules)


@scenario("15", taps=True)
def open_and_begin_replies_cut(world: World) -> None:
    """An epoch begins, and its client does not know; then an old RDB is loaded."""
    for tap in world.taps:
        tap.on("seq_open", lose, reply=True)
        tap.on("seq_begin", lose, nth=1, reply=True)
    world.a.admin("SAVE")
    world.a.admin("FUNCTION", "FLUSH")
    world.wait_calls(60)
    world.a.kill()
    for tap in world.taps:
        tap.on("seq_begin", lose, reply=True)
        tap.on("seq_open", lose)
    world.a.start()


@scenario("20", lossy=False, tokens=True, quiet=True)
def debug_reload(world: World) -> None:
    """Nothing is lost but the memory of the process: no wait, T holds."""
    for _ in range(3):
        world.a.admin("DEBUG", "RELOAD")
        time.sleep(0.2)


@scenario(
    "23",
    lossy=False,
    dense=True,
    quiet=True,
    options={"kinds": DENSE, "step": 1, **PATIENT},
)
def blocks_around_the_ceiling(world: World) -> None:
    """Blocks that are larger than what is left, and than a step: without a gap."""
    time.sleep(0.5)


@scenario(
    "23",
    lossy=False,
    tokens=True,
    quiet=True,
    options={"kinds": EDGES, "step": 1, **PATIENT},
)
def raises_around_the_ceiling(world: World) -> None:
    """Raised to just below, to, and above the ceiling."""
    time.sleep(0.5)


@scenario(
    "23",
    lossy=False,
    says="SequenceOverflow",
    options={"adopt": CAP - 4000, "kinds": ["incr", "block", "get", "batch", "token"]},
)
def numbers_run_out(world: World) -> None:
    """2^53 - 1 is the last one; then SequenceOverflow, never a wrong number."""
    world.wait_failing("SequenceOverflow")


@scenario("25", lossy=False)
def memory_refused(world: World) -> None:
    """OOM for a while: calls fail, nothing is counted twice."""
    world.a.admin("CONFIG", "SET", "maxmemory", "1")
    time.sleep(0.4)
    world.a.admin("CONFIG", "SET", "maxmemory", "0")


@scenario("25", lossy=False, tokens=True)
def primary_read_only_for_a_while(world: World) -> None:
    """It becomes somebody's replica and is promoted again: nothing was lost."""
    for _ in range(3):
        world.a.admin("REPLICAOF", "127.0.0.1", "1")
        time.sleep(0.2)
        world.a.admin("REPLICAOF", "NO", "ONE")
        time.sleep(0.2)


@scenario("25", lossy=False, tokens=True, says="AuthError")
def rights_taken_away(world: World) -> None:
    """The commands inside the functions, one after the other, and FCALL itself."""
    for right in ("incrby", "get", "set", "del", "time", "info", "fcall", "function"):
        world.a.admin("FUNCTION", "FLUSH")
        time.sleep(0.05)
        world.a.admin("ACL", "SETUSER", "default", f"-{right}")
        time.sleep(0.1)
        world.a.admin("ACL", "SETUSER", "default", "+@all")


@scenario("26", options={"forks": 3, "direct": True, "client": "cache"})
def clients_fork_while_the_server_crashes(world: World) -> None:
    """Each worker forks children that count with what they inherited."""
    time.sleep(0.4)
    world.a.admin("SAVE")
    world.wait_calls(60)
    world.a.kill()
    world.a.start()
