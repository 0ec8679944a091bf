"""What the lone scripts share: the server's address, counting, forking."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import resp  # noqa: E402

URL = sys.argv[1]
SERVER_PID = int(sys.argv[2])


def admin(*args: bytes | str | int) -> Any:
    """Ask the server, not through the code under test."""
    port = int(URL.rpartition(":")[2].partition("/")[0])
    return resp.command(("127.0.0.1", port), *args)


def freeze() -> None:
    """Stop the server; calls in flight get no answer."""
    os.kill(SERVER_PID, signal.SIGSTOP)
    time.sleep(0.05)


def thaw() -> None:
    """Let the server go on."""
    os.kill(SERVER_PID, signal.SIGCONT)


def in_child(function: Callable[[], None], seconds: float = 30.0) -> None:
    """Fork, run `function` in the child, and fail if it fails or hangs."""
    with warnings.catch_warnings():
        # 3.12 and newer warn about any fork of a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(int(seconds))
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status:#x}"


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def resident_kb() -> int:
    """Resident memory of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def assert_flat(name: str, work: Callable[[], None], slack_kb: int = 1500) -> None:
    """Run `work` often; memory and descriptors must not grow after warm-up."""
    for _ in range(3):
        work()
    memory, descriptors = resident_kb(), open_descriptors()
    for _ in range(10):
        work()
    grown = resident_kb() - memory
    assert grown < slack_kb, f"{name}: {grown} kB more"
    assert open_descriptors() <= descriptors, f"{name}: descriptors leak"
