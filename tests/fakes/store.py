"""The data of the scripted fake node: the shipped stand-in, and who may do what."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from seqcache.testing import _store
from seqcache.testing._wire import Error

if TYPE_CHECKING:
    from .node import Connection


class Store(_store.Store):
    """Keys of one node; `applied` counts the changes of each."""

    def __init__(self, *, old: bool, password: str | None) -> None:
        super().__init__()
        self.applied: Counter[str] = Counter()
        self.old = old
        self.password = password
        self.role = "master"
        self.loading = False

    def run(self, connection: Connection, args: list[bytes]) -> Any:
        """Apply one command, if this client may."""
        verb = args[0].decode().lower()
        if verb == "hello" and self.old:
            return Error("ERR unknown command 'hello', with args beginning with:")
        if verb not in ("hello", "auth"):
            if self.password is not None and not connection.authenticated:
                return Error("NOAUTH Authentication required.")
            if self.loading and verb not in ("client", "select", "info", "role"):
                return Error("LOADING Redis is loading the dataset in memory")
        return super().run(connection, args)

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
        told = super().do_hello(connection, *args)
        return told if isinstance(told, Error) else {**told, "role": self.role}

    def do_auth(self, connection: Connection, *args: bytes) -> Any:
        """AUTH [user] password."""
        if self.password is None and (len(args) == 1 or args[0] != b"default"):
            return Error("ERR AUTH <password> called without any password configured")
        if self.password is not None and args[-1] != self.password.encode():
            return Error("WRONGPASS invalid username-password pair")
        connection.authenticated = True
        return _store.OK

    def do_role(self, connection: Connection) -> Any:
        """ROLE."""
        if self.role == "master":
            return super().do_role(connection)
        return ["slave", "127.0.0.1", 6379, "connected", 0]

    def do_info(self, connection: Connection, *sections: bytes) -> Any:
        """INFO, with the few fields that a client may look at."""
        return (
            f"redis_version:7.0.15\r\nrole:{self.role}\r\n"
            f"loading:{int(self.loading)}\r\n".encode()
        )

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a key and count that."""
        super().put(key, value)
        self.applied[key.decode("latin-1")] += 1
