"""The limit that any client meets: limits.c, plain C over hiredis's own functions."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from bench.placement import Placement
from bench.task import USERS, CannotMeasure, Task

HERE = Path(__file__).resolve().parent
# What a program that speaks through hiredis's own functions takes beside the reader.
CLIENT = ["async.c", "dict.c", "hiredis.c", "net.c", "sockcompat.c"]
HEADERS = [
    *("alloc.h", "async.h", "async_private.h", "dict.h", "ffc.h", "fmacros.h"),
    *("hiredis.h", "net.h", "read.h", "sds.h", "sdsalloc.h", "sockcompat.h", "win32.h"),
]


def build(folder: Path) -> Path:
    """Compile limits.c with the hiredis that the extension is built with.

    ``folder`` takes the program, whose path is returned. Raises CannotMeasure with
    the reason when there is no compiler or no hiredis.
    """
    sys.path.append(str(HERE.parent / "tools"))
    import hiredis_source as hiredis

    try:
        found = whole(hiredis, folder / "hiredis")
    except hiredis.HiredisError as why:
        raise CannotMeasure(str(why)) from why
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "limits"
    command = [
        *shlex.split(os.environ.get("CC", "cc")),
        "-std=gnu11",
        "-O3",
        "-DNDEBUG",
    ]
    if found.include_dir:
        command += [f"-I{found.include_dir}"]
    command += [str(HERE / "limits.c"), *map(str, found.sources)]
    command += [*found.link, "-o", str(program)]
    try:
        ran = subprocess.run(command, text=True, capture_output=True)
    except OSError as why:
        raise CannotMeasure(f"no C compiler: {why}") from why
    if ran.returncode:
        raise CannotMeasure(f"limits.c: {ran.stderr.strip().splitlines()[-1]}")
    return program


def whole(hiredis: Any, folder: Path) -> Any:
    """Return all of the hiredis that the extension is built with.

    The extension itself compiles the reader alone, and no more is kept for it.
    """
    found = hiredis.find()
    if not found.sources:
        return found
    pin = tomllib.loads((hiredis.ROOT / "third_party" / "hiredis.pin").read_text())
    pin |= {"compile": [*pin["compile"], *CLIENT], "carry": HEADERS}
    if not folder.exists():
        hiredis.obtain(pin, folder)
    sources = tuple(folder / "hiredis" / name for name in pin["compile"])
    return hiredis.Hiredis(folder, sources)


def run(task: Task, mode: str) -> dict[str, Any]:
    """Run the compiled program in one of its modes; return what it measured.

    Modes: ``single`` (one call at a time), ``window`` (``load`` commands appended,
    then as many replies read), ``raw`` (the same without hiredis), ``mget``.
    """
    if not task.tool:
        raise CannotMeasure("limits.c was not compiled")
    where = [task.path, "0"] if task.is_unix else [task.host, str(task.port)]
    numbers = [str(task.point.load), str(task.seconds), str(USERS)]
    process = subprocess.Popen(
        [task.tool, mode, *numbers, *where], stdout=subprocess.PIPE, text=True
    )
    placement = Placement(task.server_pid, process.pid)
    give_up = time.monotonic() + task.seconds + 20
    while process.poll() is None and time.monotonic() < give_up:
        time.sleep(task.seconds / 8)
        placement.sample()
    if process.returncode != 0:
        process.kill()
        raise CannotMeasure(f"limits {mode} ended with {process.returncode}")
    output, _ = process.communicate()
    answer: dict[str, Any] = json.loads(output)
    return answer | {"same_core": placement.same_share()}
