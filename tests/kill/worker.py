"""One life of a process that gives numbers: it calls until somebody kills it.

    python worker.py URL OUT OPTIONS

OPTIONS is JSON: face (sync, async), callers, keys, seed, and what the cache takes.
Calls are written down once they have returned. The cache is closed and opened again
all the time, in the middle of calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaos.history import Record  # noqa: E402

import seqcache  # noqa: E402

KINDS = ("incr", "incr", "incr", "block", "batch", "get", "raise", "token", "tokens")
#: Tokens a second: short enough that all lives around a kill name the same ones.
TOKENS = 10


class UnderWay(Exception):
    """What stands in the book for a call that has not ended."""


class Book:
    """The calls of a life, each a line that a kill does not take back."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def begin(self, call: Call) -> float:
        """Note that a call begins, if it may count and never come back."""
        start = time.monotonic()
        if call.token is not None:
            self.write(start, call, [UnderWay()] * len(call.keys))
        return start

    def write(self, start: float, call: Call, values: list[Any]) -> None:
        """Note what the ids of a call got."""
        end = time.monotonic()
        lines = []
        for key, value in zip(call.keys, values, strict=True):
            good = isinstance(value, int)
            error = None if good else f"{type(value).__name__}: {value}"[:90]
            record = Record(
                start,
                end,
                key,
                call.op,
                call.by,
                call.token,
                value if good else None,
                error,
            )
            lines.append(json.dumps(asdict(record)) + "\n")
        os.write(self._fd, "".join(lines).encode())


class Call:
    """A random call: the method of the cache, and what it is to the checker."""

    def __init__(self, chance: random.Random, keys: list[str]) -> None:
        kind = chance.choice(KINDS)
        self.keys = keys if kind == "batch" else [chance.choice(keys)]
        self.op = kind if kind in ("get", "raise") else "incr"
        self.by = 1
        self.token: str | None = None
        self.words: dict[str, Any] = {}
        if kind.startswith("token"):
            # Of the last tenths of a second: whoever lives then names them, too.
            mark = int(time.monotonic() * TOKENS) - chance.randrange(10)
            self.token = f"t{mark}"
            self.words = {"token": self.token}
            self.by = 1 + mark % 3
            if kind == "tokens":
                self.keys = keys
                self.method, self.args = "increase_seqs", (keys, self.by)
            else:
                self.method, self.args = "increase_seq", (self.keys[0], self.by)
        elif kind == "get":
            self.method, self.args = "get_seq", (self.keys[0],)
            self.by = 0
        elif kind == "raise":
            self.by = chance.randrange(1, 5000)
            self.method, self.args = "raise_seq", (self.keys[0], self.by)
        elif kind == "batch":
            self.method, self.args = "increase_seqs", (self.keys,)
        else:
            self.by = chance.randrange(2, 200) if kind == "block" else 1
            self.method, self.args = "increase_seq", (self.keys[0], self.by)

    def values(self, told: Any) -> list[Any]:
        """What each id got, of an answer or an error."""
        if isinstance(told, seqcache.BulkError):
            return list(told.results)
        if isinstance(told, list):
            return told
        return [told] * len(self.keys)


class Life:
    """Everything that one process does."""

    def __init__(self, url: str, book: Book, options: dict[str, Any]) -> None:
        self.url, self.book = url, book
        self.face = options.pop("face")
        self.callers = options.pop("callers")
        self.keys = options.pop("keys")
        self.chance = random.Random(options.pop("seed"))
        self.options = options

    def pause(self) -> float:
        """Seconds for which a cache stays open."""
        return self.chance.uniform(0.0, 0.15)

    def call_in_thread(self, cache: seqcache.SeqCache, seed: int) -> None:
        """Call until the cache is closed."""
        chance = random.Random(seed)
        while not cache.closed:
            call = Call(chance, self.keys)
            start = self.book.begin(call)
            try:
                told = getattr(cache, call.method)(*call.args, **call.words)
            except seqcache.SeqCacheError as error:
                told = error
            self.book.write(start, call, call.values(told))

    def live_in_threads(self) -> None:
        """Open, call, close, again and again."""
        while True:
            cache = seqcache.cache(self.url, **self.options)
            threads = [
                threading.Thread(
                    target=self.call_in_thread, args=(cache, self.chance.random())
                )
                for _ in range(self.callers)
            ]
            for thread in threads:
                thread.start()
            time.sleep(self.pause())
            cache.close()
            for thread in threads:
                thread.join()

    async def call_in_task(self, cache: seqcache.AsyncSeqCache, seed: float) -> None:
        """Call until the cache is closed."""
        chance = random.Random(seed)
        while not cache.closed:
            call = Call(chance, self.keys)
            start = self.book.begin(call)
            try:
                told = await getattr(cache, call.method)(*call.args, **call.words)
            except seqcache.SeqCacheError as error:
                told = error
            self.book.write(start, call, call.values(told))
            await asyncio.sleep(0)

    async def live_in_a_loop(self) -> None:
        """The same on one event loop."""
        while True:
            cache = await seqcache.acache(self.url, **self.options)
            calls = [
                asyncio.create_task(self.call_in_task(cache, self.chance.random()))
                for _ in range(self.callers)
            ]
            await asyncio.sleep(self.pause())
            await cache.aclose()
            await asyncio.gather(*calls)


def main() -> None:
    """Live until killed."""
    url, out, options = sys.argv[1:4]
    life = Life(url, Book(out), json.loads(options))
    if life.face == "sync":
        life.live_in_threads()
    else:
        asyncio.run(life.live_in_a_loop())


if __name__ == "__main__":
    main()
