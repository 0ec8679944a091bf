"""What both faces of durable mode share: opening, calls on their slow way, outcomes.

The engine carries a call as long as numbers come back. What is left is told here as
a `Request`: it becomes the items of `machine`, and what they ended with becomes the
number or the error that the caller gets.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from dataclasses import asdict, dataclass

from .. import _common, _outcome
from .._common import Stats
from ..errors import (
    AuthError,
    CallTimeout,
    CeilingError,
    ClosedError,
    ConfigError,
    ConnectError,
    OutcomeUnknown,
    SeqCacheError,
    ServerError,
    StartupError,
)
from .drive import boottime
from .effects import Fcall, Replies
from .epoch import Belief, ProcessState
from .items import INCR, Item, is_unloaded
from .machine import LIBRARY_NAME, NEWEST_FUNCTION, Durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from .. import _native
    from ..ceilings import CeilingStore
    from ..config import Config
    from .effects import Step

logger = logging.getLogger("seqcache")

#: Functions that count nothing: a lost answer of theirs is a time-out.
_READS = frozenset({"seq_get", "seq_get_many", "seq_raise"})
#: Seconds between two attempts to open, while startup_timeout lasts.
PAUSE = 0.2

# --- opening ---------------------------------------------------------------------


def check_config(config: Config) -> None:
    """Refuse what durable mode cannot do in this version."""
    if config.location.kind not in ("tcp", "unix"):
        raise ConfigError(
            f"ceilings over {config.location.scheme}:// are not in this version",
            option="ceilings",
            hint="durable mode needs a Redis or Valkey server, 7.0 or newer",
        )
    if config.connections != 1:
        raise ConfigError(
            "durable mode with more than one connection is not in this version",
            option="connections",
        )


def make_store(config: Config) -> CeilingStore:
    """Make the ceiling store; ConfigError if it cannot be one."""
    from ..ceilings import CeilingStore

    leased = config.fence == "lease"
    ceilings, deployment = config.ceilings, f"{config.deployment}/{config.db}"
    if config.is_embedded:
        from ..embedded.store import place_of

        place, deployment = place_of(config)
        ceilings = ceilings or f"sqlite:///{place}"
    return CeilingStore(
        ceilings,
        deployment,
        step=config.step,
        lease_ms=round(config.fence_time * 1000) if leased else 0,
    )


def make_durable(
    config: Config, store: CeilingStore, process: ProcessState, fast: _native.FastPath
) -> Durable:
    """Make the state machine of one process or one loop; `fast` is told its belief."""

    def publish(belief: Belief) -> None:
        fast.publish(belief.token, belief.until, belief.touch_at)

    return Durable(
        boottime,
        fence=config.fence,
        lease=config.fence_time,
        retry=config.retry,
        token_ttl=config.token_ttl,
        store_name=store.name,
        process=process,
        publish=publish,
    )


def check_server(where: str, info: Any) -> None:
    """Refuse a server without volatile functions; `info` is what INFO said."""
    lines = info.decode(errors="replace").splitlines() if info else []
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    version = told.get("redis_version", "")
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < 7:
        raise StartupError(
            f"{where} is version {version}: durable mode needs 7.0 or newer, whose"
            " functions remember what no file and no replica does",
            hint="update the server, or open the cache without ceilings",
        )
    if told.get("redis_mode") == "cluster":
        raise StartupError(
            f"{where} is a cluster node: durable mode there is not in this version"
        )


def startup_error(where: str, error: Exception) -> SeqCacheError:
    """Build what the factory raises for a failure of the first epoch."""
    if isinstance(error, (AuthError, ConfigError, StartupError)):
        return error
    hint = getattr(error, "hint", None)
    message = "no answer"
    if isinstance(error, SeqCacheError):
        message = _plain(error, "", where, None)
    made = StartupError(f"durable mode at {where}: {message}", hint=hint)
    made.__cause__ = error
    return made


def later(error: Exception, end: float) -> float | None:
    """Return the pause before another attempt to open, None at the end."""
    waits = not isinstance(error, CeilingError) or error.reason == "unavailable"
    final = isinstance(error, (AuthError, ConfigError, StartupError)) or not waits
    return None if final or time.monotonic() + PAUSE > end else PAUSE


# --- the engine's commands ---------------------------------------------------------


def commands_of(calls: Iterable[Fcall]) -> list[tuple[Any, ...]]:
    """Write calls of server functions as commands."""
    return [
        ("FCALL", call.name, len(call.keys), *call.keys, *call.args) for call in calls
    ]


def replies_of(
    calls: Sequence[Fcall], told: tuple[list[Any], int], bound: int
) -> Replies:
    """Read what the engine says of commands; they were `bound` to a connection.

    A mark of a later connection is not installed: their link is that of the first.
    """
    replies, travelled = told
    values = [
        _value_of(call, one) if isinstance(one, SeqCacheError) else one
        for call, one in zip(calls, replies, strict=True)
    ]
    return Replies(values, bound or travelled or None)


def _value_of(call: Fcall, error: SeqCacheError) -> SeqCacheError:
    """Return what takes a reply's place: a read that got none counted nothing."""
    if not isinstance(error, OutcomeUnknown) or call.name not in _READS:
        return error
    return CallTimeout(f"no answer: {error.cause or error}")


def unsent(calls: Sequence[Fcall]) -> Replies:
    """Return the replies to calls that there was no time for."""
    error = CallTimeout("no time was left", executed=False)
    return Replies([copy.copy(error) for _ in calls], None)


#: Counts nothing; "Function not found" where an older library is loaded.
PROBE = ("FCALL", NEWEST_FUNCTION, 0, "", 1)


def check_loaded(error: ServerError) -> bool:
    """Forgive FUNCTION LOAD what is no failure: others load it, too.

    Returns whether a library of ours is there; it may be an older one.
    """
    text = str(error)
    if "Function" in text and "already exists" in text:
        raise StartupError(
            f"another library has a function of ours, so {LIBRARY_NAME} cannot be"
            f" loaded: {text}"
        ) from error
    # What refuses for now refuses the call itself, which then waits for it.
    passing = error.code in ("READONLY", "LOADING")
    if "already exists" not in text and not passing:
        raise error
    return not passing


def check_newest(error: ServerError) -> bool:
    """Return whether the `PROBE` found an older library.

    Replacing that ends its epoch as FUNCTION FLUSH does, which loses nothing; older
    clients go on with the newer one. Whatever else was said the calls meet as well.
    """
    return is_unloaded(error)


# --- calls -------------------------------------------------------------------------


@dataclass(slots=True)
class Request:
    """A call that the engine could not bring to its end, as it describes it.

    ``told`` is {epoch's token: {place of the key: number, verdict, or the error that
    took the answer away}}; what is not in it was not sent. ``left`` are the seconds
    that the call still has, None for no limit.
    """

    method: str
    op: str
    prefix_len: int
    keys: list[bytes]
    amounts: list[int]
    token: bytes | None
    told: dict[str, dict[int, Any]]
    left: float | None

    @property
    def items(self) -> list[Item]:
        """What the call does to each of its keys."""
        pairs = zip(self.keys, self.amounts, strict=True)
        return [Item(self.op, key, amount, self.token) for key, amount in pairs]

    def step(self, durable: Durable) -> Step[list[int | SeqCacheError]]:
        """Return the work that brings it to its end."""
        for answers in self.told.values():
            for n, answer in answers.items():
                if isinstance(answer, SeqCacheError) and self.op != INCR:
                    answers[n] = _lost_read(answer)
        return durable.slow(self.items, self.told)

    def user_id(self, n: int) -> str | bytes:
        """Return the id behind a key, as the caller gave it."""
        return _common.user_id_of(self.keys[n], self.keys[n][: self.prefix_len])

    def name(self, where: str, n: int) -> str:
        """Name the call in messages, as the engine does."""
        return f"{self.method}({self.user_id(n)!r}) at {where}"

    def shape(self, results: list[Any]) -> Any:
        """Return what the method returns for these numbers."""
        if self.method == "reserve":
            return range(results[0] - self.amounts[0] + 1, results[0] + 1)
        if self.method == "raise_seqs":
            return len(results)
        return results if self.is_bulk else results[0]

    @property
    def is_bulk(self) -> bool:
        """Whether each id has an outcome of its own."""
        return self.method.endswith("_seqs")


def _lost_read(error: SeqCacheError) -> SeqCacheError:
    """Return what is told of a read without an answer: it counted nothing."""
    lost = error.executed is None and not isinstance(error, CallTimeout)
    return CallTimeout(f"no answer: {error}") if lost else error


def begin(run: Callable[[Any], object], step: Step[None]) -> None:
    """Begin what runs in the background, for a caller that has its number already."""
    try:
        run(step)
    except Exception as error:
        logger.warning("seqcache: background work not begun: %s", error)


class Desk:
    """What the views of one durable cache share: where it is, and its counters."""

    def __init__(self, config: Config, engine: _native.Engine) -> None:
        self.config = config
        self.engine = engine
        self.where = engine.where
        self._errors: dict[str, int] = {}
        # A finalizer, which may interrupt whoever holds it, reads the counters too.
        self._lock = threading.RLock()

    def after_fork(self) -> None:
        """In the child: a lock that another thread held is held for ever."""
        self._lock = threading.RLock()

    def _count(self, results: Iterable[Any]) -> None:
        """Count the errors of a call on the slow way; the engine counts the rest."""
        with self._lock:
            for one in results:
                if isinstance(one, BaseException):
                    name = type(one).__name__
                    self._errors[name] = self._errors.get(name, 0) + 1

    def stats(self, store: CeilingStore, machines: Sequence[Durable]) -> Stats:
        """Return the counters of all views; ``durable`` sums up the machines."""
        told = self.engine.stats()
        with self._lock:
            for name, count in self._errors.items():
                told["errors"][name] = told["errors"].get(name, 0) + count
        durable: dict[str, float] = {}
        for machine in machines:
            for name, value in asdict(machine.stats).items():
                durable[name] = durable.get(name, 0) + value
        best = max((machine.lease_age() for machine in machines), default=0.0)
        durable["lease_left"] = max(0.0, best)
        for name, value in asdict(store.stats).items():
            durable[f"store_{name}"] = value
        return Stats(**told, durable=durable)

    # --- outcomes

    def outcome(self, request: Request, results: Sequence[Any]) -> Any:
        """Return what the caller gets: a value, or the exception to be raised."""
        self._count(results)
        if not any(isinstance(one, SeqCacheError) for one in results):
            return request.shape(list(results))
        told = [
            self.told(request, n, one) if isinstance(one, SeqCacheError) else one
            for n, one in enumerate(results)
        ]
        if request.is_bulk:
            return _outcome.bulk(request.method, self.where, told)
        return told[0]

    def told(self, request: Request, n: int, error: SeqCacheError) -> SeqCacheError:
        """Tell one failure to the caller: the call by its name, the id as given."""
        call = request.name(self.where, n)
        closed = isinstance(error, (CallTimeout, CeilingError, ConnectError))
        if self.engine.closed and (closed or isinstance(error, OutcomeUnknown)):
            text = f"{call}: the cache was closed meanwhile"
            return ClosedError(text, executed=error.executed)
        if isinstance(error, OutcomeUnknown):
            return self._unknown(request, n, error)
        own = copy.copy(error)
        own.args = (f"{call}: {_plain(error, call, self.where, request.keys[n])}",)
        own.__cause__ = error.__cause__
        return own

    def _unknown(
        self, request: Request, n: int, error: OutcomeUnknown
    ) -> OutcomeUnknown:
        token = request.token
        cause = error
        while isinstance(cause, OutcomeUnknown) and cause.cause is not None:
            cause = cause.cause  # type: ignore[assignment]
        own = OutcomeUnknown(
            f"{request.name(self.where, n)}: sent, and it is not known whether it was"
            f" counted: {cause}",
            hint=_outcome.REPEAT_BLINDLY if token is None else _outcome.REPEAT_TOKEN,
            cause=cause,
            user_id=request.user_id(n),
            by=request.amounts[n],
            token=None if token is None else _common.user_id_of(token, b""),
        )
        own.__cause__ = cause
        return own


def _plain(error: SeqCacheError, call: str, where: str, key: bytes | None) -> str:
    """Return the message of an error without what the call is named by anyway."""
    text = str(error.args[0]) if error.args else type(error).__name__
    for name in (call, f"command() at {where}"):
        text = text.removeprefix(f"{name}: ")
    if key is not None:
        text = text.removeprefix(f"{key.decode(errors='backslashreplace')}: ")
    return text


class DurableOperations:
    """What durable mode refuses, on both faces."""

    __slots__ = ()

    _desk: Desk

    def delete_seq(self, *_: Any, **__: Any) -> Any:
        """Refuse: a deleted sequence would give its numbers again."""
        raise SeqCacheError(
            f"delete_seq() at {self._desk.where}: refused in durable mode, which"
            " never gives a number twice",
            executed=False,
            hint="give what begins anew an id of its own",
        )
