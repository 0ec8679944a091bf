"""Clients under test: durable through our driver, or plain as the control.

All have the same few methods.  `CacheClient` and `LoopClient` are the product's own
faces over the C engine; `DurableClient` is the same machine over sockets that tests
can hook into.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import resp

import seqcache
from chaos.board import Board
from chaos.engine import Address, SocketEngine
from chaos.faulty import Faulty
from seqcache.ceilings import CeilingStore
from seqcache.durable.drive import BlockingDriver, boottime
from seqcache.durable.items import GET, INCR, RAISE, Item
from seqcache.durable.machine import Durable
from seqcache.errors import BulkError, SeqCacheError
from seqcache.testing._relay import Relay


class Client(Protocol):
    """What a scenario does with a client; the names of the public face."""

    def get_seq(self, key: str) -> int: ...

    def increase_seq(
        self, key: str, by: int = 1, *, token: str | None = None
    ) -> int: ...

    def increase_seqs(
        self, keys: Sequence[str], by: int = 1, *, token: str | None = None
    ) -> list[int]: ...

    def raise_seq(self, key: str, to: int) -> int: ...

    def counters(self) -> dict[str, float]: ...

    def close(self) -> None: ...


PATIENCE = 20.0
"""Seconds of a call that has to succeed: a disk may take its time to sync."""


class DurableClient:
    """`Durable` over the blocking driver and sockets.

    The first call, which makes the tables and the epoch, has as much time as it needs,
    and `timeout` is that of the later ones.
    """

    def __init__(
        self,
        find: Callable[[], Address],
        ceilings: str,
        *,
        fence: str = "lease",
        fence_time: float = 5.0,
        step: int = 1000,
        timeout: float = PATIENCE,
        retry: str = "safe",
        deployment: str = "main/0",
        clock: Callable[[], float] = boottime,
    ) -> None:
        lease_ms = int(fence_time * 1000) if fence == "lease" else 0
        self.timeout = timeout
        self.is_warm = False
        self.store = CeilingStore(ceilings, deployment, step=step, lease_ms=lease_ms)
        self.engine = SocketEngine(find)
        self.durable = Durable(
            clock,
            fence=fence,
            lease=fence_time,
            retry=retry,
            store_name=self.store.name,
        )
        self.driver = BlockingDriver(self.engine, self.store, self.durable)

    def call(self, items: list[Item]) -> list[int]:
        """One call of any number of items."""
        seconds = self.timeout if self.is_warm else PATIENCE
        results = self.driver.run(self.durable.slow(items), seconds)
        self.is_warm = True
        errors = [one for one in results if isinstance(one, SeqCacheError)]
        if not errors:
            return results  # type: ignore[return-value]
        if len(items) == 1:
            raise errors[0]
        raise BulkError(str(errors[0]), results=results)  # type: ignore[arg-type]

    def get_seq(self, key: str) -> int:
        """The highest number."""
        return self.call([Item(GET, key.encode(), 0)])[0]

    def increase_seq(self, key: str, by: int = 1, *, token: str | None = None) -> int:
        """The next number, or the last one of a block."""
        mark = None if token is None else token.encode()
        return self.call([Item(INCR, key.encode(), by, mark)])[0]

    def increase_seqs(
        self, keys: Sequence[str], by: int = 1, *, token: str | None = None
    ) -> list[int]:
        """One number for each key."""
        mark = None if token is None else token.encode()
        return self.call([Item(INCR, key.encode(), by, mark) for key in keys])

    def get_seqs(self, keys: Sequence[str]) -> list[int]:
        """The highest number of each key."""
        return self.call([Item(GET, key.encode(), 0) for key in keys])

    def raise_seq(self, key: str, to: int) -> int:
        """Forward only."""
        return self.call([Item(RAISE, key.encode(), to)])[0]

    def counters(self) -> dict[str, float]:
        """What the machine counted."""
        return asdict(self.durable.stats)

    def close(self) -> None:
        """End the background work and the links."""
        self.driver.close()
        self.engine.close()
        self.store.close()


class Service(Relay):
    """What stands for discovery: one address that leads to whatever `find` names.

    When that moves, the connections to the old place are cut, as a moved service
    address cuts them.
    """

    def __init__(self, find: Callable[[], Address]) -> None:
        self.find = find
        super().__init__(find(), lambda words: None)
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            address = self.find()
            if address != self.upstream:
                self.call(lambda to=address: self._move(to))

    def _move(self, address: Address) -> None:
        self.upstream = address
        for pair in list(self.pairs):
            pair.end(reset=True)

    def close(self) -> None:
        """End all connections and threads."""
        self._over.set()
        self._watcher.join(5)
        super().close()


def plain_address(find: Callable[[], Address]) -> tuple[str, Callable[[], None]]:
    """The server itself, where it never moves."""
    host, port = find()
    return f"redis://{host}:{port}/0", lambda: None


def service_address(find: Callable[[], Address]) -> tuple[str, Callable[[], None]]:
    """An address that leads to whatever `find` names; and what closes it."""
    service = Service(find)
    return f"redis://127.0.0.1:{service.port}/0", service.close


class CacheClient:
    """`seqcache.cache(url, ceilings=...)`: the product itself."""

    def __init__(
        self, find: Callable[[], Address], *, direct: bool = False, **options: Any
    ) -> None:
        url, self._close_way = (plain_address if direct else service_address)(find)
        options = {"prefix": "", "startup_timeout": 20.0, **options}
        self.cache: Any = seqcache.cache(url, **options)
        self.get_seq = self.cache.get_seq
        self.get_seqs = self.cache.get_seqs
        self.increase_seq = self.cache.increase_seq
        self.increase_seqs = self.cache.increase_seqs
        self.raise_seq = self.cache.raise_seq

    @property
    def durable(self) -> Durable:
        """Its state machine."""
        machine: Durable = self.cache._works.durable
        return machine

    def spoil(self, page: Board, worker: int) -> None:
        """Let its store do what the board says."""
        driver = self.cache._works.driver
        driver.store = Faulty(driver.store, page, worker)

    def counters(self) -> dict[str, float]:
        """What the machine counted."""
        return dict(self.cache.stats().durable)

    def close(self) -> None:
        """End the cache and the way to its server."""
        self.cache.close()
        self._close_way()


class LoopClient:
    """`seqcache.acache(url, ceilings=...)` on a loop in a thread of its own."""

    def __init__(
        self, find: Callable[[], Address], *, direct: bool = False, **options: Any
    ) -> None:
        url, self._close_way = (plain_address if direct else service_address)(find)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        options = {"prefix": "", "startup_timeout": 20.0, **options}
        self.cache: Any = self._run(seqcache.acache, url, **options)

    def _run(self, method: Callable[..., Any], *args: Any, **words: Any) -> Any:
        async def call() -> Any:
            return await method(*args, **words)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result()

    def get_seq(self, key: str) -> int:
        """The highest number."""
        return int(self._run(self.cache.get_seq, key))

    def increase_seq(self, key: str, by: int = 1, *, token: str | None = None) -> int:
        """The next number, or the last one of a block."""
        return int(self._run(self.cache.increase_seq, key, by, token=token))

    def increase_seqs(
        self, keys: Sequence[str], by: int = 1, *, token: str | None = None
    ) -> list[int]:
        """One number for each key."""
        return list(self._run(self.cache.increase_seqs, keys, by, token=token))

    def raise_seq(self, key: str, to: int) -> int:
        """Forward only."""
        return int(self._run(self.cache.raise_seq, key, to))

    @property
    def durable(self) -> Durable:
        """The state machine of its loop."""
        (works,) = self.cache._works._loops.values()
        machine: Durable = works.durable
        return machine

    def spoil(self, page: Board, worker: int) -> None:
        """Let its store do what the board says."""
        (works,) = self.cache._works._loops.values()
        works.driver.store = Faulty(works.driver.store, page, worker)

    def counters(self) -> dict[str, float]:
        """What the machine counted."""
        return dict(self.cache.stats().durable)

    def close(self) -> None:
        """End the cache, its loop and the way to its server."""
        self._run(self.cache.aclose)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self._close_way()


class PlainClient:
    """INCR without anything: the control that has to be caught."""

    def __init__(
        self, find: Callable[[], Address], timeout: float = 2.0, db: int = 0
    ) -> None:
        self.find = find
        self.timeout = timeout
        self.db = db
        self.link: resp.Resp | None = None
        self.address: Address | None = None

    def ask(self, *args: Any) -> Any:
        """One command on the link of this client."""
        if self.link is None or self.address != self.find():
            self.close()
            self.address = self.find()
            self.link = resp.Resp(self.address, self.timeout)
            if self.db:
                self.link.ask("SELECT", self.db)
        try:
            return self.link.ask(*args)
        except (OSError, resp.RespError):
            self.close()
            raise

    def get_seq(self, key: str) -> int:
        """GET."""
        return int(self.ask("GET", key) or 0)

    def increase_seq(self, key: str, by: int = 1, *, token: str | None = None) -> int:
        """INCRBY; a token is remembered in a key, as people do it."""
        if token is not None:
            kept = self.ask("GET", f"tok:{key}:{token}")
            if kept is not None:
                return int(kept)
        value = int(self.ask("INCRBY", key, by))
        if token is not None:
            self.ask("SET", f"tok:{key}:{token}", value, "EX", 600)
        return value

    def increase_seqs(
        self, keys: Sequence[str], by: int = 1, *, token: str | None = None
    ) -> list[int]:
        """One INCRBY for each key."""
        return [self.increase_seq(key, by, token=token) for key in keys]

    def get_seqs(self, keys: Sequence[str]) -> list[int]:
        """One GET for each key."""
        return [self.get_seq(key) for key in keys]

    def raise_seq(self, key: str, to: int) -> int:
        """Not atomic, as people do it."""
        now = self.get_seq(key)
        if now < to:
            self.ask("SET", key, to)
        return max(now, to)

    def close(self) -> None:
        """Close the link."""
        if self.link is not None:
            self.link.close()
            self.link = None

    def counters(self) -> dict[str, float]:
        """Nothing counts."""
        return {}


FACES: dict[str, type[CacheClient | LoopClient]] = {
    "cache": CacheClient,
    "acache": LoopClient,
}
TAKEN = ("fence_time", "timeout", "step", "retry", "db", "prefix", "deployment")


def make_client(board: Board, number: int, options: dict[str, Any]) -> Client:
    """The client under test: a face of the product, or the control."""

    def find() -> Address:
        return ("127.0.0.1", board.port(number))

    if options["scheme"] == "plain":
        return PlainClient(find, options["timeout"], options.get("db", 0))
    words = {name: options[name] for name in TAKEN if name in options}
    words |= {"ceilings": options["ceilings"], "fence": options["scheme"]}
    face = FACES[options["client"]](find, direct=options["direct"], **words)
    if not options["prefetch"]:
        face.durable.prefetch = lambda *_: iter(())  # type: ignore
    face.spoil(board, number)
    return face
