"""The data and the commands of the scripted fake node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .wire import Error, Status, glob_pattern

if TYPE_CHECKING:
    from .node import Connection

OK = Status("OK")
NOT_INTEGER = Error("ERR value is not an integer or out of range")
OVERFLOW = Error("ERR increment or decrement would overflow")
LIMIT = 2**63


def raise_reply(value: int) -> Any:
    """How the raise script answers: as text, since Lua numbers are not exact."""
    return str(value).encode()


class Store:
    """Keys of one node (all databases are one), and who may do what."""

    def __init__(self, *, old: bool, password: str | None) -> None:
        self.data: dict[bytes, bytes] = {}
        self.applied: Counter[str] = Counter()
        self.scripts: set[bytes] = set()
        self.old = old
        self.password = password
        self.role = "master"
        self.loading = False

    def run(self, connection: Connection, args: list[bytes]) -> Any:
        """Apply one command and return the reply as a Python value."""
        verb = args[0].decode().lower()
        command: Callable[..., Any] | None = getattr(self, f"do_{verb}", None)
        if command is None or (verb == "hello" and self.old):
            return Error(f"ERR unknown command '{verb}', with args beginning with:")
        if verb in ("hello", "auth"):
            return command(connection, *args[1:])
        if self.password is not None and not connection.authenticated:
            return Error("NOAUTH Authentication required.")
        if self.loading and verb not in ("client", "select", "info", "role"):
            return Error("LOADING Redis is loading the dataset in memory")
        return command(*args[1:])

    def do_hello(self, connection: Connection, *args: bytes) -> Any:
        """HELLO [version [AUTH user password] [SETNAME name]]."""
        words = [arg.upper() for arg in args]
        if b"AUTH" in words:
            at = words.index(b"AUTH")
            refused = self.do_auth(connection, *args[at + 1 : at + 3])
            if isinstance(refused, Error):
                return refused
        if self.password is not None and not connection.authenticated:
            return Error("NOAUTH HELLO must be called with the client authenticated")
        if args:
            if args[0] not in (b"2", b"3"):
                return Error("NOPROTO unsupported protocol version")
            connection.protocol = int(args[0])
        return {
            "server": "redis",
            "version": "7.0.15",
            "proto": connection.protocol,
            "id": 7,
            "mode": "standalone",
            "role": self.role,
            "modules": [],
        }

    def do_auth(self, connection: Connection, *args: bytes) -> Any:
        """AUTH [user] password."""
        if self.password is None and (len(args) == 1 or args[0] != b"default"):
            return Error("ERR AUTH <password> called without any password configured")
        if self.password is not None and args[-1] != self.password.encode():
            return Error("WRONGPASS invalid username-password pair")
        connection.authenticated = True
        return OK

    def do_ping(self, *text: bytes) -> Any:
        """PING."""
        return text[0] if text else Status("PONG")

    def do_select(self, db: bytes) -> Any:
        """SELECT: every database is the same one."""
        return OK

    def do_client(self, verb: bytes, *args: bytes) -> Any:
        """CLIENT SETNAME | ID | ...; SETINFO is unknown, as on Redis 7.0."""
        if verb.upper() == b"SETINFO":
            return Error("ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.")
        return 7 if verb.upper() == b"ID" else OK

    def do_role(self) -> Any:
        """ROLE."""
        if self.role == "master":
            return ["master", 0, []]
        return ["slave", "127.0.0.1", 6379, "connected", 0]

    def do_info(self, *sections: bytes) -> Any:
        """INFO, with the few fields that a client may look at."""
        return (
            f"redis_version:7.0.15\r\nrole:{self.role}\r\n"
            f"loading:{int(self.loading)}\r\n".encode()
        )

    def do_get(self, key: bytes) -> Any:
        """GET."""
        return self.data.get(key)

    def do_mget(self, *keys: bytes) -> Any:
        """MGET."""
        return [self.data.get(key) for key in keys]

    def do_exists(self, *keys: bytes) -> Any:
        """EXISTS."""
        return sum(key in self.data for key in keys)

    def do_set(self, key: bytes, value: bytes) -> Any:
        """SET without options."""
        self._changed(key)
        self.data[key] = value
        return OK

    def do_msetnx(self, *words: bytes) -> Any:
        """Set all keys, or none if there is one of them."""
        if any(key in self.data for key in words[::2]):
            return 0
        for key, value in zip(words[::2], words[1::2], strict=True):
            self.do_set(key, value)
        return 1

    def do_del(self, *keys: bytes) -> Any:
        """DEL."""
        gone = [key for key in keys if self.data.pop(key, None) is not None]
        for key in gone:
            self._changed(key)
        return len(gone)

    do_unlink = do_del

    def do_incr(self, key: bytes) -> Any:
        """INCR."""
        return self.do_incrby(key, b"1")

    def do_incrby(self, key: bytes, by: bytes) -> Any:
        """INCRBY."""
        try:
            value = int(self.data.get(key, b"0"))
        except ValueError:
            return NOT_INTEGER
        if not -LIMIT <= value + int(by) < LIMIT:
            return OVERFLOW
        self._changed(key)
        self.data[key] = b"%d" % (value + int(by))
        return value + int(by)

    def do_eval(self, script: bytes, count: bytes, *args: bytes) -> Any:
        """EVAL: whatever the script says, it is taken as the raise script."""
        self.scripts.add(b"loaded")
        return self._raise_to(args[0], int(args[1]))

    def do_evalsha(self, digest: bytes, count: bytes, *args: bytes) -> Any:
        """EVALSHA: NOSCRIPT until a script was seen."""
        if not self.scripts:
            return Error("NOSCRIPT No matching script. Please use EVAL.")
        return self._raise_to(args[0], int(args[1]))

    def do_script(self, verb: bytes, *args: bytes) -> Any:
        """SCRIPT LOAD | FLUSH."""
        if verb.upper() == b"FLUSH":
            self.scripts.clear()
            return OK
        self.scripts.add(b"loaded")
        return b"0" * 40

    def do_type(self, key: bytes) -> Any:
        """TYPE."""
        return Status("string" if key in self.data else "none")

    def do_scan(self, cursor: bytes, *args: bytes) -> Any:
        """SCAN: one page holds all keys."""
        words = [arg.upper() for arg in args]
        glob = args[words.index(b"MATCH") + 1] if b"MATCH" in words else b"*"
        match = glob_pattern(glob).fullmatch
        return [b"0", [key for key in self.data if match(key)]]

    def _raise_to(self, key: bytes, to: int) -> Any:
        value = int(self.data.get(key, b"0"))
        if to > value:
            self._changed(key)
            self.data[key] = b"%d" % to
        return raise_reply(max(value, to))

    def _changed(self, key: bytes) -> None:
        self.applied[key.decode("latin-1")] += 1
