"""Build of seqcache._native: flags, and hiredis compiled in. Metadata: pyproject.toml.

Switches: SEQCACHE_HIREDIS=bundled|system|auto|/prefix and
SEQCACHE_DEBUG, SEQCACHE_SANITIZE, SEQCACHE_COVERAGE, SEQCACHE_WERROR=1.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

import archive  # noqa: E402
import cflags  # noqa: E402  (tools/ is on the path only now)
from hiredis_source import Hiredis, HiredisError, bundled, find  # noqa: E402


def locate(search) -> Hiredis:
    """Return what ``search()`` finds, or end the build with one sentence."""
    try:
        return search()
    except HiredisError as why:
        raise SystemExit(f"seqcache cannot be built: {why}") from None


def require_tools(compiler: str) -> None:
    """End the build with one sentence if the compiler or Python's headers lack."""
    if shutil.which(compiler) is None:
        raise SystemExit(
            f"seqcache cannot be built: there is no C compiler ({compiler}); install "
            "one (Debian: apt-get install gcc) or name it in CC."
        )
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        raise SystemExit(
            f"seqcache cannot be built: Python.h is not in {headers}; install the "
            "headers of this Python (Debian: apt-get install python3-dev)."
        )


def sources(folder: str) -> list[str]:
    """Return the C files of csrc/``folder``, relative to here, in a fixed order."""
    found = (ROOT / "csrc" / folder).glob("*.c")
    return sorted(str(path.relative_to(ROOT)) for path in found)


class BuildNative(build_ext):
    """Compiles three groups of files with their own flags and links them."""

    def finalize_options(self) -> None:
        """Keep Python's include folders apart, and never reuse other flags' files."""
        super().finalize_options()
        self.python_headers, self.include_dirs = self.include_dirs, []
        self.force = True  # the switches are not files: a time stamp knows nothing

    def build_extension(self, ext: Extension) -> None:
        """Compile core, binding and hiredis in parallel; link the extension."""
        require_tools(self.compiler.compiler[0])
        found = locate(find)
        mode, link = cflags.mode(self.compiler.compiler[0])
        system = [*self.python_headers, *filter(None, [found.include_dir])]
        ours = [*cflags.ours(), *mode, "-Icsrc"]
        ours += [f"-isystem{folder}" for folder in system]
        groups = [
            (sources("core"), [*ours, *cflags.CORE]),
            (sources("binding"), ours),
            (local(found.sources), [*cflags.HIREDIS, *mode]),
        ]
        self.compiler.link_shared_object(
            self.compile_all(groups),
            self.get_ext_fullpath(ext.name),
            extra_postargs=[*link, *found.link, "-pthread"],
            build_temp=self.build_temp,
            target_lang="c",
        )

    def compile_all(self, groups: list[tuple[list[str], list[str]]]) -> list[str]:
        """Compile (files, flags) groups with one compiler a core; return objects."""

        def compile_one(job: tuple[str, list[str]]) -> list[str]:
            file, flags = job
            return self.compiler.compile(
                [file], output_dir=self.build_temp, extra_postargs=flags
            )

        jobs = [(file, flags) for files, flags in groups for file in files]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [name for names in pool.map(compile_one, jobs) for name in names]


def local(paths: tuple[Path, ...]) -> list[str]:
    """Return paths relative to here, so that objects land in the build folder."""
    return [os.path.relpath(path, ROOT) for path in paths]


class SourceRelease(sdist):
    """A source release that carries hiredis, so that it builds without a network.

    Two of the same files and of one SOURCE_DATE_EPOCH are the same byte for byte.
    """

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Add the pinned C files and their licence to the release."""
        super().make_release_tree(base_dir, files)
        carried = locate(bundled).sources[0].parent
        target = Path(base_dir, "third_party", "hiredis")
        shutil.copytree(carried, target, dirs_exist_ok=True)

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **_) -> str:
        """Write the archive, with nothing in it of this machine or of now."""
        target = Path(f"{base_name}.tar.gz")
        archive.pack(Path(root_dir or ".", base_dir), target)
        return str(target)


os.chdir(ROOT)
setup(
    ext_modules=[Extension("seqcache._native", sources("core") + sources("binding"))],
    cmdclass={"build_ext": BuildNative, "sdist": SourceRelease},
)
