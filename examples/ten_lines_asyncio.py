"""Ten lines with asyncio. The server: SEQCACHE_URL, else redis://localhost:6379/0."""

import asyncio

import seqcache


async def main() -> None:
    async with seqcache.acache() as cache:
        number = await cache.increase_seq("alice")
        block = await cache.reserve("alice", 100)
        print(f"alice: {number}, then {block[0]} to {block[-1]}")
        calls = [cache.increase_seq("room") for _ in range(1000)]
        numbers = await asyncio.gather(*calls)
        print(f"room: {len(set(numbers))} different numbers, one connection")
        print("group:", await cache.increase_seqs(["alice", "bob", "carol"]))


asyncio.run(main())
