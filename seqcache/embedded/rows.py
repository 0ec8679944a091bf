"""What a granter and its database say to each other: who wants what, what it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..durable.rows import CAP, adapted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAP", "Block", "Database", "Row", "Want", "block_of", "decide"]


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
    the number and the ceiling that the process has, if it has any.
    """

    need: int = 0
    to: int = 0
    ahead: bool = False
    have: tuple[int, int] | None = None

    @property
    def reads(self) -> bool:
        """Whether nothing has to be granted."""
        return not (self.need or self.to or self.ahead)


class Row(NamedTuple):
    """A row of the table, as far as it matters here; `mine`: our grant is the last."""

    ceiling: int
    base: int
    step: int
    raised_at: int
    mine: bool


class Database(Protocol):
    """Where ceilings are kept."""

    name: str

    def grant(self, wants: Mapping[bytes, Want]) -> dict[bytes, Block | None]:
        """Commit ceilings; None for a read of a key that is nowhere.

        A key that has what it wants already may be left out. CeilingError if
        nothing can be granted.
        """
        ...


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


def block_of(row: Row, want: Want) -> Block | None:
    """What a key has by its row; None if the process knows that or more."""
    if row.mine:
        base = row.base if want.have is None else 0
        return Block(base, row.ceiling, row.ceiling - row.step // 2)
    if want.have is None:  # read, and nothing of it is ours to give
        return Block(row.ceiling, row.ceiling, row.ceiling)
    return None
