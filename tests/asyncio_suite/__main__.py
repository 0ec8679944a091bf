"""Run the interpreter's asyncio tests on our awaitable.

`python -m tests.asyncio_suite [PART]` starts six processes: the interpreter's own
futures as the baseline, our awaitable scheduled by the loop, and our awaitable that
wakes its task directly, each on asyncio and on uvloop.  A test counts when it passes
in the baseline.  Ends with `N passed, M failed`, and exit status 1 if one failed.
PART picks the tests whose name contains it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

RUN_SECONDS = 900


def run_child(future: str, loop: str, only: str) -> dict[str, str]:
    """Run one child; return {test id: outcome}."""
    command = [sys.executable, "-P", "-m", "tests.asyncio_suite.child"]
    command += [future, loop, only]
    # This process's path, and -P: the same package is imported, installed or not.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_SECONDS, env=env
    )
    if done.returncode:
        tail = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        raise SystemExit(f"{future} on {loop} ended with {done.returncode}\n{tail}")
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


def compare(loop: str, only: str) -> tuple[int, int]:
    """Run all on one loop; return (passed, failed)."""
    passed = failed = 0
    baseline = run_child("stock", loop, only)
    good = {name for name, outcome in baseline.items() if outcome == "passed"}
    print(f"{loop}: {len(good)} of {len(baseline)} pass with asyncio's own futures")
    for future in ("scheduled", "direct"):
        outcomes = run_child(future, loop, only)
        bad = {
            name: outcomes.get(name, "did not run")
            for name in sorted(good)
            if outcomes.get(name) != "passed"
        }
        for name, outcome in bad.items():
            print(f"\nFAILED {name} ({future}, {loop})\n{outcome}")
        print(f"{loop}, {future}: {len(good) - len(bad)} passed, {len(bad)} failed")
        passed, failed = passed + len(good) - len(bad), failed + len(bad)
    return passed, failed


def main() -> int:
    """Run on every loop that is installed; return the exit status."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    if importlib.util.find_spec("test.test_asyncio") is None:
        raise SystemExit("this Python came without its test package")
    loops = ["asyncio"]
    if importlib.util.find_spec("uvloop") is None:
        print("uvloop is not installed: left out")
    else:
        loops.append("uvloop")
    counts = [compare(loop, only) for loop in loops]
    passed = sum(count[0] for count in counts)
    failed = sum(count[1] for count in counts)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
