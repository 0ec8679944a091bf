"""`Faults`: a server with a bad day, at the call of your choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from .._cache import cache
from ..config import Config
from ..errors import ConfigError
from ._pair import Fate, Pair
from ._relay import Relay, Upstream
from ._server import with_options
from ._store import Store

__all__ = ["Fault", "Faults"]

# What a connection says when it begins, and others say about it: no calls.
SETUP = frozenset(
    b"AUTH CLIENT CLUSTER COMMAND EXISTS FUNCTION HELLO INFO ROLE SCRIPT SELECT".split()
)
READONLY = "READONLY You can't write against a read only replica."


@dataclass(eq=False)
class Fault:
    """A fault that was ordered; ``fired`` says how often it has happened."""

    name: str
    nth: int
    times: float
    command: bytes | None
    key: bytes | None
    fate: Fate = field(repr=False)
    seen: int = 0
    fired: int = 0

    def _meets(self, words: list[bytes]) -> bool:
        """Count a call, if it is one of those meant; is it its turn?"""
        verb = words[0].upper()
        if verb in SETUP if self.command is None else verb != self.command:
            return False
        if self.key is not None and self.key not in words[1:]:
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class Faults:
    """Stands before a server and does to calls what networks and servers do to them.

    The fixture ``seqcache_faults``; without pytest use it in ``with``. ``url`` is
    the address to open caches at::

        with Faults("memory://") as faults, seqcache.cache(faults.url) as cache:
            faults.lose_reply()
            with pytest.raises(seqcache.OutcomeUnknown):
                cache.increase_seq("alice")

    Each fault happens to the ``nth`` call from now on and to the following ones,
    ``times`` in all (``math.inf``: for ever). A call is one command: a bulk call of n
    ids increases by n commands. Only those count that are the Redis command
    ``command`` (any by default) and name the ``key`` (as redis-cli shows it:
    ``"seq:alice"``). Of several faults the first one that was ordered wins.

    Parameters
    ----------
    url:
        The server: TCP, unix socket, or ``memory://`` for a stand-in in this
        process, which knows what plain mode needs and no more.

    Raises
    ------
    ConfigError
        If the URL names something else.
    """

    url: str

    def __init__(self, url: str) -> None:
        self._config = config = Config.from_url(url, ceilings=None)
        self._upstream = upstream_of(config)
        self._faults: list[Fault] = []
        self._calls: list[tuple[bytes, ...]] = []
        self._relay = Relay(self._upstream, self._judge)
        self.url = self._url_of(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and the thread. Raises what failed in it."""
        self._relay.close()

    # --- what happens to a call ----------------------------------------------------

    def lose_reply(
        self,
        nth: int = 1,
        *,
        times: float = 1,
        command: str | None = None,
        key: str | bytes | None = None,
    ) -> Fault:
        """The server runs the call; the connection closes instead of an answer."""
        fate = Fate(ending="close")
        return self._order("lose_reply", fate, nth, times, command, key)

    def silence(
        self,
        nth: int = 1,
        *,
        times: float = 1,
        command: str | None = None,
        key: str | bytes | None = None,
    ) -> Fault:
        """The server runs the call; its answer and all later ones never come.

        The connection stays open, so it is the call's deadline that ends it.
        """
        fate = Fate(ending="silent")
        return self._order("silence", fate, nth, times, command, key)

    def delay(
        self,
        seconds: float,
        nth: int = 1,
        *,
        times: float = 1,
        command: str | None = None,
        key: str | bytes | None = None,
    ) -> Fault:
        """The server runs the call; the answer, and all behind it, come later."""
        fate = Fate(seconds=seconds)
        return self._order("delay", fate, nth, times, command, key)

    def reset(
        self,
        nth: int = 1,
        *,
        times: float = 1,
        command: str | None = None,
        key: str | bytes | None = None,
    ) -> Fault:
        """The connection is reset before the server sees the call.

        Answers to earlier calls that were not read yet are lost with it.
        """
        fate = Fate(forward=False, ending="reset")
        return self._order("reset", fate, nth, times, command, key)

    def error(
        self,
        text: str,
        nth: int = 1,
        *,
        times: float = 1,
        command: str | None = None,
        key: str | bytes | None = None,
    ) -> Fault:
        """The server refuses the call: ``"OOM command not allowed ..."``."""
        fate = Fate(forward=False, reply=b"-%s\r\n" % text.encode())
        return self._order("error", fate, nth, times, command, key)

    def readonly(
        self,
        nth: int = 1,
        *,
        times: float = 1,
        command: str | None = None,
        key: str | bytes | None = None,
    ) -> Fault:
        """The server refuses the call, as one that has become a replica."""
        return self.error(READONLY, nth, times=times, command=command, key=key)

    def go_back(
        self,
        numbers: int | None = None,
        nth: int = 1,
        *,
        times: float = 1,
        command: str | None = None,
        key: str | bytes | None = None,
    ) -> Fault:
        """Before the call the server goes back in time, as from an old backup.

        Every sequence is ``numbers`` lower (gone, if it had no more); by default the
        database is empty.
        """
        fate = Fate(before=lambda: self._rewind(numbers))
        return self._order("go_back", fate, nth, times, command, key)

    # --- what happens to connections ---------------------------------------------

    def hold(self) -> None:
        """Keep all answers back, until `release`."""
        self._relay.call(lambda: self._hold(True))

    def release(self) -> None:
        """Let answers come again, first those held back."""
        self._relay.call(lambda: self._hold(False))

    def hang_up(self) -> None:
        """Reset every connection; new ones are served."""
        self._relay.call(lambda: self._on_all(lambda pair: pair.end(reset=True)))

    def black_hole(self) -> None:
        """Swallow what is said on the connections there are, both ways."""

        def swallow(pair: Pair) -> None:
            pair.silent = pair.deaf = True

        self._relay.call(lambda: self._on_all(swallow))

    def down(self) -> None:
        """Reset every connection, and every new one, until `up`."""
        self._relay.refusing = True
        self.hang_up()

    def up(self) -> None:
        """Serve new connections again."""
        self._relay.refusing = False

    def clear(self) -> None:
        """Forget the faults that were ordered; be a healthy server."""
        self._relay.call(self._faults.clear)
        self.up()
        self.release()

    # --- what has happened ---------------------------------------------------------

    @property
    def calls(self) -> list[tuple[bytes, ...]]:
        """The calls that came, as Redis commands: ``(b"INCR", b"seq:alice")``."""
        return self._relay.call(lambda: list(self._calls))

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return self._relay.accepted

    # --- in the relay's thread -----------------------------------------------------

    def _judge(self, words: list[bytes]) -> Fate | None:
        if words[0].upper() not in SETUP:
            self._calls.append(tuple(words))
        met = [fault for fault in self._faults if fault._meets(words)]
        if not met:
            return None
        met[0].fired += 1
        return met[0].fate

    def _hold(self, holding: bool) -> None:
        self._relay.holding = holding
        self._on_all(lambda pair: pair.flush())

    def _on_all(self, act: Callable[[Pair], None]) -> None:
        for pair in list(self._relay.pairs):
            act(pair)

    def _rewind(self, numbers: int | None) -> None:
        if isinstance(self._upstream, Store):
            rewind_store(self._upstream, numbers)
            return
        with cache(self._config.replace(prefix="")) as admin:
            if numbers is None:
                admin._execute(("FLUSHDB",))
                return
            for user_id, value in list(admin.scan()):
                if value > numbers:
                    admin._execute(("DECRBY", user_id, numbers))
                else:
                    admin._execute(("DEL", user_id))

    # --- orders --------------------------------------------------------------------

    def _order(
        self,
        name: str,
        fate: Fate,
        nth: int,
        times: float,
        command: str | None,
        key: str | bytes | None,
    ) -> Fault:
        if nth < 1 or times < 1:
            raise ValueError("nth and times count from 1")
        verb = command.upper().encode() if command is not None else None
        named = key.encode() if isinstance(key, str) else key
        fault = Fault(name, nth, times, verb, named, fate)
        self._relay.call(lambda: self._faults.append(fault))
        return fault

    def _url_of(self, url: str) -> str:
        """Return the server's URL with our address: user, database, options stay."""
        head, _, query = with_options(url, db=None).partition("?")
        location = self._config.location
        user, at, _ = head.partition("://")[2].rpartition("@")
        if location.kind != "tcp":
            user = at = ""
        address = f"{user}{at}127.0.0.1:{self._relay.port}/{self._config.db}"
        return with_options(f"redis://{address}?{query}")


def rewind_store(store: Store, numbers: int | None) -> None:
    """Lower each sequence of a stand-in; None: forget everything."""
    for key, value in list(store.data.items()):
        if numbers is None:
            store.put(key, None)
        elif value.isdigit():
            left = int(value) - numbers
            store.put(key, b"%d" % left if left > 0 else None)


def upstream_of(config: Config) -> Upstream:
    """Return where the server of a config is."""
    location = config.location
    if location.kind == "tcp":
        return (location.host, location.port)
    if location.kind == "unix":
        return location.path
    if location.kind == "memory":
        return Store()
    raise ConfigError(
        f"faults can be had for redis://, valkey://, unix:// and memory://, "
        f"not for {location.scheme}://",
        option="url",
    )
