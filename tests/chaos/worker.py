"""One client process of a scenario: a few threads that call and write it down.

    python worker.py BOARD NUMBER OUT OPTIONS

OPTIONS is JSON: scheme (plain, lease, connection), client (cache, acache), ceilings,
threads, keys, seed, forks, and what the client takes.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import threading
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import resp  # noqa: E402

from chaos.board import Board  # noqa: E402
from chaos.client import Client, make_client  # noqa: E402
from chaos.history import Record  # noqa: E402
from seqcache.errors import BulkError, SeqCacheError  # noqa: E402

FORK_SECONDS = 0.3
CHILD_CALLS = 60


class Caller(threading.Thread):
    """One thread that calls until the board says stop."""

    def __init__(
        self, number: int, board: Board, client: Client, out: Any, options: Any
    ) -> None:
        super().__init__(daemon=True)
        self.number, self.board, self.client = number, board, client
        self.out, self.options = out, options
        self.random = random.Random(f"{options['seed']}.{number}")
        self.made = 0

    def run(self) -> None:
        """Call after call."""
        pause = self.options.get("pause", 0.0)
        while not self.board.stopped:
            self.step()
            if pause:
                time.sleep(pause)

    def step(self) -> None:
        """One random call, sometimes repeated with its token."""
        kind = self.random.choice(self.options["kinds"])
        key = self.random.choice(self.options["keys"])
        self.made += 1
        name = f"{self.number}.{self.made}"
        if kind == "incr":
            self.call("incr", [key], 1, None)
        elif kind == "block":
            self.call("incr", [key], self.random.randrange(2, 12), None)
        elif kind == "big block":
            self.call("incr", [key], self.random.randrange(50, 400), None)
        elif kind == "get":
            self.call("get", [key], 0, None)
        elif kind == "raise":
            self.call("raise", [key], self.random.randrange(1, 2000), None)
        elif kind == "edge raise":
            (now,) = self.call("get", [key], 0, None)
            if isinstance(now, int):
                self.call("raise", [key], now + self.random.choice(EDGES), None)
        elif kind == "batch":
            self.call("incr", self.options["keys"], 1, None)
        elif kind == "token":
            by = self.random.choice((1, 3))
            for _ in range(self.random.randrange(1, 4)):
                self.call("incr", [key], by, f"t{name}")
        else:
            for _ in range(2):
                self.call("incr", self.options["keys"], 1, f"b{name}")

    def call(self, op: str, keys: list[str], by: int, token: str | None) -> list[Any]:
        """One call, recorded for each of its ids."""
        start = time.monotonic()
        values: list[Any]
        try:
            values = self.perform(op, keys, by, token)
        except BulkError as exc:
            values = list(exc.results)
        except (SeqCacheError, resp.RespError, OSError) as exc:
            values = [exc] * len(keys)
        end = time.monotonic()
        lines = []
        for key, value in zip(keys, values, strict=True):
            error = None if isinstance(value, int) else words_of(value)
            good = value if error is None else None
            name = self.options.get("label", "") + key
            record = Record(start, end, name, op, by, token, good, error)
            lines.append(json.dumps(asdict(record)) + "\n")
        self.out.write("".join(lines))
        if any(not isinstance(value, int) for value in values):
            time.sleep(0.01)
        return values

    def perform(self, op: str, keys: list[str], by: int, token: str | None) -> Any:
        """The call itself; a value for each id."""
        if op == "get":
            return [self.client.get_seq(keys[0])]
        if op == "raise":
            return [self.client.raise_seq(keys[0], by)]
        if len(keys) == 1:
            return [self.client.increase_seq(keys[0], by, token=token)]
        return self.client.increase_seqs(keys, by, token=token)


# Above the number that holds: what ends at, before and behind a ceiling.
EDGES = (0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 500)


def words_of(error: BaseException) -> str:
    """An error in one line: its class, its reason, and how its message begins."""
    name = type(error).__name__
    reason = getattr(error, "reason", None)
    return f"{name}{f' {reason}' if reason else ''}: {str(error)[:70]}"


def child(caller: Caller, path: str) -> None:
    """What a forked child does: count with what it inherited, and end."""
    with open(path, "w", buffering=1) as out:
        caller.out = out
        while caller.made < CHILD_CALLS and not caller.board.stopped:
            caller.step()
    os._exit(0)


def fork_children(board: Board, client: Client, number: int, options: Any) -> None:
    """Fork, again and again, while the threads of this process call."""
    pids = []
    for n in range(options["forks"]):
        time.sleep(FORK_SECONDS)
        caller = Caller(number * 100 + 50 + n, board, client, None, options)
        pid = os.fork()
        if pid == 0:
            child(caller, f"{sys.argv[3]}.{n}.jsonl")
        pids.append(pid)
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        if status:
            print(f"a forked child ended with {status}")


def main() -> None:
    """Run the threads; end when the board says so."""
    # A store that is away is warned of, as it should be; it is no complaint here.
    logging.getLogger("seqcache").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
    board_path, number_text, out_path, options_text = sys.argv[1:5]
    number, options = int(number_text), json.loads(options_text)
    board = Board(Path(board_path))
    plain = options["scheme"] == "plain"
    shared = None if plain else make_client(board, number, options)
    with open(out_path, "w", buffering=1) as out:
        callers = []
        for n in range(options["threads"]):
            client = shared or make_client(board, number, options)
            caller = Caller(number * 100 + n, board, client, out, options)
            callers.append(caller)
            caller.start()
        if options["forks"] and shared is not None:
            fork_children(board, shared, number, options)
        for caller in callers:
            caller.join(60)
        out.flush()
    if shared is not None:
        Path(out_path + ".stats").write_text(json.dumps(shared.counters()))


if __name__ == "__main__":
    main()
