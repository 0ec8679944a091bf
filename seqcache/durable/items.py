"""The calls of durable mode, their keys in Redis, and how they end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import (
    AuthError,
    CallTimeout,
    CeilingError,
    NotASequence,
    OutcomeUnknown,
    SeqCacheError,
    ServerError,
    TokenConflict,
)
from .effects import Fcall
from .rows import overflow

INCR, GET, RAISE = "incr", "get", "raise"
MANY = 512
"""Most keys of one seq_incr_many or seq_get_many."""


@dataclass(frozen=True, slots=True)
class Item:
    """One counter of one call.

    `key` is the whole key in Redis, prefix included. `amount` is `by` of an
    increase, `to` of a raise, 0 of a read. `token` makes an increase repeatable.
    """

    op: str
    key: bytes
    amount: int = 1
    token: bytes | None = None


def meta_key(key: bytes) -> bytes:
    """Where the cell of a counter lives: in its hash slot.

    Keys with and without a hash tag have different names here, so that ``x`` and
    ``{x}``, which share a tag, share no cell.
    """
    return b"sqc:b:" + key if b"{" in key else b"sqc:m:{" + key + b"}"


def record_key(key: bytes, token: bytes) -> bytes:
    """Where the record of a token lives; the length keeps id and token apart."""
    tag = key if b"{" in key else b"{" + key + b"}"
    return b"sqc:t:%d:%b:%b" % (len(key), tag, token)


def keys_of(item: Item) -> tuple[bytes, ...]:
    """KEYS of the functions that count or read one counter."""
    if item.token is None:
        return item.key, meta_key(item.key)
    return item.key, meta_key(item.key), record_key(item.key, item.token)


@dataclass(slots=True)
class Call:
    """A caller's items and what became of them.

    `results` holds an int or an error for each item that is done. `unknown` are
    the items of which a former attempt may have counted. `stage` says what the
    call waits for, which decides how it ends at its deadline.
    """

    items: list[Item]
    may_repeat: bool
    results: list[int | SeqCacheError | None] = field(init=False)
    unknown: dict[int, SeqCacheError] = field(default_factory=dict)
    stage: str = "link"
    tries: int = 0

    def __post_init__(self) -> None:
        self.results = [None] * len(self.items)

    @property
    def pending(self) -> list[int]:
        """Indexes of the items that are not done."""
        return [n for n, result in enumerate(self.results) if result is None]

    def repeatable(self, n: int) -> bool:
        """May item n be sent again although it may have counted?"""
        item = self.items[n]
        return self.may_repeat or item.op != INCR or item.token is not None

    def note(self, answers: dict[int, Any]) -> None:
        """Keep what is certain: numbers, and which items may have counted."""
        for n, answer in answers.items():
            if isinstance(answer, int):
                self.results[n] = answer
            elif isinstance(answer, SeqCacheError) and answer.executed is not False:
                self.unknown[n] = answer

    def fail(self, n: int, error: SeqCacheError) -> None:
        """Item n ends with an error, or as unknown if it was sent before."""
        before, sent = n in self.unknown, error.executed is None
        if (before and error.executed is False) or (sent and self.items[n].op == INCR):
            error = lost(self.items[n], error)
        self.results[n] = error

    def fail_all(self, error: SeqCacheError) -> None:
        """Every item that is not done ends with this error."""
        for n in self.pending:
            self.fail(n, error)


def lost(item: Item, cause: SeqCacheError) -> SeqCacheError:
    """The error for a call that may have counted and got no answer."""
    if isinstance(cause, OutcomeUnknown):
        return cause
    name = item.key.decode(errors="backslashreplace")
    if item.op != INCR:
        return CallTimeout(f"{name}: no answer by the deadline")
    error = OutcomeUnknown(
        f"{name}: the increase was sent and no answer came",
        hint="repeat it with the same token" if item.token else None,
        cause=cause,
        user_id=item.key,
        by=item.amount,
        token=item.token,
    )
    error.__cause__ = cause
    return error


def late(call: Call, store_name: str) -> SeqCacheError:
    """The error for items that were certainly not counted by the deadline."""
    if call.stage == "fence":
        return CeilingError(
            "the lease of the former primary has not ended yet: until then nobody"
            " may go on from its numbers",
            executed=False,
            hint="it takes fence_time once; docs/durable.md says how to end it if the"
            " old primary is certainly dead",
            reason="fence",
        )
    if call.stage == "sql":
        return CeilingError(
            f"the ceiling store {store_name} did not answer by the deadline",
            executed=False,
            hint="is the database up, and quick enough?",
            reason="unavailable",
        )
    if call.stage == "busy":
        return CallTimeout(
            "another client was granting these numbers until the deadline",
            executed=False,
        )
    return CallTimeout("no answer by the deadline", executed=False)


def is_unloaded(error: SeqCacheError) -> bool:
    """Did the server say that it has not got a function of ours?"""
    return isinstance(error, ServerError) and "unction not found" in str(error)


#: A missing right, as a function says it (core/status.c has the same rows).
NO_RIGHT = ("NOPERM ", "ERR ACL failure in script", "ERR The user executing the script")


def refused(item: Item, text: str) -> AuthError | ServerError:
    """The error that a batch reports for one of its keys."""
    name = item.key.decode(errors="backslashreplace")
    code = text.split(" ", 1)[0]
    if text.startswith(NO_RIGHT):
        return AuthError(
            f"{name}: {text}",
            executed=False,
            hint="the user needs ~<prefix>* and ~sqc:*; `seqcache doctor` checks it",
        )
    if code == "WRONGTYPE" or "not an integer" in text:
        return not_a_sequence(name, text)
    if "overflow" in text:
        return overflow(item.key)
    return ServerError(f"{name}: {text}", executed=False, code=code)


def not_a_sequence(name: str, text: str) -> NotASequence:
    """The error for a key that holds something else than a counter."""
    return NotASequence(
        f"{name}: {text}",
        executed=False,
        hint="the key holds something else: another prefix, or `seqcache migrate`",
        code="WRONGTYPE",
    )


def conflict(item: Item, count: int) -> TokenConflict:
    """The error for a token that came with another amount before."""
    name = item.key.decode(errors="backslashreplace")
    return TokenConflict(
        f"{name}: this token counted {count} before, not {item.amount}",
        executed=False,
        hint="one token, one call: use a new token for another message",
    )


def counter(item: Item, raw: bytes | str) -> int | NotASequence:
    """A counter as Redis holds it, or the error if it is no integer."""
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else raw
    if text.removeprefix("-").isdecimal() and text.isascii():
        return int(text)
    name = item.key.decode(errors="backslashreplace")
    return not_a_sequence(name, f"{text[:40]!r} is not an integer")


def requests(
    call: Call, epoch: str, verify: bool, token_ttl: int
) -> tuple[tuple[Fcall, ...], list[list[int]]]:
    """The FCALLs for all items that are not done, and which items each serves."""
    groups: dict[Any, list[int]] = {}
    for n in call.pending:
        item = call.items[n]
        # A raise has an amount of its own, and no batch form.
        by = n if item.op == RAISE else item.amount
        groups.setdefault((item.op, by, item.token is not None), []).append(n)
    check = "v" if verify else ""
    calls: list[Fcall] = []
    parts: list[list[int]] = []
    for (op, _, with_token), members in groups.items():
        for start in range(0, len(members), MANY):
            part = members[start : start + MANY]
            amount = 0 if op == GET else call.items[part[0]].amount
            name = f"seq_{op}" if len(part) == 1 else f"seq_{op}_many"
            keys = tuple(key for n in part for key in keys_of(call.items[n]))
            ttl = (token_ttl,) if with_token else ()
            calls.append(Fcall(name, keys, (epoch, amount, check, *ttl)))
            parts.append(part)
    return tuple(calls), parts


def is_epoch(reply: Any) -> bool:
    """Is this the verdict of a call that met another epoch?"""
    return isinstance(reply, list) and bool(reply) and reply[0] == b"epoch"


def verdicts(reply: Any, count: int) -> list[Any]:
    """One verdict for each item of an FCALL."""
    if count == 1:
        return [reply]
    if isinstance(reply, BaseException) or is_epoch(reply):
        return [reply] * count
    return list(reply)
