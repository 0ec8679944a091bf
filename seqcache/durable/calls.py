"""What both faces of durable mode share: calls into items, outcomes into answers.

A face turns the arguments into a `Request` (as caches of third parties' backends do,
with the same checks); here it becomes the items of `machine`, and what they ended
with becomes the number or the error that the caller gets.
"""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import asdict

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
from ..foreign.calls import Request
from ..foreign.operations import Operations, check_token
from ..foreign.stats import Counters
from .drive import boottime
from .effects import Fcall
from .epoch import ProcessState
from .items import GET, INCR, RAISE, Item
from .machine import LIBRARY_NAME, Durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from .. import _native
    from ..ceilings import CeilingStore
    from ..config import Config

#: Functions that count nothing: a lost answer of theirs is a time-out.
_READS = frozenset({"seq_get", "seq_get_many", "seq_raise"})
_OPS = {"get": GET, "get_many": GET, "increase": INCR, "raise": RAISE}
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
    return CeilingStore(
        config.ceilings,
        f"{config.deployment}/{config.db}",
        step=config.step,
        lease_ms=round(config.fence_time * 1000) if leased else 0,
    )


def make_durable(config: Config, store: CeilingStore, process: ProcessState) -> Durable:
    """Make the state machine of one process or one loop."""
    return Durable(
        boottime,
        fence=config.fence,
        lease=config.fence_time,
        retry=config.retry,
        token_ttl=config.token_ttl,
        store_name=store.name,
        process=process,
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
    message = _plain(error, where) if isinstance(error, SeqCacheError) else "no answer"
    made = StartupError(f"durable mode at {where}: {message}", hint=hint)
    made.__cause__ = error
    return made


def later(error: Exception, end: float) -> float | None:
    """Return the pause before another attempt to open, None at the end."""
    waits = not isinstance(error, CeilingError) or error.reason == "unavailable"
    final = isinstance(error, (AuthError, ConfigError, StartupError)) or not waits
    return None if final or time.monotonic() + PAUSE > end else PAUSE


# --- the engine's commands ---------------------------------------------------------


def words_of(call: Fcall) -> tuple[Any, ...]:
    """Write a call of a server function as a command."""
    return ("FCALL", call.name, len(call.keys), *call.keys, *call.args)


def value_of(call: Fcall, error: SeqCacheError) -> SeqCacheError:
    """Return what takes a reply's place: a read that got none counted nothing."""
    if not isinstance(error, OutcomeUnknown) or call.name not in _READS:
        return error
    return CallTimeout(f"no answer: {error.cause or error}")


def check_loaded(error: ServerError) -> None:
    """Forgive FUNCTION LOAD what is no failure: others load it, too."""
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


# --- calls -------------------------------------------------------------------------


def items_of(request: Request) -> list[Item]:
    """Say what a request does to each of its keys."""
    op = _OPS[request.operation]
    if op == RAISE:
        assert request.least is not None
        pairs = zip(request.keys, request.least, strict=True)
        return [Item(op, key, to) for key, to in pairs]
    token = check_token(request.token)
    return [Item(op, key, request.by, token) for key in request.keys]


def all_numbers(answers: Sequence[Any]) -> bool:
    """Tell whether every answer is a number: nothing is left to do."""
    return all(type(answer) is int for answer in answers)


class Desk:
    """What the views of one durable cache share: where it is, and its counters."""

    def __init__(self, config: Config, engine: _native.Engine) -> None:
        self.config = config
        self.engine = engine
        self.where = engine.where
        self.counters = Counters()
        # A finalizer, which may interrupt whoever holds it, reads the counters too.
        self._lock = threading.RLock()

    def after_fork(self) -> None:
        """In the child: a lock that another thread held is held for ever."""
        self._lock = threading.RLock()

    def began(self, request: Request) -> None:
        """Count a call."""
        request.began = time.monotonic()
        with self._lock:
            self.counters.began(request.operation, len(request.keys))

    def ended(self, request: Request, results: Iterable[Any] = ()) -> None:
        """Count its end."""
        seconds = time.monotonic() - request.began
        with self._lock:
            self.counters.ended(len(request.keys), seconds, results)

    def stats(self, store: CeilingStore, machines: Sequence[Durable]) -> Stats:
        """Return the counters of all views; ``durable`` sums up the machines."""
        told = self.engine.stats()
        with self._lock:
            mine = self.counters.stats(self.engine)
        durable: dict[str, float] = {}
        for machine in machines:
            for name, value in asdict(machine.stats).items():
                durable[name] = durable.get(name, 0) + value
        best = max((machine.lease_age() for machine in machines), default=0.0)
        durable["lease_left"] = max(0.0, best)
        for name, value in asdict(store.stats).items():
            durable[f"store_{name}"] = value
        links = {name: told[name] for name in ("links", "reconnects")}
        return mine._replace(**links, durable=durable)

    # --- outcomes

    def outcome(self, request: Request, results: Sequence[Any]) -> Any:
        """Return what the caller gets: a value, or the exception to be raised."""
        self.ended(request, results)
        if all_numbers(results):
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
        key = request.keys[n]
        call = request.name(self.where, key)
        closed = isinstance(error, (CallTimeout, CeilingError, ConnectError))
        if self.engine.closed and (closed or isinstance(error, OutcomeUnknown)):
            text = f"{call}: the cache was closed meanwhile"
            return ClosedError(text, executed=error.executed)
        if isinstance(error, OutcomeUnknown):
            return self._unknown(request, call, key, error)
        own = copy.copy(error)
        own.args = (f"{call}: {_plain(error, self.where, key)}",)
        own.__cause__ = error.__cause__
        return own

    def _unknown(
        self, request: Request, call: str, key: bytes, error: OutcomeUnknown
    ) -> OutcomeUnknown:
        token = request.token
        cause = error
        while isinstance(cause, OutcomeUnknown) and cause.cause is not None:
            cause = cause.cause  # type: ignore[assignment]
        own = OutcomeUnknown(
            f"{call}: sent, and it is not known whether it was counted: {cause}",
            hint=_outcome.REPEAT_BLINDLY if token is None else _outcome.REPEAT_TOKEN,
            cause=cause,
            user_id=_common.user_id_of(key, request.prefix),
            by=request.by,
            token=token,
        )
        own.__cause__ = cause
        return own


def _plain(error: SeqCacheError, where: str, key: bytes | None = None) -> str:
    """Return the message of an error without what the call is named by anyway."""
    text = str(error.args[0]) if error.args else type(error).__name__
    text = text.removeprefix(f"command() at {where}: ")
    if key is not None:
        text = text.removeprefix(f"{key.decode(errors='backslashreplace')}: ")
    return text


class DurableOperations(Operations):
    """The operations of both faces, as over a backend."""

    __slots__ = ()

    def delete_seq(self, *_: Any, **__: Any) -> Any:
        """Refuse: a deleted sequence would give its numbers again."""
        raise SeqCacheError(
            f"delete_seq() at {self._desk.where}: refused in durable mode, which"
            " never gives a number twice",
            executed=False,
        )
