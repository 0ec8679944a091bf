"""Find hiredis for the build: fetched by its pin, carried, or installed.

``SEQCACHE_HIREDIS`` chooses: ``bundled`` (default), ``system``, ``auto`` or a
``/prefix``. Used by setup.py and by the runner of the C tests.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FLOOR = "1.0"


class HiredisError(Exception):
    """hiredis cannot be had; the text is one sentence for the person who builds."""


@dataclass(frozen=True)
class Hiredis:
    """What the compiler and the linker need to know about hiredis.

    ``include_dir`` is the folder that holds ``hiredis/read.h``, None where the
    compiler finds it by itself; ``sources`` are compiled into the extension (none
    for an installed library); ``link`` are arguments of the linker.
    """

    include_dir: Path | None
    sources: tuple[Path, ...] = ()
    link: tuple[str, ...] = ()


def find(mode: str | None = None, root: Path = ROOT) -> Hiredis:
    """Return hiredis as ``mode`` (default: ``SEQCACHE_HIREDIS``) asks for it.

    Raises HiredisError when that is not to be had.
    """
    mode = mode or os.environ.get("SEQCACHE_HIREDIS") or "bundled"
    if mode == "bundled":
        return bundled(root)
    if mode == "system":
        return system()
    if mode == "auto":
        try:
            return system()
        except HiredisError:
            return bundled(root)
    if mode.startswith("/"):
        return prefix(Path(mode))
    raise HiredisError(
        f"SEQCACHE_HIREDIS={mode} is none of bundled, system, auto or a /prefix."
    )


def bundled(root: Path = ROOT) -> Hiredis:
    """Return the pinned sources, from a source release, the cache or the network."""
    pin = tomllib.loads((root / "third_party" / "hiredis.pin").read_text())
    top = root / "third_party"
    if not (top / "hiredis" / "COPYING").exists():
        top = root / "build" / "hiredis" / pin["sha256"][:16]
        if not (top / "hiredis").exists():
            obtain(pin, top)
    return Hiredis(top, tuple(top / "hiredis" / name for name in pin["compile"]))


def obtain(pin: dict[str, Any], top: Path) -> None:
    """Fetch the pinned source package and unpack its C files below ``top``."""
    top.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=top) as name:
        archive = fetch(pin, Path(name))
        unpacked = Path(name) / "hiredis"
        unpacked.mkdir()
        inside = f"{pin['package']}-{pin['version']}/{pin['folder']}/"
        with tarfile.open(archive) as tar:
            for file in (*pin["compile"], *pin["carry"]):
                source = tar.extractfile(inside + file)
                if source is None:
                    raise HiredisError(f"{archive.name} holds no {inside}{file}.")
                (unpacked / file).write_bytes(source.read())
        # A rename at the end: a build beside this one sees all of it or nothing.
        if not (top / "hiredis").exists():
            unpacked.rename(top / "hiredis")


def fetch(pin: dict[str, Any], folder: Path) -> Path:
    """Download the pinned source package into ``folder`` with pip; return its path.

    pip refuses another hash, and the hash is checked here once more.
    """
    wanted = f"{pin['package']}=={pin['version']}"
    listed = folder / "requirements.txt"
    listed.write_text(f"{wanted} --hash=sha256:{pin['sha256']}\n")
    command = [sys.executable, "-m", "pip", "download", "--require-hashes"]
    command += ["--no-binary", ":all:", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--dest", str(folder)]
    ran = subprocess.run(
        [*command, "-r", str(listed)],
        env=clean_environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    archives = list(folder.glob("*.tar.gz"))
    if ran.returncode or len(archives) != 1:
        raise HiredisError(why_not_fetched(wanted, ran.stdout))
    if hashlib.sha256(archives[0].read_bytes()).hexdigest() != pin["sha256"]:
        raise HiredisError(wrong_hash(wanted))
    return archives[0]


def clean_environment() -> dict[str, str]:
    """Return the environment without what an outer pip left for its own child."""
    foreign = ("_PYPROJECT_HOOKS_", "PEP517_")
    return {k: v for k, v in os.environ.items() if not k.startswith(foreign)}


def why_not_fetched(wanted: str, output: str) -> str:
    """Return one sentence about a failed download, from what pip printed."""
    if "DO NOT MATCH THE HASHES" in output:
        return wrong_hash(wanted)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line or "No module" in line]
    said = (errors or lines or ["nothing"])[-1].rstrip(".")
    return (
        f"the source package {wanted} could not be fetched (pip said: {said}); "
        "without a network build from seqcache's own source release, which carries "
        "it, or set SEQCACHE_HIREDIS=system."
    )


def wrong_hash(wanted: str) -> str:
    """Return the sentence that refuses a download with another hash."""
    return (
        f"the source package {wanted} was refused, because its sha256 is not the "
        "one that third_party/hiredis.pin names."
    )


def system() -> Hiredis:
    """Return the installed hiredis that pkg-config knows, at least FLOOR."""
    tool = os.environ.get("PKG_CONFIG") or "pkg-config"
    if shutil.which(tool) is None:
        raise HiredisError(f"SEQCACHE_HIREDIS=system needs {tool}, which is missing.")
    if subprocess.run([tool, f"--atleast-version={FLOOR}", "hiredis"]).returncode:
        raise HiredisError(f"pkg-config knows no hiredis of version {FLOOR} or newer.")
    include = ask(tool, "--variable=includedir")
    return Hiredis(
        Path(include) if include and include != "/usr/include" else None,
        link=tuple(ask(tool, "--libs").split()),
    )


def ask(tool: str, question: str) -> str:
    """Return pkg-config's answer about hiredis."""
    command = [tool, question, "hiredis"]
    return subprocess.run(
        command, check=True, text=True, capture_output=True
    ).stdout.strip()


def prefix(folder: Path) -> Hiredis:
    """Return the hiredis that is installed below ``folder``."""
    if not (folder / "include" / "hiredis" / "read.h").exists():
        raise HiredisError(f"there is no include/hiredis/read.h below {folder}.")
    lib = folder / "lib"
    return Hiredis(
        folder / "include", link=(f"-L{lib}", f"-Wl,-rpath,{lib}", "-lhiredis")
    )
