"""A forked child never gives a number of its parent's leases, and has its own."""

import asyncio
import os
import threading
import time

from helper import URL, in_child

import seqcache


def child_drops_the_block(url: str) -> None:
    with seqcache.cache(url) as cache:
        lease = cache.lease("drop", size=100)
        before = [next(lease) for _ in range(80)]  # the second block is there, too

        def child() -> None:
            assert lease.remaining == 0
            assert next(lease) > 200 if not cache.config.url.startswith("mem") else True
            assert lease.take(5)[0] > 200 or cache.config.url.startswith("mem")

        settle(lease)
        in_child(child)
        assert next(lease) == 81
        assert before == list(range(1, 81))


def settle(lease: seqcache.Lease) -> None:
    """Wait until no block is on its way."""
    while lease._job is not None:
        time.sleep(0.001)


def numbers_of_parent_and_children_are_unique() -> None:
    """While threads use the lease, and its refills are at any stage."""
    read, write = os.pipe()
    stop = threading.Event()
    given: list[int] = []
    with seqcache.cache(URL, timeout=10) as cache:
        lease = cache.lease("unique", size=20)

        def work() -> None:
            while not stop.is_set():
                given.append(next(lease))
                if len(given) % 50 == 0:
                    time.sleep(0)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()

        def child() -> None:
            mine = [next(lease) for _ in range(30)] + list(lease.take(25))
            assert mine == sorted(set(mine))
            os.write(write, b"".join(b"%d\n" % n for n in mine))

        for _ in range(25):
            time.sleep(0.005)
            in_child(child)
        stop.set()
        for thread in threads:
            thread.join()
    os.close(write)
    with os.fdopen(read, "rb") as lines:
        others = [int(line) for line in lines]
    assert len(others) == 25 * 55
    every = given + others
    assert len(set(every)) == len(every)


def asyncio_lease() -> None:
    async def some(cache, count: int) -> list[int]:
        return [await cache.lease.next() for _ in range(count)]

    async def main() -> None:
        async with seqcache.acache(URL) as cache:
            lease = cache.lease("async", size=10)
            first = [await lease.next() for _ in range(7)]  # a refill is under way

            def child() -> None:
                async def mine() -> None:
                    assert lease.remaining == 0
                    got = [await lease.next() for _ in range(30)]
                    assert got == sorted(set(got))
                    assert got[0] > 10
                    await cache.aclose()

                # Not asyncio.run(): the child is in the middle of the parent's loop.
                thread = threading.Thread(target=asyncio.run, args=(mine(),))
                thread.start()
                thread.join()

            in_child(child)
            rest = [await lease.next() for _ in range(3)]
            assert first + rest == list(range(1, 11))

    asyncio.run(main())


child_drops_the_block(URL)
child_drops_the_block("memory://")
numbers_of_parent_and_children_are_unique()
asyncio_lease()
