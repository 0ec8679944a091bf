"""What the ceiling store and the durable client say to each other.

No SQLAlchemy here: whoever keeps ceilings elsewhere speaks the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import CeilingError, SequenceOverflow

CAP = 2**53 - 1
"""The last number of durable mode: beyond it Redis's Lua is not exact."""

STEP_MIN, STEP_MAX = 64, 65536
FAST_SECONDS, SLOW_SECONDS = 60, 3600


@dataclass(frozen=True, slots=True)
class Owner:
    """Who may grant numbers of a key: ``free``, ``none``, ``fenced`` or ``wait``.

    `gid` is that of the last grant (free); `epoch` and `lease` in seconds are of
    the epoch to wait for (wait).
    """

    verdict: str
    gid: str | None = None
    epoch: int = 0
    lease: float = 0.0


@dataclass(frozen=True, slots=True)
class Take:
    """One key to take over. `nonce` becomes the grant's id and makes it repeatable.

    `seen` is the gid that OWNER reported; `gids`, `floor` and `cell_ceiling` are
    what seq_mark found in Redis; `at_least` is where the block must not begin
    below; `need` numbers are issued at once.
    """

    key: bytes
    nonce: str
    seen: str | None
    gids: frozenset[str] = frozenset()
    floor: int = 0
    cell_ceiling: int = 0
    at_least: int = 0
    need: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """A committed block: numbers in (base, ceiling] belong to its grant id.

    `skipped` is how many numbers of the block before may never be given out.
    """

    base: int
    ceiling: int
    floor: int
    skipped: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Extend:
    """Raise grant `gid` of `key` from `ceiling` to beyond `target`."""

    key: bytes
    gid: str
    ceiling: int
    target: int


@dataclass(frozen=True, slots=True)
class Raised:
    """What an `Extend` led to: ``ok`` with the new ceiling, ``fenced``, ``gone``."""

    verdict: str
    ceiling: int = 0
    step: int = 0


@dataclass(slots=True)
class StoreStats:
    """Counters of a store since it was made; seconds for the latencies."""

    transactions: int = 0
    takes: int = 0
    raises: int = 0
    errors: int = 0
    latency: float = 0.0
    latency_max: float = 0.0


def rolled_back(message: str) -> CeilingError:
    """The error for a store that knows less than Redis does (DURABLE section 10)."""
    return CeilingError(
        f"{message}: another store or deployment, or a restored backup",
        executed=False,
        hint="stop the writers and lift the ceilings: docs/durable.md, after a fault",
        reason="rolled_back",
    )


def overflow(key: bytes) -> SequenceOverflow:
    """The error for a key whose numbers are used up in durable mode."""
    name = key.decode(errors="backslashreplace")
    return SequenceOverflow(
        f"{name}: durable numbers end at 2^53 - 1", executed=False, code="ERR"
    )


def split_token(token: str) -> tuple[int, str]:
    """Number and random part of an epoch's token ``"<epoch>.<rnd>"``."""
    number, _, rnd = token.partition(".")
    if not number.isdigit() or not rnd:
        raise rolled_back(f"the server follows {token!r}, which is no epoch of ours")
    return int(number), rnd


def adapted(step: int, age: float) -> int:
    """The next step of a key that was last raised `age` seconds ago."""
    if age < FAST_SECONDS:
        return max(STEP_MIN, min(step * 2, STEP_MAX))
    if age > SLOW_SECONDS:
        return max(step // 2, STEP_MIN)
    return step
