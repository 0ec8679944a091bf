"""The operations of both faces over a third party's backend: arguments -> requests."""

from __future__ import annotations

import math
import operator

from .. import _native, _outcome
from .._common import DEFAULT
from ..errors import SeqCacheError
from .calls import MOST, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    from .._common import Token, UserId
    from ..config import Config

    class Desk(Protocol):
        """What the operations need to know of a cache."""

        config: Config
        where: str


# Seconds that nobody waits for: the engine's "as good as never".
_NEVER = 3e7

# --- arguments, with the engine's own words ------------------------------------


def check_amount(value: Any, name: str, least: int) -> int:
    """Return an integer of [least, 2^63-1]; ValueError below, overflow above."""
    number = operator.index(value)
    if number > MOST:
        raise _outcome.overflow(name)
    if number < least:
        raise ValueError(f"{name} must be at least {least}")
    return number


def check_token(token: Any) -> bytes | None:
    """Return the bytes of a token: a str or bytes of 1 to 512 bytes."""
    if token is None:
        return None
    if not isinstance(token, (str, bytes)):
        raise TypeError(f"token must be str or bytes, not {type(token).__name__}")
    raw = token.encode() if isinstance(token, str) else token
    if not 1 <= len(raw) <= 512:
        raise ValueError(f"a token has 1 to 512 bytes, not {len(raw)}")
    return raw


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
        self,
        user_id: UserId,
        by: int = 1,
        *,
        token: Token = None,
        timeout: Any = DEFAULT,
    ) -> Any:
        """As the engine's."""
        self._enter("increase_seq")
        by = check_amount(by, "by", 1)
        ids = (user_id,)
        request = self._count("increase_seq", ids, by, _first, timeout, token)
        return self._perform(request)

    def increase_seqs(
        self,
        user_ids: Iterable[UserId],
        by: int = 1,
        *,
        token: Token = None,
        timeout: Any = DEFAULT,
    ) -> Any:
        """As the engine's."""
        self._enter("increase_seqs")
        by = check_amount(by, "by", 1)
        request = self._count("increase_seqs", user_ids, by, list, timeout, token)
        return self._perform(request)

    def reserve(
        self,
        user_id: UserId,
        count: int,
        *,
        token: Token = None,
        timeout: Any = DEFAULT,
    ) -> Any:
        """As the engine's."""
        self._enter("reserve")
        count = check_amount(count, "count", 1)

        def numbers(results: list[Any]) -> range:
            return range(results[0] - count + 1, results[0] + 1)

        ids = (user_id,)
        request = self._count("reserve", ids, count, numbers, timeout, token)
        return self._perform(request)

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
        self,
        method: str,
        ids: Iterable[UserId],
        by: int,
        shape: Any,
        timeout: Any,
        token: Token = None,
    ) -> Request:
        raw = check_token(token)
        request = self._request(method, "increase", ids, shape, timeout)
        request.by = by
        request.token = token
        request.least = [by] * len(request.keys)
        if raw is None:
            request.ask = lambda backend, left: backend.increase(
                request.keys, by, timeout=left
            )
        else:
            request.ask = lambda backend, left: _increase_once(
                backend, request, raw, self._desk, left
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
        keys = [prefix + _native.check_user_id(one, prefix) for one in check_ids(ids)]
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


def _increase_once(
    backend: Any, request: Request, token: bytes, desk: Desk, left: float | None
) -> Any:
    method = getattr(backend, "increase_once", None)
    if method is None:
        raise SeqCacheError(
            f"{request.method}() at {desk.where}: the backend knows no tokens",
            executed=False,
            hint="a backend may have a method"
            " increase_once(keys, by, token, *, ttl, timeout)",
        )
    ttl = desk.config.token_ttl
    return method(request.keys, request.by, token, ttl=ttl, timeout=left)


def _delete(backend: Any, keys: list[bytes], left: float | None, where: str) -> Any:
    method = getattr(backend, "delete", None)
    if method is None:
        raise SeqCacheError(
            f"delete_seq() at {where}: the backend cannot delete",
            executed=False,
            hint="a backend may have a method delete(keys, *, timeout)",
        )
    return method(keys, timeout=left)
