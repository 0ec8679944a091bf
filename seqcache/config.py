"""How a cache is opened: one immutable `Config` from a URL, environment or TOML."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, field, fields

from . import _options, _urls
from ._explanation import Explanation, Setting
from .errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal, Self, Unpack

    from ._fields import AskCredentials, Fields, Overrides

__all__ = ["Config", "Explanation", "Setting"]

_ENV = "SEQCACHE_"
# What belongs to an address: a new URL never inherits them from the old one.
_ADDRESS = frozenset({"url", "username", "password", "db"})


def _option(default: object, kind: _options.Kind) -> Any:
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True, repr=False)
class Config:
    """Everything that opening a cache needs; immutable, comparable, picklable.

    Each field is also an option of the URL (``redis://host/0?timeout=1``) and an
    environment variable (``SEQCACHE_TIMEOUT``). An argument goes before the URL's
    own words. Wrong or unknown options raise `ConfigError` at once.

    Parameters
    ----------
    url:
        Where the server is; kept without user, password, database and options.
    username, password:
        Who we are. A password without a user is the user ``default``.
    db:
        Number of the database.
    prefix:
        A key is this and the user id; ``sqc:`` is reserved.
    timeout:
        Seconds for a whole call, repeats included; None = no limit.
    connect_timeout:
        Seconds for name lookup, connection and handshake together.
    startup_timeout:
        Seconds for which the factory keeps trying; 0 = one attempt.
    max_pending:
        Commands in flight; above it calls wait.
    retry:
        ``"safe"``, ``"gap"`` (repeat counting calls of unknown fate) or ``"never"``.
    credentials:
        Called at each connect, returns (user or None, password); it goes before
        ``username`` and ``password``. On asyncio it runs in a thread, or it may be a
        coroutine function.
    protocol:
        RESP version to ask for; an old server gets 2.
    client_name:
        Name for CLIENT LIST; ``""`` sets none.
    on_regress:
        ``"off"``, ``"warn"`` or ``"raise"`` when the server lost numbers.
    connections:
        Links of the blocking face.
    token_ttl:
        Seconds for which the server remembers a token.
    ceilings:
        SQLAlchemy URL or Engine of the ceiling store: durable mode.
    deployment:
        Name of this Redis in the ceiling store.
    step:
        Numbers between two ceilings of a user at first; it adapts.
    fence:
        ``"lease"``, or ``"connection"``: order is kept while there is one primary.
    fence_time:
        Seconds of the lease: how long the store may be away, how long a failover
        waits.
    """

    # One line here adds an option everywhere: URL, environment, TOML, explain().
    url: str = _option(_urls.DEFAULT_URL, _options.url())
    _: KW_ONLY
    username: str | None = _option(None, _options.text())
    password: str | None = _option(None, _options.text(secret=True))
    db: int = _option(0, _options.whole(0, 2**31 - 1))
    prefix: str | bytes = _option("seq:", _options.key_prefix())
    timeout: float | None = _option(2.0, _options.seconds(none=True))
    connect_timeout: float = _option(2.0, _options.seconds())
    startup_timeout: float = _option(0.0, _options.seconds(zero=True))
    max_pending: int = _option(100_000, _options.whole(1, 2**31 - 1))
    retry: Literal["safe", "gap", "never"] = _option(
        "safe", _options.choice("safe", "gap", "never")
    )
    credentials: AskCredentials | None = _option(None, _options.function())
    protocol: Literal[2, 3] = _option(3, _options.choice(2, 3))
    client_name: str = _option("seqcache", _options.word())
    on_regress: Literal["off", "warn", "raise"] = _option(
        "warn", _options.choice("off", "warn", "raise")
    )
    connections: int = _option(1, _options.whole(1, 65535))
    token_ttl: int = _option(600, _options.whole(1, 2**31 - 1))
    ceilings: Any = _option(None, _options.store())
    deployment: str = _option("main", _options.word(1, 64))
    step: int = _option(1000, _options.whole(1, 65536))
    fence: Literal["lease", "connection"] = _option(
        "lease", _options.choice("lease", "connection")
    )
    fence_time: float = _option(5.0, _options.seconds(least=0.1))

    # `__init__` is the dataclass's own (typed) one and cannot tell "not given" from
    # "given as the default", which decides between an argument and the URL.
    def __new__(cls, *args: Any, **given: Any) -> Self:
        for name in given:
            if name in _options.ALIASES or name not in _KINDS:
                raise _options.unknown(name, _KINDS)
        self = super().__new__(cls)
        names = ["url"] * bool(args) + list(given)
        self.__dict__["_sources"] = dict.fromkeys(names, "argument")
        return self

    def __post_init__(self) -> None:
        found, location, kept = _read_url(self.url)
        sources = self.__dict__["_sources"]
        if "url" not in sources:
            found = {}  # the default URL says nothing that the defaults do not
        for name, kind in _KINDS.items():
            if name not in sources and name in found:
                value, sources[name] = found[name], "URL"
            else:
                value = _options.convert(kind, name, name, getattr(self, name))
                sources.setdefault(name, "default")
            self.__dict__[name] = kept if name == "url" else value
        self.__dict__["_location"] = location
        self._refuse_address()

    def _refuse_address(self) -> None:
        """Nobody logs in to this process, and it has no databases."""
        location = self.location
        if location.kind not in ("memory", "sqlite"):
            return
        for name in ("username", "password", "credentials", "db"):
            if self.__dict__[name]:
                raise ConfigError(f"{location.scheme}:// takes no {name}", option=name)
        if location.kind == "sqlite" and self.ceilings is not None:
            message = "sqlite:/// keeps its ceilings in its own file"
            hint = "memory:// takes ceilings kept elsewhere"
            raise ConfigError(message, hint=hint, option="ceilings")

    @classmethod
    def from_url(cls, url: str, **overrides: Unpack[Fields]) -> Self:
        """Read a URL; keyword overrides go before what the URL says.

        Raises `ConfigError` for a URL or option that cannot be used.
        """
        return cls(url, **_renamed(overrides)) if overrides else cls(url)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``SEQCACHE_URL``, else ``REDIS_URL``, else ``redis://localhost:6379/0``.

        Any field may be given as ``SEQCACHE_<FIELD>`` and goes before the URL's own
        words. A variable that is set but empty counts as not set. A mistyped field, and
        an empty ``SEQCACHE_CEILINGS``, raise `ConfigError`; others are left alone.

        Parameters
        ----------
        environ:
            Instead of ``os.environ``.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, object] = {}
        sources: dict[str, str] = {}
        if environ.get("REDIS_URL"):
            values["url"], sources["url"] = environ["REDIS_URL"], "REDIS_URL"
        for variable, text in environ.items():
            name = _env_field(variable)
            if name is None or (not text and name != "ceilings"):
                continue
            if sources.get(name, variable) not in (variable, "REDIS_URL"):
                raise _options.twice(name, f"by {sources[name]} and {variable}")
            raw = text.encode("utf-8", "surrogateescape")
            values[name] = _options.convert_text(_KINDS[name], name, variable, raw)
            sources[name] = variable
        return cls._made(values, sources)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], table: str = "seqcache") -> Self:
        """Read a table of a TOML file; its fields go before what its url says.

        Parameters
        ----------
        path:
            The file; OSError as from ``open``.
        table:
            Name of the table, dotted if it is nested: ``"tool.seqcache"``.
        """
        import tomllib

        with open(path, "rb") as file:
            try:
                found: object = tomllib.load(file)
            except ValueError as error:
                raise ConfigError(f"{os.fspath(path)}: {error}") from error
        for part in table.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise ConfigError(f"{os.fspath(path)} has no table [{table}]")
        source = f"{os.fspath(path)} [{table}]"
        values = _renamed(found, f" in {source}")
        for name, value in values.items():
            label = f"{name} in {source}"
            values[name] = _options.convert(_KINDS[name], name, label, value)
        return cls._made(values, dict.fromkeys(values, source))

    @classmethod
    def coerce(
        cls,
        config: str | Config | Mapping[str, Any] | None = None,
        **overrides: Unpack[Overrides],
    ) -> Config:
        """Make a Config of whatever `cache` and `acache` accept.

        Parameters
        ----------
        config:
            A URL, a Config, a mapping of fields, or None for `from_env`.
        **overrides:
            Fields that go before it.
        """
        if isinstance(config, Config):
            made = config
        elif config is None:
            made = cls.from_env()
        elif isinstance(config, str):
            made = cls(config)
        elif hasattr(config, "keys"):
            made = cls(**_renamed(config))
        else:
            raise TypeError(
                "config must be a URL, a Config, a mapping or None, "
                f"not {type(config).__name__}"
            )
        return made.replace(**overrides) if overrides else made

    @classmethod
    def _made(cls, values: dict[str, Any], sources: dict[str, str]) -> Self:
        self = cls(**values)
        self.__dict__["_sources"].update(sources)
        return self

    def replace(self, **changes: Unpack[Overrides]) -> Self:
        """Return a copy with other fields.

        A new ``url`` replaces the address as a whole: user, password and database of
        the old one are dropped, so that no password reaches another server. Options
        in the new URL go before the old fields.
        """
        given = _renamed(changes)
        new = type(self)(**given)
        sources = new.__dict__["_sources"]
        dropped = _ADDRESS if "url" in given else frozenset()
        for name in _KINDS:
            if sources[name] == "default" and name not in dropped:
                new.__dict__[name] = self.__dict__[name]
                sources[name] = self.__dict__["_sources"][name]
        if "url" not in changes:
            new.__dict__["_location"] = self.location
        new._refuse_address()
        return new

    __replace__ = replace  # copy.replace() of Python 3.13

    @property
    def location(self) -> _urls.Location:
        """The parts of ``url``: kind, scheme, host, port, path."""
        location: _urls.Location = self.__dict__["_location"]
        return location

    @property
    def is_embedded(self) -> bool:
        """Whether durable numbers are given by this process, without a server."""
        kind = self.location.kind
        return kind == "sqlite" or (kind == "memory" and self.ceilings is not None)

    @property
    def address(self) -> str:
        """``host:port`` or the socket's path, for messages."""
        return self.location.address

    @property
    def key_prefix(self) -> bytes:
        """The prefix as the bytes that every key begins with."""
        prefix = self.prefix
        return prefix if isinstance(prefix, bytes) else prefix.encode()

    def explain(self) -> Explanation:
        """Return each value, secrets masked, and where it came from."""
        sources = self.__dict__["_sources"]
        return Explanation(
            Setting(name, self._shown(name), sources[name]) for name in _KINDS
        )

    def _shown(self, name: str) -> str:
        value = self.__dict__[name]
        if name == "url":
            head, mark, query = value.partition("?")
            names = [item.partition("=")[0] for item in query.split("&")]
            hidden = [f"{name}={_options.MASK}" for name in names if mark]
            return repr(head + mark + "&".join(hidden))
        if name == "credentials" and value is not None:
            return f"<{getattr(value, '__qualname__', type(value).__qualname__)}>"
        if name == "ceilings" and value is not None:
            return repr(_options.shown_store(value))
        # redis://secret@host is a common slip: a user alone may be a password.
        alone = name == "username" and self.password is None
        if value is not None and (_KINDS[name].secret or alone):
            return repr(_options.MASK)
        return repr(value)

    def __repr__(self) -> str:
        said = [row for row in self.explain()[1:] if row.source != "default"]
        words = [self._shown("url"), *(f"{row.name}={row.value}" for row in said)]
        return f"{type(self).__name__}({', '.join(words)})"

    def _repr_html_(self) -> str:
        rows = self.explain()
        short = [row for row in rows if row.source != "default" or row.name == "url"]
        return Explanation(short)._repr_html_()


# --- where values come from -------------------------------------------------

_KINDS: dict[str, _options.Kind] = {
    item.name: item.metadata["kind"] for item in fields(Config)
}


def _read_url(url: object) -> tuple[dict[str, object], _urls.Location, str]:
    """Return the fields that a URL names, its location, and the URL to keep."""
    parts = _urls.split(str(_options.convert(_KINDS["url"], "url", "url", url)))
    found: dict[str, object] = {
        name: _options.convert(_KINDS[name], name, f"{name} in the URL", value)
        for name in ("username", "password", "db")
        if (value := getattr(parts, name)) is not None
    }
    rest = []
    for spelled, raw in parts.options:
        name = _options.ALIASES.get(spelled, spelled)
        if name in found:
            placed = getattr(parts, name, None) is not None
            how = "both by its place in the URL and as an option of it"
            raise _options.twice(name, how if placed else "by two options of the URL")
        if name in _KINDS and name != "url":
            label = f"{spelled} in the URL"
            found[name] = _options.convert_text(_KINDS[name], name, label, raw)
        elif parts.location.kind == "other":
            rest.append(f"{_urls.quote(spelled)}={_urls.quote(raw)}")
        elif name == "url":
            raise ConfigError("a URL cannot hold the option url", option="url")
        else:
            raise _options.unknown(spelled, _KINDS)
    kept = parts.location.url
    return found, parts.location, f"{kept}?{'&'.join(rest)}" if rest else kept


def _renamed(given: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Resolve redis-py's names; refuse unknown ones and a field given twice."""
    values: dict[str, Any] = {}
    for spelled, value in given.items():
        name = _options.ALIASES.get(spelled, spelled)
        if name not in _KINDS:
            raise _options.unknown(str(spelled), _KINDS, place=place)
        if name in values:
            raise _options.twice(name, f"by two names{place}")
        values[name] = value
    return values


def _env_field(variable: str) -> str | None:
    """Return the field that an environment variable names, None if it is not ours."""
    if not variable.startswith(_ENV):
        return None
    name = variable.removeprefix(_ENV).lower()
    name = _options.ALIASES.get(name, name)
    if name in _KINDS:
        return name
    if name in _options.LATER:
        raise _options.unknown(name, _KINDS, variable)
    # Strict about likeness: build switches, tests and a Kubernetes service named
    # "seqcache" (SEQCACHE_PORT=tcp://...) use the same beginning.
    near = _options.nearest(name, _KINDS, 0.8)
    if near:
        hint = f"did you mean {_ENV}{near.upper()}?"
        raise ConfigError(f"{variable} is unknown", hint=hint, option=name)
    return None
