"""Compiler flags of the house, shared by setup.py and the C tests (STYLE.md 6)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wconversion",
    "-Wundef",
    "-Wvla",
    "-Wformat=2",
    "-Wwrite-strings",
    "-Wimplicit-fallthrough",
]

COMMON = ["-std=c11", "-D_GNU_SOURCE=", "-fvisibility=hidden", "-pthread"]
CORE = ["-Wpedantic"]  # not for the binding: type slots keep functions in void *
HIREDIS = ["-std=c99", "-fvisibility=hidden", "-w"]

_OFF = ("", "0", "no", "off", "false")


def switched(name: str) -> bool:
    """Return whether the switch ``SEQCACHE_<name>`` is on."""
    return os.environ.get(f"SEQCACHE_{name}", "").lower() not in _OFF


def ours() -> list[str]:
    """Return the flags for every C file of this repository, without the mode."""
    return [*COMMON, *WARNINGS, *(["-Werror"] if switched("WERROR") else [])]


def sanitizer(kinds: str) -> list[str]:
    """Return flags for compiler and linker that turn sanitizers on.

    ``kinds`` is "thread" or "address,undefined"; a report ends the program.
    """
    return [f"-fsanitize={kinds}", "-fno-sanitize-recover=all"]


def inlined(compiler: str) -> list[str]:
    """Return flags that let functions be inlined across files, if they work.

    A call crosses a dozen small functions in as many files: 5 % of its time.
    """
    flags = ["-flto=auto"]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("int probe(void); int probe(void) { return 0; }\n")
        command = [compiler, *flags, "-fPIC", "-shared", "-o", f"{folder}/probe"]
        ran = subprocess.run(
            [*command, str(source)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    return flags if ran.returncode == 0 else []


def mode(compiler: str) -> tuple[list[str], list[str]]:
    """Return (compiler flags, linker flags) that the switches ask for.

    SEQCACHE_SANITIZE=1 is address,undefined, =thread is the thread sanitizer;
    SEQCACHE_DEBUG=1 keeps assertions; SEQCACHE_COVERAGE=1 counts lines.
    """
    flags: list[str] = []
    linker: list[str] = []
    if switched("SANITIZE"):
        asked = os.environ["SEQCACHE_SANITIZE"]
        kinds = asked if asked in ("thread", "address") else "address,undefined"
        linker = sanitizer(kinds)
        flags = [*linker, "-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer"]
    elif switched("COVERAGE"):
        flags, linker = ["--coverage", "-O0", "-g", "-UNDEBUG"], ["--coverage"]
    elif switched("DEBUG"):
        flags = ["-O0", "-g3", "-UNDEBUG"]
    else:
        # Sections and -s: what nothing uses and the symbols are left out, 110 kB.
        flags = ["-g0", "-DNDEBUG", "-ffunction-sections", "-fdata-sections"]
        linker = ["-Wl,--gc-sections", "-Wl,-s"]
        # Who sets an optimization in CFLAGS (a distribution) means it.
        if "-O" not in os.environ.get("CFLAGS", ""):
            flags.append("-O2")  # as fast as -O3 here, and 60 kB smaller
            flags += inlined(compiler)
            linker += flags
    return flags, linker
