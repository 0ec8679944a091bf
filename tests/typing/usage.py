"""How users write it: checked by `mypy --strict`, never run."""

# ruff: noqa: ASYNC109 - a backend is told the time that is left
from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_type

import seqcache
from seqcache import testing
from seqcache.testing import check_backend


class NumberLike:
    """As numpy's integers are."""

    def __index__(self) -> int:
        return 42


def blocking() -> None:
    """Every operation of the blocking face."""
    cache = seqcache.cache("redis://localhost:6379/0", timeout=1.0, prefix="s:")
    assert_type(cache, seqcache.SeqCache)
    with seqcache.cache(seqcache.Config.from_env()) as opened:
        assert_type(opened, seqcache.SeqCache)
    seqcache.cache({"url": "memory://"}).close()
    seqcache.cache(socket_timeout=1.0, credentials=lambda: (None, "secret")).close()
    assert_type(cache.get_seq("alice"), int)
    assert_type(cache.increase_seq(b"alice", by=2, timeout=0.5), int)
    assert_type(cache.reserve(42, 10), range)
    assert_type(cache.increase_seq("alice", token="m"), int)
    assert_type(cache.reserve("alice", 3, token=b"m"), range)
    assert_type(cache.increase_seqs(["a"], token="m"), list[int])
    assert_type(cache.raise_seq("alice", 2**60), int)
    assert_type(cache.get_seqs(["a", b"b", 3]), list[int])
    assert_type(cache.increase_seqs(("a", "b"), by=3), list[int])
    assert_type(cache.raise_seqs({"a": 1}), int)
    assert_type(cache.raise_seqs([("a", 1), ("b", 2)]), int)
    numbers: Mapping[int, int] = {42: 7}
    assert_type(cache.raise_seqs(numbers), int)
    assert_type(cache.get_seq(NumberLike()), int)
    assert_type(cache.delete_seq("a", restart_from_one=True), bool)
    pairs: Iterator[tuple[str | bytes, int]] = iter(cache.scan("a*"))
    next(pairs)
    assert_type(cache.export_seqs(Path("x.csv")), seqcache.ExportReport)
    report = cache.import_seqs("x.jsonl.gz", dry_run=True, progress=print)
    assert_type(report, seqcache.ImportReport)
    assert_type(report.bad_lines[0].reason, str)
    cache.import_seqs(io.BytesIO(b""), progress=lambda done, total: None)
    assert_type(cache.namespace("x:"), seqcache.SeqCache)
    with cache.lease("alice", size=10, refill_at=0.7) as lease:
        assert_type(lease, seqcache.Lease)
        assert_type(next(lease), int)
        assert_type(lease.take(3), range)
        assert_type(lease.remaining, int)
    assert_type(cache.ping(), float)
    assert_type(cache.health(), seqcache.Health)
    assert_type(cache.health(timeout=1).clock, float | None)
    cache.stats()
    cache.close()


async def on_a_loop() -> None:
    """Every operation of the asyncio face."""
    cache = await seqcache.acache("redis://localhost:6379/0")
    assert_type(cache, seqcache.AsyncSeqCache)
    async with seqcache.acache("memory://") as opened:
        assert_type(opened, seqcache.AsyncSeqCache)
    assert_type(await cache.get_seq("alice"), int)
    assert_type(await cache.increase_seq("alice", by=2, timeout=0.5), int)
    assert_type(await cache.reserve("alice", 10, token="m"), range)
    assert_type(await cache.increase_seq("alice", token=b"m"), int)
    assert_type(await cache.increase_seqs(["a"], token="m"), list[int])
    assert_type(await cache.raise_seq("alice", 5), int)
    assert_type(await cache.get_seqs(["a", "b"]), list[int])
    assert_type(await cache.increase_seqs(["a", "b"]), list[int])
    assert_type(await cache.raise_seqs({"a": 1}), int)
    assert_type(await cache.delete_seq("a", restart_from_one=True), bool)
    assert_type(await cache.ping(), float)
    assert_type(await cache.health(), seqcache.Health)
    pairs: AsyncIterator[tuple[str | bytes, int]] = aiter(cache.scan())
    await anext(pairs)
    assert_type(await cache.export_seqs(io.StringIO()), seqcache.ExportReport)
    assert_type(await cache.import_seqs("x"), seqcache.ImportReport)
    assert_type(cache.namespace("x:"), seqcache.AsyncSeqCache)
    async with cache.lease("alice") as lease:
        assert_type(lease, seqcache.AsyncLease)
        assert_type(await lease.next(), int)
        assert_type(await anext(lease), int)
        assert_type(await lease.take(3), range)
    assert_type(await asyncio.wait_for(cache.get_seq("a"), 1), int)
    assert_type(await asyncio.shield(cache.get_seq("a")), int)
    one, two = await asyncio.gather(cache.get_seq("a"), cache.get_seqs(["b"]))
    assert_type(one, int)
    assert_type(two, list[int])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(cache.increase_seq("a"))
    assert_type(task.result(), int)
    assert_type(await asyncio.create_task(cache.get_seq("a")), int)
    assert_type(await asyncio.create_task(cache.ping()), float)
    assert_type(await asyncio.create_task(cache.raise_seqs({"a": 1})), int)
    a_coroutine: Coroutine[Any, Any, bool]
    a_coroutine = cache.delete_seq("a", restart_from_one=True)
    assert_type(await a_coroutine, bool)
    cache.stats()
    await cache.aclose()


def errors(cache: seqcache.SeqCache) -> None:
    """The fields of the errors."""
    try:
        cache.increase_seq("alice")
    except seqcache.OutcomeUnknown as exc:
        assert_type(exc.executed, bool | None)
        assert_type(exc.cause, BaseException | None)
    except seqcache.NotASequence as exc:
        assert_type(exc.code, str | None)
        value_error: ValueError = exc
        raise value_error from None
    except seqcache.SequenceRegressed as exc:
        assert_type(exc.seen, int | None)
    except seqcache.SeqCacheError as exc:
        assert_type(exc.hint, str | None)


def a_future(call: asyncio.Future[int]) -> int:
    """A call goes wherever an asyncio future goes."""
    call.add_done_callback(print)
    return call.result() if call.done() else 0


async def as_a_future(cache: seqcache.AsyncSeqCache) -> None:
    """It is one, and it is a coroutine for those who make tasks."""
    a_future(cache.get_seq("a"))
    a_future(asyncio.ensure_future(cache.get_seq("a")))
    assert_type(await asyncio.ensure_future(cache.reserve("a", 2)), range)
    results = await asyncio.gather(*[cache.get_seq(n) for n in range(3)])
    assert_type(results, list[int])
    async with asyncio.timeout(1):
        assert_type(await cache.increase_seq("a"), int)


class Store:
    """A backend, by its methods alone."""

    def get(self, keys: Sequence[bytes], *, timeout: float | None) -> list[int]:
        """Read."""
        return [0 for _ in keys]

    def increase(
        self, keys: Sequence[bytes], by: int, *, timeout: float | None
    ) -> list[int | Exception]:
        """Count."""
        return [by for _ in keys]

    def raise_to(
        self, items: Sequence[tuple[bytes, int]], *, timeout: float | None
    ) -> list[int]:
        """Lift."""
        return [value for _, value in items]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, int]]:
        """List."""
        return iter(())

    def ping(self, *, timeout: float | None) -> None:
        """Answer."""

    def close(self) -> None:
        """End."""


class AsyncStore:
    """An asyncio backend."""

    async def get(self, keys: Sequence[bytes], *, timeout: float | None) -> list[int]:
        """Read."""
        return [0 for _ in keys]

    async def increase(
        self, keys: Sequence[bytes], by: int, *, timeout: float | None
    ) -> list[int | Exception]:
        """Count."""
        return [seqcache.OutcomeUnknown("lost") for _ in keys]

    async def raise_to(
        self, items: Sequence[tuple[bytes, int]], *, timeout: float | None
    ) -> list[int]:
        """Lift."""
        return [value for _, value in items]

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, int]]:
        """List."""
        yield prefix, 0

    async def ping(self, *, timeout: float | None) -> None:
        """Answer."""

    async def aclose(self) -> None:
        """End."""


def backends(config: seqcache.Config) -> None:
    """Third parties' backends."""
    made: seqcache.Backend = Store()
    made.close()
    on_a_loop: seqcache.AsyncBackend = AsyncStore()
    seqcache.register_backend("my", lambda config: Store())
    seqcache.register_backend("my", lambda config: on_a_loop)
    check_backend(Store)
    check_backend(AsyncStore)
    check_backend("my://x", spoil=lambda key: None)


def test_with_the_fixtures(
    seqcache_server: testing.Server,
    seqcache_url: str,
    seq_cache: seqcache.SeqCache,
    seq_cache_factory: testing.Caches,
    seqcache_faults: testing.Faults,
) -> None:
    """The fixtures of the pytest plugin."""
    assert_type(seqcache_server.url, str)
    with seq_cache_factory(prefix="x:", timeout=None) as other:
        assert_type(other, seqcache.SeqCache)
    lost = seqcache_faults.lose_reply(3, times=2, key=b"seq:alice")
    seqcache_faults.go_back(5, command="GET")
    assert_type(lost.fired, int)
    assert_type(seqcache_faults.calls, list[tuple[bytes, ...]])
    with testing.Faults(seqcache_url) as faults:
        seqcache.cache(faults.url).close()


async def test_on_a_loop(async_seq_cache_factory: testing.AsyncCaches) -> None:
    """The same for asyncio."""
    assert_type(await async_seq_cache_factory(), seqcache.AsyncSeqCache)
    async with async_seq_cache_factory(retry="gap") as cache:
        assert_type(cache, seqcache.AsyncSeqCache)


def fakes() -> None:
    """Stand-ins for caches."""
    cache: seqcache.SeqCache = testing.fake(prefix="x:")
    chats: seqcache.AsyncSeqCache = testing.afake("name")
    testing.fake().fail_next(seqcache.OutcomeUnknown, counted=False)
    testing.afake().fail_next(KeyError("x"), times=2, method="get_seq")
    assert_type(testing.fake().get_seq("a"), int)
    assert cache.closed is chats.closed


def mistakes(cache: seqcache.SeqCache) -> None:
    """What the types must refuse; both checkers report an ignore without need."""
    cache.get_seq(1.5)  # type: ignore[arg-type]
    cache.get_seq(None)  # type: ignore[arg-type]
    cache.increase_seq("a", "1")  # type: ignore[arg-type]
    cache.get_seqs(None)  # type: ignore[arg-type]
    cache.raise_seqs({1.5: 1})  # type: ignore[arg-type]
    cache.raise_seqs({"a": "1"})  # type: ignore[arg-type]
    seqcache.cache(timeout="soon")  # type: ignore[arg-type]
    seqcache.cache(timout=1.0)  # type: ignore[call-arg]
    seqcache.cache(retry="always")  # type: ignore[arg-type]
    seqcache.Config(prefiks="x:")  # type: ignore[call-arg]
    seqcache.Config().replace(db="1")  # type: ignore[arg-type]
    made: seqcache.Backend = AsyncStore()  # type: ignore[assignment]
    made.close()
