"""The built wheel in a virtual environment of its own, with programs that use it.

`make ecosystem` runs these tests: the environment takes a minute to make. It is one
for all of them, below build/, and only seqcache is installed anew in the next run.
"""

from __future__ import annotations

import os
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Server

from ecosystem.programs import HERE, ROOT, Program, run

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

if "SEQCACHE_ECOSYSTEM" not in os.environ:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel: of SEQCACHE_WHEELS, a folder, or built by pip as a release is."""
    if made := os.environ.get("SEQCACHE_WHEELS"):
        tag = "cp{}{}".format(*sys.version_info)
        (wheel,) = (ROOT / made).glob(f"seqcache-*-{tag}-{tag}-*.whl")
        return wheel
    folder = tmp_path_factory.mktemp("wheel")
    words = ["--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    run(sys.executable, "-m", "pip", "wheel", "-q", *words)
    (built,) = folder.glob("seqcache-*.whl")
    return built


@pytest.fixture(scope="session")
def bin_folder(wheel: Path) -> Path:
    """Where the programs of the environment are."""
    place = ROOT / "build" / "ecosystem" / VERSION
    programs = place / "bin"
    if not programs.exists():
        venv.create(place)
    # The pip that we have: to bring one along takes as long as all the rest.
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "-q"]
    run(*pip, "install", "-r", HERE / "requirements.txt")
    run(*pip, "install", "--no-deps", "--force-reinstall", wheel)
    said = run(programs / "python", "-c", "import seqcache; print(seqcache.__file__)")
    assert Path(said.strip()).is_relative_to(place)
    return programs


@pytest.fixture
def start(
    bin_folder: Path, tmp_path: Path, server: Server
) -> Iterator[Callable[..., Program]]:
    """`start("uvicorn", "app:app")`: a program with the server in SEQCACHE_URL."""
    started: list[Program] = []

    def begin(name: str, *words: object, **environ: str) -> Program:
        environ = {"SEQCACHE_URL": server.url, **environ}
        log = tmp_path / f"{name}.log"
        started.append(Program([bin_folder / name, *words], log, environ))
        return started[-1]

    yield begin
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait(60)
