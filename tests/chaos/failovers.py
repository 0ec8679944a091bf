"""Two servers: the second one takes over, late, twice, or while the first lives."""

from __future__ import annotations

import os
import signal
import threading
import time

from chaos.scenario import scenario
from chaos.tap import Command, Rule
from chaos.world import World, follow, promote, role_is, wait_for


def leave_behind(world: World, *workers: int) -> None:
    """Freeze B and cut its stream, so that it misses what A does from now on."""
    world.b.pause()
    world.a.admin("CLIENT", "KILL", "TYPE", "replica")
    world.wait_calls(60, *workers)


def die_with_it(world: World) -> None:
    """A dies with what B missed; B serves."""
    world.a.kill()
    world.b.resume()
    promote(world.b)
    world.point(world.b)


@scenario("7", replica=True)
def failover_to_a_lagging_replica(world: World) -> None:
    """The replica is frozen, the primary dies with what it had not sent."""
    leave_behind(world)
    die_with_it(world)


@scenario("22", replica=True, options={"adopt": 5000})
def plain_counters_adopted_at_a_failover(world: World) -> None:
    """Counters of plain mode go on where a replica knows less of them."""
    leave_behind(world)
    die_with_it(world)


@scenario("8", replica=True, options={"each": {"3": {"pause": 0.4}}})
def there_and_back_by_full_resync(world: World) -> None:
    """A to B with loss, A resyncs in full from B on live sockets, back to A.

    Worker 3 calls so rarely that its links are idle meanwhile.
    """
    leave_behind(world)
    world.a.pause()
    world.b.resume()
    promote(world.b)
    world.a.resume()
    follow(world.a, world.b)
    promote(world.a)
    follow(world.b, world.a)


@scenario("9", replica=True, seconds=2.0, options={"each": {"3": {"pause": 0.4}}})
def failover_there_and_back(world: World) -> None:
    """FAILOVER to B; what B writes is lost; A is promoted, its memory alive."""
    failover(world, world.a, world.b)
    world.a.pause()
    world.point(world.b)
    time.sleep(1.2)
    world.b.pause()
    world.a.resume()
    promote(world.a)
    world.point(world.a)
    world.b.kill()


def failover(world: World, old: object, new: object) -> None:
    """FAILOVER: nothing is lost."""
    old.admin("FAILOVER")  # type: ignore[attr-defined]
    wait_for(role_is(new, "master"))  # type: ignore[arg-type]
    wait_for(role_is(old, "slave"))  # type: ignore[arg-type]


def split(world: World) -> None:
    """Workers 0 and 1 do not hear of the promotion for two seconds."""
    promote(world.b)
    world.point(world.b, 2, 3)
    world.a.admin("CLIENT", "KILL", "TYPE", "normal")
    time.sleep(2.0)


@scenario("10", replica=True, promised="U", unordered=True, seconds=2.0)
def split_brain_then_healed(world: World) -> None:
    """Half of the clients stay with the old primary; then it becomes a replica."""
    split(world)
    world.point(world.b)
    world.a.admin("REPLICAOF", "127.0.0.1", world.b.port)


@scenario("10", replica=True, promised="U", unordered=True, seconds=2.0)
def split_brain_and_the_old_branch_wins(world: World) -> None:
    """The promoted one dies; the old primary serves all again."""
    split(world)
    world.b.kill()
    world.point(world.a)


@scenario("18", replica=True, seconds=2.0)
def clients_stopped_during_a_failover(world: World) -> None:
    """SIGSTOP of two client processes for longer than the lease."""
    leave_behind(world)
    frozen = world.workers[:2]
    for worker in frozen:
        os.kill(worker.pid, signal.SIGSTOP)
    time.sleep(0.2)
    die_with_it(world)
    time.sleep(1.0)
    for worker in frozen:
        os.kill(worker.pid, signal.SIGCONT)


def stop_at(world: World, name: str, *, reply: bool) -> None:
    """Workers 0 and 1 stop at a step of a take-over; meanwhile another one rules."""
    stopped: list[int] = []
    over = threading.Event()
    lock = threading.Lock()

    def stop(command: Command) -> None:
        worker = world.workers[world.taps.index(command.tap)]
        with lock:
            if not over.is_set():  # else nobody would wake it
                stopped.append(worker.pid)
                os.kill(worker.pid, signal.SIGSTOP)

    rules = [tap.on(name, stop, reply=reply) for tap in world.taps[:2]]
    if world.scheme == "plain":
        for worker in world.workers[:2]:
            os.kill(worker.pid, signal.SIGSTOP)
            stopped.append(worker.pid)
    leave_behind_those_who_live(world, rules)
    die_with_it(world)
    time.sleep(1.0)
    with lock:
        over.set()
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


def leave_behind_those_who_live(world: World, rules: list[Rule]) -> None:
    """B misses what workers 2 and 3 do, and the take-overs at which others stop."""
    world.b.pause()
    world.a.admin("CLIENT", "KILL", "TYPE", "replica")
    end = time.monotonic() + 10.0
    while not any(rule.done for rule in rules) and world.scheme != "plain":
        world.a.admin("FUNCTION", "FLUSH")  # whoever comes next has to take over
        time.sleep(0.1)
        if time.monotonic() > end:
            raise RuntimeError("none of the two came to that step")
    world.wait_calls(60, 2, 3)


@scenario("18", replica=True, taps=True, seconds=2.0)
def clients_stopped_between_mark_and_take(world: World) -> None:
    """Their marker is in the old primary, and nothing in SQL."""
    stop_at(world, "seq_mark", reply=True)


@scenario("18", replica=True, taps=True, seconds=2.0)
def clients_stopped_between_take_and_install(world: World) -> None:
    """SQL has granted a block that they are about to install."""
    stop_at(world, "seq_install", reply=False)


@scenario("18", replica=True, taps=True, seconds=2.0, promised="U", unordered=True)
def calls_held_for_longer_than_the_lease(world: World) -> None:
    """Sent while the lease was good; executed by the old primary long after."""
    gate = threading.Event()

    def hold(_: Command) -> None:
        gate.wait(10)

    names = ("seq_incr", "seq_incr_many", "seq_incr_keys", "INCRBY")
    rules = [tap.on(name, hold, times=2) for tap in world.taps[:2] for name in names]
    wait_for(lambda: sum(rule.seen > 0 for rule in rules) >= 2)
    promote(world.b)
    for tap in world.taps[2:]:
        tap.lead(world.b.address)
    time.sleep(1.5)
    gate.set()
    time.sleep(0.5)
    world.point(world.b)
    world.a.admin("REPLICAOF", "127.0.0.1", world.b.port)


@scenario(
    "19",
    replica=True,
    lossy=False,
    tokens=True,
    seconds=2.5,
    waits=3,
    options={"timeout": 4.0},
)
def three_failovers_in_a_row(world: World) -> None:
    """Nobody waits for more than three leases, while there is a primary."""
    for old, new in ((world.a, world.b), (world.b, world.a), (world.a, world.b)):
        began = time.monotonic()
        failover(world, old, new)  # the servers hold all clients meanwhile
        world.point(new)
        world.away += time.monotonic() - began
        time.sleep(0.1)


@scenario("21", replica=True, lossy=False, tokens=True, seconds=2.0)
def tokens_across_a_clean_failover(world: World) -> None:
    """FAILOVER under load: whoever repeats a token gets its number."""
    failover(world, world.a, world.b)
    world.point(world.b)


@scenario("20", lossy=False, tokens=True, quiet=True, options={"second": True})
def first_replica_attached(world: World) -> None:
    """The replication id changes: the epoch does too, and nobody waits."""
    follow(world.b, world.a)
    time.sleep(0.2)
