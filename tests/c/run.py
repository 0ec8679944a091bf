"""Compile and run the C unit programs (ut_*.c) under sanitizers.

Each program is linked with the whole core and hiredis under address,undefined; one
that starts threads runs under the thread sanitizer too. A program passes when it
exits with 0, its last line is "N passed, 0 failed" and no sanitizer reports.

Usage: run.py [asan|tsan]... [name-part]...      CC chooses the compiler.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import cflags  # noqa: E402  (tools/ is on the path only now)
from hiredis_source import HiredisError, find  # noqa: E402

KINDS = {"asan": "address,undefined", "tsan": "thread"}
CLOSING = re.compile(r"(\d+) passed, 0 failed")
REPORT = re.compile(r"Sanitizer|runtime error:")
LIMIT_S = 300
QUIET = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Kit:
    """Core and hiredis compiled once for one sanitizer."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.compiler = os.environ.get("CC") or "gcc"
        sanitize = cflags.sanitizer(KINDS[kind])
        self.mode = [*sanitize, "-g", "-O1", "-fno-omit-frame-pointer"]
        hiredis = find()
        include = [f"-isystem{hiredis.include_dir}"] if hiredis.include_dir else []
        self.ours = [*cflags.ours(), "-I" + str(ROOT / "csrc"), *include]
        self.link = list(hiredis.link)
        self.foreign = hiredis.sources
        # Other flags are another folder: no object of a laxer run passes here.
        flags = repr((self.compiler, self.mode, self.ours, cflags.CORE)).encode()
        name = f"{kind}-{hashlib.sha256(flags).hexdigest()[:8]}"
        self.folder = ROOT / "build" / "ctest" / name

    def newer(self, target: Path, source: Path) -> bool:
        """Return whether ``target`` is older than its source or any header."""
        if not target.exists():
            return True
        headers = [*ROOT.glob("csrc/**/*.h"), *ROOT.glob("tests/c/*.h")]
        tools = [ROOT / "tools" / "cflags.py", Path(__file__)]
        age = target.stat().st_mtime
        return any(f.stat().st_mtime >= age for f in (source, *headers, *tools))

    def compile(self, source: Path, flags: list[str]) -> Path:
        """Compile one file unless its object is fresh; raise on an error."""
        target = self.folder / (source.stem + "." + source.parent.name + ".o")
        if self.newer(target, source):
            command = [self.compiler, *flags, *self.mode, "-c", str(source)]
            subprocess.run([*command, "-o", str(target)], check=True)
        return target

    def library(self) -> list[str]:
        """Return the objects of core and hiredis, compiled where needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        core = sorted((ROOT / "csrc" / "core").glob("*.c"))
        jobs = [(path, [*self.ours, *cflags.CORE]) for path in core]
        jobs += [(path, cflags.HIREDIS) for path in self.foreign]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [str(o) for o in pool.map(lambda job: self.compile(*job), jobs)]

    def program(self, source: Path, library: list[str]) -> Path:
        """Compile and link one unit program; return its path."""
        made = self.compile(source, [*self.ours, "-UNDEBUG"])
        target = self.folder / source.stem
        command = [self.compiler, *self.mode, str(made), *library]
        command += [*self.link, "-pthread", "-lm", "-o", str(target)]
        subprocess.run(command, check=True)
        return target


def verdict(program: Path) -> str | None:
    """Run a program and show its output; return why it failed, None if it passed."""
    try:
        ran = subprocess.run(
            [str(program)],
            env={**QUIET, **os.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return f"still running after {LIMIT_S} s"
    closing = (ran.stdout.strip().splitlines() or [""])[-1]
    why = None
    if ran.returncode:
        why = f"exit code {ran.returncode}"
    elif REPORT.search(ran.stdout):
        why = "a sanitizer reported"
    elif not CLOSING.fullmatch(closing):
        why = "the last line is not 'N passed, 0 failed'"
    print(ran.stdout if why else closing, flush=True)
    return why


def threaded(source: Path) -> bool:
    """Return whether the program starts threads, so that races can be seen."""
    return source.stem.endswith("_tsan") or "pthread_create" in source.read_text()


def run_kind(kind: str, programs: list[Path]) -> list[str]:
    """Build and run programs under one sanitizer; return the failures as text."""
    if not programs:
        return []
    kit, failed = Kit(kind), []
    library = kit.library()
    for source in programs:
        began = time.monotonic()
        print(f"{kind} {source.stem}: ", end="", flush=True)
        try:
            why = verdict(kit.program(source, library))
        except subprocess.CalledProcessError:
            why = "does not compile"
        if why:
            failed.append(f"{kind} {source.stem}: {why}")
        elif time.monotonic() - began > 60:
            print(f"  ({time.monotonic() - began:.0f} s: slow)")
    return failed


def main(arguments: list[str]) -> int:
    """Run what the arguments name; return 0 if all of it passed."""
    kinds = [a for a in arguments if a in KINDS] or list(KINDS)
    parts = [a for a in arguments if a not in KINDS]
    found = sorted(Path(__file__).parent.glob("ut_*.c"))
    chosen = [p for p in found if not parts or any(x in p.stem for x in parts)]
    if parts and not chosen:
        print(f"no program matches {' '.join(parts)}")
        return 2
    failed = []
    for kind in kinds:
        wanted = [p for p in chosen if kind != "tsan" or threaded(p)]
        try:
            failed += run_kind(kind, wanted)
        except (HiredisError, subprocess.CalledProcessError) as why:
            failed.append(f"{kind}: the core does not compile ({why})")
    for line in failed:
        print("FAILED", line)
    print(f"{len(chosen)} programs under {', '.join(kinds)}: {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
