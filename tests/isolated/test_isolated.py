"""Runs each lone script of this folder in a fresh process.

A script gets the URL of a real server as its only argument, ends with status 0
and writes nothing to standard error.  Names: `fork_*`, `exit_*`, `leak_*`,
`signal_*`, `stall_*`.  Scripts that freeze the server get one of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# ASan keeps freed memory for a while, and its allocator can hang in a child that was
# forked while other threads allocate.
ASAN = os.environ.get("SEQCACHE_ASAN") == "1"
NOT_UNDER_ASAN = ("leak_calls.py", "leak_memory_store.py", "fork_durable.py")
SCRIPTS = sorted(
    path.name
    for path in HERE.glob("*.py")
    if path.name not in ("test_isolated.py", "helper.py")
    and not (ASAN and path.name in NOT_UNDER_ASAN)
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
