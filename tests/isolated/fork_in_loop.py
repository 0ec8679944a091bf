"""Forked inside a running loop: the parent's calls go on, the child works."""

import asyncio

from helper import URL, in_child

import seqcache


async def main() -> None:
    async with seqcache.acache(URL, timeout=10) as cache:
        assert await cache.increase_seq("a") == 1
        under_way = [cache.increase_seq("a") for _ in range(100)]
        await asyncio.sleep(0)

        def child() -> None:
            # The inherited loop is the parent's; the child runs one of its own.
            asyncio._set_running_loop(None)

            async def own() -> None:
                assert await cache.increase_seq("child") == 1
                async with seqcache.acache(URL) as fresh:
                    assert await fresh.increase_seq("child") == 2
                await cache.aclose()

            asyncio.run(own())

        in_child(child)
        numbers = await asyncio.gather(*under_way)
        assert numbers == list(range(2, 102))
        # The child must not have unregistered the parent's reader.
        for expected in range(102, 112):
            assert await cache.increase_seq("a") == expected


async def child_that_only_exits() -> None:
    async with seqcache.acache(URL, timeout=10) as cache:
        calls = [cache.increase_seq("b") for _ in range(50)]
        in_child(lambda: None)
        assert await asyncio.gather(*calls) == list(range(1, 51))
        assert await cache.increase_seq("b") == 51


asyncio.run(main())
asyncio.run(child_that_only_exits())
