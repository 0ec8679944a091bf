"""The types say what users expect, to both checkers, and what the extension has.

The checkers come with `make types`; elsewhere a missing one skips its test.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import seqcache

HERE = Path(__file__).resolve().parent
# Whose names users write: modules, and of the folders this one. (Others are not for
# users, or have an optional dependency that brings its own types or none.)
PUBLIC_FOLDERS = {"testing"}


def run(folder: Path, checker: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a checker outside of the checkout, so that no setting is ours."""
    if importlib.util.find_spec(checker.partition(".")[0]) is None:
        reason = f"{checker} comes with `make types`"
        pytest.fail(reason) if os.environ.get("SEQCACHE_TYPES") else pytest.skip(reason)
    package = Path(seqcache.__file__).resolve().parent
    environ = dict(os.environ)
    if package.parent.name != "site-packages":  # editable: no checker looks there
        environ["MYPYPATH"] = environ["PYTHONPATH"] = str(package.parent)
    return subprocess.run(
        [sys.executable, "-m", *checker.split(), *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environ,
        timeout=200,
    )


def passes(done: subprocess.CompletedProcess[str]) -> None:
    """Demand that a checker found nothing."""
    assert done.returncode == 0, done.stdout + done.stderr


def test_usage_sample_passes_mypy_strict(tmp_path: Path) -> None:
    sample = tmp_path / "usage.py"
    sample.write_text((HERE / "usage.py").read_text())
    cache = str(tmp_path / "cache")
    passes(run(tmp_path, "mypy", "--strict", "--cache-dir", cache, "usage.py"))


def pyright(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pyright, as basedpyright packages it: its own wheel downloads a program."""
    package = Path(seqcache.__file__).resolve().parent
    settings = {
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "extraPaths": [str(package.parent)],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    return run(folder, "basedpyright", "--pythonpath", sys.executable, *words)


def test_usage_sample_passes_pyright_strict(tmp_path: Path) -> None:
    sample = tmp_path / "usage.py"
    sample.write_text((HERE / "usage.py").read_text())
    passes(pyright(tmp_path, "usage.py"))


def test_every_public_name_has_a_known_type(tmp_path: Path) -> None:
    words = ["--verifytypes", "seqcache", "--ignoreexternal", "--outputjson"]
    report = json.loads(pyright(tmp_path, *words).stdout)
    symbols: list[dict[str, Any]] = report["typeCompleteness"]["symbols"]
    assert len(symbols) > 500
    vague = [
        symbol["name"]
        for symbol in symbols
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
    ]
    package = Path(seqcache.__file__).parent
    folders = {path.name for path in package.iterdir() if path.is_dir()}
    inner = folders - PUBLIC_FOLDERS | {"ceilings"}
    assert [name for name in vague if name.split(".")[1] not in inner] == []


def test_stub_has_what_the_extension_has(tmp_path: Path) -> None:
    allow = str(HERE / "stubtest.allow")
    words = ["seqcache._native", "--allowlist", allow]
    passes(run(tmp_path, "mypy.stubtest", *words))


def test_keywords_are_the_fields_of_config_and_their_other_names() -> None:
    from seqcache._fields import Overrides
    from seqcache._options import ALIASES

    known = {field.name for field in fields(seqcache.Config)} | set(ALIASES)
    assert set(Overrides.__annotations__) == known
    for name, kind in Overrides.__annotations__.items():
        if name not in ALIASES:
            theirs = seqcache.Config.__annotations__[name]
            assert kind.__forward_arg__ == theirs, name
