"""The server that tests use: a private one, or the one that somebody named."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from typing import Any, Self

from .._cache import cache
from ..config import Config
from ..errors import ServerError, StartupError

__all__ = ["NoServerError", "Server", "borrow", "find_program", "start_private"]

PROGRAMS = ("redis-server", "valkey-server")
START_SECONDS = 20.0
# Where packages put it while the PATH of a user may lack it.
PLACES = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/usr/local/bin"))
# Of the place of its folder: a unix socket's path has 107 bytes, on some systems 103.
PLACE_BYTES = 103 - len("/seqcache-12345678/s")
# Its standard input is a pipe from us, so it sees our end, however we end: by then
# the server ends too, and its folder goes.
KEEPER = """
exec 3<&0
folder=$1
shift
"$@" </dev/null &
server=$!
{ read -r _ <&3; kill -9 $server; } &
wait $server
kill $! 2>/dev/null
rm -rf "$folder"
"""


class NoServerError(Exception):
    """There is no server for the tests; the text says why and what to do."""


class Server:
    """The server of a test run; the fixture ``seqcache_server``.

    ``url`` is its address; `empty_url` leaves no numbers of other tests there.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def empty_url(self) -> str:
        """Return an address at which there are no numbers yet.

        That is the server, emptied; a store of its own at memory://; a random prefix
        at a backend of third parties.
        """
        kind = Config(self.url).location.kind
        if kind == "memory":
            return f"memory://test-{os.urandom(4).hex()}"
        if kind == "other":
            return with_options(self.url, prefix=f"test-{os.urandom(4).hex()}%3A")
        self._empty()
        return self.url

    def _empty(self) -> None:
        ask(self.url, "FLUSHDB")

    def close(self) -> None:
        """Empty the database: it is another's, and was empty."""
        if Config(self.url).location.kind in ("tcp", "unix"):
            self._empty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PrivateServer(Server):
    """A server of our own, on a unix socket in a folder of its own."""

    def __init__(self, url: str, keeper: subprocess.Popen[bytes]) -> None:
        super().__init__(url)
        self._keeper = keeper

    def _empty(self) -> None:
        ask(self.url, "FLUSHALL")
        # Durable mode keeps an epoch in its functions, which outlives the keys.
        with contextlib.suppress(ServerError):  # of a server without functions
            ask(self.url, "FUNCTION", "FLUSH")

    def close(self) -> None:
        """End the process and remove its folder."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(START_SECONDS)


def ask(url: str, *words: str) -> Any:
    """Ask a server one thing, on a connection of its own."""
    with cache(Config.from_url(url, ceilings=None)) as client:
        return client._execute(words)


def borrow(url: str, worker: int) -> Server:
    """Take the server at a URL for a test run, which will empty its database.

    Parameters
    ----------
    url:
        Its database must be empty now.
    worker:
        Number of the process of pytest-xdist: each has a database of its own, so
        worker 2 at ``/5`` gets ``/7``.

    Raises
    ------
    NoServerError
        If the database is not empty.
    SeqCacheError
        If the server cannot be asked.
    """
    config = Config(url)
    if config.location.kind not in ("tcp", "unix"):
        return Server(url)
    number = config.db + worker
    url = at_database(url, config.location.kind, number)
    if keys := ask(url, "DBSIZE"):
        raise NoServerError(
            f"database {number} at {config.address} holds {keys} keys, and the tests "
            "would delete them: name an empty database in --seqcache-url, or empty "
            f"this one with redis-cli -n {number} FLUSHDB"
        )
    return Server(url)


def at_database(url: str, kind: str, number: int) -> str:
    """Return the URL with another database."""
    if kind == "unix":
        return with_options(url, db=number)
    head, _, query = url.partition("?")
    scheme, _, rest = head.partition("://")
    moved = f"{scheme}://{rest.partition('/')[0]}/{number}"
    return with_options(f"{moved}?{query}", db=None)


def with_options(url: str, **options: Any) -> str:
    """Return the URL with these options in place of its own; None takes one out."""
    head, _, query = url.partition("?")
    kept = [item for item in query.split("&") if item.partition("=")[0] not in options]
    said = [f"{name}={value}" for name, value in options.items() if value is not None]
    items = "&".join(filter(None, [*kept, *said]))
    return f"{head}?{items}" if items else head


def find_program() -> str:
    """Return the path of redis-server or valkey-server.

    Raises
    ------
    NoServerError
        If there is neither.
    """
    if os.name != "posix":
        raise NoServerError("private servers need unix sockets: give --seqcache-url")
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), PLACES))
    for name in PROGRAMS:
        if found := shutil.which(name, path=path):
            return found
    raise NoServerError(
        f"no {' or '.join(PROGRAMS)} on PATH: install one, or give --seqcache-url URL "
        "(memory:// needs none)"
    )


def short_place() -> str:
    """Return where folders go whose sockets must have a short path."""
    place = tempfile.gettempdir()
    return place if len(os.fsencode(place)) <= PLACE_BYTES else "/tmp"


def start_private(program: str | None = None) -> PrivateServer:
    """Start a server that ends with this process, however that ends.

    Parameters
    ----------
    program:
        Path of the server; by default the one that `find_program` finds.

    Raises
    ------
    NoServerError
        If there is no such program, or it does not start.
    """
    program = program or find_program()
    folder = tempfile.mkdtemp(prefix="seqcache-", dir=short_place())
    path = os.path.join(folder, "s")
    words = [program, "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
    words += ["--dir", folder, "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryFile() as log:
        # A session of its own: Ctrl-C is for the tests, which then end in order.
        keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "seqcache-keeper", folder, *words],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = PrivateServer(f"unix://{path}?db=0", keeper)
        try:
            wait_ready(server.url, keeper)
        except BaseException as why:
            server.close()
            if not isinstance(why, StartupError):
                raise
            log.seek(0)
            said = log.read().decode("utf-8", "replace").strip()
            raise NoServerError(f"{program} does not start: {said or why}") from why
    return server


def wait_ready(url: str, keeper: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers; StartupError if it does not."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            cache(url).close()
            return
        except StartupError:
            if keeper.poll() is not None or time.monotonic() > end:
                raise
        time.sleep(0.005)
