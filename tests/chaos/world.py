"""The stage of a scenario: two servers, a ceiling store, worker processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import resp
from servers import Server

from chaos.board import Board
from chaos.history import Record, load

KEYS = ["seq:a", "seq:b", "{t}c"]
ALL = ["incr"] * 6 + ["block", "get", "get", "raise", "batch", "token", "bulk token"]
READY_SECONDS = 20.0
PROCESSES = 4
WORKER = Path(__file__).with_name("worker.py")


class World:
    """Servers `a` and `b` (a replica of a), and clients that find `a` at first.

    Parameters
    ----------
    scheme:
        ``plain``, ``lease`` or ``connection``.
    ceilings:
        URL of an empty store; None: a new SQLite file.
    fence_time:
        Lease of the epochs; short, so that a scenario takes seconds.
    """

    def __init__(
        self,
        scheme: str,
        *,
        ceilings: str | None = None,
        seed: int = 0,
        fence_time: float = 0.5,
        replica: bool = False,
        server_args: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        self.scheme = scheme
        self.dir = Path(tempfile.mkdtemp(prefix="sqcchaos"))
        self.board = Board(self.dir / "board", create=True)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.servers: list[Server] = []
        self.outage: Callable[[float], None] | None = None
        try:
            args = ("--enable-debug-command", "local", *server_args)
            self.a = Server(*args)
            self.servers.append(self.a)
            if replica:
                self.b = Server(*args)
                self.servers.append(self.b)
                follow(self.b, self.a)
            self.board.point(self.a.port)
            kinds = [k for k in ALL if scheme != "plain" or k != "raise"]
            self.options: dict[str, Any] = {
                "scheme": scheme,
                "ceilings": ceilings or f"sqlite:///{self.dir}/ceilings.db",
                "fence_time": fence_time,
                "timeout": 1.0,
                "step": 60,
                "threads": 2,
                "keys": KEYS,
                "kinds": kinds,
                "seed": seed,
                "client": os.environ.get("CHAOS_CLIENT", "cache"),
                **options,
            }
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self, count: int = PROCESSES) -> None:
        """Start the workers and wait until they all count."""
        for number in range(len(self.workers), len(self.workers) + count):
            command = [
                sys.executable,
                str(WORKER),
                str(self.dir / "board"),
                str(number),
                str(self.out(number)),
                json.dumps(self.options),
            ]
            with open(self.dir / f"worker{number}.log", "wb") as log:
                self.workers.append(subprocess.Popen(command, stdout=log, stderr=log))
        self.wait_calls(30)

    def out(self, number: int) -> Path:
        """The history file of a worker."""
        return self.dir / f"history{number}.jsonl"

    def wait_calls(self, count: int) -> None:
        """Until each worker has recorded that many more calls."""
        before = [self.lines(n) for n in range(len(self.workers))]
        end = time.monotonic() + READY_SECONDS
        for number, old in enumerate(before):
            while self.lines(number) < old + count:
                if time.monotonic() > end or self.workers[number].poll() is not None:
                    log = (self.dir / f"worker{number}.log").read_text()
                    raise RuntimeError(f"worker {number} does not call: {log}")
                time.sleep(0.02)

    def wait_recovered(self, scheme: str) -> None:
        """Until a new client counts on every key, so that recovery is proven."""
        if scheme == "plain":
            return
        living = [n for n, w in enumerate(self.workers) if w.poll() is None]
        before = {n: self.lines(n) for n in living}
        wait_for(
            lambda: all(self.lines(n) > before[n] + 5 for n in living),
            READY_SECONDS,
        )

    def lines(self, number: int) -> int:
        """How many records a worker has written, about."""
        path = self.out(number)
        return path.stat().st_size // 130 if path.exists() else 0

    def stop(self) -> list[Record]:
        """End the workers; the whole history."""
        self.board.stop()
        for worker in self.workers:
            worker.wait(60)
        records: list[Record] = []
        for number in range(len(self.workers)):
            if self.out(number).exists():
                records += load(self.out(number))
        return records

    def stats(self) -> dict[str, int]:
        """Sums of the workers' counters."""
        total: dict[str, int] = {}
        for number in range(len(self.workers)):
            path = Path(f"{self.out(number)}.stats")
            if path.exists():
                for name, value in json.loads(path.read_text()).items():
                    total[name] = total.get(name, 0) + value
        return total

    def close(self) -> None:
        """End everything by its pid and remove the directory."""
        for worker in self.workers:
            if worker.poll() is None:
                os.kill(worker.pid, signal.SIGCONT)
                worker.kill()
            worker.wait()
        for server in self.servers:
            server.resume()
            server.close()
        self.board.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log_of_workers(self) -> str:
        """What they printed: nothing, if all is well."""
        return "".join(
            (self.dir / f"worker{n}.log").read_text() for n in range(len(self.workers))
        )


def wait_for(question: Callable[[], bool], seconds: float = 15.0) -> None:
    """Poll until the answer is yes."""
    end = time.monotonic() + seconds
    while True:
        try:
            if question():
                return
        except (OSError, resp.RespError):
            pass
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {question}")
        time.sleep(0.01)


def role_is(server: Server, role: str) -> Callable[[], bool]:
    """A question for `wait_for`: that role, and a replica's link is up."""

    def ask() -> bool:
        info = server.info("replication")
        up = role == "master" or info.get("master_link_status") == "up"
        return info["role"] == role and up

    return ask


def follow(replica: Server, primary: Server) -> None:
    """Make it a replica and wait until it is in step."""
    replica.admin("REPLICAOF", "127.0.0.1", primary.port)
    wait_for(role_is(replica, "slave"))


def promote(server: Server) -> None:
    """Make it a primary."""
    server.admin("REPLICAOF", "NO", "ONE")
