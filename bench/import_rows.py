"""How fast is `seqcache import`, beside redis-cli --pipe? One file, one server.

    python -m bench.import_rows [--rows 1000000] [--rounds 3]

Both are processes of their own that read a file; the time is that of the process.
redis-cli gets its commands ready made: ``SET``, which overwrites whatever is there,
and the script by which seqcache raises, which never lowers a number, as an import.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import seqcache
from bench.server import Server, ask

SCRIPT = (
    "local v=redis.call('GET',KEYS[1]) if not v or #v<#ARGV[1] or "
    "(#v==#ARGV[1] and v<ARGV[1]) then redis.call('SET',KEYS[1],ARGV[1]) end"
)


def command(*words: str) -> str:
    """Return one command as redis-cli --pipe wants it."""
    parts = (f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n" + "".join(parts)


def write_files(folder: Path, rows: int, digest: str) -> None:
    """Write the same rows in every form."""
    pairs = [(f"user-{n:07d}", n % 100_000 + 1) for n in range(rows)]
    forms = {
        "rows.jsonl": lambda one, seq: f'{{"user_id": "{one}", "seq": {seq}}}\n',
        "rows.csv": lambda one, seq: f"{one},{seq}\n",
        "set.resp": lambda one, seq: command("SET", f"seq:{one}", str(seq)),
        "raise.resp": lambda one, seq: command(
            "EVALSHA", digest, "1", f"seq:{one}", str(seq)
        ),
    }
    for name, form in forms.items():
        with open(folder / name, "w", newline="") as file:
            file.writelines(form(one, seq) for one, seq in pairs)


class Race:
    """The runs of all clients against one server."""

    def __init__(self, server: Server, folder: Path, rows: int) -> None:
        self.server = server
        self.folder = folder
        self.rows = rows

    def empty(self) -> None:
        """Remove all keys."""
        ask((self.server.host, self.server.port), "FLUSHALL")

    def seqcache(self, name: str) -> float:
        """Import a file; return the seconds."""
        start = time.perf_counter()
        subprocess.run(self._words(name), check=True, capture_output=True)
        return time.perf_counter() - start

    def redis_cli(self, name: str) -> float:
        """Send a file of commands; return the seconds."""
        words = ["redis-cli", "-s", self.server.path, "--pipe"]
        start = time.perf_counter()
        with open(self.folder / name, "rb") as file:
            done = subprocess.run(words, stdin=file, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        assert b"errors: 0," in done.stdout, done.stdout
        return seconds

    def interrupted(self, name: str, after: float) -> tuple[int, float]:
        """Interrupt an import, start it again; return the rows done, the seconds.

        The seconds are those of the second run, which finds the rows of the first.
        """
        with subprocess.Popen(self._words(name), stdout=-1, stderr=-1) as first:
            time.sleep(after)
            first.send_signal(signal.SIGINT)
            assert first.wait(60) == 130
        address = (self.server.host, self.server.port)
        there = int(ask(address, "DBSIZE").lstrip(":"))
        seconds = self.seqcache(name)
        assert ask(address, "DBSIZE") == f":{self.rows}"
        return there, seconds

    def check(self) -> None:
        """See that every counter is right."""
        with seqcache.cache(f"unix://{self.server.path}") as cache:
            for first in range(0, self.rows, 1000):
                these = range(first, min(first + 1000, self.rows))
                found = cache.get_seqs([f"user-{n:07d}" for n in these])
                assert found == [n % 100_000 + 1 for n in these]

    def _words(self, name: str) -> list[str]:
        url = f"unix://{self.server.path}"
        file = str(self.folder / name)
        return [sys.executable, "-m", "seqcache", "import", file, "--url", url, "-q"]


def main() -> None:
    """Run all and print rows a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with Server() as server, tempfile.TemporaryDirectory() as name:
        address = (server.host, server.port)
        folder = Path(name)
        digest = ask(address, "SCRIPT", "LOAD", SCRIPT)
        write_files(folder, options.rows, digest)
        race = Race(server, folder, options.rows)
        spent: dict[str, list[float]] = {}

        def note(what: str, seconds: float) -> None:
            spent.setdefault(what, []).append(seconds)
            print(f"{what:44} {options.rows / seconds:>10,.0f} rows/s", flush=True)

        for _ in range(options.rounds):
            race.empty()
            note("redis-cli --pipe, SET", race.redis_cli("set.resp"))
            race.empty()
            note("redis-cli --pipe, forward-only script", race.redis_cli("raise.resp"))
            for form in ("rows.jsonl", "rows.csv"):
                race.empty()
                note(f"seqcache import {form}", race.seqcache(form))
                note(f"seqcache import {form} once more", race.seqcache(form))
        race.empty()
        half = statistics.median(spent["seqcache import rows.jsonl"]) / 2
        there, seconds = race.interrupted("rows.jsonl", half)
        race.check()
        print(
            f"interrupted after {half:.1f} s with {there:,} rows there; started again "
            f"it took {seconds:.1f} s, and every counter is right"
        )
        report = {what: statistics.median(all_) for what, all_ in spent.items()}
        rates = {what: round(options.rows / s) for what, s in report.items()}
        print(json.dumps({"server": server.version(), "rows_per_second": rates}))


if __name__ == "__main__":
    main()
