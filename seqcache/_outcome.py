"""The sentences of errors: what the C core knows of a failed call, told to a person.

``csrc/binding/errors.c`` chooses the class by the table of statuses and calls these
functions; nothing else turns a failure of the engine into an exception.
"""

from __future__ import annotations

from . import errors
from .errors import (
    BulkError,
    BusyError,
    CallTimeout,
    CeilingError,
    ClosedError,
    ConnectError,
    NotASequence,
    OutcomeUnknown,
    ProtocolError,
    SeqCacheError,
    SequenceOverflow,
    SequenceRegressed,
    ServerError,
    TokenConflict,
    UserIdError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Id = str | bytes | None
    Token = str | bytes | None

REPEAT_BLINDLY = (
    "do not repeat it blindly: it may count twice; with token= a repeat is safe"
)
REPEAT_TOKEN = "repeat it with the same token"
REPEAT_DELETE = (
    "read the number before you repeat it: a repeat may delete what was counted since"
)
REPEAT_LEASE = "ask the lease again: a lost block is a gap, and nobody gets it twice"
_HINTS = {
    "READONLY": "this is a replica: connect to the primary",
    "LOADING": "the server reads its data from disk: try again in a while",
    "OOM": "the server's memory is full: raise maxmemory, or free some",
    "MISCONF": "the server cannot write to its disk",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write)",
    "BUSY": "a script blocks the server",
    "MOVED": "this server is part of a cluster",
    "CLUSTERDOWN": "the cluster does not serve this key now",
    "NOAUTH": "the server wants a password",
    "WRONGPASS": "check the user name and the password",
    "NOPERM": "the user's ACL lacks a right for this command or key",
}
_CEILING_HINTS = {
    "unavailable": "is the database up, and may we write to it?",
    "fence": "one process gives the numbers: use the cache there, or close it first",
    "rolled_back": "stop the writers and lift the ceilings: docs/durable.md",
}


#: What a repeat may be refused with, after a first sending of unknown fate.
_REFUSALS = ("ServerError", "AuthError", "NotASequence", "SequenceOverflow")


def make(
    class_name: str,
    method: str,
    where: str,
    user_id: Id,
    by: int,
    executed: bool | None,
    text: str | None,
    cause_name: str,
    last_error: BaseException | None,
    timeout: float | None,
    token: Token,
) -> SeqCacheError | MemoryError:
    """Build the exception of one request; the core chose the class."""
    error = _make(
        class_name, method, where, user_id, by, executed, text, cause_name, last_error,
        timeout, token,
    )  # fmt: skip
    if executed is None and isinstance(error, SeqCacheError):
        # A repeat that failed: what its class says of one sending is not enough.
        error.executed = None
    return error


def _make(
    class_name: str,
    method: str,
    where: str,
    user_id: Id,
    by: int,
    executed: bool | None,
    text: str | None,
    cause_name: str,
    last_error: BaseException | None,
    timeout: float | None,
    token: Token,
) -> SeqCacheError | MemoryError:
    call = f"{method}({'' if user_id is None else repr(user_id)}) at {where}"
    if class_name == "MemoryError":
        return MemoryError(f"{call}: out of memory")
    if class_name == "OutcomeUnknown":
        error = _unknown(call, user_id, by, text, cause_name, timeout, token)
        if method == "delete_seq":  # it takes no token, and counts nothing
            error.hint = REPEAT_DELETE
        return error
    if class_name == "ConnectError":
        if executed is None:
            return ConnectError(f"{call}: the link was lost with the answer: {text}")
        return _not_connected(call, text, last_error, timeout)
    if class_name == "CallTimeout":
        state = "no answer" if executed is None else "not sent"
        return CallTimeout(
            f"{call}: {state} within {_span(timeout)}", executed=executed
        )
    if class_name == "BusyError":
        return BusyError(
            f"{call}: max_pending commands were in flight for {_span(timeout)}",
            hint="raise max_pending, or call less at once",
        )
    if class_name == "CeilingError":
        return ceiling(call, text or "")
    if class_name == "ClosedError":
        return ClosedError(f"{call}: the cache was closed meanwhile", executed=executed)
    if class_name == "TokenConflict":
        return conflict(call, (text or "").rpartition(" ")[2], by)
    return _refused(class_name, call, text or "", executed)


def conflict(call: str, before: int | str, by: int) -> TokenConflict:
    """Build the error of a token that came with another amount before."""
    return TokenConflict(
        f"{call}: this token counted {before} before, not {by}",
        executed=False,
        hint="one token, one call: use a new token for another message",
    )


def _span(timeout: float | None) -> str:
    return "the time of the link" if timeout is None else f"{timeout:g} s"


def _cause(text: str | None, cause_name: str, timeout: float | None) -> SeqCacheError:
    if cause_name == "ProtocolError":
        return ProtocolError(text or "the peer does not speak RESP")
    if text and cause_name == "ConnectError":
        return ConnectError(text)
    if text and cause_name == "CeilingError":
        return ceiling("its commit", text)
    if text and cause_name in _REFUSALS:
        return _refused(cause_name, "its repeat", text, False)
    return CallTimeout(text or f"no answer within {_span(timeout)}")


def _unknown(
    call: str,
    user_id: Id,
    by: int,
    text: str | None,
    cause_name: str,
    timeout: float | None,
    token: Token,
) -> OutcomeUnknown:
    cause = _cause(text, cause_name, timeout)
    error = OutcomeUnknown(
        f"{call}: sent, and it is not known whether it was counted: {cause}",
        hint=REPEAT_BLINDLY if token is None else REPEAT_TOKEN,
        cause=cause,
        user_id=user_id,
        by=by,
        token=token,
    )
    error.__cause__ = cause
    return error


def _not_connected(
    call: str, text: str | None, last_error: BaseException | None, timeout: float | None
) -> ConnectError:
    hint = None
    reason = text or "the link was lost"
    if last_error is not None and not text:
        hint = getattr(last_error, "hint", None)
        reason = str(last_error.args[0] if hint else last_error)
    span = _span(timeout)
    error = ConnectError(f"{call}: no connection within {span}: {reason}", hint=hint)
    error.__cause__ = last_error
    return error


def _refused(
    class_name: str, call: str, text: str, executed: bool | None
) -> SeqCacheError:
    """What the server itself said no with."""
    text = _unwrapped(text)
    # What we read by ourselves has no code before its text: the server's would be ERR.
    code = "ERR" if text.startswith("value is not") else text.partition(" ")[0]
    message = f"{call}: {text or class_name}"
    if class_name == "NotASequence":
        return NotASequence(
            message,
            executed=executed,
            code=code,
            hint="the key holds something else: another prefix, or `seqcache migrate`",
        )
    if class_name == "SequenceOverflow":
        durable = "2^53" in text
        message = f"{call}: the sequence would pass 2**{53 if durable else 63} - 1"
        return SequenceOverflow(message, executed=executed, code=code)
    if class_name == "ServerError":
        hint = _HINTS.get(code)
        return ServerError(message, executed=executed, code=code, hint=hint)
    cls: type[SeqCacheError] = getattr(errors, class_name)
    return cls(message, executed=executed, hint=_HINTS.get(code))


def ceiling(call: str, text: str) -> CeilingError:
    """Build the error of a refusal; its text begins with the reason."""
    reason, _, told = text.partition(" ")
    hint = _CEILING_HINTS.get(reason)
    return CeilingError(f"{call}: {told}", executed=False, hint=hint, reason=reason)


def _unwrapped(text: str) -> str:
    """Return an error without the place in a script, which Redis tells with it."""
    if text.startswith("ERR Error running script"):  # Redis 6, before it
        place = text.rpartition("@user_script:")[2].lstrip()
        return place.partition(" ")[2].removeprefix("-") or text
    return text.partition(" script: ")[0]  # Redis 7, behind it


def bulk(
    method: str, where: str, results: Sequence[int | BaseException]
) -> BaseException:
    """Build the error of a bulk call: one cause for all and nothing counted is
    that error itself, anything else a BulkError with each id's outcome.
    """
    failed = [item for item in results if isinstance(item, BaseException)]
    first = failed[0]
    whole = len(failed) == len(results)
    # A read counts nothing, whatever became of it.
    unsent = all(getattr(error, "executed", None) is False for error in failed)
    nothing = method == "get_seqs" or (whole and unsent)
    if whole and nothing and all(_same(first, error) for error in failed):
        return first
    return BulkError(
        f"{method} at {where}: {len(failed)} of {len(results)} ids failed, "
        f"{len(results) - len(failed)} went well; the first failure: {first}",
        executed=False if nothing else None,
        results=list(results),
    )


def _same(error: BaseException, other: BaseException) -> bool:
    code = getattr(error, "code", None)
    return type(error) is type(other) and code == getattr(other, "code", None)


def closed(method: str, where: str) -> ClosedError:
    """Build the error of a call on a closed cache; nothing was sent."""
    return ClosedError(f"{method}() at {where}: the cache is closed", executed=False)


def user_id(message: str) -> UserIdError:
    """Build the error of an id that cannot be a key."""
    return UserIdError(message)


def overflow(name: str) -> SequenceOverflow:
    """Build the error of an amount that no sequence can hold."""
    return SequenceOverflow(f"{name} is more than 2**63 - 1")


def regressed(
    method: str, user_id: Id | None, seen: int, got: int
) -> SequenceRegressed:
    """Build the error of a number below one that was given before.

    ``got`` is the first number that the call was given; without a user id the text
    names none.
    """
    call = f"{method}({'' if user_id is None else repr(user_id)})"
    verb = "returned" if method.startswith(("get_", "raise_")) else "started again at"
    return SequenceRegressed(
        f"{call} {verb} {got}, but {seen} was given before: the server lost numbers",
        hint="numbers may repeat now; raise_seq() lifts the sequence",
        seen=seen,
        got=got,
    )
