"""The method `lease` of both faces; what it makes is loaded by the first call."""

from __future__ import annotations

from . import _common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._alease import AsyncLease
    from ._common import UserId
    from ._lease import Lease


class Leasing:
    """What the blocking face has of it."""

    __slots__ = ()

    def lease(self, user_id: UserId, size: int = 1000, refill_at: float = 0.5) -> Lease:
        """Give numbers of one user from memory: a `Lease`, for ``next(lease)``.

        Blocks are reserved ahead. Use it for users who need very many numbers; each
        lease has numbers of its own, so those of two are not in order.

        Parameters
        ----------
        user_id:
            1 to 512 bytes.
        size:
            How many numbers are reserved at a time; those not used are a gap.
        refill_at:
            The share of a block, 0 to 1, that is used when the next one is reserved.

        Returns
        -------
        The lease. Nothing is reserved before its first number is taken.

        Raises
        ------
        ClosedError, SequenceOverflow, UserIdError, ValueError
        """
        from . import _lease

        _common.check_open(self, "lease")  # type: ignore[arg-type]
        words = _lease.arguments(self._prefix, user_id, size, refill_at)  # type: ignore[attr-defined]
        return _lease.Lease(self, *words)  # type: ignore[arg-type]


class AsyncLeasing:
    """What the asyncio face has of it."""

    __slots__ = ()

    def lease(
        self, user_id: UserId, size: int = 1000, refill_at: float = 0.5
    ) -> AsyncLease:
        """Give numbers of one user from memory: an `AsyncLease`, for ``lease.next()``.

        This is a plain call; for the parameters see `SeqCache.lease`.

        Raises
        ------
        ClosedError, SequenceOverflow, UserIdError, ValueError
        """
        from . import _alease, _lease

        _common.check_open(self, "lease")  # type: ignore[arg-type]
        words = _lease.arguments(self._prefix, user_id, size, refill_at)  # type: ignore[attr-defined]
        return _alease.AsyncLease(self, *words)  # type: ignore[arg-type]
