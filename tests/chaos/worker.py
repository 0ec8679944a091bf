"""One client process of a scenario: a few threads that call and write it down.

    python worker.py BOARD NUMBER OUT OPTIONS

OPTIONS is JSON: scheme (plain, lease, connection), client (cache, driver), ceilings,
threads, keys, seed, and what the client takes.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import resp  # noqa: E402

from chaos.board import Board  # noqa: E402
from chaos.client import CacheClient, Client, DurableClient, PlainClient  # noqa: E402
from chaos.history import Record  # noqa: E402
from seqcache.errors import BulkError, SeqCacheError  # noqa: E402


def make_client(board: Board, number: int, options: dict[str, Any]) -> Client:
    """The client under test: the product's face, or (``client``) its driver alone."""

    def find() -> tuple[str, int]:
        return ("127.0.0.1", board.port(number))

    if options["scheme"] == "plain":
        return PlainClient(find, options["timeout"])
    kinds = {"cache": CacheClient, "driver": DurableClient}
    return kinds[options["client"]](
        find,
        options["ceilings"],
        fence=options["scheme"],
        fence_time=options["fence_time"],
        timeout=options["timeout"],
        step=options["step"],
    )


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
        while not self.board.stopped:
            self.step()

    def step(self) -> None:
        """One random call, sometimes repeated with its token."""
        kinds = self.options["kinds"]
        kind = self.random.choice(kinds)
        key = self.random.choice(self.options["keys"])
        self.made += 1
        name = f"{self.number}.{self.made}"
        if kind == "incr":
            self.call("incr", [key], 1, None)
        elif kind == "block":
            self.call("incr", [key], self.random.randrange(2, 12), None)
        elif kind == "get":
            self.call("get", [key], 0, None)
        elif kind == "raise":
            self.call("raise", [key], self.random.randrange(1, 2000), None)
        elif kind == "batch":
            self.call("incr", self.options["keys"], 1, None)
        elif kind == "token":
            by = self.random.choice((1, 3))
            for _ in range(self.random.randrange(1, 4)):
                self.call("incr", [key], by, f"t{name}")
        else:
            for _ in range(2):
                self.call("incr", self.options["keys"], 1, f"b{name}")

    def call(self, op: str, keys: list[str], by: int, token: str | None) -> None:
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
            error = None
            if not isinstance(value, int):
                error = f"{type(value).__name__}: {str(value)[:70]}"
            good = value if error is None else None
            record = Record(start, end, key, op, by, token, good, error)
            lines.append(json.dumps(asdict(record)) + "\n")
        self.out.write("".join(lines))
        if any(not isinstance(value, int) for value in values):
            time.sleep(0.01)

    def perform(self, op: str, keys: list[str], by: int, token: str | None) -> Any:
        """The call itself; a value for each id."""
        if op == "get":
            return [self.client.get_seq(keys[0])]
        if op == "raise":
            return [self.client.raise_seq(keys[0], by)]
        if len(keys) == 1:
            return [self.client.increase_seq(keys[0], by, token=token)]
        return self.client.increase_seqs(keys, by, token=token)


def main() -> None:
    """Run the threads; end when the board says so."""
    # A store that is away is warned of, as it should be; it is no complaint here.
    logging.getLogger("seqcache").setLevel(logging.CRITICAL)
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
        for caller in callers:
            caller.join(30)
        out.flush()
    if shared is not None:
        stats = asdict(shared.durable.stats)  # type: ignore[attr-defined]
        Path(out_path + ".stats").write_text(json.dumps(stats))


if __name__ == "__main__":
    main()
