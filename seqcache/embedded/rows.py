"""What a granter and its database say to each other: who wants what, what it gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple, TypeAlias

from ..durable.rows import CAP, adapted

__all__ = [
    "CAP",
    "WAIT",
    "Answer",
    "Block",
    "Record",
    "Row",
    "Want",
    "block_of",
    "decide",
]


class Block(NamedTuple):
    """Numbers above `base`, and above those given, up to `ceiling` are ours."""

    base: int
    ceiling: int
    low: int


@dataclass(slots=True)
class Want:
    """What calls want of one key.

    `need` numbers to go on by, all together; `to` is the number to reach; `ahead`
    that more is wanted before it is needed. None of them: only to read. `have` is
    the number and the ceiling that the process has, if it has any; `full` that the
    numbers end before the need does.
    """

    need: int = 0
    to: int = 0
    ahead: bool = False
    have: tuple[int, int] | None = None
    full: bool = False

    @property
    def reads(self) -> bool:
        """Whether nothing has to be granted."""
        return not (self.need or self.to or self.ahead)

    @property
    def is_met(self) -> bool:
        """Whether the process has it already, or nobody needs it any more."""
        if self.have is None:
            return self.ahead and not (self.need or self.to)
        number, ceiling = self.have
        return not self.ahead and max(number + self.need, self.to) <= ceiling


class Row(NamedTuple):
    """A row of the table, as far as it matters here; `mine`: our grant is the last."""

    ceiling: int
    base: int
    step: int
    raised_at: int
    mine: bool


class Record(NamedTuple):
    """What a token counted: the last of `by` numbers; `until` in seconds of UTC."""

    key: bytes
    token: bytes
    last: int
    by: int
    until: int


class Later(Enum):
    """Not now: another process may still give numbers of the key."""

    WAIT = "wait"


WAIT = Later.WAIT

#: What a key gets; None if it was only read, and there is nothing to read.
Answer: TypeAlias = Block | Literal[Later.WAIT] | None


def decide(row: Row | None, want: Want, first: int, now: int) -> Row | None:
    """What to commit for one key, None if nothing; `first` is the step of a new one.

    The row that is returned has ``mine`` if it goes on with our grant, else it
    begins one.
    """
    if want.reads:
        return None
    if row is None or not row.mine:
        base = 0 if row is None else row.ceiling
        step = first if row is None else row.step
        ceiling = max(base + max(step, want.need), want.to + step)
        return Row(min(ceiling, CAP), base, step, now, False)
    seq = row.base if want.have is None else want.have[0]
    target = max(seq + want.need, want.to)
    ahead = want.ahead and row.ceiling - seq <= row.step // 2
    if row.ceiling == CAP or (target <= row.ceiling and not ahead):
        return None  # somebody else's wish brought it
    step = adapted(row.step, now - row.raised_at)
    ceiling = min(max(row.ceiling, target) + step, CAP)
    return Row(ceiling, row.base, step, now, True)


def block_of(row: Row, want: Want, made: Row | None) -> Block | None:
    """What a key has by its row; None if the process knows that or more.

    `made` is what `decide` had committed, which is the row now.
    """
    taken = made is not None and not made.mine
    if taken or row.mine:
        # A grant that was extended goes on from the number that the process has.
        base = row.base if taken or want.have is None else 0
        return Block(base, row.ceiling, row.ceiling - row.step // 2)
    if want.have is None:  # read, and nothing of it is ours to give
        return Block(row.ceiling, row.ceiling, row.ceiling)
    return None
