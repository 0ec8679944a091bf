"""Cuts a URL into its parts.

Own code and not `urllib.parse`, for two reasons: no text of a URL may get into an
error (a mistyped one has its password anywhere), and the import is 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_URL = "redis://localhost:6379/0"
DEFAULT_HOST = "localhost"
DEFAULT_PORT = 6379
TCP_SCHEMES = ("redis", "valkey")
UNIX_SCHEMES = ("unix", "redis+unix")
MEMORY_SCHEME = "memory"
SQLITE_SCHEME = "sqlite"
BUILT_IN = (*TCP_SCHEMES, *UNIX_SCHEMES, MEMORY_SCHEME, SQLITE_SCHEME)
# What a later version brings. Named here so that nobody gets plain TCP for them.
LATER = {
    "rediss": "TLS",
    "valkeys": "TLS",
    "redis+sentinel": "Sentinel",
    "redis+cluster": "Redis Cluster",
    "rediss+cluster": "Redis Cluster",
}

_ENCODE_HINT = "in a user or password write / ? # @ : % percent-encoded, e.g. %40 for @"
_SCHEME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-.")


@dataclass(frozen=True)
class Location:
    """Where the backend is, without user, password, database or options.

    ``kind`` is ``"tcp"`` (host, port), ``"unix"`` (path), ``"memory"`` (path is the
    name, empty for a store of one's own), ``"sqlite"`` (path is the file) or
    ``"other"`` (path is what stands between
    ``://`` and the query, without the user part).
    """

    kind: str
    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def address(self) -> str:
        """For messages: ``host:port``, the socket's path, or a short URL."""
        if self.kind == "tcp":
            return f"{_bracket(self.host)}:{self.port}"
        return self.path if self.kind == "unix" else self.url

    @property
    def url(self) -> str:
        """The canonical URL, without secrets, database and options."""
        if self.kind == "tcp":
            host = quote(self.host, ":.-_~")
            return f"{self.scheme}://{_bracket(host)}:{self.port}"
        safe = "/-_.~" if self.kind != "other" else None
        slash = "/" if self.kind == "sqlite" else ""
        return f"{self.scheme}://{slash}{quote(self.path, safe)}"


class Split:
    """The parts of a URL; what it does not say is None."""

    __slots__ = ("db", "location", "options", "password", "username")

    def __init__(
        self,
        location: Location,
        username: str | None,
        password: str | None,
        db: int | None,
        options: tuple[tuple[str, bytes], ...],
    ) -> None:
        self.location = location
        self.username = username
        self.password = password
        self.db = db
        self.options = options


def is_scheme(text: str) -> bool:
    """Tell whether the text can be a URL scheme (in lower case)."""
    return bool(text) and text[0].isalpha() and _SCHEME_LETTERS.issuperset(text)


def split(url: str) -> Split:
    """Cut a URL into its parts.

    Raises
    ------
    ConfigError
        If it is no URL, or its scheme is unknown or not in this version. The text
        shows the scheme at most.
    """
    url = url.strip()
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or not is_scheme(scheme):
        raise _error(
            "the URL does not start with a scheme", f"write it like {DEFAULT_URL}"
        )
    if any(ord(char) < 33 or ord(char) == 127 for char in rest):
        raise _error("the URL holds a space or control character", _ENCODE_HINT)
    _check_scheme(scheme)
    if "#" in rest:
        raise _error("the URL holds a '#'", _ENCODE_HINT)
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    if scheme not in UNIX_SCHEMES and "@" in path + query:
        raise _error("the URL holds an '@' behind its host part", _ENCODE_HINT)
    username, password = _userinfo(userinfo) if at else (None, None)
    location, db = _locate(scheme, host, slash + path)
    return Split(location, username, password, db, tuple(_options(query)))


def _check_scheme(scheme: str) -> None:
    if scheme in BUILT_IN:
        return
    if scheme in LATER:
        raise _error(
            f"{scheme}:// ({LATER[scheme]}) is not in this version of seqcache"
        )
    from .backends import known_schemes  # rare, and it imports importlib.metadata

    third_party = known_schemes()
    if scheme in third_party:
        return
    from difflib import get_close_matches

    near = get_close_matches(scheme, [*BUILT_IN, *LATER, *third_party], 1, 0.5)
    raise _error(
        f"no backend serves {scheme}://",
        f"did you mean {near[0]}://?" if near else f"known: {', '.join(BUILT_IN)}",
    )


def _locate(scheme: str, host: str, path: str) -> tuple[Location, int | None]:
    """Return the location and the database that the path names."""
    if scheme in TCP_SCHEMES:
        name, port = _host_port(host)
        return Location("tcp", scheme, name, port), _database(path)
    if scheme in UNIX_SCHEMES:
        if host or len(path) < 2:
            raise _error(
                f"{scheme}:// needs the socket's absolute path",
                f"three slashes: {scheme}:///run/redis.sock?db=0",
            )
        return Location("unix", scheme, path=_text(path)), None
    if scheme == MEMORY_SCHEME:
        if path.strip("/"):
            raise _error("memory:// takes one name and no path", "memory://name")
        return Location("memory", scheme, path=_text(host)), None
    if scheme == SQLITE_SCHEME:
        return Location("sqlite", scheme, path=_file(host, path)), None
    return Location("other", scheme, path=host + path), None


def _file(host: str, path: str) -> str:
    """Return the file of sqlite:///file or sqlite:////folder/file."""
    name = _text(path[1:])
    if host or not name or name == ":memory:" or name.endswith("/"):
        raise _error(
            "sqlite:/// needs a file",
            "sqlite:///relative.db, sqlite:////absolute.db; memory:// keeps no file",
        )
    return name


def _host_port(text: str) -> tuple[str, int]:
    """Read ``host``, ``host:port`` or ``[ipv6]:port``."""
    if "," in text:
        raise _error("several hosts need Sentinel or Cluster: not in this version")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and rest[0] != ":"):
            raise _error("the IPv6 host is malformed", "redis://[::1]:6379")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        if ":" in port:
            raise _error(
                "the host part holds more than one ':'",
                f"an IPv6 address stands in brackets: [::1]:6379; {_ENCODE_HINT}",
            )
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port[:9]) < 65536):
        raise _error("the port is not a number from 1 to 65535", _ENCODE_HINT)
    return _text(host) or DEFAULT_HOST, int(port) if colon else DEFAULT_PORT


def _database(path: str) -> int | None:
    digits = path[1:]
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise _error(
            "the URL's path is not a database number", "redis://host:6379/0", "db"
        )
    return int(digits)


def _userinfo(text: str) -> tuple[str | None, str | None]:
    """An empty user or password is none, as in redis-py."""
    username, _, password = text.partition(":")
    return _text(username) or None, _text(password) or None


def _options(query: str) -> Iterable[tuple[str, bytes]]:
    for item in query.split("&"):
        if not item:
            continue
        name, equals, value = item.partition("=")
        if not equals:
            raise _error(
                "an option of the URL has no value", f"?name=value; {_ENCODE_HINT}"
            )
        yield _text(name), unquote(value)


def unquote(text: str) -> bytes:
    """Resolve ``%XX``; a lone ``%`` stays, and so does ``+``."""
    head, *pieces = text.encode("utf-8", "surrogateescape").split(b"%")
    out = [head]
    for piece in pieces:
        try:
            out.append(bytes.fromhex(piece[:2].decode("ascii")) + piece[2:])
        except ValueError:
            out.append(b"%" + piece)
    return b"".join(out)


def quote(text: str | bytes, safe: str | None = "-_.~") -> str:
    """Write ``%XX`` for whatever is neither letter, digit nor ``safe`` (None: all)."""
    if safe is None:
        return text if isinstance(text, str) else text.decode()
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return "".join(
        chr(byte)
        if byte < 128 and (chr(byte).isalnum() or chr(byte) in safe)
        else f"%{byte:02X}"
        for byte in raw
    )


def _text(text: str) -> str:
    # surrogateescape: a socket's path may be any bytes, as everywhere in Python.
    return unquote(text).decode("utf-8", "surrogateescape")


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _error(message: str, hint: str | None = None, option: str = "url") -> ConfigError:
    return ConfigError(message, hint=hint, option=option)
