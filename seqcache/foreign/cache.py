"""Caches over third parties' backends: the blocking face, and how both are opened.

Such a cache is a `SeqCache` like any other; its methods are Python and ask the
backend instead of the C engine, of which only the views and `closed` are used.
"""

from __future__ import annotations

import inspect
import time
import warnings
from itertools import islice

from .. import _common, _connect, _live, _outcome
from .._cache import SeqCache
from .._common import DEFAULT
from .._glob import compile_glob
from ..backends import AsyncBackend, Backend, find_backend
from ..errors import AuthError, ConfigError, ConnectError, SeqCacheError
from .calls import Desk, Request, raise_from
from .operations import Operations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator
    from typing import Any, Self

    from .. import _native
    from .._acache import AsyncSeqCache
    from .._common import Stats
    from ..backends import BackendFactory
    from ..config import Config

__all__ = ["open_acache", "open_cache"]

#: Pairs of one page of a scan.
PAGE = 500
_METHODS = ("get", "increase", "raise_to", "scan", "ping")


class ForeignCache(Operations, SeqCache):
    """A `SeqCache` over a `Backend`, called in the caller's own thread."""

    __slots__ = ("_backend", "_desk")

    _backend: Backend
    _desk: Desk

    def __init__(
        self,
        engine: _native.Engine,
        prefix: bytes,
        config: Config,
        *,
        view: bool,
        desk: Desk,
        backend: Backend,
    ) -> None:
        super().__init__(engine, prefix, config, view=view)
        self._desk = desk
        self._backend = backend
        if not view:
            _live.begin(self, desk.where, desk.stats)

    def _enter(self, method: str) -> None:
        if self.closed:
            raise _outcome.closed(method, self._desk.where)

    def _perform(self, request: Request) -> Any:
        if request.least is not None and not request.keys:
            return request.shape([])
        return self._desk.run(request, self._backend)

    def scan(
        self, match: str | bytes = "*", *, timeout: float | None = DEFAULT
    ) -> Iterator[tuple[str | bytes, int]]:
        """Iterate as `SeqCache.scan`; each page is the backend's own matter."""
        self._enter("scan")
        return self._pages(compile_glob(match), timeout)

    def _pages(
        self, pattern: re.Pattern[bytes], timeout: Any
    ) -> Iterator[tuple[str | bytes, int]]:
        pages = Pages(self._prefix)
        while True:
            page = self._perform(self._plain("scan", pages.next, same, timeout))
            yield from select(page, self._prefix, pattern)
            if len(page) < PAGE:
                return

    def namespace(self, prefix: str | bytes) -> Self:
        """Return a view with another prefix, on the same backend."""
        config = self._config.replace(prefix=prefix)
        view = type(self)(
            self._engine,
            config.key_prefix,
            config,
            view=True,
            desk=self._desk,
            backend=self._backend,
        )
        view._parent = self
        return view

    def ping(self, *, timeout: float | None = DEFAULT) -> float:
        """Let the backend make one round trip; return how many seconds it took."""
        self._enter("ping")
        start = time.perf_counter()
        self._perform(self._plain("ping", ask_ping, same, timeout))
        return time.perf_counter() - start

    def stats(self) -> Stats:
        """Return the counters of the cache, its views included."""
        return self._desk.stats()

    def close(self) -> None:
        """End the cache and close the backend. Idempotent."""
        self._closed = True
        if not self._is_view and not self._engine.closed:
            self._engine.close()
            self._backend.close()

    def __del__(self) -> None:
        if getattr(self, "_is_view", True):
            return
        _live.end(self)
        if self.closed:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        self.close()


class Pages:
    """A scan of a blocking backend, cut into pages; made when the first is asked."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._found: Iterator[tuple[bytes, int]] | None = None

    def next(self, backend: Any, _left: float | None) -> list[tuple[bytes, int]]:
        """Return the next page; one that is not full is the last."""
        if self._found is None:
            self._found = iter(backend.scan(self._prefix))
        return list(islice(self._found, PAGE))

    def end(self, _backend: Any, _left: float | None) -> None:
        """Let go of the backend's iterator, in the thread that used it."""
        self._found = None


def select(
    found: Iterable[tuple[bytes, int]], prefix: bytes, pattern: re.Pattern[bytes]
) -> Iterator[tuple[str | bytes, int]]:
    """Yield (user id, number) of a backend's pairs that are ours and match."""
    for key, number in found:
        if _common.own_keys((key,), prefix) and pattern.fullmatch(key[len(prefix) :]):
            yield _common.user_id_of(key, prefix), number


def ask_ping(backend: Any, left: float | None) -> Any:
    """Ask a backend of either kind for one round trip."""
    return backend.ping(timeout=left)


def same(answer: Any) -> Any:
    """Return the answer as it is: the shape of a call without keys."""
    return answer


# --- opening ---------------------------------------------------------------------


def open_cache(config: Config) -> SeqCache:
    """Open a blocking cache over the backend of the URL's scheme.

    Raises
    ------
    ConfigError
        If nobody offers the scheme, or its backend serves asyncio only.
    AuthError
        If the backend says so.
    StartupError
        If the backend cannot be made, or does not answer its first ping within
        ``connect_timeout`` and ``startup_timeout``; the cause is chained.
    """
    factory = factory_of(config)
    patience = _connect._Patience(config)
    while True:
        try:
            backend = _made(factory, config)
            break
        except ConnectError as error:
            pause = patience.pause(error)
        time.sleep(pause)
    engine = _common.open_engine(config, None, 0)
    desk = Desk(config, engine)
    return ForeignCache(
        engine, config.key_prefix, config, view=False, desk=desk, backend=backend
    )


async def open_acache(config: Config) -> AsyncSeqCache:
    """Open an asyncio cache, over a `Backend` in a thread or an `AsyncBackend`.

    Raises the same errors as `open_cache`.
    """
    from . import acache as _foreign_async

    return await _foreign_async.open_acache(config)


def _made(factory: BackendFactory, config: Config) -> Backend:
    """Make a blocking backend that answers."""
    try:
        backend = factory(config)
    except Exception as error:
        raise_from(trouble(config, error), error)
    if is_async(config, backend):
        raise ConfigError(
            f"the backend of {config.location.scheme}:// serves asyncio only",
            option="url",
            hint="open it with seqcache.acache()",
        )
    assert isinstance(backend, Backend)
    try:
        backend.ping(timeout=config.connect_timeout)
    except Exception as error:
        backend.close()
        raise_from(trouble(config, error), error)
    return backend


def factory_of(config: Config) -> BackendFactory:
    """Return the factory of the URL's scheme."""
    scheme = config.location.scheme
    factory = find_backend(scheme)
    if factory is None:
        raise ConfigError(f"no backend serves {scheme}:// any more", option="url")
    return factory


def is_async(config: Config, backend: object) -> bool:
    """Tell an `AsyncBackend` from a `Backend`; ConfigError if it is neither."""
    if inspect.iscoroutinefunction(getattr(backend, "get", None)):
        wanted: type[Any] = AsyncBackend
        names = (*_METHODS, "aclose")
    else:
        wanted, names = Backend, (*_METHODS, "close")
    if not isinstance(backend, wanted):
        lacking = ", ".join(name for name in names if not hasattr(backend, name))
        raise ConfigError(
            f"the factory of {config.location.scheme}:// returned a "
            f"{type(backend).__name__}, which is no backend: it lacks {lacking}",
            option="url",
        )
    return wanted is AsyncBackend


def trouble(config: Config, error: Exception) -> SeqCacheError:
    """Build what the factory of a cache raises for a failure of the backend.

    A ConnectError is one that a later attempt may mend.
    """
    if isinstance(error, (AuthError, ConfigError)):
        return error
    text = f"{type(error).__name__}: {error}"
    if config.password:
        text = text.replace(config.password, "***")
    made = ConnectError(f"{_common.where_of(config)} cannot be opened: {text}")
    made.__cause__ = error
    return made
