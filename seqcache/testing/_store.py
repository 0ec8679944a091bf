"""A few commands of Redis over a dict: a stand-in where no server is installed."""

from __future__ import annotations

from hashlib import sha1
from typing import Any, Protocol

from .._glob import compile_glob
from ._wire import Error, Status

__all__ = ["NOT_INTEGER", "OK", "Session", "Store"]

OK = Status("OK")
NOT_INTEGER = Error("ERR value is not an integer or out of range")
OVERFLOW = Error("ERR increment or decrement would overflow")
LIMIT = 2**63


class Session(Protocol):
    """What a store knows of a connection; ``protocol`` is the version of RESP."""

    protocol: int


class Store:
    """Keys and what a client of ours does with them; all databases are one.

    Runs no Lua: a script is known by the number of its keys. Nothing expires.
    """

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.scripts: set[bytes] = set()

    def run(self, session: Session, words: list[bytes]) -> Any:
        """Apply one command; return the reply as a Python value."""
        verb = words[0].decode("latin-1").lower()
        command = getattr(self, f"do_{verb}", None)
        if command is None:
            return Error(f"ERR unknown command '{verb}', with args beginning with:")
        return command(session, *words[1:])

    # --- connections ---------------------------------------------------------

    def do_hello(self, session: Session, *words: bytes) -> Any:
        """HELLO [version ...]."""
        if words:
            if words[0] not in (b"2", b"3"):
                return Error("NOPROTO unsupported protocol version")
            session.protocol = int(words[0])
        return {
            "server": "redis",
            "version": "7.0.15",
            "proto": session.protocol,
            "id": 7,
            "mode": "standalone",
            "role": "master",
            "modules": [],
        }

    def do_ping(self, session: Session, *text: bytes) -> Any:
        """PING."""
        return text[0] if text else Status("PONG")

    def do_select(self, session: Session, database: bytes) -> Any:
        """SELECT."""
        return OK

    def do_client(self, session: Session, verb: bytes, *words: bytes) -> Any:
        """CLIENT SETNAME | ID | ...; SETINFO is unknown, as on Redis 7.0."""
        if verb.upper() == b"SETINFO":
            return Error("ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.")
        return 7 if verb.upper() == b"ID" else OK

    def do_role(self, session: Session) -> Any:
        """ROLE."""
        return ["master", 0, []]

    # --- keys ----------------------------------------------------------------

    def do_get(self, session: Session, key: bytes) -> Any:
        """GET."""
        return self.data.get(key)

    def do_mget(self, session: Session, *keys: bytes) -> Any:
        """MGET."""
        return [self.data.get(key) for key in keys]

    def do_exists(self, session: Session, *keys: bytes) -> Any:
        """EXISTS."""
        return sum(key in self.data for key in keys)

    def do_set(self, session: Session, key: bytes, value: bytes) -> Any:
        """SET without options."""
        self.put(key, value)
        return OK

    def do_msetnx(self, session: Session, *words: bytes) -> Any:
        """MSETNX: all keys, or none if there is one of them."""
        if any(key in self.data for key in words[::2]):
            return 0
        for key, value in zip(words[::2], words[1::2], strict=True):
            self.put(key, value)
        return 1

    def do_del(self, session: Session, *keys: bytes) -> Any:
        """DEL."""
        gone = [key for key in keys if key in self.data]
        for key in gone:
            self.put(key, None)
        return len(gone)

    do_unlink = do_del

    def do_incr(self, session: Session, key: bytes) -> Any:
        """INCR."""
        return self.do_incrby(session, key, b"1")

    def do_incrby(self, session: Session, key: bytes, by: bytes) -> Any:
        """INCRBY."""
        try:
            value = int(self.data.get(key, b"0"))
        except ValueError:
            return NOT_INTEGER
        if not -LIMIT <= value + int(by) < LIMIT:
            return OVERFLOW
        self.put(key, b"%d" % (value + int(by)))
        return value + int(by)

    def do_eval(
        self, session: Session, script: bytes, count: bytes, *words: bytes
    ) -> Any:
        """EVAL: of two keys an increase with a token, of one a raise."""
        self.scripts.add(sha1(script, usedforsecurity=False).hexdigest().encode())
        return self._script(session, count, words)

    def do_evalsha(
        self, session: Session, digest: bytes, count: bytes, *words: bytes
    ) -> Any:
        """EVALSHA: NOSCRIPT until the script was seen."""
        if digest not in self.scripts:
            return Error("NOSCRIPT No matching script. Please use EVAL.")
        return self._script(session, count, words)

    def _script(self, session: Session, count: bytes, words: tuple[bytes, ...]) -> Any:
        if count == b"2":
            return self._increase_once(session, *words)
        if count == b"1":
            return self._raise(words[0], int(words[1]))
        return Error("ERR no Lua here: this stand-in knows seqcache's own scripts")

    def _raise(self, key: bytes, to: int) -> Any:
        try:
            value = int(self.data.get(key, b"0"))
        except ValueError:
            return NOT_INTEGER
        if to > value:
            self.put(key, b"%d" % to)
        return b"%d" % max(value, to)  # as text: Lua's numbers are not exact

    def _increase_once(
        self, session: Session, key: bytes, record: bytes, by: bytes, ttl: bytes
    ) -> Any:
        last, _, count = self.data.get(record, b"").partition(b"/")
        if count:
            told = Error(f"TOKENCONFLICT {count.decode()}")
            return last if count == by else told
        number = self.do_incrby(session, key, by)
        if isinstance(number, Error):
            return number
        self.data[record] = b"%d/%b" % (number, by)
        return b"%d" % number

    def do_scan(self, session: Session, cursor: bytes, *words: bytes) -> Any:
        """SCAN: one page holds all keys."""
        names = [word.upper() for word in words]
        glob = words[names.index(b"MATCH") + 1] if b"MATCH" in names else b"*"
        fits = compile_glob(glob).fullmatch
        return [b"0", [key for key in self.data if fits(key)]]

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a key; None deletes it. Every change passes here."""
        if value is None:
            del self.data[key]
        else:
            self.data[key] = value
