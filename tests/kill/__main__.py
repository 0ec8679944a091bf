"""`python -m tests.kill [KILLS] [sync|async] [SEED]`: the long form, 200 kills a face.

Prints a row for each face; the histories of one that broke a promise are kept under
build/kill.
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
    print(f"seed {seed}\n{'face':6} {'kills':>6} {'calls':>9} {'failed':>7}", end="")
    print(f" {'U':>3} {'M':>3} {'G':>3} {'T':>3} {'gaps':>9} {'slowest':>8}")
    broken = 0
    for face in faces:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            url = f"sqlite:///{folder}/seq.db"
            told = play(folder, kills, url=url, face=face, seed=seed)
            one = told.report
            row = f"{face:6} {kills:6} {one.calls:9} {one.failed:7} {one.U:3} {one.M:3}"
            print(
                f"{row} {one.G:3} {one.T:3} {one.gaps:9} {one.slowest:7.3f}s",
                flush=True,
            )
            if told.broken:
                broken += told.broken
                print("\n".join(one.texts))
                shutil.copytree(folder, KEEP / f"{face}.{seed}", dirs_exist_ok=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
