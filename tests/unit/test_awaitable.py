"""The awaitable as a future and as a coroutine, on stock asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import traceback
import weakref
from collections.abc import Callable, Coroutine
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


def pending(link: Link | None = None, call: int = 0) -> Any:
    """A pending awaitable of the running loop, as the engine makes it."""
    return Awaitable.make(asyncio.get_running_loop(), link, call)


def soon(value: int, direct: bool = True) -> Any:
    """A pending awaitable whose answer comes with the next turn of the loop."""
    awaitable = pending()
    loop = asyncio.get_running_loop()
    loop.call_soon(Awaitable.resolve_ints, [awaitable], value, direct)
    return awaitable


async def add_one(awaitable: Any) -> int:
    """A coroutine around an awaitable."""
    return int(await awaitable) + 1


async def with_gather() -> Any:
    return await asyncio.gather(soon(1), add_one(soon(1)), soon(3))


async def with_wait_for() -> Any:
    return [await asyncio.wait_for(soon(1), 5), 2, 3]


async def with_shield() -> Any:
    return [await asyncio.shield(soon(1)), 2, 3]


async def with_timeout() -> Any:
    async with asyncio.timeout(5):
        return [await soon(1), 2, 3]


async def with_create_task() -> Any:
    return [await asyncio.create_task(soon(n)) for n in (1, 2, 3)]


async def with_ensure_future() -> Any:
    awaitable = soon(1)
    assert asyncio.ensure_future(awaitable) is awaitable
    return [await awaitable, 2, 3]


async def with_task_group() -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(soon(n)) for n in (1, 2)]
        tasks.append(group.create_task(add_one(soon(2))))
    return [task.result() for task in tasks]


async def with_as_completed() -> Any:
    ends = asyncio.as_completed([soon(1), soon(2), soon(3)])
    return sorted([await end for end in ends])


async def with_wait() -> Any:
    tasks = [asyncio.create_task(soon(n)) for n in (1, 2, 3)]
    done, _ = await asyncio.wait(tasks)
    return sorted(task.result() for task in done)


USES = [
    with_gather,
    with_wait_for,
    with_shield,
    with_timeout,
    with_create_task,
    with_ensure_future,
    with_task_group,
    with_as_completed,
    with_wait,
]


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("use", USES)
def test_whatever_takes_a_future_or_a_coroutine_takes_it(
    run_async: Run, use: Callable[[], Coroutine[Any, Any, Any]], debug: bool
) -> None:
    async def main() -> Any:
        asyncio.get_running_loop().set_debug(debug)
        return await use()

    assert run_async(main()) == [1, 2, 3]


def test_wait_refuses_what_looks_like_a_coroutine(run_async: Run) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="use tasks explicitly"):
            await asyncio.wait([soon(1)])

    run_async(main())


if sys.version_info >= (3, 12):

    def test_eager_tasks_suspend_on_it_and_end_at_once_when_it_is_done() -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_task_factory(asyncio.eager_task_factory)
            task = asyncio.create_task(add_one(soon(1)))
            assert not task.done()
            assert await task == 2
            done = Awaitable.make_done_int(loop, 4)
            assert asyncio.create_task(add_one(done)).done()
            assert await asyncio.create_task(soon(7)) == 7

        # uvloop 0.23 hands `eager_start` to the factory, which 3.13.0 refuses.
        asyncio.run(main())


def test_two_tasks_may_await_the_same_one(run_async: Run) -> None:
    async def main() -> Any:
        one = soon(5)
        return await asyncio.gather(add_one(one), add_one(one), one)

    assert run_async(main()) == [6, 6, 5]


def test_awaiting_again_gives_the_same_result(run_async: Run) -> None:
    async def main() -> None:
        one = soon(5)
        assert [await one, await one, one.result()] == [5, 5, 5]

    run_async(main())


@pytest.mark.parametrize("value", [0, -1, 2**63 - 1, -(2**63)])
def test_integers_of_64_bits_arrive_whole(run_async: Run, value: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await soon(value) == value
        assert await Awaitable.make_done_int(loop, value) == value

    run_async(main())


@pytest.mark.parametrize("value", [None, (1, 2), (), [1], ValueError("a value")])
def test_any_result_arrives_as_it_is(run_async: Run, value: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        later = pending()
        loop.call_soon(Awaitable.resolve, later, value, True)
        assert await later is value
        assert await Awaitable.make_done(loop, value, False) is value
        task = asyncio.create_task(Awaitable.make_done(loop, value, False))
        assert await task is value

    run_async(main())


def test_resolve_after_done_does_nothing(run_async: Run) -> None:
    async def main() -> None:
        link = Link()
        one = pending(link, 7)
        Awaitable.resolve_ints([one], 1, False)
        Awaitable.resolve(one, "x", False)
        Awaitable.fail(one, ValueError(), False)
        assert await one == 1
        assert not one.cancel()
        assert link.abandoned == []

    run_async(main())


def test_the_link_is_let_go_when_it_is_done(run_async: Run) -> None:
    async def main() -> None:
        for end in (
            lambda one: Awaitable.resolve_ints([one], 1, False),
            lambda one: one.cancel(),
        ):
            link = Link()
            gone = weakref.ref(link)
            one = pending(link)
            del link
            assert gone() is not None
            end(one)
            assert gone() is None

    run_async(main())


def test_yielding_it_without_await_is_an_error(run_async: Run) -> None:
    async def main() -> None:
        one = pending()
        assert one.send(None) is one
        with pytest.raises(RuntimeError, match="await wasn't used with future"):
            one.send(None)

    run_async(main())


def test_a_traceback_does_not_grow_with_the_awaits(run_async: Run) -> None:
    async def main() -> None:
        one = pending()
        Awaitable.fail(one, ValueError("x"), False)
        for _ in range(5):
            with pytest.raises(ValueError, match="x") as caught:
                await one
            lines = "".join(traceback.format_tb(caught.value.__traceback__))
            assert lines.count("await one") == 1

    run_async(main())


def stop_of(one: Any) -> StopIteration:
    """The StopIteration with which it ends, as bare as `await` sees it."""
    try:  # pytest.raises() would keep it
        next(one)
    except StopIteration as stop:
        return stop.with_traceback(None)
    raise AssertionError("it is not done")


def test_stop_iteration_is_not_shared_with_who_keeps_it(run_async: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = stop_of(Awaitable.make_done_int(loop, 1000))
        second = stop_of(Awaitable.make_done_int(loop, 2000))
        assert await Awaitable.make_done_int(loop, 3000) == 3000
        assert (first.value, first.args) == (1000, (1000,))
        assert (second.value, second.args) == (2000, (2000,))

    run_async(main())


def test_stop_iteration_is_as_new_whatever_was_done_to_the_last(
    run_async: Run,
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        args = stop_of(Awaitable.make_done_int(loop, 1000)).args
        stop_of(Awaitable.make_done_int(loop, 2000)).extra = 1  # type: ignore[attr-defined]
        last = stop_of(Awaitable.make_done_int(loop, 3000))
        assert args == (1000,)
        assert not hasattr(last, "extra")
        last.__cause__ = KeyError()
        del last
        last = stop_of(Awaitable.make_done_int(loop, 4000))
        assert (last.value, last.args, last.__cause__) == (4000, (4000,), None)

    run_async(main())


def test_callbacks_run_in_their_context_and_order(run_async: Run) -> None:
    async def main() -> None:
        name = contextvars.ContextVar("name", default="default")
        other = contextvars.copy_context()
        other.run(name.set, "other")
        one, seen = pending(), []

        def note(tag: str) -> Callable[[Any], None]:
            return lambda _: seen.append((tag, name.get()))

        one.add_done_callback(note("first"), context=other)
        name.set("second")
        one.add_done_callback(note("second"))
        name.set("later")
        gone = note("never")
        one.add_done_callback(gone)
        one.add_done_callback(gone)
        assert one.remove_done_callback(gone) == 2
        assert one.remove_done_callback(gone) == 0
        assert len(one._callbacks) == 2
        Awaitable.resolve_ints([one], 1, True)
        assert seen == []
        one.add_done_callback(note("done"))
        await asyncio.sleep(0)
        expected = [("first", "other"), ("second", "second"), ("done", "later")]
        assert seen == expected

    run_async(main())


def test_get_loop_tells_the_loop_and_does_not_keep_it() -> None:
    loops = [asyncio.new_event_loop() for _ in range(3)]
    made = [Awaitable.make(loop, None, 0) for loop in loops]
    for _ in range(2):
        for one, loop in zip(made, loops, strict=True):
            assert one.get_loop() is loop
            assert one._loop is loop
    ask, gone = made[0].get_loop, weakref.ref(loops[0])
    loops[0].close()
    del made[0], loops[0], one, loop
    assert gone() is None
    with pytest.raises(RuntimeError, match="the event loop is gone"):
        ask()
    for left in loops:
        left.close()


def test_only_the_engine_makes_them() -> None:
    kind = Awaitable.__mro__[1]
    assert kind.__name__ == "Awaitable"
    with pytest.raises(TypeError, match="cannot create"):
        kind()
    with pytest.raises(TypeError, match="cannot create"):
        type("Mine", (kind,), {})()
    with pytest.raises(TypeError):
        kind.send = None


def test_an_awaitable_is_small() -> None:
    loop = asyncio.new_event_loop()
    assert sys.getsizeof(Awaitable.make(loop, None, 0)) <= 130
    loop.close()
