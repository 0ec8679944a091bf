"""The build: what it exports, carries, refuses and says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"]
PARTS += ["_seqcache_pytestplugin.py"]
FOLDERS = ["csrc", "seqcache", "tools", "third_party"]
NO_NETWORK = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
PIN = tomllib.loads((ROOT / "third_party" / "hiredis.pin").read_text())

# A build takes 20 s; on a machine that does other things as well, a few times that.
pytestmark = [pytest.mark.build, pytest.mark.timeout(300)]


def copy_sources(folder: Path) -> Path:
    """Copy the sources, and the download that this checkout has, below a folder."""
    copy = folder / "checkout"
    copy.mkdir(parents=True)
    for name in PARTS:
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    cache = ROOT / "build" / "hiredis"
    if cache.exists():
        shutil.copytree(cache, copy / "build" / "hiredis")
    return copy


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the sources to build in."""
    return copy_sources(tmp_path)


def python(
    *arguments: object, cwd: Path, program: object = sys.executable, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, fast rather than optimized; return what it said."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SEQCACHE_")}
    return subprocess.run(
        [str(program), *map(str, arguments)],
        cwd=cwd,
        env={**plain, "CFLAGS": "-O0", **extra},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
    )


def build(checkout: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Build the extension in place."""
    return python("setup.py", "-q", "build_ext", "--inplace", cwd=checkout, **extra)


def complaint(ran: subprocess.CompletedProcess[str]) -> str:
    """Return the only thing that a refused build said: one sentence."""
    assert ran.returncode == 1, ran.stdout
    lines = [line for line in ran.stdout.splitlines() if "seqcache cannot" in line]
    assert len(lines) == 1, ran.stdout
    assert "Traceback" not in ran.stdout
    assert ran.stdout.rstrip().endswith(lines[0])
    return lines[0]


def exported(library: Path) -> list[str]:
    """Return the names that a shared library defines for others."""
    ran = subprocess.run(
        ["nm", "-D", "--defined-only", str(library)],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    return [line.split()[-1] for line in ran.stdout.splitlines()]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return our source release, built from a copy of the checkout."""
    copy = copy_sources(tmp_path_factory.mktemp("release"))
    backend = "from setuptools import build_meta as b; b.build_sdist('dist')"
    ran = python("-W", "ignore", "-c", backend, cwd=copy)
    assert ran.returncode == 0, ran.stdout
    (archive,) = (copy / "dist").glob("*.tar.gz")
    return archive


def test_optimized_extension_is_small_and_exports_its_init_function_only(
    checkout: Path,
) -> None:
    ran = build(checkout, CFLAGS="")
    assert ran.returncode == 0, ran.stdout
    (library,) = (checkout / "seqcache").glob("_native*.so")
    assert library.stat().st_size <= 250_000
    assert exported(library) == ["PyInit__native"]


@pytest.mark.parametrize("switch", ["DEBUG", "SANITIZE", "COVERAGE", "WERROR"])
def test_every_switch_builds(checkout: Path, switch: str) -> None:
    ran = build(checkout, **{f"SEQCACHE_{switch}": "1"})
    assert ran.returncode == 0, ran.stdout


def test_wrong_hash_is_refused_in_one_sentence(checkout: Path) -> None:
    pin = checkout / "third_party" / "hiredis.pin"
    pin.write_text(pin.read_text().replace(PIN["sha256"], "0" * 64))
    said = complaint(build(checkout))
    assert "hiredis==3.5.0" in said
    assert "refused, because its sha256 is not the one" in said
    assert not list(checkout.glob("seqcache/_native*.so"))


def test_no_network_is_told_in_one_sentence(checkout: Path) -> None:
    shutil.rmtree(checkout / "build", ignore_errors=True)
    said = complaint(build(checkout, **NO_NETWORK))
    assert "could not be fetched" in said
    assert "SEQCACHE_HIREDIS=system" in said


def test_no_compiler_is_told_in_one_sentence(checkout: Path) -> None:
    said = complaint(build(checkout, CC="/no/such/cc"))
    assert "there is no C compiler (/no/such/cc)" in said


def test_unknown_hiredis_mode_is_told_in_one_sentence(checkout: Path) -> None:
    said = complaint(build(checkout, SEQCACHE_HIREDIS="sytem"))
    assert "SEQCACHE_HIREDIS=sytem is none of bundled, system, auto" in said


def test_prefix_without_hiredis_is_told_in_one_sentence(checkout: Path) -> None:
    said = complaint(build(checkout, SEQCACHE_HIREDIS=str(checkout)))
    assert "no include/hiredis/read.h below" in said


def installed_hiredis(checkout: Path, prefix: Path) -> Path:
    """Put hiredis below ``prefix`` as a distribution would; return its library."""
    assert build(checkout).returncode == 0
    (carried,) = (checkout / "build" / "hiredis").glob("*/hiredis")
    shutil.copytree(carried, prefix / "include" / "hiredis")
    (prefix / "lib").mkdir()
    library = prefix / "lib" / "libhiredis.so"
    files = [str(carried / name) for name in PIN["compile"]]
    compiler = sysconfig.get_config_var("CC").split()
    shared = [*compiler, "-w", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*shared, *files], check=True)
    return library


def pkg_config(folder: Path, prefix: Path, version: str) -> str:
    """Write a pkg-config that knows one hiredis; return the path of the program."""
    program = folder / "pkg-config"
    program.write_text(
        "#!/bin/sh\ncase $1 in\n"
        f"--atleast-version=1.0) [ {version.partition('.')[0]} -ge 1 ] ;;\n"
        f"--variable=includedir) echo {prefix}/include ;;\n"
        f"--libs) echo -L{prefix}/lib -Wl,-rpath,{prefix}/lib -lhiredis ;;\n"
        "*) exit 3 ;;\nesac\n"
    )
    program.chmod(0o755)
    return str(program)


def needed(library: Path) -> set[str]:
    """Return the hiredis names that an extension expects from elsewhere."""
    ran = subprocess.run(["nm", "-D", str(library)], text=True, stdout=subprocess.PIPE)
    return set(re.findall(r"U (redis\w+|sds\w+|hi_\w+|hiredis\w+)", ran.stdout))


def test_installed_hiredis_is_linked_by_prefix_and_by_pkg_config(
    checkout: Path, tmp_path: Path
) -> None:
    prefix = tmp_path / "prefix"
    library = installed_hiredis(checkout, prefix)
    (made,) = (checkout / "seqcache").glob("_native*.so")
    assert not needed(made)
    assert exported(made) == ["PyInit__native"]
    tool = pkg_config(tmp_path, prefix, "1.2.0")
    for mode in (str(prefix), "auto"):
        ran = build(checkout, SEQCACHE_HIREDIS=mode, PKG_CONFIG=tool)
        assert ran.returncode == 0, ran.stdout
        assert needed(made), mode
        assert needed(made) <= set(exported(library))


def test_old_system_hiredis_is_refused_and_auto_takes_the_pin(
    checkout: Path, tmp_path: Path
) -> None:
    tool = pkg_config(tmp_path, tmp_path, "0.14.1")
    said = complaint(build(checkout, SEQCACHE_HIREDIS="system", PKG_CONFIG=tool))
    assert "no hiredis of version 1.0 or newer" in said
    ran = build(checkout, SEQCACHE_HIREDIS="auto", PKG_CONFIG=tool)
    assert ran.returncode == 0, ran.stdout
    (made,) = (checkout / "seqcache").glob("_native*.so")
    assert not needed(made)


def test_source_release_carries_hiredis_and_its_licence(release: Path) -> None:
    with tarfile.open(release) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    carried = {f"third_party/hiredis/{n}" for n in PIN["compile"] + PIN["carry"]}
    ours = {str(p.relative_to(ROOT)) for p in ROOT.glob("csrc/*/*.[ch]")}
    assert carried | ours <= names
    assert {"LICENSE", "third_party/hiredis.pin", "tools/hiredis_source.py"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o"))]


def built_elsewhere(folder: Path, action: str) -> Path:
    """Build from a copy of another time and with other rights; return the result."""
    copy = copy_sources(folder)
    for path in copy.rglob("*.py"):
        os.utime(path, (1, 1 + len(folder.name)))
        path.chmod(0o644 if len(folder.name) % 2 else 0o664)
    backend = f"from setuptools import build_meta as b; b.{action}('dist')"
    ran = python("-c", backend, cwd=copy, SOURCE_DATE_EPOCH="1700000000")
    assert ran.returncode == 0, ran.stdout
    (made,) = (copy / "dist").iterdir()
    return made


def test_two_source_releases_are_the_same_byte_for_byte(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "longer"]
    one, other = (built_elsewhere(folder, "build_sdist") for folder in folders)
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as tar:
        owners = {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in tar.getmembers()}
        assert {m.mode for m in tar.getmembers()} <= {0o755, 0o644}
    assert owners == {(0, 0, "", "", 1_700_000_000)}


def test_two_wheels_are_the_same_byte_for_byte(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b-b"]
    one, other = (built_elsewhere(folder, "build_wheel") for folder in folders)
    assert one.read_bytes() == other.read_bytes()


def test_source_release_installs_without_a_network(
    release: Path, tmp_path: Path
) -> None:
    target = tmp_path / "venv"
    venv.create(target, with_pip=True)
    program = target / "bin" / "python"
    # setuptools by copy: nothing may be looked up, not even what builds.
    purelib = python(
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
        cwd=tmp_path,
        program=program,
    ).stdout.strip()
    import setuptools

    found = Path(setuptools.__file__).parent
    hack = found.parent / "_distutils_hack"
    for part in (found, hack, *found.parent.glob("setuptools-*.dist-info")):
        shutil.copytree(part, Path(purelib) / part.name, dirs_exist_ok=True)
    install = ["-m", "pip", "install", "--no-build-isolation", "--no-deps", release]
    ran = python(*install, cwd=tmp_path, program=program, **NO_NETWORK)
    assert ran.returncode == 0, ran.stdout
    show = "import seqcache, seqcache._native as n; print(n.__file__)"
    ran = python("-I", "-c", show, cwd=tmp_path, program=program)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.startswith(str(target))


def test_nothing_of_hiredis_is_in_git() -> None:
    ran = subprocess.run(
        ["git", "ls-files", "third_party"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
    )
    assert set(ran.stdout.split()) <= {"third_party/hiredis.pin"}


def test_licence_text_of_hiredis_is_in_ours(release: Path) -> None:
    with tarfile.open(release) as tar:
        top = tar.getnames()[0].partition("/")[0]
        ours, theirs = (
            tar.extractfile(f"{top}/{name}").read().decode()  # type: ignore[union-attr]
            for name in ("LICENSE", "third_party/hiredis/COPYING")
        )
    assert theirs.strip() in ours
