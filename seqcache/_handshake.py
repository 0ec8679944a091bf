"""What is said on a new connection, without I/O.

`handshake` is a generator: it yields lists of commands and receives the list of their
replies. `Talk` turns it into bytes out and bytes in; `_connect` moves the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ._refusals import NOT_SERVING, knows_no_hello, refusal
from .errors import ConnectError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Protocol

    from .config import Config
    from .errors import SeqCacheError

    Credentials = tuple[str | None, str | None]
    Command = list[str | bytes | int]
    Flow = Generator[list[Command], list[Any], "Hello"]

    class Codec(Protocol):
        """The part of `_native.Codec` that a handshake needs."""

        def encode(self, args: Command, /) -> bytes:
            """Return one command's bytes."""
            ...

        def feed(self, data: bytes, /) -> list[Any]:
            """Return the replies that are complete now."""
            ...


# No handshake needs more; a peer that sends on is not what we look for.
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Hello:
    """What the server said about itself; what it did not say is empty.

    ``role`` is ``"master"`` or empty (refused by ACL); ``proto`` is 2 or 3.
    """

    server: str = ""
    version: str = ""
    proto: int = 2
    role: str = ""
    mode: str = ""
    client_id: int | None = None


def handshake(config: Config, credentials: Credentials) -> Flow:
    """Authenticate, name the connection, select, and check that this is a primary.

    Parameters
    ----------
    config:
        Its protocol, client_name, db and prefix are used.
    credentials:
        User or None (the user ``default``) and password or None.

    Raises
    ------
    AuthError
        If the credentials are refused, or a needed right is missing.
    ConnectError
        If the server cannot serve us: replica, loading, wrong database, ...
    """
    user, password = credentials
    has_auth = bool(user or password)
    rest = _rest(config)
    info: dict[str, Any] = {}
    replies: list[Any] = []
    proto = config.protocol
    if proto == 3:
        hello: Command = ["HELLO", 3]
        if has_auth:
            hello += ["AUTH", user or "default", password or ""]
        if config.client_name:
            hello += ["SETNAME", config.client_name]
        first, *replies = yield [hello, *rest]
        text = error_text(first)
        if text is None:
            info = _mapping(first)
        elif knows_no_hello(text):
            proto = 2
        else:
            raise refusal(config, credentials, text, "HELLO")
    if proto == 2:
        replies = yield [*_introduction(config, credentials), *rest]
        if has_auth and (text := error_text(replies[0])) is not None:
            raise refusal(config, credentials, text, "AUTH")
        replies = replies[-len(rest) :]
    role = yield from _check(config, credentials, replies[2:], info)
    return Hello(
        server=_text(info.get("server")),
        version=_text(info.get("version")),
        proto=proto,
        role=role,
        mode=_text(info.get("mode")),
        client_id=_integer(info.get("id")),
    )


def _introduction(config: Config, credentials: Credentials) -> list[Command]:
    """What HELLO 3 says at once, for a server without it."""
    user, password = credentials
    commands: list[Command] = []
    if user:
        commands.append(["AUTH", user, password or ""])
    elif password:
        commands.append(["AUTH", password])
    if config.client_name:
        commands.append(["CLIENT", "SETNAME", config.client_name])
    return commands


def _rest(config: Config) -> list[Command]:
    """Commands after the introduction; `_check` reads the replies in this order."""
    import seqcache

    version = getattr(seqcache, "__version__", "0")
    commands: list[Command] = [
        ["CLIENT", "SETINFO", "LIB-NAME", "seqcache"],
        ["CLIENT", "SETINFO", "LIB-VER", version],
        ["ROLE"],
        # While it loads a server answers HELLO, SELECT and ROLE as if all were well
        # (PING is refused for other reasons too): only a read of a key tells. The
        # key is the prefix alone, which no user id can make.
        ["EXISTS", config.key_prefix],
    ]
    if config.db:
        commands.insert(2, ["SELECT", config.db])
    return commands


def _check(
    config: Config, credentials: Credentials, replies: list[Any], info: dict[str, Any]
) -> Generator[list[Command], list[Any], str]:
    """Judge the replies from SELECT on; return the role as far as it is known."""
    if config.db:
        selected, *replies = replies
        if (text := error_text(selected)) is not None:
            raise refusal(config, credentials, text, f"SELECT {config.db}")
    told, probe = replies
    role, primary = _role(told), ""
    if role == "slave":
        primary = f"{_text(told[1])}:{_text(told[2])}"
    role = role or _text(info.get("role"))
    text = error_text(probe) or ""
    if not text.startswith(NOT_SERVING):
        # The ACL may hide any of these; what stays hidden is left to the first call.
        asks: list[tuple[str, Command]] = []
        if not role:
            asks.append(("role", ["INFO", "replication"]))
        if text.startswith("NOPERM"):
            asks.append(("loading", ["INFO", "persistence"]))
        if _text(info.get("mode")) == "cluster":
            asks.append(("cluster_size", ["CLUSTER", "INFO"]))
        answers = (yield [command for _, command in asks]) if asks else []
        found = {
            name: _line(answer, name)
            for (name, _), answer in zip(asks, answers, strict=True)
        }
        role = role or found.get("role", "")
        if found.get("loading") == "1":
            text = "LOADING told by INFO"
        if _integer(found.get("cluster_size")) not in (None, 0, 1):
            text = "MOVED possible: other nodes serve a part of the keys"
    _check_role(config, role, primary)
    if text.startswith(NOT_SERVING):
        raise refusal(config, credentials, text, "a read")
    return "master" if role else ""


def _check_role(config: Config, role: str, primary: str) -> None:
    if role in ("slave", "replica"):
        at = f" of {primary}" if primary else ""
        raise ConnectError(
            f"{config.address} is a read-only replica{at}",
            hint="connect to the primary",
        )
    if role == "sentinel":
        raise ConnectError(
            f"{config.address} is a Sentinel, not a data server",
            hint="connect to the primary; redis+sentinel:// is not in this version",
        )


class Talk:
    """A handshake as bytes: what to send, what came, and how it ended.

    ``hello`` is there once `feed` returned None.
    """

    hello: Hello

    def __init__(self, config: Config, credentials: Credentials, codec: Codec) -> None:
        self._config = config
        self._credentials = credentials
        self._codec = codec
        self._flow = handshake(config, credentials)
        self._wanted = 0
        self._replies: list[Any] = []
        self._received = 0
        self._first = b""

    def begin(self) -> bytes:
        """Return the first bytes to send."""
        return self._encoded(next(self._flow))

    def feed(self, data: bytes) -> bytes | None:
        """Take received bytes; return what to send (perhaps nothing), None at the end.

        Raises what `handshake` raises, and ConnectError for a peer that does not
        speak RESP.
        """
        self._first = self._first or data[:8]
        self._received += len(data)
        try:
            self._replies += self._codec.feed(data)
        except ProtocolError as error:
            raise self._stranger() from error
        if len(self._replies) > self._wanted or self._received > MAX_BYTES:
            raise self._stranger()
        if len(self._replies) < self._wanted:
            return b""
        replies, self._replies = self._replies, []
        try:
            return self._encoded(self._flow.send(replies))
        except StopIteration as done:
            self.hello = done.value
            return None

    def lost(self) -> SeqCacheError:
        """Return the error for a peer that closed before the end."""
        text = error_text(self._replies[0]) if self._replies else None
        if text is not None:  # perhaps said unasked: "max number of clients"
            return refusal(self._config, self._credentials, text, "the connection")
        if self._received:
            return ConnectError(
                f"{self._config.address} closed the connection during the handshake"
            )
        return ConnectError(
            f"{self._config.address} closed the connection without an answer",
            hint="another service, or a TLS port (not in this version)? An old proxy "
            "may need protocol=2",
        )

    def _encoded(self, commands: list[Command]) -> bytes:
        self._wanted = len(commands)
        return b"".join([self._codec.encode(command) for command in commands])

    def _stranger(self) -> ConnectError:
        hint = "is it the right port?"
        if self._first.startswith((b"HTTP/", b"<")):
            hint = "an HTTP server answers there"
        elif self._first.startswith((b"\x15\x03", b"\x16\x03")):
            hint = "a TLS port; rediss:// is not in this version of seqcache"
        return ConnectError(
            f"{self._config.address} does not speak the Redis protocol", hint=hint
        )


# --- reading replies ---------------------------------------------------------


def error_text(reply: object) -> str | None:
    """Return the text of an error reply, None for any other reply."""
    text = getattr(reply, "text", None)
    return None if text is None else _text(text)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _integer(value: object) -> int | None:
    text = _text(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _mapping(reply: object) -> dict[str, Any]:
    """Read a map, or the flat list that RESP2 makes of one."""
    if isinstance(reply, dict):
        return {_text(key): value for key, value in reply.items()}
    if isinstance(reply, list):
        return {_text(k): v for k, v in zip(reply[::2], reply[1::2], strict=False)}
    return {}


def _role(reply: object) -> str:
    """Read the first word of ROLE; empty if it was refused or is no ROLE."""
    if not isinstance(reply, list) or not reply:
        return ""
    role = _text(reply[0])
    return role if role != "slave" or len(reply) > 2 else "replica"


def _line(reply: object, name: str) -> str:
    """Read ``name:value`` out of INFO; empty if it is not there or was refused."""
    text = _text(reply) if isinstance(reply, bytes | str) else ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""
