"""The stores of this process: caches of one file and deployment share one."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from dataclasses import asdict

from .. import _native
from ..errors import CeilingError, ConfigError, SeqCacheError, StartupError
from .granter import Granter
from .ledger import Ledger
from .owner import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    from ..config import Config
    from .leased import LeasedLedger

    Place: TypeAlias = tuple[str, str]

logger = logging.getLogger("seqcache")

#: Seconds for which closing waits until the thread is out of the database.
CLOSE_SECONDS = 5.0
#: Seconds for which a fork waits for it.
FORK_SECONDS = 1.0
#: Seconds between two attempts to open, while startup_timeout lasts.
PAUSE = 0.05


class Store:
    """Counters in this process and their ceilings; `open_store` makes it."""

    def __init__(self, place: Place, config: Config, owner: Owner | None) -> None:
        self.place = place
        self.terms = _terms(config)
        self.owner = owner
        self.cells = _native.Cells(owner is not None)
        self.ledger = self._ledger(config)
        self.granter = Granter(self.ledger, self.cells)
        self.users = 1

    def _ledger(self, config: Config) -> Ledger | LeasedLedger:
        deployment = self.place[1]
        if self.owner is not None:
            return Ledger(self.owner.path, deployment, config.step)
        from ..ceilings import CeilingStore
        from .leased import LeasedLedger

        lease = config.fence_time if config.fence == "lease" else 0.0
        store = CeilingStore(
            config.ceilings, deployment, step=config.step, lease_ms=round(lease * 1000)
        )
        try:
            return LeasedLedger(store, self.cells)
        except CeilingError as error:
            store.close()
            text = f"{store.name}: {error.args[0]}"
            raise StartupError(text, hint=error.hint) from error
        except BaseException:
            store.close()
            raise

    @property
    def name(self) -> str:
        """The file, for messages."""
        return self.ledger.name

    def stats(self) -> Mapping[str, float]:
        """Return the counters of ``stats().durable``."""
        told: dict[str, float] = asdict(self.granter.stats)
        for name, value in asdict(self.ledger.stats).items():
            told[f"store_{name}"] = value
        return told

    def end(self, seconds: float, *, exact: bool) -> bool:
        """Give no more numbers; tell whether the file was given back.

        It is not when the thread is in the database for longer than `seconds`.
        `exact` brings the ceilings down to the numbers. That is safe because nothing
        is given once the cells are sealed, and the file is still ours.
        """
        self.granter.stop()
        self.cells.seal()
        if not self.granter.quiet.acquire(timeout=seconds):
            return False
        try:
            self.ledger.close(self._numbers() if exact else None)
        except (sqlite3.Error, SeqCacheError) as error:
            logger.warning("seqcache: gaps stay in %s: %s", self.name, error)
        finally:
            self.granter.quiet.release()
        if exact:
            self.granter.end()
        return True

    def _numbers(self) -> Iterator[tuple[bytes, int]]:
        cursor = 0
        while True:
            cursor, page = self.cells.page(cursor)
            yield from page
            if not cursor:
                return


# --- the stores of this process ---------------------------------------------------

_lock = threading.Lock()
_stores: dict[Place, Store] = {}
_owners: dict[str, Owner] = {}
#: Closed, but not given back yet.
_unfinished: list[Store] = []
#: A forked child must not even close its parent's database.
_parents: list[Store] = []


def place_of(config: Config) -> Place:
    """Return where the ceilings of a config are, and its deployment there.

    In an SQLite file, however that is written, the place is its path.
    """
    location = config.location
    name = location.path if location.kind == "memory" else ""
    deployment = f"{config.deployment}/memory" + (f":{name}" if name else "")
    if len(deployment) > 80:
        raise ConfigError(
            "deployment and name of the store are too long together",
            option="deployment",
        )
    if location.kind == "sqlite":
        return os.path.realpath(location.path), deployment
    url = getattr(config.ceilings, "url", None)  # of an Engine
    text = str(config.ceilings if url is None else url)
    scheme, _, path = text.partition("?")[0].partition(":///")
    if scheme.partition("+")[0] == "sqlite" and path:
        return os.path.realpath(path), deployment
    return text if url is None else f"{text} {id(config.ceilings)}", deployment


def is_file(place: Place) -> bool:
    """Whether the ceilings are in a file that one process owns."""
    return place[0].startswith("/")


def open_store(config: Config) -> Store:
    """Return the store of a config, opened or shared; blocks.

    Raises
    ------
    StartupError
        If it cannot be opened within ``startup_timeout``.
    """
    place = place_of(config)
    end = time.monotonic() + config.startup_timeout
    while True:
        with _lock:
            try:
                return _open(place, config)
            except StartupError:
                if time.monotonic() + PAUSE > end:
                    raise
        time.sleep(PAUSE)


def _open(place: Place, config: Config) -> Store:
    _finish()
    found = _stores.get(place)
    if found is not None:
        _check_terms(found, config)
        found.users += 1
        return found
    path, owner = place[0], None
    if is_file(place):
        owner = _owners.get(path)
        if owner is None:
            owner = _owners[path] = Owner(path)
    try:
        made = _stores[place] = Store(place, config, owner)
    except BaseException:
        _disown(path)
        raise
    return made


def _terms(config: Config) -> dict[str, object]:
    """Return the options that caches of one store share."""
    names = ["step"] if config.location.kind == "sqlite" else ["step", "fence"]
    if config.fence == "lease" and "fence" in names:
        names.append("fence_time")
    return {name: getattr(config, name) for name in names}


def _check_terms(found: Store, config: Config) -> None:
    """Refuse what another cache has decided already."""
    for name, value in _terms(config).items():
        if found.terms.get(name, value) != value:
            raise ConfigError(
                f"{found.name} is open in this process with {name}="
                f"{found.terms[name]!r}, not {value!r}",
                hint="caches of one process share the store, and so these options",
                option=name,
            )


def _disown(path: str) -> None:
    """Give a file back when no store of it is left."""
    if path in _owners and not any(place[0] == path for place in _stores):
        _owners.pop(path).release()


def close_store(store: Store) -> None:
    """Give a store back; whoever is the last ends it. Blocks."""
    with _lock:
        _finish()
        if store in _parents or not store.users:
            return
        store.users -= 1
        if not store.users:
            _end(store, CLOSE_SECONDS, exact=True)


def drop_store(store: Store) -> None:
    """Give a store back in a finalizer: waits for nothing, writes nothing."""
    if not _lock.acquire(blocking=False):
        _unfinished.append(store)
        return
    try:
        _drop(store)
    finally:
        _lock.release()


def _drop(store: Store) -> None:
    store.users -= 1
    if not store.users and store not in _parents:
        _end(store, 0.0, exact=False)


def _end(store: Store, seconds: float, *, exact: bool) -> None:
    if store.end(seconds, exact=exact):
        del _stores[store.place]
        _disown(store.place[0])
    else:
        store.users = 1
        _unfinished.append(store)


def _finish() -> None:
    """Do what `drop_store` and a slow database have left over."""
    for _ in range(len(_unfinished)):
        _drop(_unfinished.pop(0))


# --- fork -------------------------------------------------------------------------

_held: list[threading.Lock] = []


def _before_fork() -> None:
    # SQLite keeps locks of a process in its memory: a child that is forked in the
    # middle of a transaction would find its own files locked for ever.
    end = time.monotonic() + FORK_SECONDS
    for store in list(_stores.values()):
        quiet = store.granter.quiet
        if quiet.acquire(timeout=max(0.0, end - time.monotonic())):
            _held.append(quiet)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    global _lock
    _held.clear()
    _lock = threading.Lock()
    for store in _stores.values():
        _parents.append(store)
        store.granter.after_fork()
    for owner in _owners.values():
        owner.release()
    _stores.clear()
    _owners.clear()
    _unfinished.clear()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
