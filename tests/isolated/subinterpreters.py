"""Several interpreters count at once, with one GIL and each with its own.

3.12 and newer refuse an extension that did not say that it can be imported where
the GIL is not shared: ours says so, and this is the proof.
"""

from __future__ import annotations

import os
import sys
import threading

from helper import URL, admin, in_child

import seqcache

try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

THREADS, CALLS, TASKS = 2, 200, 300
PATHS = f"import sys; sys.path[:] = {sys.path!r}\n"
HAMMER = f"""
import asyncio, os, threading, seqcache
numbers = []

def count(cache):
    for _ in range({CALLS}):
        numbers.append(cache.increase_seq("alice"))

with seqcache.cache({URL!r}) as cache:
    threads = [threading.Thread(target=count, args=(cache,)) for _ in range({THREADS})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        cache.increase_seq("text")
    except seqcache.NotASequence as error:
        assert error.executed is False
    else:
        raise AssertionError("no error")

async def main():
    async with seqcache.acache({URL!r}) as cache:
        calls = [cache.increase_seq("alice") for _ in range({TASKS})]
        numbers.extend(await asyncio.gather(*calls))
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(cache.get_seq("alice"))

asyncio.run(main())
os.write(out, "".join(f"{{number}} " for number in numbers).encode())
"""
IN_MEMORY = """
import seqcache
cache = seqcache.cache("memory://shared")
assert cache.increase_seqs(["a", "a"]) == [1, 2]
kept = seqcache.cache("memory://")
cycle = [kept]
cycle.append(cycle)
assert "calls" in repr(kept.stats())
"""


def create(own_gil: bool) -> int:
    """Make an interpreter."""
    if sys.version_info >= (3, 13):
        return _interpreters.create("isolated" if own_gil else "legacy")
    return _interpreters.create(isolated=own_gil)


def run(interpreter: int, code: str, **shared: int) -> None:
    """Run code there; its exception ends this process."""
    if sys.version_info >= (3, 13):
        failed = _interpreters.exec(interpreter, PATHS + code, shared)
        if failed is not None:
            raise AssertionError(failed.errdisplay)
    else:
        _interpreters.run_string(interpreter, PATHS + code, shared)


def hammer(own_gil: bool) -> None:
    """Four interpreters share a server; every number is given once."""
    admin("FLUSHALL")
    admin("RPUSH", "seq:text", "x")
    reading, writing = os.pipe()
    os.set_blocking(writing, True)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            interpreter = create(own_gil)
            run(interpreter, HAMMER, out=writing)
            # Here: 3.12 waits for ever for the thread that imported threading.
            _interpreters.destroy(interpreter)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(writing)
    assert not failed, failed[0]
    with open(reading, "rb") as file:
        numbers = sorted(map(int, file.read().split()))
    assert numbers == list(range(1, 4 * (THREADS * CALLS + TASKS) + 1))


def come_and_go(own_gil: bool) -> None:
    """An interpreter that ends with caches open takes them along."""
    one = create(own_gil)
    run(one, IN_MEMORY)
    _interpreters.destroy(one)


def count_in_child() -> None:
    """The fork hooks of interpreters that are gone are gone as well."""
    assert cache.increase_seq("bob") == 2


cache = seqcache.cache(URL)
shared = seqcache.cache("memory://shared")
for own in (False, True):
    if sys.version_info >= (3, 12):  # 3.11 mixes up names and loops of threads there
        hammer(own)
    come_and_go(own)
    assert shared.increase_seq("a") == 1 + own  # a store is its interpreter's own
# Not measured: an isolated interpreter of CPython 3.13 leaves 3 MB behind, empty too.
for _ in range(10):
    come_and_go(True)
admin("FLUSHALL")
assert cache.increase_seq("bob") == 1
in_child(count_in_child)
cache.close()
