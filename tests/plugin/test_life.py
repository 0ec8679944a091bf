"""What the plugin costs unused, and what is left when a run ends in any way."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

# Each starts interpreters and servers: slow where others run, too.
pytestmark = pytest.mark.timeout(240)

ENDLESS = """
    import os, time
    from pathlib import Path

    def test_it(seq_cache):
        seq_cache.increase_seq("alice")
        Path("ready").write_text("")
        time.sleep(60)
"""


def processes_of(folder: Path) -> list[str]:
    """The command lines that name a file below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


def wait_until(holds, seconds=20.0):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_clean(project):
    """Neither processes nor temporary files are left."""
    left = Path(project.environ["TMPDIR"])
    return not processes_of(left) and not list(left.glob("seqcache-*"))


def test_unused_plugin_imports_neither_seqcache_nor_asyncio(project):
    project.write(
        "test_it.py",
        """
        import sys

        def test_it(request):
            assert request.config.pluginmanager.has_plugin("seqcache")
            mine = [name for name in sys.modules if name.startswith("seqcache")]
            assert not mine and "asyncio" not in sys.modules
        """,
    )
    project.passes(1, "-p", "no:asyncio", "-p", "no:anyio", "-p", "no:xdist")


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_no_server_is_left_when_a_run_is_ended(live_project, name):
    live_project.write("test_it.py", ENDLESS)
    running = subprocess.Popen(
        live_project.command(),
        cwd=live_project.folder,
        env=live_project.environment(),
        stdout=subprocess.DEVNULL,
    )
    with running:
        wait_until((live_project.folder / "ready").exists)
        assert processes_of(Path(live_project.environ["TMPDIR"]))
        running.send_signal(getattr(signal, name))
        running.wait(30)
    wait_until(lambda: is_clean(live_project))


def test_no_server_is_left_when_a_worker_of_xdist_dies(live_project):
    live_project.write(
        "test_it.py",
        """
        import os

        def test_dies(seq_cache):
            os._exit(1)

        def test_lives(seq_cache):
            assert seq_cache.increase_seq("alice") == 1
        """,
    )
    ran = live_project.run("-n", "2")
    assert ran.outcomes == {"passed": 1, "failed": 1}, ran.text
    wait_until(lambda: is_clean(live_project))


def test_a_server_that_does_not_start_is_a_skip_with_its_words(project):
    program = project.folder / "redis-server"
    program.write_text("#!/bin/sh\necho cannot possibly start >&2\nexit 3\n")
    program.chmod(0o755)
    project.environ["PATH"] = os.pathsep.join((str(project.folder), os.defpath))
    project.write("test_it.py", "def test_it(seq_cache): pass")
    ran = project.run()
    assert ran.outcomes == {"skipped": 1}, ran.text
    assert "redis-server does not start: cannot possibly start" in ran.text
    assert is_clean(project)


def test_a_long_temporary_folder_is_avoided(live_project, tmp_path):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    live_project.environ["TMPDIR"] = str(deep)
    live_project.write("test_it.py", "def test_it(seq_cache): pass")
    live_project.passes(1)
