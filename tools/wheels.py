"""Builds a release and proves it: ``make wheels``.

The source release comes from what is committed. Each wheel is built from it, without
a network, by every Python that is here; it gets the widest manylinux tag that this
machine's C library allows, is checked, installed into a fresh environment and tried.
Everything is built twice and must be the same. What ``dist`` holds then is the release.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.parser import Parser
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "wheels"  # environments that build, made once
MOST_BYTES = 250_000  # of the extension
FIRST_PYTHON = (3, 11)
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
TELL = "import sys, sysconfig; print(sys.implementation.name, *sys.version_info[:2], "
TELL += "bool(sysconfig.get_config_var('Py_GIL_DISABLED')), sys.executable)"


class WheelError(Exception):
    """The release is not as it must be; the text is one sentence."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine that a wheel is for."""

    path: str
    version: str  # "3.13", of a free-threaded build "3.13t"


@dataclass(frozen=True)
class Made:
    """A finished wheel, and what was measured of it."""

    wheel: Path
    extension_bytes: int
    installed_bytes: int
    import_ms: float


def run(
    *command: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> str:
    """Run a program; return what it printed, or raise WheelError with its end."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SEQCACHE_")}
    plain.pop("PYTHONPATH", None)
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=plain | (env or {}),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if ran.returncode:
        tail = "\n".join(ran.stdout.strip().splitlines()[-15:])
        raise WheelError(f"{' '.join(map(str, command))} failed:\n{tail}")
    return ran.stdout


# --- where things come from ---------------------------------------------------------


def interpreters(named: list[str]) -> list[Interpreter]:
    """Return the Pythons that were named, else the newest of each version here."""
    home = Path.home() / ".pyenv" / "versions"
    minors = range(FIRST_PYTHON[1], 20)
    paths = named or [
        *map(str, sorted(home.glob("3.*/bin/python"), reverse=True)),
        *(f"python3.{minor}" for minor in minors),
        *(f"python3.{minor}t" for minor in minors),
        "python3",
    ]
    found: dict[str, Interpreter] = {}
    for path in paths:
        program = shutil.which(path)
        if program is None:
            continue
        try:
            kind, major, minor, free, real = run(program, "-I", "-c", TELL).split()
        except WheelError:
            continue  # a shim of a Python that is not installed
        if kind == "cpython" and (int(major), int(minor)) >= FIRST_PYTHON:
            version = f"{major}.{minor}" + "t" * (free == "True")
            found.setdefault(version, Interpreter(real, version))
    if not found:
        raise WheelError("there is no CPython 3.11 or newer here; name one: --python")
    return sorted(found.values(), key=lambda one: int(one.version[2:].rstrip("t")))


def export(folder: Path) -> None:
    """Unpack what is committed, and the download of hiredis that this tree has."""
    folder.mkdir()
    archive = folder.parent / "head.tar"
    run("git", "archive", "-o", archive, "HEAD", cwd=ROOT)
    run("tar", "-xf", archive, "-C", folder)
    archive.unlink()
    if (ROOT / "build" / "hiredis").exists():
        shutil.copytree(ROOT / "build" / "hiredis", folder / "build" / "hiredis")


def moment() -> str:
    """Return SOURCE_DATE_EPOCH: as it is set, else the time of the last commit."""
    asked = os.environ.get("SOURCE_DATE_EPOCH")
    return asked or run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()


def builder(interpreter: Interpreter) -> Path:
    """Return a Python with what builds, made on first use."""
    folder = KEPT / interpreter.version
    program = folder / "bin" / "python"
    stamp = folder / "ready"
    if not stamp.exists():
        run("sh", ROOT / "tools" / "venv.sh", interpreter.path, folder)
        needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
        run(program, "-m", "pip", "install", "-q", *needs["requires"])
        stamp.touch()
    return program


# --- making -------------------------------------------------------------------------


def make_sdist(program: Path, folder: Path, epoch: str) -> Path:
    """Build the source release of what is committed."""
    folder.mkdir(parents=True)
    export(folder / "tree")
    backend = "from setuptools import build_meta as b; b.build_sdist('../out')"
    (folder / "out").mkdir()
    run(
        *(program, "-W", "ignore", "-c", backend),
        cwd=folder / "tree",
        env={"SOURCE_DATE_EPOCH": epoch},
    )
    return only((folder / "out").glob("*.tar.gz"))


def make_wheel(program: Path, sdist: Path, folder: Path, epoch: str) -> Path:
    """Build a wheel from the source release, without a network; tag it manylinux."""
    plain, tagged = folder / "plain", folder / "tagged"
    pip = (program, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    env = {"SOURCE_DATE_EPOCH": epoch, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    run(*pip, "-w", plain, sdist, env=env | {"PIP_CONFIG_FILE": os.devnull})
    wheel = only(plain.glob("*.whl"))
    if sys.platform != "linux":
        return wheel
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    repair = (sys.executable, "-m", "auditwheel", "repair", "-w", tagged, wheel)
    run(*repair, env=env | {"PATH": tools})
    return only(tagged.glob("*.whl"))


def only(found: Iterable[Path]) -> Path:
    """Return the single path of an iterator."""
    paths = list(found)
    if len(paths) != 1:
        raise WheelError(f"expected one file, found {paths}")
    return paths[0]


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same(one: Path, other: Path) -> None:
    """Refuse two builds that differ."""
    if (one.name, digest(one)) != (other.name, digest(other)):
        raise WheelError(f"two builds differ: {one} and {other}")


# --- checking -----------------------------------------------------------------------


def exported(library: Path) -> set[str]:
    """Return the names that a shared library defines for others."""
    told = run("nm", "-D", "--defined-only", library)
    return {line.split()[-1].partition("@")[0] for line in told.splitlines()}


def check_wheel(wheel: Path, folder: Path) -> int:
    """Refuse a wheel with more or less in it than there must be.

    Returns the size of the extension in bytes.
    """
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    info = only(folder.glob("*.dist-info"))
    strange = tops - {"seqcache", "_seqcache_pytestplugin.py", info.name}
    if strange:
        raise WheelError(f"{wheel.name} holds {sorted(strange)}")
    library = only(folder.rglob("*.so"))
    if exported(library) != {"PyInit__native"}:
        raise WheelError(f"{library.name} exports {sorted(exported(library))}")
    size = library.stat().st_size
    if size > MOST_BYTES:
        raise WheelError(f"{library.name} has {size} bytes, more than {MOST_BYTES}")
    licence = (info / "licenses" / "LICENSE").read_text()
    if "hiredis" not in licence:
        raise WheelError("the licence of hiredis is not in the wheel")
    told = Parser().parsestr((info / "METADATA").read_text())
    needs = [need for need in told.get_all("Requires-Dist", []) if "extra" not in need]
    if needs:
        raise WheelError(f"a plain install needs {needs}")
    if sys.platform == "linux" and "manylinux" not in wheel.name:
        raise WheelError(f"{wheel.name} has no manylinux tag")
    return size


def try_out(interpreter: Interpreter, wheel: Path, folder: Path) -> tuple[int, float]:
    """Install a wheel into a fresh environment and use it.

    Returns the bytes that were installed, and the milliseconds of CPU that the import
    takes over bare Python, the least of five.
    """
    # The pip that builds: to bring one along takes longer than all the rest.
    pip = (builder(interpreter), "-m", "pip", "--python", folder / "bin" / "python")
    run(interpreter.path, "-m", "venv", "--without-pip", folder)
    run(*pip, "install", "-q", "--no-index", "--no-compile", wheel)
    program = folder / "bin" / "python"
    package = Path(
        run(program, "-I", "-c", "import seqcache; print(seqcache.__path__[0])").strip()
    )
    files = [path for path in package.rglob("*") if "__pycache__" not in path.parts]
    installed = sum(path.stat().st_size for path in files if path.is_file())
    print(" ", run(program, "-I", ROOT / "tools" / "smoke.py").strip())
    clock = "import time; t = time.process_time(); import seqcache; "
    clock += "print(time.process_time() - t)"
    took = [float(run(program, "-I", "-c", clock)) for _ in range(5)]
    return installed, min(took) * 1000


def make_all(pythons: list[Interpreter], out: Path, epoch: str, work: Path) -> None:
    """Build, check and try everything; put it into ``out`` and print a table."""
    first = builder(pythons[-1])
    sdist = make_sdist(first, work / "sdist", epoch)
    same(sdist, make_sdist(first, work / "again", epoch))
    print(f"{sdist.name}: {sdist.stat().st_size:,} bytes, twice the same")
    made: list[Made] = []
    for one in pythons:
        print(f"CPython {one.version}: {one.path}", flush=True)
        program, folder = builder(one), work / one.version
        with ThreadPoolExecutor(2) as pool:  # much of a build is one process
            twice = (folder / "first", folder / "second")
            make = partial(make_wheel, program, sdist, epoch=epoch)
            wheel, other = pool.map(make, twice)
        same(wheel, other)
        size = check_wheel(wheel, folder / "content")
        made.append(Made(wheel, size, *try_out(one, wheel, folder / "venv")))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    files = [sdist, *(one.wheel for one in made)]
    for file in files:
        shutil.copy(file, out)
    sums = "".join(f"{digest(file)}  {file.name}\n" for file in files)
    (out / "SHA256SUMS").write_text(sums)
    print("\nwheel  bytes  extension  installed  import ms")
    for row in made:
        size = row.wheel.stat().st_size
        numbers = f"{size:,}  {row.extension_bytes:,}  {row.installed_bytes:,}"
        print(f"{row.wheel.name}  {numbers}  {row.import_ms:.1f}")
    print(f"\n{out}: {len(files)} files, each built twice with one hash")


def main() -> int:
    """Read the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist")
    parser.add_argument(
        *("--python", "-p"),
        action="append",
        default=[],
        help="a Python to build for, repeatable; default: every CPython here",
    )
    asked = parser.parse_args()
    os.umask(0o022)  # a wheel keeps the modes of its files
    try:
        pythons = interpreters(asked.python)
        with tempfile.TemporaryDirectory(prefix="wheels") as work:
            make_all(pythons, asked.out.resolve(), moment(), Path(work))
    except WheelError as why:
        print(f"no release: {why}", file=sys.stderr)
        return 1
    built = {one.version for one in pythons}
    for version in SUPPORTED:
        if version not in built and not asked.python:
            print(f"not built: there is no CPython {version} on this machine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
