"""What both faces share: opening an engine, scanning pages, statistics."""

from __future__ import annotations

import os
from typing import NamedTuple

from . import _native, _outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Protocol, SupportsIndex, TypeAlias

    from .config import Config

    UserId: TypeAlias = str | bytes | SupportsIndex
    Token: TypeAlias = str | bytes | None

    class Items(Protocol):
        """A mapping of user ids to numbers. (`Mapping` does not vary in its key.)"""

        def items(self) -> Iterable[tuple[UserId, int]]:
            """Return the pairs."""
            ...

    Connect: TypeAlias = Callable[[float | None], Any]

#: Stands for "the cache's own timeout".
DEFAULT: Any = ...
#: Prefix of seqcache's own keys.
RESERVED = b"sqc:"
#: Ids of one batch of `raise_seqs`, keys of one page of `scan`.
BATCH = 1000

_stores: dict[str, _native.Store] = {}

os.register_at_fork(
    before=_native._before_fork,
    after_in_parent=_native._after_fork_parent,
    after_in_child=_native._after_fork_child,
)


class Stats(NamedTuple):
    """Counters of a cache since it was opened, views included.

    ``calls`` by operation and ``errors`` by exception class count each id of a bulk.
    ``latency_*`` are of whole calls, in seconds; ``latency_buckets`` are (end, calls)
    of the buckets that hold any: each is about 10 % wide and begins where the one
    before it ends. ``leases`` are the blocks that came, those that did not, and how
    often a lease ran out of numbers before its next block came. ``durable`` are the
    counters of durable mode, None without it.
    """

    calls: Mapping[str, int]
    errors: Mapping[str, int]
    in_flight: int
    links: int
    reconnects: int
    regressions: int
    bytes_out: int
    bytes_in: int
    latency_count: int
    latency_p50: float
    latency_p99: float
    latency_max: float
    latency_sum: float
    latency_buckets: tuple[tuple[float, int], ...]
    leases: Mapping[str, int]
    durable: Mapping[str, float] | None = None

    def _repr_html_(self) -> str:
        from ._html import stats_table

        return stats_table(self)


def open_engine(
    config: Config, connect: Connect | None, connections: int
) -> _native.Engine:
    """Make the engine of a cache; nothing is connected yet."""
    memory = config.location.kind == "memory" and config.ceilings is None
    return _native.Engine(
        where_of(config),
        connect,
        config.timeout,
        config.max_pending,
        config.retry,
        _regress_handler(config.on_regress),
        0 if memory else connections,
        memory_store(config.address) if memory else None,
        config.token_ttl,
    )


def where_of(config: Config) -> str:
    """Name the server of a config in messages: no secrets."""
    location = config.location
    if location.kind in ("tcp", "unix"):
        return f"{config.address}/{config.db}"
    return config.address  # memory://name, or the URL of a third party


def memory_store(name: str) -> _native.Store:
    """Return the store of memory://name; a nameless one is nobody else's."""
    name = name.removeprefix("memory://")
    if not name:
        return _native.Store()
    return _stores.setdefault(name, _native.Store())


def _regress_handler(mode: str) -> Callable[[str, Any, int, int], None] | None:
    if mode == "off":
        return None
    return _raise_regressed if mode == "raise" else _warn_regressed


def _raise_regressed(method: str, user_id: Any, seen: int, got: int) -> None:
    raise _outcome.regressed(method, user_id, seen, got)


def _warn_regressed(method: str, user_id: Any, seen: int, got: int) -> None:
    from ._log import logger

    logger.warning("%s", _outcome.regressed(method, None, seen, got))
    logger.debug("%s", _outcome.regressed(method, user_id, seen, got))


def stats_of(engine: _native.Engine) -> Stats:
    """Read the engine's counters."""
    return Stats(**engine.stats())


def reader_of(engine: _native.Engine) -> Callable[[], Stats]:
    """Return what reads the engine's counters and keeps nothing else alive."""
    return lambda: stats_of(engine)


# --- scan -----------------------------------------------------------------------


def no_loop(method: str) -> RuntimeError:
    """Build the error of an asyncio call outside of a loop; as aclient.c says it."""
    whole = method if "." in method else f"cache.{method}"
    return RuntimeError(
        f"{method}() needs a running event loop, nothing was sent; "
        "call it inside a coroutine:\n"
        "    async def main():\n"
        f"        await {whole}(...)\n"
        "    asyncio.run(main())"
    )


def check_open(client: _native.Client | _native.AsyncClient, method: str) -> None:
    """Refuse a call on a closed cache by its public name."""
    if client._closed or client._engine.closed:
        raise _outcome.closed(method, client._engine.where)


def glob_bytes(pattern: str | bytes) -> bytes:
    """Return a pattern as the server takes it; TypeError for what is none."""
    if isinstance(pattern, str):
        return pattern.encode()
    if not isinstance(pattern, bytes):
        raise TypeError(f"match must be str or bytes, not {type(pattern).__name__}")
    return pattern


def scan_pattern(prefix: bytes, match: str | bytes) -> bytes:
    """Build the pattern of SCAN: the prefix taken literally, then ``match``."""
    special = b"*?[]^\\-"
    literal = b"".join(
        b"\\" + bytes([byte]) if byte in special else bytes([byte]) for byte in prefix
    )
    return literal + glob_bytes(match)


def scan_command(cursor: bytes | int, pattern: bytes) -> tuple[bytes | int | str, ...]:
    """Build the command that asks for one page."""
    return ("SCAN", cursor, "MATCH", pattern, "COUNT", BATCH)


def own_keys(keys: Iterable[bytes], prefix: bytes) -> list[bytes]:
    """Keep the keys that are sequences of ours."""
    return [
        key
        for key in keys
        if key.startswith(prefix)
        and len(key) > len(prefix)
        and not key.startswith(RESERVED)
    ]


def pairs_of(
    keys: Iterable[bytes], values: Iterable[Any], prefix: bytes
) -> Iterator[tuple[str | bytes, int]]:
    """Yield (user id, number) of the keys that hold one; other types are skipped."""
    for key, value in zip(keys, values, strict=True):
        number = _integer(value)
        if number is not None:
            yield user_id_of(key, prefix), number


def user_id_of(key: bytes, prefix: bytes) -> str | bytes:
    """Return the id behind a key: str, or bytes where that is not UTF-8."""
    raw = key[len(prefix) :]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _integer(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    if not isinstance(value, bytes) or not value.removeprefix(b"-").isdigit():
        return None
    number = int(value)
    exact = str(number).encode() == value and -(2**63) <= number < 2**63
    return number if exact else None


def scan_store(
    client: _native.Client | _native.AsyncClient, match: str | bytes
) -> Iterator[tuple[str | bytes, int]]:
    """Yield (user id, number) of a store in memory."""
    from ._glob import compile_glob

    check_open(client, "scan")
    prefix = client._prefix
    fits = compile_glob(match).fullmatch
    cursor = 0
    while True:
        cursor, page = client._scan_memory(cursor)
        numbers = dict(page)
        for key in own_keys(numbers, prefix):
            if fits(key[len(prefix) :]):
                yield user_id_of(key, prefix), numbers[key]
        if cursor == 0:
            return


def batches(pairs: Any) -> Iterator[list[tuple[Any, int]]]:
    """Cut pairs (or a mapping) into bounded lists, streaming."""
    if hasattr(pairs, "items"):
        pairs = pairs.items()
    if isinstance(pairs, (str, bytes)):
        raise TypeError("expected pairs (user id, number), not one id")
    batch: list[tuple[Any, int]] = []
    for pair in pairs:
        if isinstance(pair, (str, bytes)):  # b"ab" is no pair of two integers
            name = type(pair).__name__
            raise TypeError(f"expected pairs (user id, number), not {name}")
        batch.append(tuple(pair))  # C checks the length
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def check_restart(restart_from_one: bool) -> None:
    """Refuse a delete of which nobody said that numbers may start again."""
    if not restart_from_one:
        raise ValueError(
            "delete_seq() makes the sequence start again at 1, so numbers repeat: "
            "pass restart_from_one=True if that is what you want"
        )
