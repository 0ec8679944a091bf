"""S11: what does the import cost, and what does it bring along?"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.task import OURS, CannotMeasure, Task

MODULES = {
    OURS: "seqcache",
    "redis-py": "redis",
    "valkey-py": "valkey",
    "valkey-glide": "glide",
    "coredis": "coredis",
    "redis-rs": "redis_rs",
    "asyncio alone": "asyncio",
}
STARTS = 5
SCRIPT = """
import sys, time
start = time.perf_counter()
import {module}
took = time.perf_counter() - start
import json
loaded = [name for name in {watched!r} if name in sys.modules]
print(json.dumps([took, loaded]))
"""
WATCHED = ("asyncio", "ssl", "sqlalchemy", "rich", "opentelemetry", "prometheus_client")


def reason(complaint: str) -> str:
    """Return the last line of a traceback, worded as the error that we would raise."""
    lines = complaint.strip().splitlines() or ["no word of why"]
    return lines[-1].removeprefix("ModuleNotFoundError: ")


def measure(task: Task) -> dict[str, Any]:
    """Return ms over bare Python (median of fresh starts) and what was loaded.

    ``loaded`` names the modules of WATCHED that the import pulled in; for ourselves
    ``extension_kb`` is the size of the compiled extension, 1 kB = 1000 bytes.
    """
    module = MODULES[task.point.client]
    script = SCRIPT.format(module=module, watched=WATCHED)
    took, loaded = [], []
    for _ in range(STARTS + 1):
        ran = subprocess.run(
            [sys.executable, "-P", "-c", script], capture_output=True, text=True
        )
        if ran.returncode:
            raise CannotMeasure(reason(ran.stderr))
        seconds, loaded = json.loads(ran.stdout.splitlines()[-1])
        took.append(seconds)
    # The first start may have read the files from the disk.
    answer = {"ms": round(statistics.median(took[1:]) * 1000, 2), "loaded": loaded}
    if task.point.client == OURS:
        native = importlib.import_module("seqcache._native")
        size = Path(str(native.__file__)).stat().st_size
        answer["extension_kb"] = round(size / 1000, 1)
    return answer
