"""Plain futures in the awaitable's place: the same functions, the same ends."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from seqcache._native import _TestAwaitable as Awaitable

Run = Callable[[Any], Any]


class Link:
    """Notes which calls were given up."""

    def __init__(self) -> None:
        self.abandoned: list[int] = []

    def abandon(self, call: int) -> None:
        """See awaitable_test.c."""
        self.abandoned.append(call)


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    """Plain futures for the time of a test."""
    before = Awaitable.set_plain(True)
    yield
    Awaitable.set_plain(before)


def pending(link: Link | None = None, call: int = 0) -> Any:
    """A pending one of the running loop."""
    return Awaitable.make(asyncio.get_running_loop(), link, call)


def test_it_is_the_loops_own_future(run_async: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert type(pending()) is asyncio.Future
        assert await Awaitable.make_done_int(loop, 5) == 5
        assert await Awaitable.make_done(loop, "x", False) == "x"
        with pytest.raises(ValueError, match="y"):
            await Awaitable.make_done(loop, ValueError("y"), True)

    run_async(main())


@pytest.mark.parametrize("direct", [False, True])
def test_resolve_and_fail(run_async: Run, direct: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        link = Link()
        made = [pending(link, call) for call in range(3)]
        loop.call_soon(Awaitable.resolve_ints, made[:1], 5, direct)
        loop.call_soon(Awaitable.resolve, made[1], "x", direct)
        loop.call_soon(Awaitable.fail, made[2], ValueError("y"), direct)
        ends = await asyncio.gather(*made, return_exceptions=True)
        assert ends[:2] == [5, "x"]
        assert repr(ends[2]) == "ValueError('y')"
        for one in made:
            Awaitable.resolve_ints([one], 6, direct)
            Awaitable.fail(one, KeyError(), direct)
            assert Awaitable.is_done(one)
        assert link.abandoned == []

    run_async(main())


def test_cancel_is_noticed_one_turn_later(run_async: Run) -> None:
    async def main() -> None:
        link = Link()
        one = pending(link, 7)
        one.cancel()
        assert link.abandoned == []
        await asyncio.sleep(0)
        assert link.abandoned == [7]

    run_async(main())


def test_a_resolve_between_cancel_and_hook_disarms_it(run_async: Run) -> None:
    async def main() -> None:
        link = Link()
        made = [pending(link, call) for call in range(4)]
        for one in made:
            one.cancel()
        Awaitable.resolve_ints([made[2], made[0]], 1, False)
        await asyncio.sleep(0)
        assert link.abandoned == [1, 3]

    run_async(main())


def test_a_dropped_future_lets_its_link_go(run_async: Run) -> None:
    async def main() -> None:
        link = Link()
        gone = weakref.ref(link)
        one = pending(link)
        link.one = one  # type: ignore[attr-defined]
        del link, one
        gc.collect()
        assert gone() is None
        assert await Awaitable.make_done_int(asyncio.get_running_loop(), 1) == 1

    run_async(main())


def test_a_closed_loop_is_silent(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.new_event_loop()
    one = Awaitable.make(loop, Link(), 0)
    loop.close()
    Awaitable.resolve_ints([one], 5, False)
    assert one.result() == 5
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize(("value", "plain"), [("1", True), ("0", False), ("", False)])
def test_the_environment_forces_plain_futures(value: str, plain: bool) -> None:
    code = "import seqcache._native as n; print(n._TestAwaitable.set_plain(None))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={
            **os.environ,
            "SEQCACHE_PLAIN_FUTURES": value,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(plain)
