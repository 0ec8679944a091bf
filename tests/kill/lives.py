"""Kill a process that gives numbers, again and again, and judge what it gave."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.history import Record, Report, check, load

WORKER = Path(__file__).parent / "worker.py"
KEYS = ["alice", "bob", "carol"]
#: Seconds in which a life must have begun.
BIRTH = 30.0


@dataclass(slots=True)
class Outcome:
    """What all lives together gave."""

    kills: int
    records: list[Record]
    report: Report

    @property
    def broken(self) -> int:
        """Numbers that repeat or go back, tokens with two."""
        return self.report.violations("UMGT")


def play(
    folder: Path, kills: int, *, url: str, face: str, seed: int = 0, **options: Any
) -> Outcome:
    """Let `kills` processes live one after the other on `url`, each killed.

    Half of the successors wait for the file already when their predecessor dies.
    """
    chance = random.Random(seed)
    books: list[Path] = []

    def born() -> subprocess.Popen[bytes]:
        book = folder / f"life{len(books)}.jsonl"
        books.append(book)
        words = {"callers": 3 if face == "sync" else 20, "keys": KEYS, "step": 64}
        words |= {"face": face, "seed": seed + len(books), "startup_timeout": BIRTH}
        text = json.dumps(words | options)
        command = [sys.executable, str(WORKER), url, str(book), text]
        return subprocess.Popen(command, stderr=subprocess.PIPE)

    now, now_book = born(), books[-1]
    for n in range(kills):
        last = n == kills - 1
        after, after_book = None, now_book
        if chance.random() < 0.8:  # else it dies while it opens
            wait_for(now, now_book)
            # Only one may wait for the file: the next one could be faster.
            if not last and chance.random() < 0.5:
                after, after_book = born(), books[-1]
        time.sleep(chance.uniform(0.0, 0.25))
        now.send_signal(signal.SIGKILL)
        _, complaint = now.communicate()
        if complaint:
            raise RuntimeError(complaint.decode())
        if not last:
            now, now_book = (after, after_book) if after else (born(), books[-1])
    records = [record for book in books if book.exists() for record in load(book)]
    return Outcome(kills, records, check(records))


def wait_for(process: subprocess.Popen[bytes], book: Path) -> None:
    """Until the process has written down a call."""
    end = time.monotonic() + BIRTH
    while not (book.exists() and book.stat().st_size):
        if process.poll() is not None or time.monotonic() > end:
            _, complaint = process.communicate()
            raise RuntimeError(f"a life did not begin: {complaint.decode()}")
        time.sleep(0.002)
