"""What a figure must be read with: date, machine, versions, and how busy it was."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import peers

HERE = Path(__file__).resolve().parent
MISSING = "not installed"
PACKAGES = (
    "seqcache",
    "redis",
    "hiredis",
    "valkey",
    "libvalkey",
    "valkey-glide",
    "valkey-glide-sync",
    "coredis",
    "redis-rs",
    "uvloop",
)


def versions() -> dict[str, str]:
    """Return the installed version of every measured package, or why there is none."""
    found: dict[str, str] = {}
    reasons = peers.failed()
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            why = reasons.get(name)
            found[name] = f"{MISSING} ({why})" if why else MISSING
    return found


def revision() -> str:
    """Return the commit that is measured, marked when the sources differ from it."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "unknown"  # no git here: a source release
    return ran.stdout.strip() or "unknown"


def processor() -> str:
    """Return the model of the processor as the system names it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line for line in text.splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def load_average() -> float:
    """Return the load of the last minute."""
    return round(os.getloadavg()[0], 2)


def is_optimized() -> bool:
    """Return whether this Python was built with profile-guided optimization."""
    return "-fprofile-use" in (sysconfig.get_config_var("PY_CORE_CFLAGS") or "")


def describe(server_version: str) -> dict[str, Any]:
    """Return everything about this machine that belongs beside a figure."""
    name = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": revision(),
        "python": f"{name}, {'PGO' if is_optimized() else 'no PGO'}",
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "server": server_version,
        "load_before": load_average(),
        "versions": versions(),
    }
