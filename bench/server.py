"""The private server of one run: loopback TCP and a unix socket, nothing on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

PROGRAMS = ("redis-server", "valkey-server")


class NoServer(Exception):
    """No server could be started; the text says why and what to do."""


def ask(address: tuple[str, int], *words: str) -> str:
    """Send one command on a connection of its own; return the first line answered."""
    wire = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
    with socket.create_connection(address, timeout=5) as link:
        link.sendall(wire.encode())
        with link.makefile("rb") as answers:
            line = answers.readline().decode().strip()
            return answers.readline().decode().strip() if line[:1] == "$" else line


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A redis-server or valkey-server of our own; use it as a context manager."""

    def __init__(self, program: str | None = None, core: int | None = None) -> None:
        """Prepare to start ``program`` (default: what is on PATH), on one ``core``."""
        found = [program] if program else [p for p in PROGRAMS if shutil.which(p)]
        if not found or not shutil.which(found[0]):
            raise NoServer(
                f"no {' or '.join([program] if program else PROGRAMS)} on PATH; "
                "install one (Debian: apt-get install redis-server) or use --server"
            )
        self.program = found[0]
        self.host, self.port = "127.0.0.1", free_port()
        self._core = core

    def __enter__(self) -> Server:
        """Start the server and wait until it answers."""
        self._folder = tempfile.TemporaryDirectory(prefix="seqcache-bench-")
        self.folder = folder = Path(self._folder.name)
        self.path = str(folder / "server.sock")
        command = [self.program, "--port", str(self.port), "--bind", self.host]
        command += ["--unixsocket", self.path, "--save", "", "--appendonly", "no"]
        command += ["--dir", str(folder), "--tcp-backlog", "4096"]
        if self._core is not None:
            command = ["taskset", "-c", str(self._core), *command]
        self._log = (folder / "log").open("w+")
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT
        )
        self._wait()
        return self

    def _wait(self) -> None:
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                if ask((self.host, self.port), "PING") == "+PONG":
                    return
            except OSError:
                time.sleep(0.02)  # it is not listening yet
        self._log.seek(0)
        said = self._log.read().strip().splitlines()[-1:]
        self.stop()
        raise NoServer(f"{self.program} did not start: {' '.join(said)}")

    @property
    def pid(self) -> int:
        """Return the server's process id (taskset replaces itself by it)."""
        return self._process.pid

    def version(self) -> str:
        """Return the server's name and version for the report."""
        ran = subprocess.run(
            [self.program, "--version"], capture_output=True, text=True
        )
        words = dict(w.split("=", 1) for w in ran.stdout.split() if "=" in w)
        return f"{Path(self.program).name} {words.get('v', '?')}"

    def reset(self) -> None:
        """Let go what a measurement may have left held back."""
        ask((self.host, self.port), "CLIENT", "UNPAUSE")

    def stop(self) -> None:
        """End the server and remove its folder."""
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()  # of one that has ended: nothing
            self._log.close()
            self._folder.cleanup()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server whatever happened."""
        self.stop()
