"""Installs the other clients: ``python -m bench.peers``, which ``make bench`` calls.

One by one, so that a client that cannot be had on this machine costs only itself.
Why it could not is kept beside the results, and printed with them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WANTED = HERE / "requirements.txt"
FAILED = HERE / "out" / "not-installed.json"


def requirements() -> list[str]:
    """Return the lines of requirements.txt without comments."""
    lines = [line.strip() for line in WANTED.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def install(requirement: str) -> str | None:
    """Install one requirement with pip; return why that failed, None if it did not."""
    command = [sys.executable, "-m", "pip", "install", "-q"]
    command += ["--disable-pip-version-check", requirement]
    ran = subprocess.run(command, text=True, capture_output=True)
    if ran.returncode == 0:
        return None
    lines = [line.strip() for line in ran.stderr.splitlines()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    said = (errors or lines or ["pip said nothing"])[0]
    # pip names every version there is; the reader wants the sentence.
    return re.sub(r" \(from versions:.*\)", "", said.removeprefix("ERROR: "))


def failed() -> dict[str, str]:
    """Return the reason for each package that could not be installed."""
    if not FAILED.exists():
        return {}
    reasons: dict[str, str] = json.loads(FAILED.read_text())
    return reasons


def main() -> int:
    """Install what can be installed; return 0, since the table reports the rest."""
    reasons = {}
    for requirement in requirements():
        why = install(requirement)
        if why:
            name = re.split(r"[\[<>=!~; ]", requirement)[0]
            reasons[name] = why
            print(f"bench: {name} is left out: {why}", file=sys.stderr)
    FAILED.parent.mkdir(parents=True, exist_ok=True)
    FAILED.write_text(json.dumps(reasons, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
