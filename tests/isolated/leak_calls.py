"""Memory and descriptors stay flat over calls, errors, cancels and caches."""

import asyncio

from helper import URL, admin, assert_flat

import seqcache

admin("RPUSH", "seq:list", "x")
IDS = [f"user-{n}" for n in range(1000)]


def single_calls() -> None:
    for uid in IDS:
        cache.increase_seq(uid)
        cache.get_seq(uid)
        cache.reserve(uid, 10)
        cache.raise_seq(uid, 5)


def bulk_calls() -> None:
    for _ in range(10):
        cache.increase_seqs(IDS)
        cache.get_seqs(IDS)
    cache.raise_seqs((uid, 1) for uid in IDS)
    assert len(list(cache.scan())) >= 1000


def errors() -> None:
    for _ in range(500):
        for call in (
            lambda: cache.increase_seq("list"),
            lambda: cache.get_seq(""),
            lambda: cache.get_seq(None),
            lambda: cache.increase_seq("a", 0),
            lambda: cache.increase_seqs(["a", "list"]),
            lambda: cache.increase_seq("a", timeout=1e-9),
        ):
            try:
                call()
            except (seqcache.SeqCacheError, TypeError, ValueError):
                continue


def caches() -> None:
    for _ in range(30):
        with seqcache.cache(URL) as one:
            one.namespace("x:").increase_seq("a")


async def async_calls() -> None:
    async with seqcache.acache(URL, timeout=20) as one:
        for _ in range(5):
            await asyncio.gather(*(one.increase_seq(uid) for uid in IDS))
            await one.increase_seqs(IDS)
            calls = [one.increase_seq(uid) for uid in IDS]
            for call in calls[::3]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            tasks = [asyncio.create_task(one.get_seq(uid)) for uid in IDS]
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(
                *(one.increase_seq("list") for _ in range(100)), return_exceptions=True
            )


with seqcache.cache(URL, timeout=20) as cache:
    assert_flat("single calls", single_calls)
    assert_flat("bulk calls", bulk_calls)
    assert_flat("errors", errors)
assert_flat("caches", caches)
assert_flat("asyncio", lambda: asyncio.run(async_calls()))
