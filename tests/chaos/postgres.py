"""A private PostgreSQL for tests: initdb in a temp dir, stopped by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from servers import free_port

START_SECONDS = 30.0


class NoPostgres(Exception):
    """There is no PostgreSQL on this machine."""


def binary(name: str) -> str:
    """A server program: on the PATH, or where Debian keeps it."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in [None, *places]:
        found = shutil.which(name, path=str(folder) if folder else None)
        if found and not Path(found).resolve().name.startswith("pg_wrapper"):
            return found
    raise NoPostgres(f"no {name}: apt-get install postgresql")


def account() -> str | None:
    """Whom to run as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Postgres:
    """One server on 127.0.0.1:port, user `seq`, without a password."""

    def __init__(self) -> None:
        self.user = account()
        self.dir = Path(tempfile.mkdtemp(prefix="sqcpg"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        if self.user:
            shutil.chown(self.dir, self.user)
        try:
            self._run(
                binary("initdb"), "-D", str(self.dir / "data"), "-U", "seq",
                "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8",
            )  # fmt: skip
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """What `ceilings=` takes."""
        return f"postgresql+psycopg://seq@127.0.0.1:{self.port}/postgres"

    @property
    def version(self) -> str:
        """Its name and version."""
        done = subprocess.run(
            [binary("postgres"), "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        return f"PostgreSQL {done.stdout.split()[2]}"

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, user=self.user, cwd=self.dir, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode())

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    binary("postgres"), "-D", str(self.dir / "data"),
                    "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                    "-c", f"unix_socket_directories={self.dir}",
                    "-c", "shared_buffers=16MB", "-c", "max_connections=60",
                ],
                user=self.user, cwd=self.dir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        import psycopg

        end = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(
                    host="127.0.0.1", port=self.port, user="seq", dbname="postgres"
                ).close()
                return
            except psycopg.OperationalError as exc:
                if time.monotonic() > end or self.process.poll() is not None:
                    text = (self.dir / "log").read_text(errors="replace")
                    raise RuntimeError(f"postgres did not start: {text}") from exc
                time.sleep(0.05)

    def empty(self) -> None:
        """Drop all tables."""
        import psycopg

        address = {"host": "127.0.0.1", "port": self.port, "user": "seq"}
        with psycopg.connect(**address, dbname="postgres", autocommit=True) as conn:
            conn.execute("DROP SCHEMA public CASCADE")
            conn.execute("CREATE SCHEMA public")

    def pids(self) -> list[int]:
        """The postmaster and its children."""
        assert self.process is not None
        parent = self.process.pid
        path = Path(f"/proc/{parent}/task/{parent}/children")
        return [parent, *map(int, path.read_text().split())]

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def away(self, seconds: float) -> None:
        """Answer nobody for that long."""
        self.pause()
        time.sleep(seconds)
        self.resume()

    def resume(self) -> None:
        """Thaw it."""
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """End it at once (SIGQUIT: a crash with recovery at the next start)."""
        if self.process is not None:
            if self.process.poll() is None:
                self.resume()
                os.kill(self.process.pid, how)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """End it and remove its directory."""
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
