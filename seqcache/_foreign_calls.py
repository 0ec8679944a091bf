"""Calls to third parties' backends: arguments in, numbers or errors out.

The faces are in `_foreign` and `_foreign_async`; both make `Request` objects by the
methods of `Operations`, and a `Desk` runs them: it passes the deadline on, checks the
answers and turns failures into the errors that the C engine would raise.
"""

from __future__ import annotations

import math
import operator
import threading
import time
from dataclasses import dataclass, field

from . import _common, _native, _outcome
from ._common import DEFAULT
from ._foreign_stats import Counters, Known
from .errors import (
    CallTimeout,
    ClosedError,
    ConnectError,
    OutcomeUnknown,
    ProtocolError,
    SeqCacheError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

    from ._common import Stats, UserId
    from .config import Config

_MOST = 2**63 - 1
# Seconds that nobody waits for: the engine's "as good as never".
_NEVER = 3e7


@dataclass(slots=True, eq=False)
class Request:
    """One call: what to ask of the backend and how to read the answer.

    ``deadline`` is on time.monotonic(); ``least`` is what each number must at least
    be; ``floors`` are the numbers known when the backend was asked.
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
        self._lock = threading.Lock()

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
        told = [self._told(request, error, key) for key in request.keys or [None]]
        self._settle(request, told)
        return self._summed_up(request, told)

    def stopped(self, request: Request) -> None:
        """Note the end of a call that was cancelled inside the backend."""
        self._settle(request, None)

    def out_of_time(self, request: Request) -> BaseException:
        """Build the error of a call that the backend did not end in time."""
        error = request.late(self.where, None)
        told = [self._told(request, error, key) for key in request.keys or [None]]
        return self._summed_up(request, told)

    def _settle(self, request: Request, results: Sequence[Any] | None) -> None:
        seconds = time.monotonic() - request.began
        with self._lock:
            self.counters.ended(len(request.keys), seconds, results or ())
            if self.known is not None and request.keys:
                self.known.end(request)

    def _checked(self, request: Request, answer: Any) -> list[Any]:
        """Refuse what the protocol does not allow: it must never pass as a number."""
        results = list(answer) if isinstance(answer, (list, tuple)) else [answer]
        if len(results) != len(request.keys):
            raise ProtocolError(
                f"{request.operation} of the backend returned {len(results)} results "
                f"for {len(request.keys)} keys"
            )
        for item, least in zip(results, request.least or (), strict=True):
            if isinstance(item, Exception):
                continue
            if request.operation == "delete":
                fits = item in (0, 1)
            else:
                fits = type(item) is int and least <= item <= _MOST
            if not fits:
                raise ProtocolError(
                    f"{request.operation} of the backend returned {item!r}, "
                    f"which cannot be"
                )
        return results

    def _told(self, request: Request, error: Exception, key: bytes | None) -> Exception:
        """Translate one failure: a counting call says what became of its numbers."""
        user_id = None if key is None else _common.user_id_of(key, request.prefix)
        if isinstance(error, OutcomeUnknown):
            if error.user_id is None:
                error.user_id, error.by = user_id, request.by
            return error
        ours = isinstance(error, SeqCacheError)
        if ours and not (request.counting and error.executed is None):
            return error
        call = request.name(self.where, key)
        told: SeqCacheError
        if self.engine.closed and not ours:
            told = ClosedError(f"{call}: the cache was closed meanwhile: {error}")
        elif request.counting:
            told = OutcomeUnknown(
                f"{call}: sent, and it is not known whether it was counted: {error}",
                hint="do not repeat it blindly: it may count twice",
                cause=error,
                user_id=user_id,
                by=request.by,
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
                self.regressed(request.method, user_id, seen, results[at])
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


def raise_from(told: BaseException, error: BaseException) -> NoReturn:
    """Raise `told`, with `error` as its cause if it is another one."""
    if told is error or told.__cause__ is not None:
        raise told
    raise told from error


# --- arguments, with the engine's own words ------------------------------------


def check_amount(value: Any, name: str, least: int) -> int:
    """Return an integer of [least, 2^63-1]; ValueError below, overflow above."""
    number = operator.index(value)
    if number > _MOST:
        raise _outcome.overflow(name)
    if number < least:
        raise ValueError(f"{name} must be at least {least}")
    return number


def check_timeout(value: Any, default: float | None) -> float | None:
    """Return seconds or None; the cache's own if nothing was said."""
    if value is DEFAULT:
        return default
    if value is None:
        return None
    # ldexp takes what C takes: numbers, but no text that looks like one.
    seconds = math.ldexp(value, 0)
    if not seconds > 0 or math.isinf(seconds):
        raise ValueError("timeout must be a positive number of seconds or None")
    return seconds if seconds <= _NEVER else None


def check_ids(user_ids: Any) -> tuple[Any, ...]:
    """Return many ids; one str or bytes is a slip."""
    if isinstance(user_ids, (str, bytes)):
        raise TypeError(
            f"expected many user ids, got one {type(user_ids).__name__}: "
            "put it into a list"
        )
    return tuple(user_ids)


def _first(results: list[Any]) -> Any:
    return results[0]


def _bool(results: list[Any]) -> bool:
    return bool(results[0])


class Operations:
    """The methods of both faces; a face says what `_enter` and `_perform` do."""

    __slots__ = ()

    _desk: Desk
    _prefix: bytes

    def _enter(self, method: str) -> None:
        raise NotImplementedError

    def _perform(self, request: Request) -> Any:
        raise NotImplementedError

    def get_seq(self, user_id: UserId, *, timeout: Any = DEFAULT) -> Any:
        """As the engine's."""
        self._enter("get_seq")
        return self._perform(self._read("get_seq", (user_id,), _first, timeout))

    def get_seqs(self, user_ids: Iterable[UserId], *, timeout: Any = DEFAULT) -> Any:
        """As the engine's."""
        self._enter("get_seqs")
        return self._perform(self._read("get_seqs", user_ids, list, timeout))

    def increase_seq(
        self, user_id: UserId, by: int = 1, *, timeout: Any = DEFAULT
    ) -> Any:
        """As the engine's."""
        self._enter("increase_seq")
        by = check_amount(by, "by", 1)
        ids = (user_id,)
        return self._perform(self._count("increase_seq", ids, by, _first, timeout))

    def increase_seqs(
        self, user_ids: Iterable[UserId], by: int = 1, *, timeout: Any = DEFAULT
    ) -> Any:
        """As the engine's."""
        self._enter("increase_seqs")
        by = check_amount(by, "by", 1)
        return self._perform(self._count("increase_seqs", user_ids, by, list, timeout))

    def reserve(self, user_id: UserId, count: int, *, timeout: Any = DEFAULT) -> Any:
        """As the engine's."""
        self._enter("reserve")
        count = check_amount(count, "count", 1)

        def numbers(results: list[Any]) -> range:
            return range(results[0] - count + 1, results[0] + 1)

        ids = (user_id,)
        return self._perform(self._count("reserve", ids, count, numbers, timeout))

    def raise_seq(self, user_id: UserId, to: int, *, timeout: Any = DEFAULT) -> Any:
        """As the engine's."""
        self._enter("raise_seq")
        to = check_amount(to, "to", 0)
        pairs = ((user_id, to),)
        return self._perform(self._lift("raise_seq", pairs, _first, timeout))

    def _raise_batch(
        self, pairs: Iterable[tuple[UserId, int]], *, timeout: Any = DEFAULT
    ) -> Any:
        self._enter("raise_seqs")
        return self._perform(self._lift("raise_seqs", check_ids(pairs), len, timeout))

    def _delete_key(self, user_id: UserId, *, timeout: Any = DEFAULT) -> Any:
        self._enter("delete_seq")
        request = self._request("delete_seq", "delete", (user_id,), _bool, timeout)
        request.ask = lambda backend, left: _delete(
            backend, request.keys, left, self._desk.where
        )
        return self._perform(request)

    # --- how each of them asks the backend

    def _read(
        self, method: str, ids: Iterable[UserId], shape: Any, timeout: Any
    ) -> Request:
        operation = "get" if method == "get_seq" else "get_many"
        request = self._request(method, operation, ids, shape, timeout)
        request.ask = lambda backend, left: backend.get(request.keys, timeout=left)
        return request

    def _count(
        self, method: str, ids: Iterable[UserId], by: int, shape: Any, timeout: Any
    ) -> Request:
        request = self._request(method, "increase", ids, shape, timeout)
        request.by = by
        request.least = [by] * len(request.keys)
        request.ask = lambda backend, left: backend.increase(
            request.keys, by, timeout=left
        )
        return request

    def _lift(
        self, method: str, pairs: Iterable[tuple[UserId, int]], shape: Any, timeout: Any
    ) -> Request:
        items = list(pairs)
        for pair in items:
            if not isinstance(pair, tuple) or len(pair) != 2:
                name = type(pair).__name__
                raise TypeError(f"expected pairs (user id, number), not {name}")
        ids = [pair[0] for pair in items]
        request = self._request(method, "raise", ids, shape, timeout)
        least = [check_amount(pair[1], "to", 0) for pair in items]
        request.least = least
        request.ask = lambda backend, left: backend.raise_to(
            list(zip(request.keys, least, strict=True)), timeout=left
        )
        return request

    def _request(
        self, method: str, operation: str, ids: Any, shape: Any, timeout: Any
    ) -> Request:
        prefix = self._prefix
        seconds = check_timeout(timeout, self._desk.config.timeout)
        keys = [prefix + _native.check_user_id(item) for item in check_ids(ids)]
        least = [0] * len(keys)
        return Request(
            method, operation, _no_answer, shape, prefix, seconds, keys, least=least
        )

    def _plain(self, method: str, ask: Any, shape: Any, timeout: Any) -> Request:
        """Make a call without keys: a ping, a page of a scan."""
        seconds = check_timeout(timeout, self._desk.config.timeout)
        return Request(method, "command", ask, shape, self._prefix, seconds)


def _no_answer(_backend: Any, _left: float | None) -> list[Any]:
    return []


def _delete(backend: Any, keys: list[bytes], left: float | None, where: str) -> Any:
    method = getattr(backend, "delete", None)
    if method is None:
        raise SeqCacheError(
            f"delete_seq() at {where}: the backend cannot delete",
            executed=False,
            hint="a backend may have a method delete(keys, *, timeout)",
        )
    return method(keys, timeout=left)
