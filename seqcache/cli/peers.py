"""The clients that `bench` compares, each reduced to "increase this user by one"."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from typing import Any

from .. import SeqCache, __version__, acache
from ..config import Config
from .rates import AsyncIncrease, Increase, IncreaseMany


@dataclass(frozen=True)
class Blocking:
    """A blocking client's two calls."""

    increase: Increase
    increase_many: IncreaseMany


@dataclass(frozen=True)
class Client:
    """A client by name: how to open its two faces."""

    name: str
    version: str
    open: Callable[[], AbstractContextManager[Blocking]]
    open_async: Callable[[], AbstractAsyncContextManager[AsyncIncrease]]


def ourselves(seqs: SeqCache) -> Client:
    """Return seqcache as a user gets it."""

    @contextmanager
    def blocking() -> Iterator[Blocking]:
        yield Blocking(seqs.increase_seq, seqs.increase_seqs)

    @asynccontextmanager
    async def awaited() -> AsyncIterator[AsyncIncrease]:
        async with acache(seqs.config) as cache:
            yield cache.increase_seq

    return Client("seqcache", __version__, blocking, awaited)


def installed(config: Config) -> tuple[list[Client], list[dict[str, str]]]:
    """Return the peers that are installed, and why others are not measured."""
    found, missing = [], []
    for name, module, cls in (
        ("redis-py", "redis", "Redis"),
        ("valkey-py", "valkey", "Valkey"),
    ):
        if config.location.kind not in ("tcp", "unix"):
            missing.append({"client": name, "reason": "needs a server (--url)"})
            continue
        try:
            importlib.import_module(f"{module}.asyncio")
        except ImportError:
            missing.append({"client": name, "reason": "not installed"})
            continue
        found.append(_like_redis_py(name, importlib.import_module(module), cls, config))
    return found, missing


def notes(names: Sequence[str]) -> list[str]:
    """Return what somebody who reads the rates should know about the peers."""
    return [
        f"{name} runs without its C parser: pip install {parser}"
        for name, parser in (("redis-py", "hiredis"), ("valkey-py", "libvalkey"))
        if name in names and importlib.util.find_spec(parser) is None
    ]


def _like_redis_py(name: str, module: Any, cls: str, config: Config) -> Client:
    """Return redis-py, or its fork valkey-py, with its defaults."""
    prefix = config.key_prefix
    options = _options(config)

    def key(user: str) -> bytes:
        return prefix + user.encode()

    @contextmanager
    def blocking() -> Iterator[Blocking]:
        with getattr(module, cls)(**options) as client:

            def many(users: Sequence[str]) -> list[int]:
                pipeline = client.pipeline(transaction=False)
                for user in users:
                    pipeline.incr(key(user))
                return list(pipeline.execute())

            yield Blocking(lambda user: client.incr(key(user)), many)

    @asynccontextmanager
    async def awaited() -> AsyncIterator[AsyncIncrease]:
        async with getattr(module.asyncio, cls)(**options) as client:
            yield lambda user: client.incr(key(user))

    return Client(name, str(module.__version__), blocking, awaited)


def _options(config: Config) -> dict[str, Any]:
    """Return the address of a config in the words of redis-py."""
    words: dict[str, Any] = {
        "db": config.db,
        "username": config.username,
        "password": config.password,
    }
    if config.location.kind == "unix":
        return {**words, "unix_socket_path": config.location.path}
    return {**words, "host": config.location.host, "port": config.location.port}
