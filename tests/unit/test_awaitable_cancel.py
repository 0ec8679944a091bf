"""Giving up: what cancels a call, and what leaves it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from seqcache._native import _TestAwaitable as Awaitable

Run = Callable[[Any], Any]


class Link:
    """Stands for the engine's link: notes which calls were given up."""

    def __init__(self) -> None:
        self.abandoned: list[int] = []

    def abandon(self, call: int) -> None:
        """See awaitable_test.c."""
        self.abandoned.append(call)


def pending(link: Link, call: int) -> Any:
    """A pending awaitable of the running loop, as the engine makes it."""
    return Awaitable.make(asyncio.get_running_loop(), link, call)


async def add_one(awaitable: Any) -> int:
    """A coroutine around an awaitable."""
    return int(await awaitable) + 1


def test_cancel_calls_abandon_once_before_the_callbacks(run_async: Run) -> None:
    async def main() -> None:
        link = Link()
        one = pending(link, 7)
        seen: list[Any] = []
        one.add_done_callback(lambda f: seen.append((f, list(link.abandoned))))
        assert one.cancel("why")
        assert (link.abandoned, seen) == ([7], [])
        assert not one.cancel()
        await asyncio.sleep(0)
        assert seen == [(one, [7])]
        assert one.cancelled()
        assert one.done()
        with pytest.raises(asyncio.CancelledError, match="why"):
            await one
        Awaitable.resolve_ints([one], 1, True)
        Awaitable.fail(one, ValueError(), True)
        assert one.cancelled()

    run_async(main())


def test_cancelling_the_task_cancels_the_call(run_async: Run) -> None:
    async def main() -> None:
        link = Link()
        tasks = [
            asyncio.create_task(add_one(pending(link, 1))),
            asyncio.create_task(pending(link, 2)),
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel("enough")
        for task in tasks:
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await task
        assert link.abandoned == [1, 2]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pending(link, 3), 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await pending(link, 4)
        assert link.abandoned == [1, 2, 3, 4]

    run_async(main())


def test_shield_keeps_the_call(run_async: Run) -> None:
    async def main() -> None:
        link = Link()
        one = pending(link, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(one), 0.001)
        assert not one.done()
        Awaitable.resolve_ints([one], 3, False)
        assert (await one, link.abandoned) == (3, [])

    run_async(main())


def test_a_task_cancelled_before_its_first_step_gives_the_call_up(
    run_async: Run,
) -> None:
    async def main() -> None:
        link = Link()
        alone, shared = pending(link, 1), pending(link, 2)
        shared.add_done_callback(lambda _: None)
        for one in (alone, shared):
            task = asyncio.create_task(one)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (link.abandoned, shared.done()) == ([1], False)

    run_async(main())


def test_throw_and_close_leave_the_call_alone(run_async: Run) -> None:
    async def main() -> None:
        one = pending(link := Link(), 1)
        with pytest.raises(ValueError, match="thrown"):
            one.throw(ValueError("thrown"))
        with pytest.raises(TypeError, match="exceptions must be classes"):
            one.throw(3)
        assert one.close() is None
        waiting = add_one(one)
        assert waiting.send(None) is one
        waiting.close()
        assert (one.done(), link.abandoned) == (False, [])
        assert one.__await__() is one
        assert iter(one) is one

    run_async(main())
