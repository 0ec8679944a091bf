"""Clients under test: durable through our driver, or plain as the control.

All have the same few methods.  `CacheClient` is the product's own face over the C
engine; `DurableClient` is the same machine over sockets that tests can hook into.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import resp

import seqcache
from chaos.engine import Address, SocketEngine
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

    def close(self) -> None: ...


class DurableClient:
    """`Durable` over the blocking driver and sockets."""

    def __init__(
        self,
        find: Callable[[], Address],
        ceilings: str,
        *,
        fence: str = "lease",
        fence_time: float = 5.0,
        step: int = 1000,
        timeout: float = 2.0,
        retry: str = "safe",
        deployment: str = "main/0",
        clock: Callable[[], float] = boottime,
    ) -> None:
        lease_ms = int(fence_time * 1000) if fence == "lease" else 0
        self.timeout = timeout
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
        results = self.driver.run(self.durable.slow(items), self.timeout)
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


class CacheClient:
    """`seqcache.cache(url, ceilings=...)`: the product itself."""

    def __init__(
        self,
        find: Callable[[], Address],
        ceilings: str,
        *,
        deployment: str = "main/0",
        **options: Any,
    ) -> None:
        self.service = Service(find)
        self.cache: Any = seqcache.cache(
            f"redis://127.0.0.1:{self.service.port}/0",
            prefix="",
            ceilings=ceilings,
            deployment=deployment.partition("/")[0],
            startup_timeout=20.0,
            **options,
        )
        self.get_seq = self.cache.get_seq
        self.get_seqs = self.cache.get_seqs
        self.increase_seq = self.cache.increase_seq
        self.increase_seqs = self.cache.increase_seqs
        self.raise_seq = self.cache.raise_seq

    @property
    def durable(self) -> Durable:
        """Its state machine, for the counters."""
        machine: Durable = self.cache._works.durable
        return machine

    def close(self) -> None:
        """End the cache and the way to its server."""
        self.cache.close()
        self.service.close()


class PlainClient:
    """INCR without anything: the control that has to be caught."""

    def __init__(self, find: Callable[[], Address], timeout: float = 2.0) -> None:
        self.find = find
        self.timeout = timeout
        self.link: resp.Resp | None = None
        self.address: Address | None = None

    def ask(self, *args: Any) -> Any:
        """One command on the link of this client."""
        if self.link is None or self.address != self.find():
            self.close()
            self.address = self.find()
            self.link = resp.Resp(self.address, self.timeout)
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
