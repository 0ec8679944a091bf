"""Programs of the environment, as a user of the wheel runs them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from servers import Server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
APPS = HERE / "apps"
SECONDS = 300


def run(*words: object, **environ: str) -> str:
    """Run a program to its end; return what it printed."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=APPS,
        env=clean(environ),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean(environ: dict[str, str]) -> dict[str, str]:
    """The environment of a user: none of our own settings and paths."""
    ours = ("SEQCACHE_", "REDIS_URL", "PYTHON", "PYTEST_", "VIRTUAL_ENV")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **environ}


def wait_without_clients(server: Server) -> None:
    """Wait until the server has seen that nobody of us is left."""
    end = time.monotonic() + 10
    while left := server.client_count():
        assert time.monotonic() < end, f"{left} clients are left"
        time.sleep(0.01)


class Program:
    """A server of the environment, until `stop`."""

    def __init__(self, words: list[object], log: Path, environ: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(word) for word in words],
                cwd=APPS,
                env=clean(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """Ask it to end, as a service manager does; return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
