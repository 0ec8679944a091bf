"""What a user may do on a server, found out without doing any of it.

Between MULTI and DISCARD a server checks each command for rights, memory, disk and
replicas as it does for a real call, and runs none. It has a connection of its own: a
command that came by another one would be run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import _connect, _native
from ..config import Config
from ..errors import ConnectError

# Commands of plain and durable mode; the key stands for what a user id makes.
KEY = b"KEY"
READS: dict[str, tuple[Any, ...]] = {
    "get": ("GET", KEY),
    "mget": ("MGET", KEY),
    "scan": ("SCAN", "0"),
}
WRITES: dict[str, tuple[Any, ...]] = {
    "incr": ("INCR", KEY),
    "incrby": ("INCRBY", KEY, "1"),
    "eval": ("EVAL", "return 1", "1", KEY),
    "evalsha": ("EVALSHA", "0" * 40, "1", KEY),
    "set": ("SET", KEY, "1"),
    "pttl": ("PTTL", KEY),
}
SPARE: dict[str, tuple[Any, ...]] = {
    "del": ("DEL", KEY),
    "msetnx": ("MSETNX", KEY, "1"),
    "info": ("INFO", "server"),
    "time": ("TIME",),
}
DURABLE: dict[str, tuple[Any, ...]] = {
    "fcall": ("FCALL", "seq_get", "2", KEY, "sqc:m:{KEY}", "", "0"),
    "function|load": ("FUNCTION", "LOAD", "x"),
    "get": ("GET", KEY),
    "set": ("SET", "sqc:m:{KEY}", "1"),
    "incr": ("INCR", KEY),
    "incrby": ("INCRBY", KEY, "1"),
    "decrby": ("DECRBY", KEY, "1"),
    "del": ("DEL", "sqc:m:{KEY}"),
    "time": ("TIME",),
    "info": ("INFO", "replication"),
    "scan": ("SCAN", "0"),
}
# The same without MULTI: commands that fail whatever the data are. INCR has no such
# form and is left out then.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "incrby": ("INCRBY", KEY, "x"),
    "decrby": ("DECRBY", KEY, "x"),
    "set": ("SET", KEY, "1", "NONSENSE"),
    "msetnx": ("MSETNX", KEY, "1", "odd"),
    "fcall": ("FCALL", "seqcache_doctor", "2", KEY, "sqc:m:{KEY}"),
}


@dataclass
class Rights:
    """What was found: commands that the ACL refuses, and why writes are refused.

    ``missing`` are commands, ``keys`` those refused for their key; ``refusal`` is what
    a server says to a write that the user may make (``OOM ...``), empty if nothing;
    ``untested`` is a command that could not be tried.
    """

    user: str = ""
    missing: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    refusal: str = ""
    untested: str = ""


def probe(config: Config) -> Rights:
    """Try the rights of the user that a config names; raises as connecting does."""
    wanted = DURABLE if config.ceilings is not None else READS | WRITES | SPARE
    key = config.key_prefix + b"\0seqcache doctor"
    with Talk(config) as talk:
        found = Rights()
        who = talk.ask("ACL", "WHOAMI")
        told = who.decode("utf-8", "replace") if isinstance(who, bytes) else ""
        found.user = told or config.username or "default"
        queues = _error(talk.ask("MULTI")) is None
        for name, words in wanted.items():
            if not queues and name == "incr":
                found.untested = name
                continue
            if not queues:
                words = _HARMLESS.get(name, words)
            _judge(found, name, _error(talk.ask(*_with_key(words, key))))
        if queues:
            talk.ask("DISCARD")
    return found


def _with_key(words: tuple[Any, ...], key: bytes) -> list[Any]:
    """Put the key into the places that stand for it."""
    return [
        key
        if word == KEY
        else word.encode().replace(b"KEY", key)
        if isinstance(word, str) and "{KEY}" in word
        else word
        for word in words
    ]


def _judge(found: Rights, name: str, text: str | None) -> None:
    if text is None:
        return
    code = text.partition(" ")[0]
    if code == "NOPERM":
        (found.keys if " key" in text else found.missing).append(name)
    elif code not in ("ERR", "NOSCRIPT", "WRONGTYPE", "EXECABORT"):
        found.refusal = found.refusal or text


def _error(reply: Any) -> str | None:
    return reply.text if isinstance(reply, _native.ReplyError) else None


class Talk:
    """A connection on which one command is said at a time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._codec = _native.Codec()

    def __enter__(self) -> Talk:
        self._sock = _connect.open_blocking(self._config)
        self._sock.settimeout(self._config.timeout or 10.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def ask(self, *words: Any) -> Any:
        """Send a command and return its reply; a ReplyError where it is refused."""
        try:
            self._sock.sendall(self._codec.encode(words))
            while True:
                replies = self._codec.feed(self._receive())
                if replies:
                    return replies[0]
        except OSError as error:
            where = self._config.address
            raise ConnectError(f"{where}: the connection was lost: {error}") from error

    def _receive(self) -> bytes:
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionResetError("closed by the server")
        return data
