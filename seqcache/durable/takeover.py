"""Blocks of numbers: granting one by SQL, extending it, fetching ahead.

Everything here is done for many keys at once: one SQL transaction, one pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import CeilingError, SeqCacheError
from .effects import Background, Fcall, Fcalls, Replies, Shared, Sql, Step, TimeUp
from .epoch import JOB_SECONDS, Epochs
from .items import GET, INCR, RAISE, Call, conflict, counter, keys_of, meta_key
from .rows import CAP, Extend, Grant, Owner, Raised, Take

TAKE_TRIES = 3


@dataclass(slots=True)
class _Claim:
    """One key on its way from OWNER to install; `n` is its item."""

    n: int
    seen: str | None
    nonce: str
    take: Take | None = None
    grant: Grant | None = None


class Fenced(Exception):
    """A higher epoch holds a key: ask discovery who serves."""


class Takeovers(Epochs):
    """The slow half of counting."""

    token_ttl = 600

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._taking: set[bytes] = set()

    def after_fork(self) -> None:
        """In the child: the take-overs of the parent are not ours."""
        super().after_fork()
        self._taking.clear()

    # ------------------------------------------------------------------- TAKE

    def take(self, call: Call, token: str, wanted: dict[int, Any]) -> Step[bool]:
        """Grant blocks for the items of `wanted` (item -> counter as told).

        Items that got a number or an error are done; the others have to be sent
        again: False when it is better to pause before that. Raises `Fenced`.
        """
        # Callers of this process do not compete: the others come again later.
        mine = {n: raw for n, raw in wanted.items() if self._reserve(call, n)}
        if not mine:
            return False
        try:
            refused = yield from self._take(call, token, mine)
        finally:
            self._taking.difference_update(call.items[n].key for n in mine)
        if any(owner.verdict == "fenced" for owner in refused):
            raise Fenced
        for owner in {owner.epoch: owner for owner in refused}.values():
            if owner.verdict == "wait":
                call.stage = "fence"
                yield from self.wait(owner.epoch, owner.lease)
        return not any(owner.verdict == "again" for owner in refused)

    def _reserve(self, call: Call, n: int) -> bool:
        with self._lock:
            free = call.items[n].key not in self._taking
            self._taking.add(call.items[n].key)
        return free

    def _take(
        self, call: Call, token: str, wanted: dict[int, Any]
    ) -> Step[list[Owner]]:
        """From OWNER to install; the owners that stand in the way of some items."""
        claims, refused = yield from self._claims(call, token, wanted)
        if not claims:
            return refused
        claims, link = yield from self._mark(call, token, claims)
        if not claims:
            return [Owner("again")]
        self.stats.takes += len(claims)
        call.stage = "sql"
        try:
            outcomes = yield from self._grant(token, claims)
        except (TimeUp, CeilingError):
            yield self._withdraw(call, token, claims)
            raise
        refused += yield from self._settle(call, token, claims, outcomes)
        granted = [claim for claim in claims if claim.grant is not None]
        if granted:
            call.stage = "link"
            yield from self._install(call, token, granted, link)
        return refused

    def _claims(
        self, call: Call, token: str, wanted: dict[int, Any]
    ) -> Step[tuple[list[_Claim], list[Owner]]]:
        """OWNER of every key: the items that may go on, and the other owners."""
        first: dict[bytes, int] = {}  # key -> its item
        for n, raw in wanted.items():
            value = counter(call.items[n], raw)
            if isinstance(value, SeqCacheError):
                call.fail(n, value)
            else:
                first[call.items[n].key] = n
        claims: list[_Claim] = []
        if not first:
            return claims, []
        call.stage = "sql"
        owners: list[Owner] = yield Sql("owners", (list(first), token))
        for n, owner in zip(first.values(), owners, strict=True):
            if owner.verdict in ("fenced", "wait"):
                continue
            item = call.items[n]
            reads = item.op == GET or (item.op == RAISE and item.amount <= 0)
            if owner.verdict == "none" and reads and int(wanted[n]) == 0:
                call.results[n] = 0  # neither Redis nor the store knows the id
                continue
            nonce = f"{self.random.getrandbits(64):016x}"
            claims.append(_Claim(n, owner.gid, nonce))
        return claims, [one for one in owners if one.verdict in ("fenced", "wait")]

    def _mark(
        self, call: Call, token: str, claims: list[_Claim]
    ) -> Step[tuple[list[_Claim], Any]]:
        """Announce the take-overs; those that the server accepted, and the link."""
        call.stage = "busy"
        marks = []
        for claim in claims:
            key = call.items[claim.n].key
            marks.append(Fcall("seq_mark", (key, meta_key(key)), (token, claim.nonce)))
        replies: Replies = yield Fcalls(tuple(marks))
        good: list[_Claim] = []
        for claim, answer in zip(claims, replies.values, strict=True):
            if isinstance(answer, SeqCacheError):
                if answer.executed is False:
                    yield from self.recover(answer, call.tries)
                continue
            if answer[0] == b"epoch":
                self.doubt(token)
            if answer[0] != b"ok":
                continue
            item = call.items[claim.n]
            value = counter(item, answer[1])
            if isinstance(value, SeqCacheError):
                call.fail(claim.n, value)
                continue
            gids, floor, ceiling = answer[2].decode(), int(answer[3]), int(answer[4])
            claim.take = Take(
                key=item.key,
                nonce=claim.nonce,
                seen=claim.seen,
                gids=frozenset(gid for gid in gids.split(",") if gid),
                floor=floor,
                cell_ceiling=ceiling,
                at_least=max(value, item.amount if item.op == RAISE else 0),
                need=item.amount if item.op == INCR else 0,
            )
            good.append(claim)
        return good, replies.link

    def _grant(self, token: str, claims: list[_Claim]) -> Step[list[Any]]:
        """TAKE, repeated with the same nonces when its reply may have been lost."""
        takes = [claim.take for claim in claims]
        for attempt in range(TAKE_TRIES):
            try:
                outcomes: list[Any] = yield Sql("take", (takes, token))
                return outcomes
            except CeilingError as exc:
                if exc.reason != "unavailable" or attempt == TAKE_TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def _settle(
        self, call: Call, token: str, claims: list[_Claim], outcomes: list[Any]
    ) -> Step[list[Owner]]:
        """Note the grants, fail what overflows, withdraw the other markers."""
        refused: list[Owner] = []
        failed: list[_Claim] = []
        for claim, outcome in zip(claims, outcomes, strict=True):
            if isinstance(outcome, Grant):
                claim.grant = outcome
                self.stats.skipped += outcome.skipped
                continue
            failed.append(claim)
            if isinstance(outcome, SeqCacheError):
                call.fail(claim.n, outcome)
            else:
                refused.append(outcome)
        if failed:
            # Should it be lost, the marker grows old in two seconds.
            yield Fcalls(self._drops(call, token, failed))
        return refused

    def _install(
        self, call: Call, token: str, claims: list[_Claim], link: Any
    ) -> Step[None]:
        """R2: once, on the marker's link; what is lost here is a gap."""
        installs = []
        for claim in claims:
            item, grant = call.items[claim.n], claim.grant
            assert grant is not None
            low = grant.ceiling - (grant.ceiling - grant.base) // 2
            issue = item.amount if item.op == INCR else 0
            args = (token, claim.nonce, grant.base, grant.ceiling, low, grant.floor)
            installs.append(
                Fcall("seq_install", keys_of(item), (*args, issue, self.token_ttl))
            )
        unsent: list[_Claim] = []
        replies: Replies = yield Fcalls(tuple(installs), link)
        for claim, answer in zip(claims, replies.values, strict=True):
            item = call.items[claim.n]
            if isinstance(answer, int):
                call.results[claim.n] = answer
            elif isinstance(answer, SeqCacheError):
                if answer.executed is False:
                    unsent.append(claim)
                    continue
                call.unknown[claim.n] = answer
                if not call.repeatable(claim.n):
                    call.fail(claim.n, answer)
            elif answer[0] == b"same":
                same = answer[2] == item.amount
                call.results[claim.n] = answer[1] if same else conflict(item, answer[2])
            elif answer[0] == b"epoch":
                self.doubt(token)
        if unsent:
            yield self._withdraw(call, token, unsent)

    def _withdraw(self, call: Call, token: str, claims: list[_Claim]) -> Background:
        """Nobody shall have to wait until our markers have grown old."""
        drops = self._drops(call, token, claims)
        return Background(("drop", claims[0].nonce), partial(_send, drops), 2.0)

    def _drops(self, call: Call, token: str, claims: list[_Claim]) -> tuple[Fcall, ...]:
        keys = [call.items[claim.n].key for claim in claims]
        return tuple(
            Fcall("seq_drop", (key, meta_key(key)), (token, claim.nonce))
            for key, claim in zip(keys, claims, strict=True)
        )

    # ----------------------------------------------------------------- EXTEND

    def extend(self, call: Call, token: str, full: dict[int, Any]) -> Step[None]:
        """Raise the ceilings that these items met. Raises `Fenced`."""
        call.stage = "sql"
        wanted: dict[tuple[bytes, str, int], Extend] = {}
        for n, verdict in full.items():
            key = call.items[n].key
            gid, ceiling = verdict[1].decode(), int(verdict[2])
            target = int(verdict[3])
            before = wanted.get((key, gid, ceiling))
            target = max(target, before.target if before else 0)
            wanted[key, gid, ceiling] = Extend(key, gid, ceiling, target)
        extends = list(wanted.values())
        if len(extends) == 1:
            # A prefetch may be under way, or another caller: one query for all.
            outcomes = yield Shared(
                _extend_key(extends[0]),
                lambda: self.raise_ceilings(token, extends),
                JOB_SECONDS,
            )
        else:
            outcomes = yield from self.raise_ceilings(token, extends)
        for one, outcome in zip(extends, outcomes, strict=True):
            if isinstance(outcome, SeqCacheError):
                for n in full:
                    if call.items[n].key == one.key:
                        call.fail(n, outcome)
        if any(getattr(one, "verdict", "") == "fenced" for one in outcomes):
            raise Fenced

    def raise_ceilings(self, token: str, extends: list[Extend]) -> Step[list[Any]]:
        """EXTEND in SQL, then tell the server; what each key's outcome was."""
        outcomes: list[Any] = yield Sql("extend", (extends, token))
        self.stats.raises += len(extends)
        calls = []
        for one, outcome in zip(extends, outcomes, strict=True):
            keys = (one.key, meta_key(one.key))
            if not isinstance(outcome, Raised):
                continue
            if outcome.verdict == "ok":
                low = outcome.ceiling - outcome.step // 2
                args = (token, one.gid, outcome.ceiling, low)
                calls.append(Fcall("seq_extend", keys, args))
            elif outcome.verdict == "gone":
                calls.append(Fcall("seq_drop", keys, (token, one.gid)))
        if calls:
            # Whatever is lost here is found again by the next call.
            yield Fcalls(tuple(calls))
        return outcomes

    def prefetch(self, token: str, key: bytes, verdict: Any) -> Step[None]:
        """Raise the ceiling in the background; `verdict` is {low, n, gid, c}."""
        self.stats.prefetches += 1
        number, ceiling = int(verdict[1]), int(verdict[3])
        one = Extend(key, verdict[2].decode(), ceiling, number)
        yield Background(
            _extend_key(one), lambda: self.raise_ceilings(token, [one]), JOB_SECONDS
        )


def _extend_key(one: Extend) -> tuple[object, ...]:
    # Who asks for too much must not let others share its refusal.
    return ("extend", one.key, one.gid, one.ceiling, one.target > CAP)


def _send(calls: tuple[Fcall, ...]) -> Step[None]:
    yield Fcalls(calls)
