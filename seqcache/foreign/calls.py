"""Calls to third parties' backends: arguments in, numbers or errors out.

A `Desk` runs the requests of all views of a cache: it passes the deadline on, checks
the answers and turns failures into the errors that the C engine would raise.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import _common, _outcome
from ..errors import (
    CallTimeout,
    ClosedError,
    ConnectError,
    OutcomeUnknown,
    ProtocolError,
    SeqCacheError,
)
from .stats import Counters, Known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from .. import _native
    from .._common import Stats
    from ..config import Config

MOST = 2**63 - 1


@dataclass(slots=True, eq=False)
class Request:
    """One call: what to ask of the backend and how to read the answer.

    ``deadline`` is on time.monotonic(); ``least`` is what each number must at least
    be; ``floors`` are the numbers known when the backend was asked. ``token`` is the
    caller's.
    """

    method: str
    operation: str
    ask: Callable[[Any, float | None], Any]
    shape: Callable[[list[Any]], Any]
    prefix: bytes
    timeout: float | None
    keys: list[bytes] = field(default_factory=list)
    by: int = 0
    least: Sequence[int] | None = None
    deadline: float | None = None
    began: float = 0.0
    floors: list[int | None] = field(default_factory=list)
    token: str | bytes | None = None

    def __post_init__(self) -> None:
        if self.timeout is not None:
            self.deadline = time.monotonic() + self.timeout

    @property
    def counting(self) -> bool:
        """Whether a repeat would count twice."""
        return self.operation in ("increase", "delete")

    @property
    def is_bulk(self) -> bool:
        """Whether each id has an outcome of its own."""
        return self.method.endswith("_seqs")

    def name(self, where: str, key: bytes | None) -> str:
        """Name the call in messages, as the engine does."""
        user_id = "" if key is None else repr(_common.user_id_of(key, self.prefix))
        return f"{self.method}({user_id}) at {where}"

    def left(self) -> float | None:
        """Return the seconds until the deadline, None if there is none."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def late(self, where: str, executed: bool | None) -> CallTimeout:
        """Build the error of a deadline that came."""
        state = "no answer" if executed is None else "not sent"
        call = self.name(where, self.keys[0] if len(self.keys) == 1 else None)
        text = f"{call}: {state} within {self.timeout:g} s"
        return CallTimeout(text, executed=executed)


class Desk:
    """What the views of one cache share: where it is, counters, known numbers."""

    def __init__(self, config: Config, engine: _native.Engine) -> None:
        self.config = config
        self.engine = engine
        self.where: str = engine.where
        self.counters = Counters()
        self.regressed = _common._regress_handler(config.on_regress)
        self.known = Known() if self.regressed else None
        # A finalizer, which may interrupt whoever holds it, reads the counters too.
        self._lock = threading.RLock()

    def stats(self) -> Stats:
        """Return the counters of all views."""
        with self._lock:
            return self.counters.stats(self.engine)

    def start(self, request: Request) -> float | None:
        """Begin a call; return the seconds it has, or raise if it has none."""
        left = request.left()
        if left is not None and left <= 0:
            raise request.late(self.where, False)
        request.began = time.monotonic()
        with self._lock:
            self.counters.began(request.operation, len(request.keys))
            if self.known is not None and request.keys:
                request.floors = self.known.start(request)
        return left

    def run(self, request: Request, backend: Any) -> Any:
        """Ask a blocking backend, in this thread."""
        left = self.start(request)
        try:
            answer = request.ask(backend, left)
        except Exception as error:
            raise_from(self.failed(request, error), error)
        except BaseException:
            self._settle(request, None)
            raise
        return self.finish(request, answer)

    def finish(self, request: Request, answer: Any) -> Any:
        """Turn the backend's answer into what the caller gets."""
        if request.least is None:
            self._settle(request, None)
            return request.shape(answer)
        try:
            results = self._checked(request, answer)
        except ProtocolError as error:
            raise_from(self.failed(request, error), error)
        self._settle(request, results)
        results = [
            self._told(request, item, key) if isinstance(item, Exception) else item
            for key, item in zip(request.keys, results, strict=True)
        ]
        return self._shaped(request, self._compared(request, results))

    def failed(self, request: Request, error: Exception) -> BaseException:
        """Build what the caller gets for an exception of the whole call."""
        told = self._told_of_all(request, error)
        self._settle(request, told)
        return self._summed_up(request, told)

    def stopped(self, request: Request) -> None:
        """Note the end of a call that was cancelled inside the backend."""
        self._settle(request, None)

    def out_of_time(self, request: Request) -> BaseException:
        """Build the error of a call that the backend did not end in time."""
        told = self._told_of_all(request, request.late(self.where, None))
        return self._summed_up(request, told)

    def _settle(self, request: Request, results: Sequence[Any] | None) -> None:
        seconds = time.monotonic() - request.began
        with self._lock:
            self.counters.ended(len(request.keys), seconds, results or ())
            if self.known is not None and request.keys:
                self.known.end(request)

    def _checked(self, request: Request, answer: Any) -> list[Any]:
        """Refuse what the protocol does not allow: it must never pass as a number."""
        results = list(answer) if isinstance(answer, Sequence) else None
        if results is None or len(results) != len(request.keys):
            raise ProtocolError(
                f"{request.operation} of the backend must return one result for each "
                f"of {len(request.keys)} keys, not {answer!r}"
            )
        for item, least in zip(results, request.least or (), strict=True):
            if isinstance(item, Exception):
                continue
            if request.operation == "delete":
                fits = item in (0, 1)
            else:
                fits = type(item) is int and least <= item <= MOST
            if not fits:
                raise ProtocolError(
                    f"{request.operation} of the backend returned {item!r}, "
                    "which cannot be"
                )
        return results

    def _told_of_all(self, request: Request, error: Exception) -> list[Exception]:
        if not request.keys:
            return [self._told(request, error, None)]
        return [self._told(request, error, key) for key in request.keys]

    def _told(self, request: Request, error: Exception, key: bytes | None) -> Exception:
        """Translate one failure: a counting call says what became of its numbers."""
        user_id = None if key is None else _common.user_id_of(key, request.prefix)
        if isinstance(error, OutcomeUnknown):
            return _named(error, user_id, request)
        ours = isinstance(error, SeqCacheError)
        if isinstance(error, SeqCacheError) and (
            error.executed is not None or not request.counting
        ):
            return error
        call = request.name(self.where, key)
        told: SeqCacheError
        if self.engine.closed and not ours:
            told = ClosedError(f"{call}: the cache was closed meanwhile: {error}")
        elif request.counting:
            told = OutcomeUnknown(
                f"{call}: sent, and it is not known whether it was counted: {error}",
                hint=_outcome.REPEAT_BLINDLY
                if request.token is None
                else _outcome.REPEAT_TOKEN,
                cause=error,
                user_id=user_id,
                by=request.by,
                token=request.token,
            )
        elif isinstance(error, TimeoutError):
            told = CallTimeout(f"{call}: {error or 'no answer'}")
        elif isinstance(error, OSError):
            told = ConnectError(f"{call}: {error}")
        else:
            return error
        told.__cause__ = error
        return told

    def _compared(self, request: Request, results: list[Any]) -> list[Any]:
        """Look for numbers that went back; on_regress="raise" makes them errors."""
        if self.known is None or self.regressed is None:
            return results
        with self._lock:
            lost = self.known.learn(request, results)
            self.counters.regressions += len(lost)
        for at, seen in lost:
            user_id = _common.user_id_of(request.keys[at], request.prefix)
            try:
                first = results[at] - max(request.by - 1, 0)
                self.regressed(request.method, user_id, seen, first)
            except SeqCacheError as error:
                results[at] = error
        return results

    def _shaped(self, request: Request, results: list[Any]) -> Any:
        if any(isinstance(item, Exception) for item in results):
            raise self._summed_up(request, results)
        return request.shape(results)

    def _summed_up(self, request: Request, results: list[Any]) -> BaseException:
        """Build the one error of a call; what is not ours is a bug: as it is."""
        failed = [item for item in results if isinstance(item, Exception)]
        strange = [item for item in failed if not isinstance(item, SeqCacheError)]
        if strange or not request.is_bulk:
            return (strange or failed)[0]
        return _outcome.bulk(request.method, self.where, results)


def _named(error: OutcomeUnknown, user_id: Any, request: Request) -> OutcomeUnknown:
    """Return the error of a backend, which knows keys only, for one user id."""
    if error.user_id is not None:
        return error
    own = copy.copy(error)
    own.user_id, own.by, own.token = user_id, request.by, request.token
    own.__cause__ = error.__cause__
    return own


def raise_from(told: BaseException, error: BaseException) -> NoReturn:
    """Raise `told`, with `error` as its cause if it is another one."""
    if told is error or told.__cause__ is not None:
        raise told
    raise told from error
