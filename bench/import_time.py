"""S11: what does the import cost, and what does it bring along?"""

from __future__ import annotations

import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

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
    ``extension_kb`` is the size of the compiled extension, 1 kB = 1000 bytes;
    ``installed_mb`` that of the package and all that it needs, without bytecode.
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
    if module != "asyncio":
        answer["installed_mb"] = round(installed(module) / 1e6, 2)
    if task.point.client == OURS:
        native = importlib.import_module("seqcache._native")
        size = Path(str(native.__file__)).stat().st_size
        answer["extension_kb"] = round(size / 1000, 1)
    return answer


def installed(module: str) -> int:
    """Return the bytes of a module's distribution and of those that it requires."""
    (wanted, *_) = metadata.packages_distributions()[module]
    if module == MODULES[OURS]:  # editable: its files are not listed
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        return size_of(Path(spec.origin).parent.rglob("*"))
    seen: dict[str, metadata.Distribution] = {}
    waiting = [wanted]
    while waiting:
        found = metadata.distribution(waiting.pop())
        if found.name in seen:
            continue
        seen[found.name] = found
        for line in found.requires or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.append(need.name)
    files = (file for one in seen.values() for file in one.files or ())
    return size_of(Path(str(file.locate())) for file in files)


def size_of(files: Iterable[Path]) -> int:
    """Return the bytes of the files that are no bytecode."""
    real = (file for file in files if file.is_file() and file.suffix != ".pyc")
    return sum(file.stat().st_size for file in real)
