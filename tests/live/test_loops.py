"""AsyncSeqCache and event loops: many of them, one after another, and none."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import time

import pytest

import seqcache
from fakes import node as faults


def test_a_cache_lives_across_asyncio_run_calls(server):
    cache = None

    async def use(expected):
        nonlocal cache
        if cache is None:
            cache = await seqcache.acache(server.url)
        assert await cache.increase_seq("alice") == expected

    for expected in range(1, 5):
        asyncio.run(use(expected))

    async def end():
        await cache.aclose()

    asyncio.run(end())


def test_one_cache_in_two_loops_at_once(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            assert await cache.increase_seq("alice") == 1

            def other():
                async def use():
                    return [await cache.increase_seq("alice") for _ in range(100)]

                numbers.extend(asyncio.run(use()))

            numbers = []
            thread = threading.Thread(target=other)
            thread.start()
            mine = [await cache.increase_seq("alice") for _ in range(100)]
            await asyncio.to_thread(thread.join)
            assert sorted(mine + numbers) == list(range(2, 202))

    run_async(main())


def test_half_of_many_calls_is_written_before_all_tasks_are_woken(server, run_async):
    """The server works at one half while the tasks of the other are woken."""
    tasks = 100

    async def main():
        woken = 0

        async def one(number):
            nonlocal woken
            await cache.increase_seq(f"u{number}")
            woken += 1
            if woken < tasks:
                await cache.increase_seq("again")
                return 0
            # The last one does not let the loop go on to the write at the end.
            deadline = time.monotonic() + 20
            while (count := int(server.admin("GET", "seq:again") or 0)) == 0:
                assert time.monotonic() < deadline, "nothing was written"
            return count

        async with seqcache.acache(server.url) as cache:
            counts = await asyncio.gather(*map(one, range(tasks)))
            assert 0 < max(counts) < tasks
            assert await cache.get_seq("again") == tasks - 1

    run_async(main())


def test_without_a_loop_a_call_says_how_to_do_it(server, run_async):
    async def opened():
        return await seqcache.acache(server.url)

    cache = run_async(opened())
    with pytest.raises(RuntimeError, match="async def"):
        cache.increase_seq("alice")
    assert server.admin("GET", "seq:alice") is None

    async def end():
        await cache.aclose()

    run_async(end())


def test_a_call_is_a_future_that_is_under_way(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            call = cache.increase_seq("alice")
            assert asyncio.isfuture(call)
            for _ in range(200):
                if call.done():
                    break
                await asyncio.sleep(0.01)
            assert call.result() == 1
            assert await call == 1
            assert await call == 1

    run_async(main())


def test_gather_wait_for_shield_timeout(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            numbers = await asyncio.gather(
                *(cache.increase_seq("a") for _ in range(50))
            )
            assert numbers == list(range(1, 51))
            assert await asyncio.wait_for(cache.increase_seq("a"), 5) == 51
            assert await asyncio.shield(cache.increase_seq("a")) == 52
            async with asyncio.timeout(5):
                assert await cache.increase_seq("a") == 53

    run_async(main())


def test_create_task_and_task_group_take_a_call(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            assert await asyncio.create_task(cache.increase_seq("a")) == 1
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(cache.increase_seq("a")) for _ in range(20)]
            assert sorted(task.result() for task in tasks) == list(range(2, 22))
            tasks = [asyncio.create_task(cache.get_seq("a")) for _ in range(5)]
            done, pending = await asyncio.wait(tasks)
            assert {task.result() for task in done} == {21}
            assert not pending

    run_async(main())


def test_calls_of_one_loop_keep_their_order(server, run_async):
    async def main():
        async with seqcache.acache(server.url) as cache:
            calls = []
            for _ in range(100):
                calls += [cache.increase_seq("a"), cache.get_seq("a")]
            results = await asyncio.gather(*calls)
            assert results == [n for n in range(1, 101) for _ in range(2)]

    run_async(main())


def test_callbacks_and_context(server, run_async):
    variable = contextvars.ContextVar("variable", default="outside")

    async def main():
        async with seqcache.acache(server.url) as cache:
            variable.set("inside")
            seen = []
            call = cache.increase_seq("a")
            call.add_done_callback(lambda done: seen.append((done, variable.get())))
            variable.set("after")
            await call
            assert variable.get() == "after"
            await asyncio.sleep(0.01)
            assert seen == [(call, "inside")]

    run_async(main())


def test_an_error_nobody_read_is_logged_once(server, run_async, caplog):
    server.admin("RPUSH", "seq:list", "x")

    async def main():
        async with seqcache.acache(server.url) as cache:
            cache.increase_seq("list")
            await cache.increase_seq("other")
            await asyncio.sleep(0.05)
            gc.collect()

    with caplog.at_level(logging.DEBUG):
        run_async(main())
        gc.collect()
    records = [r for r in caplog.records if r.name.startswith("seqcache")]
    assert len([r for r in records if r.levelno >= logging.ERROR]) == 1
    assert not [r for r in caplog.records if r.name == "asyncio" and r.levelno > 10]


def test_an_error_that_was_read_is_not_logged(server, run_async, caplog):
    server.admin("RPUSH", "seq:list", "x")

    async def main():
        async with seqcache.acache(server.url) as cache:
            with pytest.raises(seqcache.NotASequence):
                await cache.increase_seq("list")

    run_async(main())
    gc.collect()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_task_that_raises_system_exit_leaves_the_cache_usable(server):
    cache = None

    async def main():
        nonlocal cache
        cache = await seqcache.acache(server.url)

        async def leave():
            await cache.increase_seq("a")
            raise SystemExit(3)

        calls = [cache.increase_seq("b") for _ in range(10)]
        task = asyncio.create_task(leave())
        await asyncio.gather(*calls)
        await task

    async def go_on():
        assert await cache.increase_seq("c") == 1
        assert await cache.get_seqs(["a", "b"]) == [1, 10]
        await cache.aclose()

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 3
    asyncio.run(go_on())


def test_debug_mode_works(server):
    async def main():
        async with seqcache.acache(server.url) as cache:
            await asyncio.gather(*(cache.increase_seq("a") for _ in range(50)))
            assert await cache.get_seq("a") == 50

    asyncio.run(main(), debug=True)


def test_a_loop_closed_with_calls_in_flight_leaves_the_cache_usable(node):
    cache = None

    async def leave_early():
        nonlocal cache
        cache = await seqcache.acache(node.url, timeout=10)
        node.on("INCR", faults.hang)
        cache.increase_seq("alice")
        await asyncio.sleep(0.1)

    async def go_on():
        assert await cache.increase_seq("bob") == 1
        await cache.aclose()

    asyncio.run(leave_early())
    asyncio.run(go_on())


def test_many_short_loops_leave_no_links_behind(server):
    async def once(cache):
        await cache.increase_seq("alice")

    async def opened():
        return await seqcache.acache(server.url, client_name="loops-test")

    cache = asyncio.run(opened())
    for _ in range(20):
        asyncio.run(once(cache))
    gc.collect()
    assert server.client_count("loops-test") <= 3

    async def end():
        await cache.aclose()

    asyncio.run(end())
    assert server.admin("GET", "seq:alice") == b"20"


@pytest.mark.asyncio(loop_scope="function")
async def test_works_under_pytest_asyncio(server):
    async with seqcache.acache(server.url) as cache:
        assert await cache.increase_seq("alice") == 1


@pytest.mark.asyncio(loop_scope="module")
class TestModuleLoop:
    """One loop for many tests: the cache outlives each of them."""

    cache = None

    async def test_opened_in_one_test(self, server):
        type(self).cache = await seqcache.acache(server.url)
        assert await self.cache.increase_seq("alice") == 1

    async def test_used_and_closed_in_the_next(self, server):
        assert await self.cache.increase_seq("alice") == 1
        await self.cache.aclose()


def test_eager_tasks(server):
    factory = getattr(asyncio, "eager_task_factory", None)

    async def main():
        if factory is not None:
            asyncio.get_running_loop().set_task_factory(factory)
        async with seqcache.acache(server.url) as cache:
            tasks = [asyncio.create_task(cache.increase_seq("a")) for _ in range(20)]
            assert await asyncio.gather(*tasks) == list(range(1, 21))

    asyncio.run(main())
