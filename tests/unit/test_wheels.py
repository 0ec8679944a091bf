"""tools/wheels.py refuses a release that is not as it must be."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import wheels  # noqa: E402  (tools/ is on the path only now)

INFO = "seqcache-1.dist-info"
GOOD = {
    "seqcache/__init__.py": "",
    "seqcache/_native.so": "",
    "_seqcache_pytestplugin.py": "",
    f"{INFO}/METADATA": 'Name: seqcache\nRequires-Dist: rich; extra == "cli"\n',
    f"{INFO}/licenses/LICENSE": "MIT ... hiredis ...",
}
NAME = "seqcache-1-cp313-cp313-manylinux_2_34_x86_64.whl"


def check(folder, content, name=NAME):
    wheel = folder / name
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheels.check_wheel(wheel, folder / "content")


@pytest.fixture
def one_export(monkeypatch):
    monkeypatch.setattr(wheels, "exported", lambda library: {"PyInit__native"})


def test_good_wheel_passes(tmp_path, one_export):
    assert check(tmp_path, GOOD) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tests/test_x.py": ""}, "holds .*tests"),
        ({"seqcache/_other.so": ""}, "expected one file"),
        ({"seqcache/_native.so": "x" * 250_001}, "250001 bytes"),
        ({f"{INFO}/METADATA": "Requires-Dist: rich\n"}, "a plain install needs"),
        ({f"{INFO}/licenses/LICENSE": "MIT"}, "licence of hiredis"),
    ],
)
def test_bad_wheel_is_refused(tmp_path, one_export, change, said):
    with pytest.raises(wheels.WheelError, match=said):
        check(tmp_path, GOOD | change)


@pytest.mark.skipif(sys.platform != "linux", reason="manylinux is a tag of Linux")
def test_wheel_without_manylinux_tag_is_refused(tmp_path, one_export):
    with pytest.raises(wheels.WheelError, match="no manylinux tag"):
        check(tmp_path, GOOD, "seqcache-1-cp313-cp313-linux_x86_64.whl")


def test_further_export_is_refused(tmp_path, monkeypatch):
    names = {"PyInit__native", "redisReaderCreate"}
    monkeypatch.setattr(wheels, "exported", lambda library: names)
    with pytest.raises(wheels.WheelError, match="redisReaderCreate"):
        check(tmp_path, GOOD)


def test_builds_that_differ_are_refused(tmp_path):
    one, other = tmp_path / "a" / NAME, tmp_path / "b" / NAME
    for path in (one, other):
        path.parent.mkdir()
        path.write_text(path.parent.name)
    with pytest.raises(wheels.WheelError, match="two builds differ"):
        wheels.same(one, other)
    other.write_text("a")
    wheels.same(one, other)


def test_interpreters_say_their_version():
    (here,) = wheels.interpreters([sys.executable])
    assert here.version.rstrip("t") == f"3.{sys.version_info[1]}"
    with pytest.raises(wheels.WheelError, match="no CPython 3.11"):
        wheels.interpreters(["/no/such/python"])


def test_smoke_test_refuses_a_checkout():
    """It is for what was installed: an import of the sources would prove nothing."""
    smoke = ROOT / "tools" / "smoke.py"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; "
    code += f"runpy.run_path({str(smoke)!r}, run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert f"AssertionError: {ROOT / 'seqcache'}" in ran.stderr


def test_cibuildwheel_builds_for_the_same_pythons():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    built = [name.partition("-")[0] for name in told["build"].split()]
    assert built == ["cp" + version.replace(".", "") for version in wheels.SUPPORTED]
