"""sqlite:/// in a forked child: it gives no numbers, the parent's go on."""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import pytest
from helper import in_child

import seqcache

# The parent's database is kept in a child, and never closed there.
warnings.filterwarnings("ignore", "unclosed database", ResourceWarning)

FILE = f"{tempfile.mkdtemp()}/seq.db"
URL = f"sqlite:///{FILE}?step=64&timeout=20"
OTHER = "import sys, seqcache; print(seqcache.cache(sys.argv[1]).increase_seq('x'))"


def refuse(call) -> None:
    """The child gets no number, and is told why."""
    with pytest.raises(seqcache.CeilingError, match="forked from") as caught:
        call()
    assert caught.value.reason == "fence"
    assert caught.value.executed is False


def while_threads_call() -> None:
    got: list[int] = []
    stop = threading.Event()
    cache = seqcache.cache(URL)

    def work() -> None:
        while not stop.is_set():
            got.append(cache.increase_seq("threads"))
            got.append(cache.increase_seq("threads", token=os.urandom(8)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        refuse(lambda: cache.increase_seq("threads"))
        refuse(lambda: cache.get_seq("threads"))
        refuse(lambda: cache.increase_seq("new", token="m"))
        refuse(lambda: list(cache.scan()))
        with pytest.raises(seqcache.StartupError, match=f"process {os.getppid()}"):
            seqcache.cache(URL)
        with seqcache.cache(f"sqlite:///{FILE}.{os.getpid()}") as own:
            assert own.increase_seq("threads") == 1
        cache.close()
        assert threading.active_count() == 1

    for _ in range(6):
        time.sleep(0.03)
        in_child(child)
    stop.set()
    for thread in threads:
        thread.join()
    cache.close()
    assert sorted(got) == list(range(1, len(got) + 1))


async def inside_a_loop() -> None:
    async with seqcache.acache(URL) as cache:
        first = await cache.increase_seq("a")
        under_way = [cache.increase_seq("a", 20) for _ in range(100)]
        await asyncio.sleep(0)

        def child() -> None:
            asyncio._set_running_loop(None)

            async def own() -> None:
                with pytest.raises(seqcache.CeilingError, match="forked from"):
                    await cache.increase_seq("a")
                await cache.aclose()

            asyncio.run(own())

        in_child(child)
        numbers = await asyncio.gather(*under_way)
        assert numbers == list(range(first + 20, first + 2001, 20))


def the_file_is_the_parents_alone() -> None:
    """A child that outlives its parent must not keep the file."""
    script = f"""
import os, sys, time, seqcache
cache = seqcache.cache({URL!r})
cache.increase_seq("x")
pid = os.fork()
if pid == 0:
    os.close(1)
    time.sleep(20)
    os._exit(0)
print(pid, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        timeout=30,
        check=True,
    )
    child = int(done.stdout)
    other = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OTHER, URL],
        capture_output=True,
        timeout=30,
        check=False,
    )
    os.kill(child, 9)
    assert int(other.stdout) == 65, other


while_threads_call()
asyncio.run(inside_a_loop())
the_file_is_the_parents_alone()
