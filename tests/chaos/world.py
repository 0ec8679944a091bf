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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import resp
from servers import Server

from chaos.board import Board
from chaos.history import Record, load
from chaos.tap import Rule, Tap

KEYS = ["seq:a", "seq:b", "{t}c"]
ALL = ["incr"] * 6 + ["block", "get", "get", "raise", "batch", "token", "bulk token"]
READY_SECONDS = 60.0
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
    replica, second:
        `b` is a replica of a, or a server of its own.
    taps:
        Each worker has a proxy of its own, in `taps`.
    each:
        Options of single workers: those of the client, and ``label`` (whose numbers
        these are), ``pause`` (seconds between calls), ``at`` ("b").
    """

    def __init__(
        self,
        scheme: str,
        *,
        ceilings: str | None = None,
        seed: int = 0,
        fence_time: float = 0.5,
        replica: bool = False,
        second: bool = False,
        taps: bool = False,
        processes: int = PROCESSES,
        each: dict[str, dict[str, Any]] | None = None,
        server_args: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        self.scheme = scheme
        self.processes = processes
        self.each = each or {}
        self.dir = Path(tempfile.mkdtemp(prefix="sqcchaos"))
        self.board = Board(self.dir / "board", create=True)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.servers: list[Server] = []
        self.taps: list[Tap] = []
        self.outage: Callable[[float], None] | None = None
        self.away = 0.0  # seconds without a primary, as far as a scenario judges waits
        try:
            args = ("--enable-debug-command", "local", *server_args)
            self.a = Server(*args)
            self.servers.append(self.a)
            if replica or second:
                self.b = Server(*args)
                self.servers.append(self.b)
            if replica:
                follow(self.b, self.a)
            if taps:
                self.taps = [Tap(self.a.address) for _ in range(processes)]
            self._point_all()
            kinds = [k for k in ALL if scheme != "plain" or k != "raise"]
            self.options: dict[str, Any] = {
                "scheme": scheme,
                "ceilings": ceilings or f"sqlite:///{self.dir}/ceilings.db",
                "fence_time": fence_time,
                "timeout": 1.0,
                "step": 60,
                "threads": 2,
                "forks": 0,
                "keys": KEYS,
                "kinds": kinds,
                "seed": seed,
                "prefetch": True,
                "direct": False,
                **options,
            }
        except BaseException:
            self.close()
            raise

    def _point_all(self) -> None:
        for number in range(self.processes):
            own = self.each.get(str(number), {})
            port = self.b.port if own.get("at") == "b" else self.a.port
            self.board.point(self.taps[number].port if self.taps else port, number)

    def point(self, server: Server, *workers: int) -> None:
        """Let discovery name that server, to all workers or to these."""
        if not self.taps:
            self.board.point(server.port, *workers)
        for number in workers or range(len(self.taps)):
            if self.taps:
                self.taps[number].lead(server.address)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the workers and wait until they all count."""
        for number in range(self.processes):
            # Both faces, unless the environment names one.
            face = os.environ.get("CHAOS_CLIENT", ("cache", "acache")[number % 2])
            options = {"client": face, **self.options, **self.each.get(str(number), {})}
            command = [
                sys.executable,
                str(WORKER),
                str(self.dir / "board"),
                str(number),
                str(self.out(number)),
                json.dumps(options),
            ]
            with open(self.dir / f"worker{number}.log", "wb") as log:
                self.workers.append(subprocess.Popen(command, stdout=log, stderr=log))
        self.wait_calls(30)

    def out(self, number: int) -> Path:
        """The history file of a worker."""
        return self.dir / f"history{number}.jsonl"

    def wait_calls(self, count: int, *workers: int) -> None:
        """Until each worker, or these, recorded that many more calls."""
        chosen = workers or range(len(self.workers))
        # Who calls rarely is not waited for.
        chosen = [n for n in chosen if "pause" not in self.each.get(str(n), {})]
        goals = {n: self.lines(n) + count for n in chosen}
        end = time.monotonic() + READY_SECONDS
        for number, goal in goals.items():
            while self.lines(number) < goal:
                if time.monotonic() > end or self.workers[number].poll() is not None:
                    log = (self.dir / f"worker{number}.log").read_text()
                    raise RuntimeError(f"worker {number} does not call: {log}")
                time.sleep(0.02)

    def wait_recovered(self, scheme: str) -> None:
        """Until every worker that lives counts again, so that recovery is proven."""
        if scheme == "plain":
            return
        living = [n for n, w in enumerate(self.workers) if w.poll() is None]
        living = [n for n in living if "pause" not in self.each.get(str(n), {})]
        before = {n: self.lines(n) for n in living}
        wait_for(
            lambda: all(self.lines(n) > before[n] + 5 for n in living),
            READY_SECONDS,
        )

    def wait_rules(self, rules: Sequence[Rule], seconds: float = 6.0) -> None:
        """Until all proxies did what they were told, or the time is over.

        Not all workers meet every step; one of them has to. Plain clients call no
        functions.
        """
        if self.scheme == "plain":
            time.sleep(0.3)
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(rule.done >= rule.times for rule in rules):
                return
            time.sleep(0.01)
        if not any(rule.done for rule in rules):
            raise RuntimeError("no call came by at which something was to be done")

    def wait_failing(self, word: str) -> None:
        """Until the last calls of every worker ended with that error."""
        wait_for(
            lambda: all(word in self.tail(n) for n in range(self.processes)),
            READY_SECONDS,
        )

    def tail(self, number: int) -> str:
        """The last records of a worker, as they were written."""
        with self.out(number).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 1500))
            return file.read().decode(errors="replace")

    def faults(self) -> int:
        """How often something went wrong at the workers' stores."""
        return sum(map(self.board.count, range(self.processes)))

    def stop_workers(self, *workers: int) -> None:
        """SIGSTOP."""
        for number in workers:
            os.kill(self.workers[number].pid, signal.SIGSTOP)

    def resume_workers(self) -> None:
        """Let all workers go on that were stopped."""
        for worker in self.workers:
            if worker.poll() is None:
                os.kill(worker.pid, signal.SIGCONT)

    def lines(self, number: int) -> int:
        """How many records a worker has written, about."""
        path = self.out(number)
        return path.stat().st_size // 130 if path.exists() else 0

    def stop(self) -> list[Record]:
        """End the workers; the whole history."""
        self.board.stop()
        self.board.away = False
        self.board.release()
        for worker in self.workers:
            worker.wait(60)
        records: list[Record] = []
        for path in sorted(self.dir.glob("history*.jsonl")):
            records += load(path)
        return records

    def stats(self) -> dict[str, float]:
        """Sums of the workers' counters."""
        total: dict[str, float] = {}
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
        for tap in self.taps:
            tap.close()
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
