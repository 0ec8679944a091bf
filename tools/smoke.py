"""Tries an installed seqcache, wherever it is: ``python -I smoke.py``.

Both faces in memory, the command line, nothing loaded that is optional, and a real
server if one is on the PATH. Prints what it is; any failure is a traceback.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import requires, version
from pathlib import Path

OPTIONAL = {
    "asyncio",
    "ssl",
    "sqlalchemy",
    "rich",
    "opentelemetry",
    "prometheus_client",
}


def main() -> None:
    """Try everything that needs no network."""
    code = "import sys, seqcache; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True
    )
    assert not OPTIONAL & set(ran.stdout.split()), "the import loads what is optional"
    needed = [name for name in requires("seqcache") or () if "extra ==" not in name]
    assert not needed, f"needs {needed}"

    import seqcache
    from seqcache import _native

    assert seqcache.__version__ == version("seqcache")
    home = Path(seqcache.__file__).parent
    assert home.parent.name in ("site-packages", "dist-packages"), home
    assert (home / "py.typed").exists()
    assert (home / "_native.pyi").exists()
    blocking("memory://")
    asyncio.run(in_loop("memory://"))
    on_a_server()
    command = [
        sys.executable,
        "-I",
        "-m",
        "seqcache",
        "--url",
        "memory://",
        "incr",
        "a",
    ]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ran.stdout == "1\n"
    print(f"seqcache {seqcache.__version__} works: {_native.__file__}")


def blocking(url: str) -> None:
    """Count with the blocking face."""
    import seqcache

    with seqcache.cache(url) as cache:
        assert cache.increase_seqs(["a", "b", "a"]) == [1, 1, 2]
        assert cache.reserve("a", 3) == range(3, 6)
        assert cache.raise_seq("a", 100) == 100
        assert dict(cache.scan()) == {"a": 100, "b": 1}


async def in_loop(url: str) -> None:
    """Count with the asyncio face."""
    import seqcache

    async with seqcache.acache(url) as cache:
        calls = [cache.increase_seq("c") for _ in range(100)]
        assert sorted(await asyncio.gather(*calls)) == list(range(1, 101))
        assert await cache.get_seqs(["c", "d"]) == [100, 0]


def on_a_server() -> None:
    """Do the same over a socket, if a server program is there."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/s"
        command = [program, "--port", "0", "--unixsocket", socket, "--save", ""]
        server = subprocess.Popen(
            [*command, "--dir", folder], stdout=subprocess.DEVNULL
        )
        try:
            blocking(f"unix://{socket}?startup_timeout=20")
            asyncio.run(in_loop(f"unix://{socket}"))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
