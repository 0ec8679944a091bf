"""Nothing is left of an awaitable: cycles, weak references, blocks of memory."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from seqcache._native import _TestAwaitable as Awaitable


def one_of(loop: Any) -> Any:
    """A pending awaitable."""
    return Awaitable.make(loop, None, 0)


async def awaited(loop: Any) -> None:
    one = one_of(loop)
    loop.call_soon(Awaitable.resolve_ints, [one], 10**6, True)
    assert await one == 10**6


async def awaited_object(loop: Any) -> None:
    one = one_of(loop)
    loop.call_soon(Awaitable.resolve, one, [1, 2, 3], False)
    assert await one == [1, 2, 3]


async def awaited_done(loop: Any) -> None:
    assert await Awaitable.make_done_int(loop, 10**6) == 10**6


async def failed(loop: Any) -> None:
    one = one_of(loop)
    loop.call_soon(Awaitable.fail, one, ValueError("x"), True)
    with pytest.raises(ValueError, match="x"):
        await one


async def cancelled(loop: Any) -> None:
    one = one_of(loop)
    one.cancel("message")
    with pytest.raises(asyncio.CancelledError):
        await one


async def as_task(loop: Any) -> None:
    one = one_of(loop)
    task = asyncio.create_task(one)
    loop.call_soon(Awaitable.resolve_ints, [one], 10**6, True)
    assert await task == 10**6


async def callbacks(loop: Any) -> None:
    one = one_of(loop)
    for _ in range(3):
        one.add_done_callback(print)
    one.remove_done_callback(print)
    one.add_done_callback(id)
    one.add_done_callback(id)
    Awaitable.resolve_ints([one], 1, True)
    await asyncio.sleep(0)


async def attributes(loop: Any) -> None:
    one = one_of(loop)
    one._cancel_message = object()
    for name in dir(one):
        getattr(one, name)
    repr(one)
    with pytest.raises(ValueError, match="x"):
        one.throw(ValueError("x"))
    one.cancel()


async def dropped(loop: Any) -> None:
    one = one_of(loop)
    one.add_done_callback(lambda _: one)


LIVES = [
    awaited,
    awaited_object,
    awaited_done,
    failed,
    cancelled,
    as_task,
    callbacks,
    attributes,
    dropped,
]


@pytest.mark.parametrize("live", LIVES)
def test_a_thousand_lives_leave_no_memory(live: Callable[[Any], Any]) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        sizes = []
        for _ in range(4):
            for _ in range(300):
                await live(loop)
            gc.collect()
            sizes.append(sys.getallocatedblocks())
        # The least growth of two neighbours: caches of the interpreter grow.
        return min(after - before for before, after in pairwise(sizes))

    assert asyncio.run(main()) < 100


def test_the_type_counts_its_objects() -> None:
    loop = asyncio.new_event_loop()
    kind = type(one_of(loop))
    before = sys.getrefcount(kind)
    made = [one_of(loop) for _ in range(50)]
    assert sys.getrefcount(kind) == before + 50
    del made
    assert sys.getrefcount(kind) == before
    loop.close()


def test_a_kept_object_comes_back_as_new(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    for _ in range(40):  # finalized ones, then ones that had everything
        Awaitable.make_done(loop, ValueError("unseen"), True)
    assert len(caplog.records) == 40
    for _ in range(40):
        one = one_of(loop)
        one.add_done_callback(id)
        one._cancel_message = "x"
        one._asyncio_future_blocking = True
        reference = weakref.ref(one)
        one.cancel()
        del one
        loop.run_until_complete(asyncio.sleep(0))  # its callback had it
        assert reference() is None
        fresh = one_of(loop)
        assert (fresh.done(), fresh._callbacks, fresh._cancel_message) == (
            False,
            None,
            None,
        )
        assert not fresh._asyncio_future_blocking
        assert weakref.getweakrefs(fresh) == []
    for _ in range(40):
        Awaitable.make_done(loop, ValueError("unseen"), True)
    assert len(caplog.records) == 80
    loop.close()


def test_an_object_of_a_subclass_is_not_kept() -> None:
    class Larger(Awaitable):  # type: ignore[misc]
        pass

    loop = asyncio.new_event_loop()
    larger = [Larger(loop=loop) for _ in range(40)]
    places = {id(one) for one in larger}
    made = [one_of(loop) for _ in range(40)]  # what was kept is in use now
    larger.clear()
    made += [one_of(loop) for _ in range(40)]
    assert places.isdisjoint(id(one) for one in made)
    loop.close()


def test_a_cycle_through_everything_is_collected() -> None:
    class Link:
        pass

    def keep(*things: Any) -> Callable[[Any], Any]:
        return lambda _: things

    loop = asyncio.new_event_loop()
    link: Any = Link()
    gone = weakref.ref(link)
    one = Awaitable.make(loop, None, 0)
    other = Awaitable.make(loop, link, 0)
    one.add_done_callback(keep(other, one))
    other.add_done_callback(keep(one))
    other.add_done_callback(keep(link))
    done = Awaitable.make_done(loop, failure := ValueError("x"), True)
    failure.things = [done.exception(), done, other]  # type: ignore[attr-defined]
    link.all = [one, done]
    ghosts = [weakref.ref(one), weakref.ref(other), weakref.ref(done)]
    del link, one, other, done, failure
    assert gone() is not None
    gc.collect()
    assert [gone(), *(ghost() for ghost in ghosts)] == [None] * 4
    loop.close()


def test_a_weak_reference_hears_of_the_end() -> None:
    loop = asyncio.new_event_loop()
    heard: list[Any] = []
    one = one_of(loop)
    reference = weakref.ref(one, heard.append)
    del one
    assert heard == [reference]
    loop.close()


def test_the_loop_is_not_kept_by_the_type() -> None:
    async def main() -> None:
        await awaited(asyncio.get_running_loop())

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    gone = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert gone() is None
