"""memory://: the in-process store, which needs no server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

import seqcache

MAX = 2**63 - 1


@pytest.fixture
def store_url(request) -> str:
    """A named store that no other test has: they live as long as the process."""
    return "memory://" + "".join(c if c.isalnum() else "-" for c in request.node.name)


def test_without_a_name_each_cache_is_a_store_of_its_own(memory_face):
    with memory_face.open("memory://") as one, memory_face.open("memory://") as two:
        one.increase_seq("alice", 5)
        assert two.get_seq("alice") == 0


def test_one_name_is_one_store(memory_face, store_url):
    one = memory_face.open(store_url)
    two = memory_face.open(store_url)
    other = memory_face.open(store_url + "-other")
    assert one.increase_seq("alice") == 1
    assert two.increase_seq("alice") == 2
    assert one.get_seq("alice") == 2
    assert other.get_seq("alice") == 0


def test_both_faces_share_a_named_store(store_url):
    async def use():
        async with seqcache.acache(store_url) as cache:
            return await cache.increase_seq("alice")

    with seqcache.cache(store_url) as cache:
        assert cache.increase_seq("alice") == 1
        assert asyncio.run(use()) == 2
        assert cache.increase_seq("alice") == 3


def test_prefixes_are_apart_in_one_store(memory_face, store_url):
    one = memory_face.open(store_url, prefix="a:")
    two = memory_face.open(store_url, prefix="b:")
    one.increase_seq("alice", 5)
    assert two.get_seq("alice") == 0
    assert two.namespace("a:").get_seq("alice") == 5


def test_a_million_increases_in_bulk(memory_face):
    cache = memory_face.open()
    ids = [f"u{n}" for n in range(10_000)]
    for expected in range(1, 21):
        assert cache.increase_seqs(ids) == [expected] * len(ids)
    assert len(dict(cache.scan())) == len(ids)


def test_deleted_ids_leave_the_others_findable(memory_face):
    """Holes in the table of the store must not hide what lies behind them."""
    cache = memory_face.open()
    cache.raise_seqs((f"u{n}", n) for n in range(1, 5001))
    for n in range(1, 5001, 2):
        assert cache.delete_seq(f"u{n}", restart_from_one=True) is True
    assert cache.get_seqs(f"u{n}" for n in range(1, 5001)) == [
        0 if n % 2 else n for n in range(1, 5001)
    ]
    assert dict(cache.scan()) == {f"u{n}": n for n in range(2, 5001, 2)}


def test_threads_count_every_increase_once():
    with seqcache.cache("memory://") as cache:
        numbers: list[int] = []

        def work() -> None:
            numbers.extend([cache.increase_seq("alice") for _ in range(5000)])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(numbers) == list(range(1, 40_001))


def test_overflow_in_a_bulk_fails_for_that_id_alone(memory_face):
    cache = memory_face.open()
    cache.raise_seq("full", MAX)
    with pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs(["a", "full", "b"])
    results = caught.value.results
    assert (results[0], results[2]) == (1, 1)
    assert isinstance(results[1], seqcache.SequenceOverflow)
    assert cache.get_seqs(["a", "full", "b"]) == [1, MAX, 1]


def test_overflow_of_every_id_is_the_overflow_itself(memory_face):
    cache = memory_face.open()
    cache.raise_seqs({"a": MAX, "b": MAX})
    with pytest.raises(seqcache.SequenceOverflow) as caught:
        cache.increase_seqs(["a", "b"])
    assert caught.value.executed is False


def test_an_async_call_on_memory_is_done_at_once():
    async def main():
        async with seqcache.acache("memory://") as cache:
            call = cache.increase_seq("alice")
            assert asyncio.isfuture(call)
            assert await call == 1
            numbers = await asyncio.gather(*(cache.increase_seq("a") for _ in range(9)))
            assert numbers == list(range(1, 10))

    asyncio.run(main())


def test_scan_while_others_write(memory_face):
    cache = memory_face.open()
    cache.raise_seqs((f"u{n}", 1) for n in range(2000))
    future = cache.start("increase_seqs", [f"v{n}" for n in range(5000)])
    found = dict(cache.scan("u*"))
    future.result(10)
    assert len(found) == 2000


def test_importing_brings_neither_asyncio_nor_ssl():
    code = (
        "import sys, seqcache\n"
        "cache = seqcache.cache('memory://')\n"
        "cache.increase_seq('a')\n"
        "cache.close()\n"
        "print(sorted({'asyncio', 'ssl', 'sqlalchemy', 'redis', 'rich',\n"
        "              'opentelemetry', 'socket'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_an_unknown_option_in_the_url_is_refused(memory_face):
    with pytest.raises(seqcache.ConfigError):
        memory_face.open("memory://?no_such_option=1")


def test_a_suspicious_path_is_refused(memory_face):
    with pytest.raises(seqcache.ConfigError):
        memory_face.open("memory://name/and/path")


def test_acache_without_async_is_told_what_to_write():
    opening = seqcache.acache("memory://")
    with pytest.raises(TypeError, match="acache.. needs a coroutine"), opening:
        pass
    with pytest.raises(AttributeError, match="acache.. was not awaited"):
        opening.get_seq("alice")
    assert not hasattr(opening, "get_seq")
