"""What each kind of option accepts, and how a wrong one is refused."""

from __future__ import annotations

import operator
import re

from .errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RESERVED_PREFIX = b"sqc:"
#: As in csrc/binding/client.h.
PREFIX_MAX_BYTES = 1024
MASK = "***"

# redis-py's names for what we have too: the same meaning only.
ALIASES = {"socket_timeout": "timeout", "socket_connect_timeout": "connect_timeout"}

# Well-known names that we do not have, and what to do instead.
ELSEWHERE = {
    "host": "it belongs into the url: redis://HOST:PORT/DB",
    "port": "it belongs into the url: redis://HOST:PORT/DB",
    "unix_socket_path": "it belongs into the url: unix:///path.sock?db=0",
    "path": "it belongs into the url: unix:///path.sock?db=0",
    "user": "the name is username",
    "ssl": "TLS (rediss://) is not in this version of seqcache",
    "decode_responses": "not needed: sequences are ints",
    "max_connections": "not needed: all calls share one link; see connections",
    "retry_on_timeout": "see retry: 'safe', 'gap' or 'never'",
    "retry_on_error": "see retry: 'safe', 'gap' or 'never'",
    "socket_keepalive": "not needed: keepalive is always on",
    "health_check_interval": "not needed: a dead link is found and replaced",
    "credential_provider": "see credentials, a callable that returns (user, password)",
}

# Fields of later versions: "ignored" would be a lie about a guarantee.
LATER = frozenset(
    {
        *("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
        *("ssl_cert_reqs", "ssl_check_hostname"),
    }
)

_STORE = re.compile(r"[A-Za-z][\w+.-]*://")


class Kind:
    """One kind of option. (No dataclass: each costs a millisecond at import.)

    ``parse`` turns text (URL, environment) into a value, ``check`` returns the value
    as it is kept; both raise ValueError, TypeError or OverflowError for a wrong one.
    """

    __slots__ = ("check", "expects", "parse", "secret")

    def __init__(
        self,
        expects: str,
        parse: Callable[[bytes], object],
        check: Callable[[object], object],
        secret: bool = False,
    ) -> None:
        self.expects = expects
        self.parse = parse
        self.check = check
        self.secret = secret


def convert(kind: Kind, name: str, label: str, value: object) -> object:
    """Check a value; a ConfigError says ``label`` and never shows a secret."""
    try:
        return kind.check(value)
    except (ValueError, TypeError, OverflowError):
        raise _wrong(kind, name, label, value) from None


def convert_text(kind: Kind, name: str, label: str, text: bytes) -> object:
    """Parse and check a text from a URL or the environment."""
    try:
        return kind.check(kind.parse(text))
    except (ValueError, TypeError, OverflowError):
        shown = text.decode("utf-8", "backslashreplace")
        raise _wrong(kind, name, label, shown) from None


def _wrong(kind: Kind, name: str, label: str, value: object) -> ConfigError:
    shown = "" if kind.secret else f", not {_short(repr(value))}"
    return ConfigError(f"{label} must be {kind.expects}{shown}", option=name)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def unknown(
    name: str, known: Iterable[str], label: str | None = None, place: str = ""
) -> ConfigError:
    """Return the error for an option that does not exist, with the nearest name."""
    shown = label or f"option {_short(name)!r}{place}"
    if name in LATER:
        return ConfigError(f"{shown} is not in this version of seqcache", option=name)
    hint = ELSEWHERE.get(name)
    if hint is None:
        near = nearest(name, known, 0.6)
        hint = f"did you mean {near!r}?" if near else None
    return ConfigError(f"{shown} is unknown", option=name, hint=hint)


def twice(name: str, how: str) -> ConfigError:
    """Return the error for an option that two places give."""
    return ConfigError(f"{name} is given twice: {how}", option=name)


def nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the known name that looks most like ``name``; an alias as its field."""
    from difflib import get_close_matches  # only a mistake pays for this import

    near = get_close_matches(name.lower(), [*known, *ALIASES], 1, cutoff)
    return ALIASES.get(near[0], near[0]) if near else None


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8")


def _encodable(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode("utf-8")
    return value


def seconds(*, none: bool = False, zero: bool = False, least: float = 0.0) -> Kind:
    """Return the kind of a finite time above 0, at least `least`, in seconds."""

    def check(value: object) -> float | None:
        if none and (value is None or value == "none"):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError
        number = float(value)
        if not (0 < number < float("inf") or (zero and number == 0)):
            raise ValueError
        if number < least:
            raise ValueError
        return number

    def parse(raw: bytes) -> object:
        text = _decode(raw)
        return None if none and text.lower() == "none" else float(text)

    words = "a number of seconds, 0 or more" if zero else "a positive number of seconds"
    words = f"a number of seconds, {least:g} or more" if least else words
    return Kind(f"{words} or None" if none else words, parse, check)


def whole(low: int, high: int) -> Kind:
    """Return the kind of an integer within the bounds."""

    def check(value: object) -> int:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]  # TypeError is caught
        if not low <= number <= high:
            raise ValueError
        return number

    return Kind(f"an integer from {low} to {high}", _integer, check)


def _integer(raw: bytes) -> object:
    digits = raw[1:] if raw[:1] == b"-" else raw
    if not digits.isdigit():
        raise ValueError
    return int(raw)


def choice(*values: str | int) -> Kind:
    """Return the kind of one word or number out of a few."""

    def check(value: object) -> object:
        if type(value) is not type(values[0]) or value not in values:
            raise ValueError
        return value

    def parse(raw: bytes) -> object:
        return _integer(raw) if isinstance(values[0], int) else _decode(raw)

    words = [repr(value) for value in values]
    return Kind(f"{', '.join(words[:-1])} or {words[-1]}", parse, check)


def text(*, secret: bool = False) -> Kind:
    """Return the kind of any text or None; an empty one is None."""

    def check(value: object) -> str | None:
        return None if value is None else (_encodable(value) or None)

    return Kind("a str or None", _decode, check, secret)


def word(low: int = 0, high: int = 2**31) -> Kind:
    """Return the kind of what CLIENT SETNAME takes: printable ASCII, no space."""

    def check(value: object) -> str:
        name = _encodable(value)
        if any(not 32 < ord(char) < 127 for char in name):
            raise ValueError
        if not low <= len(name) <= high:
            raise ValueError
        return name

    size = f"{low} to {high} characters" if low else "a str"
    return Kind(f"{size} of printable ASCII without spaces", _decode, check)


def key_prefix() -> Kind:
    """Return the kind of a key prefix; bytes are kept only if they are not UTF-8."""

    def check(value: object) -> str | bytes:
        raw = value if isinstance(value, bytes) else _encodable(value).encode()
        if raw.startswith(RESERVED_PREFIX) or len(raw) > PREFIX_MAX_BYTES:
            raise ValueError
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw

    size = f"a str or bytes of at most {PREFIX_MAX_BYTES} bytes"
    return Kind(f"{size} that does not begin with 'sqc:'", lambda raw: raw, check)


def url() -> Kind:
    """Return the kind of a URL's text; what it says is `_urls.split`'s matter."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise TypeError
        return value

    return Kind("a URL like redis://localhost:6379/0", _decode, check, secret=True)


def store() -> Kind:
    """Return the kind of an SQL database: SQLAlchemy's URL or Engine, or None."""

    def check(value: object) -> object:
        if value is None:
            return None
        if isinstance(value, str):
            if not _STORE.match(value):  # "" as well: plain numbers would repeat
                raise ValueError
            return _encodable(value)
        # An Engine, told by what it has: SQLAlchemy is imported when it is used.
        if not (hasattr(value, "url") and hasattr(value, "dialect")):
            raise TypeError
        return value

    words = "a SQLAlchemy URL (postgresql+psycopg://..., sqlite:///...), an Engine"
    return Kind(f"{words} or None", _decode, check, secret=True)


def shown_store(value: object) -> str:
    """Return the text of a store without the secrets in its URL."""
    if not isinstance(value, str):
        shown = getattr(value, "url", None)
        return f"<Engine {shown_store(str(shown))}>"  # str() of it masks as well
    scheme, _, rest = value.partition("://")
    # As SQLAlchemy reads it: a password may have a "?" in it, a user no "/".
    user, at, host = rest.partition("@")
    name, colon, _ = user.partition(":")
    if not at or "/" in name:
        name = colon = at = ""
        host = rest
    address, mark, query = host.partition("?")
    authority, slash, path = address.partition("/")
    host = authority.rpartition("@")[2] + slash + path
    names = [item.partition("=")[0] for item in query.split("&")]
    hidden = "&".join(f"{item}={MASK}" for item in names) if mark else ""
    secret = MASK if colon else ""
    return f"{scheme}://{name}{colon}{secret}{at}{host}{mark}{hidden}"


def function() -> Kind:
    """Return the kind of a callable or None, which no text can name."""

    def check(value: object) -> object:
        if value is not None and not callable(value):
            raise TypeError
        return value

    def parse(raw: bytes) -> object:
        raise ValueError

    return Kind("a callable (given in code) or None", parse, check, secret=True)
