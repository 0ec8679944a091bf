"""How a server refuses a new connection, and what that means to a person."""

from __future__ import annotations

from .errors import AuthError, ConnectError, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Config
    from .errors import SeqCacheError

    Credentials = tuple[str | None, str | None]

_PASSWORD_HINT = (
    "give it as redis://:PASSWORD@host:6379/0, redis://USER:PASSWORD@host:6379/0 "
    "or SEQCACHE_PASSWORD"
)
# How a refusal begins -> what is said about it and what to do.
_REFUSALS = (
    ("NOAUTH", "the server wants a password and got none", _PASSWORD_HINT),
    ("WRONGPASS", "user or password are wrong, or the user is disabled", ""),
    ("ERR invalid password", "the password is wrong", ""),
    (
        ("ERR AUTH <password> called without", "ERR Client sent AUTH, but no"),
        "a password was given but the server has none",
        "leave it out, or set requirepass or an ACL user on the server",
    ),
    (
        "ERR wrong number of arguments for 'auth'",
        "the server is older than Redis 6 and knows no users",
        "give the password alone: redis://:PASSWORD@host:6379/0",
    ),
    (
        "NOPERM",
        "the user lacks a right",
        "grant it with ACL SETUSER; to choose a database needs +select",
    ),
    (
        "LOADING",
        "the server is still loading its data",
        "startup_timeout=30 waits for it",
    ),
    ("MASTERDOWN", "this is a replica without its primary", "connect to the primary"),
    (
        ("MOVED", "ASK", "CLUSTERDOWN"),
        "this is a node of a Redis Cluster",
        "redis+cluster:// is not in this version of seqcache",
    ),
    (
        ("ERR DB index", "ERR invalid DB index"),
        "there is no such database",
        "a server has 16 by default (see its option databases): /0 to /15",
    ),
    ("ERR SELECT is not allowed", "a Redis Cluster has database 0 only", "use /0"),
    (
        "ERR max number of clients",
        "the server has all the connections that it takes",
        "close idle clients, or raise its option maxclients",
    ),
    (
        "DENIED",
        "the server is in protected mode: it serves loopback only",
        "set a password there, or connect from the same machine",
    ),
)
AUTH_CODES = ("NOAUTH", "WRONGPASS", "NOPERM")
# With one of these the server is up but cannot serve us; any other answer to the
# probe, an error too, shows that it serves.
NOT_SERVING = ("LOADING", "MASTERDOWN", "NOAUTH", "MOVED", "ASK", "CLUSTERDOWN")


def knows_no_hello(text: str) -> bool:
    """Tell an old server or proxy from one that refuses us."""
    if text.startswith("NOPROTO"):
        return True
    return text.startswith("ERR") and not any(
        text.startswith(begin) for begin, _, _ in _REFUSALS
    )


def refusal(
    config: Config, credentials: Credentials, text: str, command: str
) -> SeqCacheError:
    """Return the error for a server's refusal, with the server's text as its cause.

    Parameters
    ----------
    config, credentials:
        Where to, and as whom. The password is not shown, nor a user without one.
    text:
        What the server said.
    command:
        What it refused; HELLO and AUTH make an `AuthError` of any ``ERR``.
    """
    user, password = credentials
    # What NOAUTH adds is about the command HELLO, which nobody here has written.
    shown = "NOAUTH" if text.startswith("NOAUTH") else _scrub(text, password or user)
    reason, hint = f"the server refused {command}", ""
    for begin, said, advice in _REFUSALS:
        if text.startswith(begin):
            reason, hint = said, advice
            break
    if text.startswith("WRONGPASS"):
        hint = _wrong_password_hint(user, password)
    is_auth = text.startswith(AUTH_CODES) or (
        command in ("HELLO", "AUTH")
        and text.startswith("ERR")
        and not text.startswith("ERR max number")
    )
    cls = AuthError if is_auth else ConnectError
    error = cls(f"{config.address}: {reason} ({shown})", hint=hint or None)
    error.__cause__ = ServerError(shown, code=shown.split(" ", 1)[0])
    return error


def _wrong_password_hint(user: str | None, password: str | None) -> str:
    if user and not password:
        return f"a user was given without a password; {_PASSWORD_HINT}"
    if not user:
        return "the user is 'default', since none was given"
    return f"the user is {user!r}"


def _scrub(text: str, secret: str | None) -> str:
    """Make a server's text fit for a message: short, one line, no password."""
    # An unknown AUTH or HELLO is answered with its arguments.
    text = text.partition(", with args beginning with")[0]
    if secret:
        text = text.replace(secret, "***")
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= 200 else f"{text[:197]}..."
