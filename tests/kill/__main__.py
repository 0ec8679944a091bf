"""`python -m tests.kill [KILLS] [sync|async] [SEED]`: the long form, 200 kills a row.

A row for each face over ``sqlite:///file``, and over ``memory://`` with its ceilings
in such a file; the histories of one that broke a promise are kept under build/kill.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from kill.lives import play  # noqa: E402

KEEP = Path(__file__).parents[2] / "build" / "kill"


def main() -> int:
    """Kill on both faces, or on one; 1 if a promise was broken."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    faces = [sys.argv[2]] if len(sys.argv) > 2 else ["sync", "async"]
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time())
    print(f"seed {seed}\n{'':16} {'kills':>6} {'calls':>9} {'failed':>7}", end="")
    print(f" {'U':>3} {'M':>3} {'G':>3} {'T':>3} {'gaps':>9} {'slowest':>8}")
    rows = [(face, kind) for kind in ("sqlite", "memory") for face in faces]
    return 1 if sum(kill(kills, *row, seed) for row in rows) else 0


def kill(kills: int, face: str, kind: str, seed: int) -> int:
    """Print a row; how often a promise was broken."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = {"url": f"sqlite:///{folder}/seq.db"}
        if kind == "memory":
            where = {"url": "memory://", "ceilings": where["url"]}
        told = play(folder, kills, face=face, seed=seed, **where)
        one = told.report
        row = f"{kind + ', ' + face:16} {kills:6} {one.calls:9} {one.failed:7}"
        row += f" {one.U:3} {one.M:3} {one.G:3} {one.T:3} {one.gaps:9}"
        print(f"{row} {one.slowest:7.3f}s", flush=True)
        if told.broken:
            print("\n".join(one.texts))
            keep = KEEP / f"{kind}.{face}.{seed}"
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        return told.broken


if __name__ == "__main__":
    sys.exit(main())
