"""Every exception that seqcache raises.

::

    SeqCacheError(Exception)
    ├── ConfigError(ValueError)              an option that cannot be used
    ├── UserIdError(ValueError)              an id that cannot be a key
    ├── ClosedError(RuntimeError)            the cache was closed
    ├── ConnectError(ConnectionError)        the deadline came without a link
    │   └── StartupError                     the factory's first connect failed
    ├── AuthError(PermissionError)           NOAUTH, WRONGPASS, NOPERM
    ├── CallTimeout(TimeoutError)            the deadline came on a live link
    ├── BusyError                            max_pending calls are in flight
    ├── OutcomeUnknown                       a counting call left, no answer came
    ├── ServerError                          the server answered with an error
    │   ├── NotASequence(ValueError)         the key holds something else
    │   └── SequenceOverflow(OverflowError)  2^63 - 1 is reached
    ├── TokenConflict(ValueError)            one token, two different calls
    ├── SequenceRegressed                    the server lost numbers
    ├── CeilingError                         the durable store grants no numbers
    ├── ProtocolError                        the peer does not speak RESP
    └── BulkError                            some ids of a bulk call failed

All of them carry ``executed``: ``False`` means certainly not counted, ``None`` that
it may have been counted, ``True`` that it was. All of them pickle with their fields.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar

__all__ = [
    "AuthError",
    "BulkError",
    "BusyError",
    "CallTimeout",
    "CeilingError",
    "ClosedError",
    "ConfigError",
    "ConnectError",
    "NotASequence",
    "OutcomeUnknown",
    "ProtocolError",
    "SeqCacheError",
    "SequenceOverflow",
    "SequenceRegressed",
    "ServerError",
    "StartupError",
    "TokenConflict",
    "UserIdError",
]


class SeqCacheError(Exception):
    """Base of all errors of seqcache.

    Parameters
    ----------
    message:
        What happened, in one line and without secrets.
    executed:
        ``False`` = certainly not counted, ``True`` = counted. ``None`` = what the
        class says by itself, and where it says nothing: may have been counted.
    hint:
        The next step for a person; ``str()`` appends it to the message.
    """

    # What `executed=None` stands for. Only classes of which the answer is always the
    # same (nothing was sent, or the server itself refused) say more than "unknown".
    _known: ClassVar[bool | None] = None

    executed: bool | None
    hint: str | None

    def __init__(
        self,
        message: str,
        *,
        executed: bool | None = None,
        hint: str | None = None,
    ) -> None:
        # Only the message is an argument: pickle calls the class with `args` and
        # then restores the fields from `__dict__`.
        super().__init__(message)
        self.executed = self._known if executed is None else executed
        self.hint = hint

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else ""
        return f"{message} (hint: {self.hint})" if self.hint else message


class ConfigError(SeqCacheError, ValueError):
    """An option is unknown, ill-typed or impossible; ``option`` names it."""

    _known = False
    option: str | None

    def __init__(
        self,
        message: str,
        *,
        executed: bool | None = None,
        hint: str | None = None,
        option: str | None = None,
    ) -> None:
        super().__init__(message, executed=executed, hint=hint)
        self.option = option


class UserIdError(SeqCacheError, ValueError):
    """A user id is empty, longer than 512 bytes or not encodable as UTF-8."""

    _known = False


class ClosedError(SeqCacheError, RuntimeError):
    """The cache was closed; ``executed`` is None if a byte of the call was sent."""


class ConnectError(SeqCacheError, ConnectionError):
    """No link by the deadline; nothing was sent. The last cause is chained."""

    _known = False


class StartupError(ConnectError):
    """The factory could not open the cache; the cause is chained."""


class AuthError(SeqCacheError, PermissionError):
    """The server refused the credentials, or a right is missing (NOPERM)."""

    _known = False


class CallTimeout(SeqCacheError, TimeoutError):
    """The deadline came while the call waited on a live link.

    ``executed`` is False if it was never sent, None if it was. A *counting* call
    that was sent ends as `OutcomeUnknown` instead.
    """


class BusyError(SeqCacheError):
    """``max_pending`` calls were in flight until the deadline; nothing was sent."""

    _known = False


class OutcomeUnknown(SeqCacheError):
    """A counting call left this process and no answer came.

    On purpose neither a ConnectionError nor a TimeoutError: generic retry code must
    not catch it, because a repeat may count twice. A call with a token is safe to
    repeat with the same token.

    Parameters
    ----------
    cause:
        The error that took the answer away.
    user_id, by, token:
        The call, as it was made.
    """

    executed: bool | None
    cause: BaseException | None
    user_id: str | bytes | int | None
    by: int | None
    token: str | bytes | None

    def __init__(
        self,
        message: str,
        *,
        executed: bool | None = None,
        hint: str | None = None,
        cause: BaseException | None = None,
        user_id: str | bytes | int | None = None,
        by: int | None = None,
        token: str | bytes | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.executed = None  # whatever was passed: that is what this class means
        self.cause = cause
        self.user_id = user_id
        self.by = by
        self.token = token


class ServerError(SeqCacheError):
    """The server answered with an error and did not run the call.

    ``code`` is the first word of the answer: READONLY, OOM, MISCONF, BUSY, ...
    """

    _known = False
    code: str | None

    def __init__(
        self,
        message: str,
        *,
        executed: bool | None = None,
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, executed=executed, hint=hint)
        self.code = code


class NotASequence(ServerError, ValueError):
    """The key holds another type, or a text that is no 64-bit integer."""


class SequenceOverflow(ServerError, OverflowError):
    """The sequence would pass 2^63 - 1; its value is unchanged."""


class TokenConflict(SeqCacheError, ValueError):
    """The token was used for this key before, with another amount."""

    _known = False


class SequenceRegressed(SeqCacheError):
    """The server answered a number below one that it had given before.

    Parameters
    ----------
    seen:
        The highest number that this cache knew when the call was written.
    got:
        What the server answered; of an increase, the first number that it gave.
    """

    _known = True
    seen: int | None
    got: int | None

    def __init__(
        self,
        message: str,
        *,
        executed: bool | None = None,
        hint: str | None = None,
        seen: int | None = None,
        got: int | None = None,
    ) -> None:
        super().__init__(message, executed=executed, hint=hint)
        self.seen = seen
        self.got = got


class CeilingError(SeqCacheError):
    """The durable store cannot grant numbers; ``reason`` says why."""

    _known = False
    reason: str | None

    def __init__(
        self,
        message: str,
        *,
        executed: bool | None = None,
        hint: str | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, executed=executed, hint=hint)
        self.reason = reason


class ProtocolError(SeqCacheError):
    """The peer does not speak RESP, or its reply goes beyond our limits."""


class BulkError(SeqCacheError):
    """Some ids of a bulk call failed.

    ``results`` holds an int or an exception for each id, in the caller's order.
    ``executed`` is False only if nothing was counted.
    """

    results: Sequence[int | BaseException]

    def __init__(
        self,
        message: str,
        *,
        executed: bool | None = None,
        hint: str | None = None,
        results: Sequence[int | BaseException] = (),
    ) -> None:
        super().__init__(message, executed=executed, hint=hint)
        self.results = results
