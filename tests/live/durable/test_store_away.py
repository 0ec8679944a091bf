"""PostgreSQL is frozen under full load: for less, and for more than the lease."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from itertools import pairwise

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("psycopg")

import seqcache  # noqa: E402

USERS = [f"u{n}" for n in range(4)]
TASKS = 50
FULL_STEP = 65_536


class Load:
    """Calls without a pause until `stop`; what became of them, by user."""

    def __init__(self, url, options, pause=0.0):
        self.url, self.options, self.pause = url, options, pause
        self.numbers = defaultdict(list)
        self.errors = []
        self.stopped = threading.Event()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(20)
        return self

    def __exit__(self, *exc):
        self.stopped.set()
        self.thread.join()

    @property
    def count(self):
        return sum(map(len, self.numbers.values()))

    def go_on(self, count=200):
        """Until that many more numbers were given."""
        goal, end = self.count + count, time.monotonic() + 30
        while self.count < goal:
            assert time.monotonic() < end, self.errors[-1:]
            time.sleep(0.01)

    def assert_rising(self):
        for user, numbers in self.numbers.items():
            assert all(a < b for a, b in pairwise(numbers)), user


class Threads(Load):
    """A thread for each user, on one blocking cache; `pause` s after each call."""

    def run(self):
        with seqcache.cache(self.url, **self.options) as cache:
            for user in USERS:
                grow(cache, user)
            self.ready.set()
            threads = [
                threading.Thread(target=self.count_up, args=(cache, user))
                for user in USERS
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def count_up(self, cache, user):
        while not self.stopped.is_set():
            try:
                self.numbers[user].append(cache.increase_seq(user))
                time.sleep(self.pause)
            except seqcache.SeqCacheError as error:
                self.errors.append(error)


class Tasks(Load):
    """Many tasks on one loop, each with a user of its own."""

    def run(self):
        asyncio.run(self.main())

    async def main(self):
        users = [f"t{n}" for n in range(TASKS)]
        async with seqcache.acache(self.url, **self.options) as cache:
            await cache.increase_seqs(users, timeout=10.0)  # each has its block
            self.ready.set()
            async with asyncio.TaskGroup() as group:
                for user in users:
                    group.create_task(self.count_up(cache, user))

    async def count_up(self, cache, user):
        while not self.stopped.is_set():
            try:
                self.numbers[user].append(await cache.increase_seq(user))
            except seqcache.SeqCacheError as error:
                self.errors.append(error)


def grow(cache, user):
    """Let the step grow, as a busy hour does: blocks last longer than an outage."""
    for _ in range(8):
        cache.reserve(user, FULL_STEP)


@pytest.fixture
def frozen_url(postgres):
    """A store of this test that may be frozen; awake at the end."""
    postgres.empty()
    yield postgres.url
    postgres.resume()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [Threads, Tasks])
def test_store_away_for_3_s_fails_no_call_and_for_8_s_says_so(
    kind, durable_server, postgres, frozen_url
):
    step = 1000 if kind is Threads else FULL_STEP
    options = {"ceilings": frozen_url, "timeout": 1.0, "step": step}
    with kind(durable_server.url, options) as load:
        load.go_on()
        postgres.away(3.0)
        load.go_on()
        assert load.errors == []
        postgres.away(8.0)
        assert load.errors
        for error in load.errors:
            assert isinstance(error, seqcache.CeilingError)
            assert (error.reason, error.executed) == ("unavailable", False)
            assert "postgresql+psycopg://seq@127.0.0.1" in str(error)
        load.go_on(TASKS * 5)  # by itself
    load.assert_rising()


@pytest.mark.slow
def test_fence_by_connection_fails_only_where_blocks_are_used_up(
    durable_server, postgres, frozen_url
):
    options = {"ceilings": frozen_url, "timeout": 1.0, "fence": "connection"}
    # At full speed even the largest blocks do not last that long.
    with Threads(durable_server.url, options, pause=0.0005) as load:
        load.go_on()
        with seqcache.cache(durable_server.url, **options) as cache:
            cache.increase_seq("bob")
            postgres.pause()
            began = time.monotonic()
            with pytest.raises(seqcache.CeilingError) as told:
                cache.reserve("bob", 5000)
            assert told.value.reason == "unavailable"
            assert "postgresql+psycopg://" in str(told.value)
            assert cache.increase_seq("bob") == 2  # its block is not used up
            time.sleep(max(0.0, 8.0 - (time.monotonic() - began)))
            load.go_on()
            assert load.errors == []
            postgres.resume()
            load.go_on()
            assert cache.reserve("bob", 5000, timeout=5.0)[0] >= 3
    load.assert_rising()
