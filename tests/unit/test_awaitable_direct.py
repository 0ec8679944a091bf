"""Waking a task from the reader callback, without a turn of the loop."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from seqcache._native import _TestAwaitable as Awaitable

Run = Callable[[Any], Any]


def pending() -> Any:
    """A pending awaitable of the running loop."""
    return Awaitable.make(asyncio.get_running_loop(), None, 0)


async def in_callback(function: Callable[..., Any], *args: Any) -> Any:
    """Run function in a callback of the loop, without a current task."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def call() -> None:
        try:
            done.set_result(function(*args))
        except BaseException as error:
            done.set_exception(error)

    loop.call_soon(call)
    return await done


async def follow(awaitable: Any, steps: list[Any]) -> Any:
    """Await, and note what came."""
    result = await awaitable
    steps.append(result)
    return result


def test_a_task_goes_on_before_resolve_returns(run_async: Run) -> None:
    async def main() -> None:
        steps: list[Any] = []
        one = pending()
        task = asyncio.create_task(follow(one, steps))
        await asyncio.sleep(0)

        def resolve() -> list[Any]:
            Awaitable.resolve_ints([one], 5, True)
            return list(steps)

        assert await in_callback(resolve) == [5]
        assert await task == 5

    run_async(main())


@pytest.mark.parametrize("kind", ["scheduled", "two waiters", "callback", "gather"])
def test_everybody_else_waits_for_the_loop(run_async: Run, kind: str) -> None:
    async def main() -> None:
        steps: list[Any] = []
        one = pending()
        task = asyncio.create_task(follow(one, steps))
        await asyncio.sleep(0)
        if kind == "two waiters":
            one.add_done_callback(steps.append)
        elif kind == "callback":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            one = pending()
            one.add_done_callback(steps.append)
        elif kind == "gather":
            both = asyncio.gather(pending_two := pending(), one)
            Awaitable.resolve_ints([pending_two], 1, False)

        def resolve() -> list[Any]:
            Awaitable.resolve_ints([one], 5, kind != "scheduled")
            return list(steps)

        assert await in_callback(resolve) == []
        await asyncio.sleep(0)
        assert len(steps) == (2 if kind == "two waiters" else 1)
        if kind == "gather":
            assert await both == [1, 5]

    run_async(main())


BOUND_METHOD = """
import asyncio
from seqcache._native import _TestAwaitable as Awaitable

async def main():
    loop = asyncio.get_running_loop()
    other = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    one = Awaitable.make(loop, None, 0)
    one.add_done_callback(other.cancel)

    def resolve():
        Awaitable.resolve_ints([one], 5, True)
        done.set_result(other.cancelling())

    done = loop.create_future()
    loop.call_soon(resolve)
    print(await done)
    await asyncio.sleep(0)
    print(other.cancelling())

asyncio.run(main())
"""


def test_a_bound_method_of_a_task_is_no_wake_up() -> None:
    # A new process: what a wake-up looks like is learned from the first one.
    done = subprocess.run(
        [sys.executable, "-P", "-c", BOUND_METHOD],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0", "1"]


def test_context_and_current_task_are_the_tasks_own(run_async: Run) -> None:
    name = contextvars.ContextVar("name", default=-1)

    async def one_task(number: int, one: Any) -> bool:
        name.set(number)
        me = asyncio.current_task()
        await one
        return name.get() == number and asyncio.current_task() is me

    async def main() -> None:
        made = [pending() for _ in range(30)]
        tasks = [asyncio.create_task(one_task(*pair)) for pair in enumerate(made)]
        await asyncio.sleep(0)

        def resolve() -> tuple[Any, int]:
            Awaitable.resolve_ints(made, 1, True)
            return asyncio.current_task(), name.get()

        assert await in_callback(resolve) == (None, -1)
        assert all(await asyncio.gather(*tasks))

    run_async(main())


def test_a_context_in_use_gets_its_turn_later(run_async: Run) -> None:
    async def main() -> None:
        steps: list[Any] = []
        one = pending()
        context = contextvars.copy_context()
        task = asyncio.create_task(follow(one, steps), context=context)
        await asyncio.sleep(0)

        def resolve() -> list[Any]:
            context.run(Awaitable.resolve_ints, [one], 5, True)
            return list(steps)

        assert await in_callback(resolve) == []
        assert await task == 5

    run_async(main())


def test_a_failure_is_raised_in_the_woken_task(run_async: Run) -> None:
    async def main() -> None:
        one = pending()
        task = asyncio.create_task(follow(one, []))
        await asyncio.sleep(0)
        await in_callback(Awaitable.fail, one, ValueError("x"), True)
        with pytest.raises(ValueError, match="x"):
            await task

    run_async(main())


def test_a_failure_is_thrown_as_asyncio_throws_it(run_async: Run) -> None:
    @types.coroutine
    def by_hand(one: Any) -> Any:
        one._asyncio_future_blocking = True
        try:
            yield one
        except ValueError as error:
            return str(error)

    async def main() -> None:
        one = pending()

        async def follow_by_hand() -> Any:
            return await by_hand(one)

        task = asyncio.create_task(follow_by_hand())
        await asyncio.sleep(0)
        await in_callback(Awaitable.fail, one, ValueError("thrown"), True)
        assert await task == "thrown"

    run_async(main())


def test_what_a_woken_task_raises_stays_in_the_task(run_async: Run) -> None:
    async def bad(one: Any) -> None:
        await one
        raise ValueError("mine")

    async def main() -> None:
        made = [pending(), pending()]
        tasks = [
            asyncio.create_task(bad(made[0])),
            asyncio.create_task(follow(made[1], [])),
        ]
        await asyncio.sleep(0)
        await in_callback(Awaitable.resolve_ints, made, 5, True)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert (repr(ends[0]), ends[1]) == ("ValueError('mine')", 5)

    run_async(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_passes_through_and_the_awaitable_is_done(
    kind: type[BaseException],
) -> None:
    async def leave(one: Any) -> None:
        await one
        raise kind

    async def main() -> None:
        one = pending()
        task = asyncio.create_task(leave(one))
        await asyncio.sleep(0)

        def resolve() -> bool:
            with pytest.raises(kind):
                Awaitable.resolve_ints([one], 5, True)
            return bool(one.done())

        assert await in_callback(resolve)
        with pytest.raises(kind):
            task.result()

    asyncio.run(main())


def test_woken_tasks_may_await_and_resolve_more(run_async: Run) -> None:
    waiting: list[Any] = []

    async def worker(rounds: int) -> int:
        for _ in range(rounds):
            waiting.append(pending())
            await waiting[-1]
        return rounds

    async def main() -> None:
        tasks = [asyncio.create_task(worker(50)) for _ in range(50)]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()

        def pump() -> None:
            batch = waiting[:]
            waiting.clear()
            Awaitable.resolve_ints(batch, 1, True)
            if waiting:
                loop.call_soon(pump)

        loop.call_soon(pump)
        assert sum(await asyncio.gather(*tasks)) == 2500

    run_async(main())


def test_python_tasks_are_woken_by_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(
            lambda loop, coro, **kw: asyncio.tasks._PyTask(coro, loop=loop, **kw)
        )
        steps: list[Any] = []
        one = pending()
        task = asyncio.create_task(follow(one, steps))
        await asyncio.sleep(0)
        await in_callback(Awaitable.resolve_ints, [one], 5, True)
        assert await task == 5

    asyncio.run(main())


def test_subclasses_of_task_are_woken_directly(run_async: Run) -> None:
    class MyTask(asyncio.Task):  # type: ignore[type-arg]
        pass

    async def main() -> None:
        steps: list[Any] = []
        one = pending()
        task = MyTask(follow(one, steps), loop=asyncio.get_running_loop())
        await asyncio.sleep(0)

        def resolve() -> list[Any]:
            Awaitable.resolve_ints([one], 5, True)
            return list(steps)

        assert await in_callback(resolve) == [5]
        assert await task == 5

    run_async(main())


def test_a_closed_loop_wakes_nobody_and_nothing_is_said(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.new_event_loop()
    one = Awaitable.make(loop, None, 0)
    one.add_done_callback(print)
    loop.close()
    Awaitable.resolve_ints([one], 5, False)
    assert one.result() == 5
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_an_error_of_call_soon_goes_to_the_loops_handler() -> None:
    class Loop(asyncio.SelectorEventLoop):
        seen: list[Any] = []

        def call_soon(self, *args: Any, **kwargs: Any) -> Any:
            raise ValueError("no more")

        def call_exception_handler(self, context: dict[str, Any]) -> None:
            self.seen.append((str(context["exception"]), context["future"]))

    loop = Loop()
    one = Awaitable.make(loop, None, 0)
    one.add_done_callback(print)
    Awaitable.resolve_ints([one], 5, False)
    assert loop.seen == [("no more", one)]
    loop.close()


def test_the_wake_up_is_no_reference_left(run_async: Run) -> None:
    async def main() -> None:
        one = pending()
        task = asyncio.create_task(follow(one, []))
        await asyncio.sleep(0)
        await in_callback(Awaitable.resolve_ints, [one], 5, True)
        await task
        assert sys.getrefcount(one) <= 3
        assert one._callbacks is None

    run_async(main())
