"""The client state machine of durable mode (DURABLE section 6).

The seam. The engine's fast path (csrc/core/durable.h) sends what is queued in a few
FCALLs, with the token of `Durable.belief`, if the clock is below `belief.until` when
it writes (rule R6), and hands out the numbers itself. Everything else comes here:

- ``slow(items, told)`` when a reply was no number, or was not sent at all because
  the belief was empty or over,
- ``prefetch(token, key, verdict)`` is run by itself for a `low` verdict whose number
  the engine has handed out already,
- ``touch()`` when the clock has passed `belief.touch_at`.

All three are generators for the drivers of `drive` and `drive_async`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..errors import SeqCacheError
from .effects import Fcalls, Replies, Sleep, Step, TimeUp
from .items import (
    Call,
    Item,
    conflict,
    is_epoch,
    is_unloaded,
    late,
    lost,
    refused,
    requests,
    verdicts,
)
from .takeover import Fenced, Takeovers

LIBRARY_NAME = "seqcache_v1"

#: What an older library of that name has not: see functions.lua.
NEWEST_FUNCTION = "seq_incr_keys"


def library_text() -> str:
    """The text of the server functions, for FUNCTION LOAD."""
    return Path(__file__).with_name("functions.lua").read_text(encoding="ascii")


class Durable(Takeovers):
    """Durable counting against one server process, for all threads or one loop.

    Parameters are those of `Epochs`, and:

    retry:
        ``"safe"``, ``"gap"`` or ``"never"``, as in `Config`.
    token_ttl:
        Seconds that a token is remembered.
    store_name:
        How errors name the ceiling store.
    """

    def __init__(
        self,
        *args: Any,
        retry: str = "safe",
        token_ttl: int = 600,
        store_name: str = "",
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.retry = retry
        self.token_ttl = token_ttl
        self.store_name = store_name

    def slow(
        self,
        items: list[Item],
        told: dict[str, dict[int, Any]] | None = None,
    ) -> Step[list[int | SeqCacheError]]:
        """Bring a call to its end; for each item the number or its error.

        Parameters
        ----------
        items:
            The call's items, all done in one go.
        told:
            For each epoch's token that items were sent with, what the server said
            of which item: a number, a verdict, or the SeqCacheError that took the
            answer away. Items that are not in it were not sent.
        """
        call = Call(items, may_repeat=self.retry == "gap")
        try:
            yield from self._rounds(call, told or {})
        except TimeUp:
            self._late(call)
        except SeqCacheError as exc:
            call.fail_all(exc)
        return [one for one in call.results if one is not None]

    def _rounds(self, call: Call, told: dict[str, dict[int, Any]]) -> Step[None]:
        for answers in told.values():  # before anything can take time, or fail
            call.note(answers)
        for sent, answers in told.items():
            yield from self._round(call, sent, answers)
        while call.pending:
            call.stage = "open"
            token = yield from self.ready()
            call.stage = "link"
            # Links whose last good reply is old need the check of R9; here all do.
            verify = self.belief.until == math.inf
            calls, parts = requests(call, token, verify, self.token_ttl)
            replies: Replies = yield Fcalls(calls)
            answered: dict[int, Any] = {}
            for part, reply in zip(parts, replies.values, strict=True):
                answered.update(zip(part, verdicts(reply, len(part)), strict=True))
            yield from self._round(call, token, answered)

    def _round(self, call: Call, token: str, told: dict[int, Any]) -> Step[None]:
        """Act on one answer for each item, and pause if others are at it."""
        full: dict[int, Any] = {}
        take: dict[int, Any] = {}
        errors: list[SeqCacheError] = []
        patient = False
        for n, verdict in told.items():
            if isinstance(verdict, int):
                call.results[n] = verdict
            elif isinstance(verdict, SeqCacheError):
                # What the server has not got did not run: to load it is no repeat.
                if is_unloaded(verdict) or self._survives(call, n, verdict):
                    errors.append(verdict)
            elif is_epoch(verdict):
                self.doubt(token)
            elif verdict[0] == b"low":
                call.results[n] = verdict[1]
                yield from self.prefetch(token, call.items[n].key, verdict)
            elif verdict[0] == b"same":
                self._same(call, n, verdict)
            elif verdict[0] == b"full":
                full[n] = verdict
            elif verdict[0] == b"take":
                take[n] = verdict[1]
            elif verdict[0] == b"err":
                text = verdict[1].decode(errors="replace")
                call.fail(n, refused(call.items[n], text))
            else:
                patient = True
        if full or take:
            self.stats.sql_waits += 1
        try:
            if full:
                yield from self.extend(call, token, full)
            if take and not (yield from self.take(call, token, take)):
                patient = True
        except Fenced:
            call.stage = "link"
            yield from self.fenced(token)
        if errors:
            yield from self.recover(errors[0], call.tries)
        elif patient and call.pending:
            call.stage = "busy"
            yield Sleep(self.pause(call.tries))
        call.tries += 1

    def _same(self, call: Call, n: int, verdict: Any) -> None:
        """A token counted before: its number, if it was for the same amount."""
        item = call.items[n]
        same = verdict[2] == item.amount
        call.results[n] = verdict[1] if same else conflict(item, verdict[2])

    def _survives(self, call: Call, n: int, error: SeqCacheError) -> bool:
        """May item n be sent again after this error? If not, it has ended."""
        if error.executed is not False:
            call.unknown[n] = error
            if call.repeatable(n) and self.retry != "never":
                return True
        elif self.retry != "never" and self.may_recover(error):
            return True
        call.fail(n, error)
        return False

    def _late(self, call: Call) -> None:
        """The deadline came: every item that is left ends."""
        if call.stage == "open":
            call.stage = self.job_stage
        for n in call.pending:
            before = call.unknown.get(n)
            call.results[n] = (
                late(call, self.store_name)
                if before is None
                else lost(call.items[n], before)
            )
