"""The scenes of the demo. Each shows one promise, and checks it.

A scene returns what it found out as a dict; ``ok`` says whether the promise held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .. import OutcomeUnknown, SeqCache, acache, cache
from ..testing import Faults
from . import rates
from .stage import Stage

THREADS, CALLS = 8, 2000
TASKS = 1000
RATE_SECONDS = 0.4

Scene = Callable[[Stage, SeqCache], dict[str, Any]]


def increase(stage: Stage, seqs: SeqCache) -> dict[str, Any]:
    """A sequence for each user."""
    stage.heading("1  Every user has numbers of their own")
    got = [
        stage.run(f"cache.{call}", cache=seqs)
        for call in (
            'get_seq("alice")',
            'increase_seq("alice")',
            'increase_seq("alice")',
            'increase_seq("bob")',
        )
    ]
    ok = got == [0, 1, 2, 1]
    stage.verdict(ok, "nobody sent yet: 0; then 1, 2, 3, ..., each number once")
    return {"ok": ok, "numbers": got}


def reserve(stage: Stage, seqs: SeqCache) -> dict[str, Any]:
    """A block in one round trip."""
    stage.heading("2  A block of numbers in one round trip")
    block = stage.run('cache.reserve("alice", 100)', cache=seqs)
    after = stage.run('cache.increase_seq("alice")', cache=seqs)
    ok = len(block) == 100 and after == block[-1] + 1
    stage.verdict(ok, f"100 numbers that are yours alone; the next one is {after}")
    return {"ok": ok, "first": block[0], "last": block[-1]}


def forward(stage: Stage, seqs: SeqCache) -> dict[str, Any]:
    """Forward only."""
    stage.heading("3  Forward only")
    lifted = stage.run('cache.raise_seq("alice", 5000)', cache=seqs)
    stayed = stage.run('cache.raise_seq("alice", 7)', cache=seqs)
    ok = lifted == stayed == 5000
    stage.verdict(ok, "lifted to 5000, and never lowered: safe to repeat")
    return {"ok": ok, "numbers": [lifted, stayed]}


def group(stage: Stage, seqs: SeqCache) -> dict[str, Any]:
    """One message to a group."""
    stage.heading("4  One message to a whole group, one call")
    seqs.raise_seqs({"bob": 41, "carol": 7})
    got = stage.run('cache.increase_seqs(["alice", "bob", "carol"])', cache=seqs)
    ok = got == [5001, 42, 8]
    stage.verdict(ok, "one number for each member, in the order asked")
    return {"ok": ok, "numbers": got}


def threads(stage: Stage, seqs: SeqCache) -> dict[str, Any]:
    """Threads that share a cache."""
    stage.heading(f"5  {THREADS} threads on one cache, all at one sequence")
    stage.code(f'[cache.increase_seq("room") for _ in range({CALLS})]')

    def work(_: int) -> list[int]:
        return [seqs.increase_seq("room") for _ in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, range(THREADS)))
    numbers = [number for mine in found for number in mine]
    ok = sorted(numbers) == list(range(1, THREADS * CALLS + 1))
    ok = ok and all(mine == sorted(mine) for mine in found)
    stage.verdict(ok, f"{len(numbers):,} numbers: none twice, none missing, in order")
    return {"ok": ok, "count": len(numbers)}


def tasks(stage: Stage, seqs: SeqCache) -> dict[str, Any]:
    """Awaits in flight together."""
    stage.heading(f"6  asyncio: {TASKS:,} calls in flight on one connection")
    stage.code(f'await gather(*[cache.increase_seq("chat") for _ in range({TASKS})])')

    async def main() -> list[int]:
        async with acache(seqs.config) as chats:
            calls = [chats.increase_seq("chat") for _ in range(TASKS)]
            return list(await asyncio.gather(*calls))

    numbers = asyncio.run(main())
    ok = numbers == list(range(1, TASKS + 1))
    stage.verdict(ok, f"{TASKS:,} numbers, in the order in which the calls were made")
    return {"ok": ok, "count": len(numbers)}


def lost_reply(stage: Stage, seqs: SeqCache) -> dict[str, Any]:
    """The server counts, and the answer never comes."""
    stage.heading("7  The answer gets lost")
    stage.say("A server in this process that counts, then hangs up without a word:")
    with Faults("memory://") as faults, cache(faults.url, on_regress="raise") as lossy:
        lossy.increase_seq("alice", 41)
        faults.lose_reply()
        unknown = _fails(stage, lossy)
        held = stage.run('cache.get_seq("alice")', cache=lossy)
        faults.hang_up()
        stage.say("The connection dies between two calls, so nothing can be lost:")
        following = stage.run('cache.increase_seq("alice")', cache=lossy)
    ok = unknown is not None and (held, following) == (42, 43)
    ok = ok and unknown is not None and unknown.executed is None
    stage.verdict(ok, "counted once, never repeated behind your back, and told")
    return {"ok": ok, "error": type(unknown).__name__, "numbers": [held, following]}


def _fails(stage: Stage, lossy: SeqCache) -> OutcomeUnknown | None:
    """Make the call whose answer is lost; return its error."""
    stage.code('cache.increase_seq("alice")')
    try:
        stage.result(lossy.increase_seq("alice"))
    except OutcomeUnknown as error:
        stage.say(f"OutcomeUnknown: {error.args[0]}")
        stage.say(f"executed is {error.executed}; {error.hint}")
        stage.pause(2.0)
        return error
    return None


def speed(stage: Stage, seqs: SeqCache) -> dict[str, Any]:
    """How fast it is here."""
    in_memory = seqs.config.location.kind == "memory"
    where = "no server, no network" if in_memory else seqs.config.address
    stage.heading(f"8  How fast here ({where})")

    async def awaited() -> float:
        async with acache(seqs.config) as chats:
            return await rates.in_flight(chats.increase_seq, RATE_SECONDS)

    found = {
        "one_thread": rates.one_thread(seqs.increase_seq, RATE_SECONDS),
        "threads_8": rates.many_threads(seqs.increase_seq, RATE_SECONDS),
        "asyncio_100": asyncio.run(awaited()),
        "bulk_1000": rates.in_bulk(seqs.increase_seqs, RATE_SECONDS),
    }
    for name, rate in found.items():
        label = rates.LABELS[name]
        stage.line(f"{label:26} {rates.rounded(rate):>12} increases a second")
        stage.pause(0.3)
    ok = min(found.values()) > 0
    stage.verdict(ok, "a quick look; `seqcache bench` compares with other clients")
    return {"ok": ok, "per_second": {name: round(r) for name, r in found.items()}}


SCENES: tuple[Scene, ...] = (
    increase,
    reserve,
    forward,
    group,
    threads,
    tasks,
    lost_reply,
    speed,
)
