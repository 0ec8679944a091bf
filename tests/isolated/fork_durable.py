"""Durable mode in a forked child: its own threads, no number of the parent's."""

import asyncio
import tempfile
import threading
import time
import warnings
from functools import partial

from helper import URL, in_child

import seqcache

# A connection that a thread of the parent was using is collected in the child, where
# that thread is not; Python 3.13 says so. Kept, SQLite would hold its lock there.
warnings.filterwarnings("ignore", "unclosed database", ResourceWarning)

STORE = f"sqlite:///{tempfile.mkdtemp()}/ceilings.db"
OPTIONS = {"ceilings": STORE, "step": 20, "timeout": 10}


def while_threads_call() -> None:
    got: list[int] = []
    stop = threading.Event()
    with seqcache.cache(URL, **OPTIONS) as cache:

        def work() -> None:
            while not stop.is_set():
                got.append(cache.increase_seq("threads"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()

        def child(uid: str) -> None:
            for n in range(1, 101):  # past some ceilings
                assert cache.increase_seq(uid) == n
            cache.close()
            assert threading.active_count() == 1

        for number in range(6):
            time.sleep(0.03)
            in_child(partial(child, f"child{number}"))
        stop.set()
        for thread in threads:
            thread.join()
        assert sorted(got) == list(range(1, len(got) + 1))


async def inside_a_loop() -> None:
    async with seqcache.acache(URL, **OPTIONS) as cache:
        assert await cache.increase_seq("a") == 1
        under_way = [cache.increase_seq("a") for _ in range(100)]
        await asyncio.sleep(0)

        def child() -> None:
            asyncio._set_running_loop(None)

            async def own() -> None:
                for n in range(1, 101):
                    assert await cache.increase_seq("child") == n
                await cache.aclose()

            asyncio.run(own())

        in_child(child)
        numbers = await asyncio.gather(*under_way)
        assert sorted(numbers) == list(range(2, 102))
        assert await cache.increase_seq("a") == 102


while_threads_call()
asyncio.run(inside_a_loop())
