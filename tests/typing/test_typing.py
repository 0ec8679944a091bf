"""The stubs say what users expect: the usage sample passes mypy --strict."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy comes with `make check`"
)
def test_usage_sample_passes_mypy_strict(tmp_path: Path) -> None:
    sample = tmp_path / "usage.py"
    sample.write_text((HERE / "usage.py").read_text())
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir"]
    done = subprocess.run(
        [*command, str(tmp_path / "cache"), str(sample)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
