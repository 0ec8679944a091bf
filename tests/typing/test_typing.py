"""The stubs say what users expect, and what the extension really has."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import seqcache

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy comes with `make check`"
)


def run(folder: Path, *words: str) -> None:
    """Run a module of mypy outside of the checkout, so that no setting is ours."""
    package = Path(seqcache.__file__).resolve().parent
    environ = dict(os.environ)
    if package.parent.name != "site-packages":  # editable: mypy does not look there
        environ["MYPYPATH"] = str(package.parent)
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environ,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_usage_sample_passes_mypy_strict(tmp_path: Path) -> None:
    sample = tmp_path / "usage.py"
    sample.write_text((HERE / "usage.py").read_text())
    run(
        tmp_path, "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "usage.py"
    )


def test_stub_has_what_the_extension_has(tmp_path: Path) -> None:
    allow = str(HERE / "stubtest.allow")
    run(tmp_path, "mypy.stubtest", "seqcache._native", "--allowlist", allow)
