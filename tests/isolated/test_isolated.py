"""Runs each lone script of this folder in a fresh process.

A script gets the URL of a real server as its only argument, ends with status 0
and writes nothing to standard error.  Names: `fork_*`, `exit_*`, `leak_*`,
`signal_*`, `stall_*`.  Scripts that freeze the server get one of their own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPTS = sorted(
    path.name
    for path in HERE.glob("*.py")
    if path.name not in ("test_isolated.py", "helper.py")
)


def run(name: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run one script with warnings shown and faults traced."""
    options = ["-W", "always", "-X", "faulthandler"]
    return subprocess.run(
        [sys.executable, *options, str(HERE / name), *args],
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.timeout(110)
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_ends_well_and_silently(name, make_server):
    server = make_server()
    done = run(name, server.url, str(server.pid))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
