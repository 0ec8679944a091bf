"""The fresh process of one measurement: ``worker.py TASK`` prints one JSON line.

The package ``bench`` is made known by hand: with the repository's root on the path
the source folder ``seqcache`` would hide the installed one, or its absence.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType


def main() -> None:
    """Run the measurement named in argv[1], a Task as JSON."""
    package = ModuleType("bench")
    package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules["bench"] = package
    from bench.task import CannotMeasure, Point, Task, raise_file_limit

    fields = json.loads(sys.argv[1])
    task = Task(**{**fields, "point": Point(**fields["point"])})
    raise_file_limit()
    module = importlib.import_module(f"bench.{task.point.question}")
    try:
        answer = module.measure(task)
    except (CannotMeasure, ImportError) as why:
        answer = {"error": str(why)}
    print(json.dumps(answer), flush=True)
    # Some clients keep threads that would hold up or crash an orderly exit.
    os._exit(0)


if __name__ == "__main__":
    main()
