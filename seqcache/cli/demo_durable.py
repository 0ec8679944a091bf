"""The verb ``demo --durable``: a server dies in the middle of a run.

A server of its own, killed and set back, under two counters: a plain one, which
gives numbers twice, and a durable one, which does not. Nothing remains afterwards.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import SeqCache, cache
from ..errors import ConfigError, SeqCacheError, StartupError
from ..testing._server import short_place
from .output import Output
from .stage import Quit, Stage

NAMES = ("redis-server", "valkey-server")
THREADS = 2  # of each counter
PAUSE_SECONDS = 0.001  # between two calls of a thread: the run is to be followed
LEASE_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
USER = "alice"


def demo_durable(args: Namespace, out: Output) -> int:
    """Play all scenes; 1 if the durable counter gave a number twice."""
    if args.url:
        raise ConfigError(
            "--durable kills its server, so it starts one of its own",
            hint="leave --url away",
            option="url",
        )
    with (
        tempfile.TemporaryDirectory(prefix="seqcache-", dir=short_place()) as folder,
        Server(find_server(), Path(folder)) as server,
        opened(server, Path(folder)) as (plain, durable),
        Stage(out, fast=args.fast) as stage,
    ):
        try:
            return Play(stage, server, plain, durable).run()
        except Quit:
            return 0


def find_server() -> str:
    """Return the path of a server program; StartupError if there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise StartupError(
        "there is no redis-server and no valkey-server on PATH to be killed",
        hint="apt-get install redis-server, or another one that is 7.0 or newer",
    )


class Server:
    """One private server on a unix socket, in a folder of its own.

    It writes a snapshot only when it is told; `kill` takes it away without warning.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.url = f"unix://{folder}/s"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, on the snapshot if there is one."""
        words = ["--port", "0", "--unixsocket", f"{self.folder}/s"]
        words += ["--dir", str(self.folder), "--save", "", "--appendonly", "no"]
        with (self.folder / "log").open("ab") as log:
            # Ctrl-C is for us: we end it, by its pid.
            self._process = subprocess.Popen(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def opened(server: Server, folder: Path) -> Iterator[tuple[SeqCache, SeqCache]]:
    """Open both counters; they share the server and nothing else."""
    words: dict[str, Any] = {"startup_timeout": 10.0, "on_regress": "off"}
    with (
        cache(server.url, prefix="plain:", **words) as plain,
        cache(
            server.url,
            prefix="durable:",
            ceilings=f"sqlite:///{folder}/ceilings.db",
            fence_time=LEASE_SECONDS,
            **words,
        ) as durable,
    ):
        yield plain, durable


class Tally:
    """What the threads of one counter were given."""

    def __init__(self, seqs: SeqCache, stop: threading.Event) -> None:
        self.seqs = seqs
        self.stop = stop
        self.given: list[list[int]] = [[] for _ in range(THREADS)]
        self.marks = [0] * THREADS
        self.failed = 0
        self.threads = [
            threading.Thread(target=self._count, args=(numbers,), daemon=True)
            for numbers in self.given
        ]

    def _count(self, numbers: list[int]) -> None:
        while not self.stop.wait(PAUSE_SECONDS):
            try:
                numbers.append(self.seqs.increase_seq(USER))
            except SeqCacheError:
                self.failed += 1
                time.sleep(0.02)

    def mark(self) -> None:
        """Remember that what is given from now on comes after an incident."""
        self.marks = [len(numbers) for numbers in self.given]

    @property
    def first(self) -> int:
        """The smallest number since the mark."""
        pairs = zip(self.given, self.marks, strict=True)
        return min((min(n[at:]) for n, at in pairs if n[at:]), default=0)

    @property
    def total(self) -> int:
        """How many numbers there were."""
        return sum(map(len, self.given))

    @property
    def last(self) -> int:
        """The number that was given last."""
        return max((numbers[-1] for numbers in self.given if numbers), default=0)

    @property
    def twice(self) -> int:
        """How many numbers had been given before."""
        return self.total - len(set().union(*self.given))

    @property
    def back(self) -> int:
        """How often a thread got a smaller number than before, or the same."""
        return sum(
            later <= before
            for numbers in self.given
            for before, later in zip(numbers, numbers[1:], strict=False)
        )


class Play:
    """The scenes, over one run that goes on beneath them."""

    def __init__(
        self, stage: Stage, server: Server, plain: SeqCache, durable: SeqCache
    ) -> None:
        self.stage = stage
        self.server = server
        self.admin = plain
        self.stop = threading.Event()
        self.plain = Tally(plain, self.stop)
        self.durable = Tally(durable, self.stop)

    def run(self) -> int:
        """Play; the exit code."""
        threads = self.plain.threads + self.durable.threads
        try:
            self.count(threads)
            self.crash()
            self.flush()
        finally:
            self.stop.set()
            for thread in threads:
                if thread.ident:
                    thread.join(PATIENCE_SECONDS)
        return 0 if self.judge() else 1

    def count(self, threads: list[threading.Thread]) -> None:
        """Both counters, side by side."""
        stage, version = self.stage, self._version()
        stage.heading("1  A plain counter and a durable one, side by side")
        stage.say(f"{version}, process {self.server.pid}, is ours alone to kill.")
        stage.code("plain = seqcache.cache(url)")
        stage.code('durable = seqcache.cache(url, ceilings="sqlite:///ceilings.db")')
        for thread in threads:
            thread.start()
        self._wait_for(200)
        self._where("both count, with two threads each")
        self._record("count", version=version, numbers=self._numbers())

    def crash(self) -> None:
        """kill -9, and back to an old snapshot."""
        stage = self.stage
        stage.heading("2  A snapshot, some hundred numbers more, then kill -9")
        self.admin._execute(("SAVE",))
        self._where("the snapshot knows")
        self._wait_for(200)
        self._where("when it is killed they are at")
        stage.code(f"kill -9 {self.server.pid}")
        self.server.kill()
        time.sleep(0.1)  # until what was answered is written down
        before = self._numbers()
        self._mark()
        self.server.start()
        self._wait_for(100)
        self._firsts("started again on the snapshot, first")
        stage.say(
            f"SQL had vouched for the durable numbers up to a ceiling: they went on"
            f" above it, after the {LEASE_SECONDS} s in which the dead server might"
            " still have been alive to somebody."
        )
        stage.pause(1.5)
        self._record("crash", before=before, first=self._first_numbers())

    def flush(self) -> None:
        """Everything is deleted."""
        self.stage.heading("3  Somebody deletes everything")
        self.stage.code("redis-cli FLUSHALL")
        before = self._numbers()
        self.admin._execute(("FLUSHALL",))
        self._mark()
        self._wait_for(100)
        self._firsts("the smallest since then")
        self._record("flush", before=before, first=self._first_numbers())

    def judge(self) -> bool:
        """What the callers got."""
        stage = self.stage
        stage.heading("4  What the callers were given")
        stage.line(f"{'':8} {'numbers':>9} {'given twice':>13} {'went back':>11}")
        found: dict[str, dict[str, int]] = {}
        for name, tally in (("plain", self.plain), ("durable", self.durable)):
            found[name] = {
                "numbers": tally.total,
                "twice": tally.twice,
                "back": tally.back,
                "failed": tally.failed,
            }
            row = f"{tally.total:9,} {tally.twice:13,} {tally.back:11,}"
            stage.line(f"{name:8} {row}")
        stage.pause(1.0)
        ok = not (self.durable.twice or self.durable.back) and self.durable.total > 0
        shown = self.plain.twice > 0
        stage.verdict(
            ok and shown, "durable: no number twice and none back; plain: as you see"
        )
        self._record("judge", ok=ok and shown, **found)
        if not stage.silent:
            stage.out.line()
            stage.out.line(
                "How it works, what it costs, what it assumes: docs/durable.md"
            )
        return ok and shown

    # ------------------------------------------------------------------ helpers

    def _version(self) -> str:
        text: bytes = self.admin._execute(("INFO", "server"))
        pairs = (line.partition(":") for line in text.decode().splitlines())
        info = {name: value for name, _, value in pairs}
        name = Path(self.server.program).name
        return f"{name} {info.get('valkey_version', info['redis_version'])}"

    def _wait_for(self, count: int) -> None:
        """Until both counters gave that many numbers more."""
        goals = [(tally, tally.total + count) for tally in (self.plain, self.durable)]
        end = time.monotonic() + PATIENCE_SECONDS
        self._until(lambda: all(tally.total >= goal for tally, goal in goals), end)

    def _until(self, question: Callable[[], bool], end: float) -> None:
        while not question():
            if time.monotonic() > end:
                log = (self.server.folder / "log").read_text(errors="replace")
                last = log.strip().rpartition("\n")[2]
                raise StartupError(
                    f"the counters stand still at {self._numbers()}", hint=last or None
                )
            time.sleep(0.01)

    def _numbers(self) -> dict[str, int]:
        return {"plain": self.plain.last, "durable": self.durable.last}

    def _mark(self) -> None:
        self.plain.mark()
        self.durable.mark()

    def _first_numbers(self) -> dict[str, int]:
        return {"plain": self.plain.first, "durable": self.durable.first}

    def _where(self, text: str) -> None:
        self._show(text, self._numbers())

    def _firsts(self, text: str) -> None:
        self._show(text, self._first_numbers())

    def _show(self, text: str, now: dict[str, int]) -> None:
        numbers = f"plain {now['plain']:6,}   durable {now['durable']:6,}"
        self.stage.line(f"{text:37} {numbers}")
        self.stage.pause(0.5)

    def _record(self, scene: str, *, ok: bool = True, **found: Any) -> None:
        if self.stage.out.json_lines:
            self.stage.out.record(scene=scene, ok=ok, **found)
