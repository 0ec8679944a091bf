"""A user's project in a folder, and what pytest says about it in a fresh process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 100


@dataclass
class Ran:
    """How a run ended: `outcomes` counts by pytest's words, `text` is all it said."""

    code: int
    text: str
    outcomes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        found = re.findall(r"(\d+) (passed|failed|errors?|skipped)", self.last_line)
        self.outcomes = {word.removesuffix("s"): int(count) for count, word in found}

    @property
    def last_line(self) -> str:
        """The summary."""
        lines = [line for line in self.text.splitlines() if re.search(r" in \d", line)]
        return lines[-1] if lines else ""


@dataclass
class Project:
    """A folder with test files; `environ` goes over this process's own."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.write(
            "pytest.ini", "[pytest]\nasyncio_default_fixture_loop_scope = function"
        )

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.folder / name).write_text(textwrap.dedent(text))

    def hide_servers(self) -> None:
        """Make it a machine without a server program."""
        self.environ["PATH"] = str(self.folder)
        self.write(
            "conftest.py",
            """
            from seqcache.testing import _server

            _server.PLACES = ""
            """,
        )

    def command(self, *words: str) -> list[str]:
        """How pytest is started; any warning is an error."""
        plain = ["-p", "no:cacheprovider", "-q", "-rA", "-W", "error"]
        plain += ["-W", "ignore:Unknown config option"]
        return [sys.executable, "-m", "pytest", *plain, *words]

    def environment(self) -> dict[str, str]:
        """Without the settings of the suite that runs this."""
        ours = ("PYTEST_", "SEQCACHE_URL", "REDIS_URL")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        return {**kept, **self.environ}

    def run(self, *words: str) -> Ran:
        """Run the tests of the project."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return Ran(done.returncode, done.stdout)

    def passes(self, count: int, *words: str) -> Ran:
        """Run the tests: exactly so many, and all of them pass."""
        ran = self.run(*words)
        assert ran.outcomes == {"passed": count}, ran.text
        assert ran.code == 0, ran.text
        return ran
