"""What stands around the methods of both faces while telemetry is on."""

from __future__ import annotations

import asyncio
from functools import partial, wraps

from opentelemetry import context as contexts

from ... import _native
from ..._acache import AsyncSeqCache
from ..._cache import SeqCache
from .calls import is_untold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from .calls import Call, Telemetry

#: Calls that are told of, as far as a version has them.
METHODS = (
    "get_seq",
    "increase_seq",
    "reserve",
    "raise_seq",
    "get_seqs",
    "increase_seqs",
    "raise_seqs",
    "delete_seq",
    "ack_seq",
    "trim_seq",
    "state",
    "wait_seq",
    "scan",
    "ping",
    "export_seqs",
    "import_seqs",
)


def blocking(telemetry: Telemetry, method: str, original: Callable[..., Any]) -> Any:
    """Stand around a method of the blocking face."""

    def ended(call: Call, result: Any) -> Any:
        call.end(None, result)
        return result

    return _around(telemetry, method, original, ended)


def in_loop(telemetry: Telemetry, method: str, original: Callable[..., Any]) -> Any:
    """Stand around a method of the asyncio face: what it returns stays a future."""

    def under_way(call: Call, result: Any) -> Any:
        if not asyncio.isfuture(result):
            return _awaited(call, result)
        result.add_done_callback(call.ended)
        return result

    return _around(telemetry, method, original, under_way)


def _around(
    telemetry: Telemetry,
    method: str,
    original: Callable[..., Any],
    returned: Callable[[Call, Any], Any],
) -> Any:
    """Stand around a method; `returned` sees what it returns, and may end the call."""
    in_c = _is_in_c(original)

    @wraps(original)
    def traced(self: Any, *args: Any, **given: Any) -> Any:
        if is_untold():
            return original(self, *args, **given)
        call = telemetry.begin(self, method, args, given)
        token = None if in_c and not self._engine.is_durable else call.enter()
        try:
            result = original(self, *args, **given)
        except BaseException as error:
            call.end(error)
            raise
        finally:
            if token is not None:
                contexts.detach(token)
        return returned(call, result)

    return traced


def _is_in_c(original: Any) -> bool:
    """Whether nothing that a call does has a span of its own, but for durable SQL."""
    return not hasattr(original, "__code__")


async def _awaited(call: Call, work: Any) -> Any:
    token = call.enter()
    try:
        result = await work
    except BaseException as error:
        call.end(error)
        raise
    finally:
        contexts.detach(token)
    call.end(None, result)
    return result


def scanning(telemetry: Telemetry, method: str, original: Callable[..., Any]) -> Any:
    """Stand around the blocking face's iterator: one span from first to last."""

    @wraps(original)
    def traced(self: SeqCache, *args: Any, **given: Any) -> Any:
        found = original(self, *args, **given)
        return found if is_untold() else pairs(self, found, args, given)

    def pairs(self: Any, found: Any, args: Any, given: Any) -> Iterator[Any]:
        # Not made current: the code between two pairs is not a part of the scan.
        call = telemetry.begin(self, method, args, given)
        try:
            yield from found
        except GeneratorExit:
            call.end()
            raise
        except BaseException as error:
            call.end(error)
            raise
        call.end()

    return traced


def scanning_in_loop(
    telemetry: Telemetry, method: str, original: Callable[..., Any]
) -> Any:
    """Stand around the asyncio face's iterator."""

    @wraps(original)
    def traced(self: AsyncSeqCache, *args: Any, **given: Any) -> Any:
        found = original(self, *args, **given)
        return found if is_untold() else pairs(self, found, args, given)

    async def pairs(self: Any, found: Any, args: Any, given: Any) -> AsyncIterator[Any]:
        call = telemetry.begin(self, method, args, given)
        try:
            async for pair in found:
                yield pair
        except GeneratorExit:
            call.end()
            raise
        except BaseException as error:
            call.end(error)
            raise
        finally:
            await found.aclose()
        call.end()

    return traced


# --- putting them there -------------------------------------------------------------

_ABSENT = object()


def patch(telemetry: Telemetry) -> Callable[[], None]:
    """Put wrappers around the methods of all caches, also of later classes.

    Returns what takes them away again.
    """
    changes: list[tuple[type, str, Any]] = []

    def change(cls: type, name: str, value: Any) -> None:
        changes.append((cls, name, vars(cls).get(name, _ABSENT)))
        setattr(cls, name, value)

    for root, usual, iterating in (
        (SeqCache, blocking, scanning),
        (AsyncSeqCache, in_loop, scanning_in_loop),
    ):
        wrap = partial(_wrap, telemetry, usual, iterating, change)
        for cls in _family(root):
            wrap(cls)
        # The classes of durable mode and of backends are made when they are needed.
        change(root, "__init_subclass__", classmethod(_made_later(root, wrap)))

    _native._keep_contexts(True)

    def undo() -> None:
        _native._keep_contexts(False)
        for cls, name, before in reversed(changes):
            if before is _ABSENT:
                delattr(cls, name)
            else:
                setattr(cls, name, before)

    return undo


def _made_later(root: Any, wrap: Callable[[type], None]) -> Callable[..., None]:
    def init_subclass(cls: type, **words: Any) -> None:
        super(root, cls).__init_subclass__(**words)
        wrap(cls)

    return init_subclass


def _family(root: Any) -> Iterator[type]:
    yield root
    for cls in root.__subclasses__():
        yield from _family(cls)


def _wrap(
    telemetry: Telemetry,
    usual: Callable[..., Any],
    iterating: Callable[..., Any],
    change: Callable[[type, str, Any], None],
    cls: type,
) -> None:
    """Wrap what a class has of ours; what others overrode calls ours by super()."""
    for name in METHODS:
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        if owner is None or not owner.__module__.startswith("seqcache."):
            continue
        found = vars(owner)[name]
        if not hasattr(found, "_seqcache_traced"):
            make = iterating if name == "scan" else usual
            traced = make(telemetry, name, found)
            traced._seqcache_traced = True
            change(cls, name, traced)
