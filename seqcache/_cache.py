"""The blocking face: `cache` opens a `SeqCache`; hot calls are in C."""

from __future__ import annotations

import time
import warnings

from . import _common, _live, _native
from ._admin import Admin
from ._common import DEFAULT
from ._leasing import Leasing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, Self, Unpack

    from ._common import Items, Stats, UserId
    from ._fields import Overrides
    from .config import Config

__all__ = ["SeqCache", "cache"]


class SeqCache(Admin, Leasing, _native.Client):
    """A cache of sequences for threads; open one with `cache`, share it freely.

    Every method may be called from any thread. The GIL is not held while a call
    waits. ``timeout=`` of a call goes before the cache's own, in seconds.
    """

    __slots__ = ("_config", "_connector", "_is_view", "_parent")

    _config: Config
    _connector: Connector | None
    _is_view: bool
    _parent: Self  # of a view: keeps the cache open

    def __init__(
        self, engine: _native.Engine, prefix: bytes, config: Config, *, view: bool
    ) -> None:
        self._config = config
        self._connector = None
        self._is_view = view
        if not view:
            _live.begin(self, engine.where, _common.reader_of(engine))

    # The engine is made by C's __new__, which sees the same arguments.
    def __new__(cls, engine: _native.Engine, prefix: bytes, *_: Any, **__: Any) -> Self:
        """Make a view of an engine; `cache` does that for you."""
        return super().__new__(cls, engine, prefix)

    @property
    def config(self) -> Config:
        """What the cache was opened with."""
        return self._config

    @property
    def closed(self) -> bool:
        """Whether this cache (or view) was closed."""
        return self._closed or self._engine.closed

    def raise_seqs(
        self,
        pairs: Items | Iterable[tuple[UserId, int]],
        *,
        timeout: float | None = DEFAULT,
    ) -> int:
        """Move many sequences forward, never back; repeating it is harmless.

        Parameters
        ----------
        pairs:
            (user id, number) pairs or a mapping; any iterable, read in batches.
        timeout:
            Seconds for each batch of 1000.

        Returns
        -------
        How many pairs were read.
        """
        _common.check_open(self, "raise_seqs")
        words = {} if timeout is DEFAULT else {"timeout": timeout}
        return sum(
            self._raise_batch(batch, **words) for batch in _common.batches(pairs)
        )

    def delete_seq(
        self,
        user_id: UserId,
        *,
        restart_from_one: bool = False,
        timeout: float | None = DEFAULT,
    ) -> bool:
        """Delete a sequence: its numbers start again at 1.

        Parameters
        ----------
        user_id:
            1 to 512 bytes.
        restart_from_one:
            Must be true: says that numbers may repeat.
        timeout:
            Seconds for the whole call.

        Returns
        -------
        Whether there was a key. A lost answer is `OutcomeUnknown`.
        """
        _common.check_restart(restart_from_one)
        words = {} if timeout is DEFAULT else {"timeout": timeout}
        return self._delete_key(user_id, **words)

    def scan(
        self, match: str | bytes = "*", *, timeout: float | None = DEFAULT
    ) -> Iterator[tuple[str | bytes, int]]:
        """Iterate over the sequences of this prefix without blocking the server.

        Parameters
        ----------
        match:
            Glob pattern of the user ids.
        timeout:
            Seconds for each page.

        Yields
        ------
        (user id, number); perhaps more than once, in no order. Ids are str, bytes
        where they are not UTF-8.
        """
        if self._config.location.kind == "memory":
            return _common.scan_store(self, match)
        words = {} if timeout is DEFAULT else {"timeout": timeout}
        return self._scan_server(match, words)

    def _scan_server(
        self, match: str | bytes, words: dict[str, Any]
    ) -> Iterator[tuple[str | bytes, int]]:
        pattern = _common.scan_pattern(self._prefix, match)
        cursor: bytes | int = 0
        while True:
            _common.check_open(self, "scan")
            page = self._execute(_common.scan_command(cursor, pattern), **words)
            cursor, found = page
            keys = _common.own_keys(found, self._prefix)
            if keys:
                values = self._execute(("MGET", *keys), **words)
                yield from _common.pairs_of(keys, values, self._prefix)
            if int(cursor) == 0:
                return

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, on the same connections.

        Closing a view closes the view alone; closing the cache closes all views.
        """
        config = self._config.replace(prefix=prefix)
        view = type(self)(self._engine, config.key_prefix, config, view=True)
        view._parent = self
        return view

    def ping(self, *, timeout: float | None = DEFAULT) -> float:
        """Make one round trip; return how many seconds it took."""
        _common.check_open(self, "ping")
        words = {} if timeout is DEFAULT else {"timeout": timeout}
        start = time.perf_counter()
        if self._config.location.kind == "memory":
            self.get_seq(b"\0")
        else:
            self._execute(("PING",), **words)
        return time.perf_counter() - start

    def stats(self) -> Stats:
        """Return the counters of the cache, its views included; takes no lock."""
        return _common.stats_of(self._engine)

    def close(self) -> None:
        """End the cache; calls that wait end with `ClosedError`. Idempotent."""
        self._closed = True
        if not self._is_view:
            self._engine.close()
            if self._connector is not None:
                self._connector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<{type(self).__name__} {self._config!r}{state}>"

    def _repr_html_(self) -> str:
        from ._html import cache_table

        return cache_table(self)

    def __del__(self) -> None:
        if getattr(self, "_is_view", True):
            return
        _live.end(self)
        if self.closed:
            return
        if self._config.location.kind != "memory":
            warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, self)
        self._engine.close()


class Connector:
    """Makes the connections of an engine, in the thread of a caller."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._closed = False

    def __call__(self, seconds: float | None) -> int:
        """Return the descriptor of a connection that shook hands."""
        from . import _connect

        deadline = None if seconds is None else time.monotonic() + seconds
        return _connect.open_blocking(
            self._config, deadline, stop=lambda: self._closed
        ).detach()

    def close(self) -> None:
        """Give up the attempts that are under way in other threads."""
        self._closed = True


def cache(
    config: str | Config | Mapping[str, Any] | None = None,
    **overrides: Unpack[Overrides],
) -> SeqCache:
    """Open a cache for threads; it connects, authenticates and checks the server.

    Parameters
    ----------
    config:
        A URL, a `Config`, a mapping of its fields, or None for the environment
        (``SEQCACHE_URL``, ``REDIS_URL``, else ``redis://localhost:6379/0``).
    **overrides:
        Fields of `Config` that go before it.

    Raises
    ------
    ConfigError
        If an option is unknown or impossible.
    AuthError
        If the server refuses the credentials.
    StartupError
        If the cache cannot be opened for another reason; the cause is chained.
    """
    from .config import Config

    made = Config.coerce(config, **overrides)
    if made.is_embedded:
        from .embedded.cache import open_cache as open_embedded

        return open_embedded(made)
    if made.ceilings is not None:
        from .durable.cache import open_cache as open_durable

        return open_durable(made)
    if made.location.kind == "memory":
        engine = _common.open_engine(made, None, 0)
        return SeqCache(engine, made.key_prefix, made, view=False)
    if made.location.kind == "other":
        from .foreign.cache import open_cache

        return open_cache(made)
    from . import _connect

    connector = Connector(made)
    engine = _common.open_engine(made, connector, made.connections)
    engine.adopt(_connect.startup_blocking(made).detach())
    opened = SeqCache(engine, made.key_prefix, made, view=False)
    opened._connector = connector
    return opened
