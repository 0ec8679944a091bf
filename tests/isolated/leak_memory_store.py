"""The in-process store gives everything back."""

import asyncio

from helper import assert_flat

import seqcache

IDS = [f"user-{n}" for n in range(20_000)]


def store_filled_and_dropped() -> None:
    with seqcache.cache("memory://") as cache:
        cache.increase_seqs(IDS)
        assert len(list(cache.scan())) == len(IDS)


def named_store() -> None:
    with seqcache.cache("memory://leak") as cache:
        cache.increase_seqs(IDS)
        for uid in IDS:
            cache.delete_seq(uid, restart_from_one=True)


async def async_face() -> None:
    async with seqcache.acache("memory://") as cache:
        for uid in IDS:
            await cache.increase_seq(uid)


assert_flat("store", store_filled_and_dropped, slack_kb=4000)
assert_flat("named", named_store, slack_kb=4000)
assert_flat("async", lambda: asyncio.run(async_face()), slack_kb=4000)
