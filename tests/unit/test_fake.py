"""`seqcache.testing.fake` and `afake`: real caches that fail when told."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import seqcache
from seqcache.testing import AsyncFakeCache, FakeCache, afake, fake

# What asks no server by itself, or is an iterator.
NEVER_FAIL = {"close", "aclose", "namespace", "stats", "scan", "lease", "fail_next"}


def both(body):
    """Run a coroutine function with each face: blocking results are awaited, too."""

    def test():
        async def main(cache):
            async def call(name, *args, **words):
                result = getattr(cache, name)(*args, **words)
                return await result if inspect.isawaitable(result) else result

            await body(cache, call)

        asyncio.run(main(fake()))
        asyncio.run(main(afake()))

    test.__name__ = body.__name__
    return test


def names_of(face):
    """The public methods of a face."""
    members = inspect.getmembers(face, callable)
    return {name for name, _ in members if not name.startswith("_")}


@pytest.mark.parametrize("face", [FakeCache, AsyncFakeCache])
def test_every_call_of_a_face_can_fail_or_is_known_not_to(face):
    from seqcache.testing._fake import FAILING

    rest = {"export_seqs", "import_seqs", "health"}  # many calls each
    assert names_of(face) - NEVER_FAIL - rest == set(FAILING)
    for name in FAILING:
        mine = inspect.signature(getattr(face, name))
        assert mine == inspect.signature(getattr(face.__mro__[2], name))


@both
async def test_it_is_a_cache(cache, call):
    assert isinstance(cache, (seqcache.SeqCache, seqcache.AsyncSeqCache))
    assert await call("increase_seq", "alice") == 1
    assert await call("reserve", "alice", 2) == range(2, 4)
    assert await call("raise_seqs", {"alice": 9}) == 1
    assert await call("get_seqs", ["alice", "bob"]) == [9, 0]
    assert await call("delete_seq", "alice", restart_from_one=True) is True
    assert await call("ping") >= 0


@both
async def test_unknown_outcome_has_counted_and_names_the_call(cache, call):
    cache.fail_next(seqcache.OutcomeUnknown)
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        await call("increase_seq", "alice", by=3)
    error = caught.value
    assert (error.executed, error.user_id, error.by) == (None, "alice", 3)
    assert isinstance(error.cause, seqcache.CallTimeout)
    assert "increase_seq('alice')" in str(error)
    assert await call("get_seq", "alice") == 3


@both
async def test_what_was_not_executed_has_not_counted(cache, call):
    for error in (seqcache.ConnectError, seqcache.BusyError("busy", executed=False)):
        cache.fail_next(error)
        with pytest.raises(seqcache.SeqCacheError) as caught:
            await call("increase_seq", "alice")
        assert caught.value.executed is False
    assert await call("get_seq", "alice") == 0


@both
async def test_told_to_count_or_not_it_obeys(cache, call):
    for error, counted, number in [
        (seqcache.OutcomeUnknown, False, 0),
        (seqcache.ConnectError, True, 1),
        (KeyError("mine"), False, 1),
    ]:
        cache.fail_next(error, counted=counted, method="increase_seq")
        with pytest.raises(error if isinstance(error, type) else KeyError):
            await call("increase_seq", "alice")
        assert await call("get_seq", "alice") == number


@both
async def test_unknown_outcome_names_the_token_and_its_repeat_is_the_same(cache, call):
    cache.fail_next(seqcache.OutcomeUnknown)
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        await call("increase_seq", "alice", token="m")
    assert caught.value.token == "m"
    assert await call("increase_seq", "alice", token="m") == 1


@both
async def test_method_and_times_choose_the_calls(cache, call):
    cache.fail_next(seqcache.ServerError, method="reserve", times=2)
    assert await call("increase_seq", "alice") == 1
    for _ in range(2):
        with pytest.raises(seqcache.ServerError):
            await call("reserve", "alice", 5)
    assert await call("increase_seq", "alice") == 2


@both
async def test_views_fail_with_their_cache(cache, call):
    view = cache.namespace("x:")
    view.fail_next(seqcache.ConnectError)
    with pytest.raises(seqcache.ConnectError):
        await call("get_seq", "alice")
    assert view.config.prefix == "x:"


def test_fakes_of_one_name_share_numbers():
    assert fake("shared").increase_seq("alice") == 1

    async def main():
        async with afake("shared", prefix="seq:") as cache:
            return await cache.increase_seq("alice")

    assert asyncio.run(main()) == 2
    assert seqcache.cache("memory://shared").get_seq("alice") == 2
    assert fake().get_seq("alice") == 0


def test_failing_calls_of_asyncio_are_futures_as_the_others():
    async def main():
        cache = afake()
        cache.fail_next(seqcache.OutcomeUnknown, times=3)
        calls = [cache.increase_seq("alice") for _ in range(2)]
        assert all(map(asyncio.isfuture, calls))
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in told] == [seqcache.OutcomeUnknown] * 2
        with pytest.raises(seqcache.OutcomeUnknown):
            await asyncio.create_task(cache.increase_seq("alice"))
        assert await cache.increase_seq("alice") == 4

    asyncio.run(main())


@pytest.mark.parametrize(
    ("words", "text"),
    [({"method": "scan"}, "'scan' is none of get_seq"), ({"times": 0}, "at least 1")],
)
def test_orders_that_mean_nothing_are_refused(words, text):
    with pytest.raises(ValueError, match=text):
        fake().fail_next(seqcache.ConnectError, **words)


def test_fields_are_those_of_config():
    assert fake(prefix="x:", on_regress="raise").config.on_regress == "raise"
    with pytest.raises(seqcache.ConfigError, match="no durable mode"):
        fake(ceilings="sqlite:///x")
    with pytest.raises(seqcache.ConfigError, match="unknown"):
        afake(prefiks="x:")
