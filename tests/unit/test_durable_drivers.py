"""The two drivers and their workers, with an engine that is only a table."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from seqcache._workers import Workers
from seqcache.durable.drive import BlockingDriver, boottime
from seqcache.durable.drive_async import AsyncDriver
from seqcache.durable.effects import (
    Background,
    Fcalls,
    Load,
    Replies,
    Shared,
    Sleep,
    Sql,
    TimeUp,
)
from seqcache.durable.machine import Durable, library_text
from seqcache.errors import CeilingError, ConnectError


class Engine:
    """Answers every call with its name; notes what is loaded."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.error: Exception | None = None

    def fcalls(self, calls: Any, link: Any, seconds: Any) -> Replies:
        if self.error is not None:
            raise self.error
        return Replies([call.name for call in calls], link)

    def load(self, library: str, seconds: Any) -> None:
        self.loaded.append(library)

    def rediscover(self, seconds: Any) -> None:
        return None


class AsyncEngine(Engine):
    """The same for asyncio."""

    async def fcalls(self, *args: Any) -> Replies:  # type: ignore[override]
        return Engine.fcalls(self, *args)

    async def load(self, *args: Any) -> None:  # type: ignore[override]
        Engine.load(self, *args)

    async def rediscover(self, seconds: Any) -> None:  # type: ignore[override]
        return None


class Store:
    """SQL that sleeps, fails, or tells its thread."""

    threads = 2

    def sleep(self, seconds: float, timeout: float) -> float:
        time.sleep(seconds)
        return timeout

    def fail(self, timeout: float) -> None:
        raise CeilingError("no", reason="unavailable")

    def thread(self, timeout: float) -> int:
        return threading.get_ident()


class Both:
    """Runs steps on one of the drivers; the same tests for both."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.engine = Engine() if kind == "blocking" else AsyncEngine()
        self.durable = Durable(boottime)

    def run(self, *steps: Any, seconds: float | None = None) -> list[Any]:
        """The outcomes of steps that run at the same time."""
        if self.kind == "blocking":
            return self.run_blocking(steps, seconds)
        return asyncio.run(self.run_async(steps, seconds))

    def run_blocking(self, steps: Any, seconds: float | None) -> list[Any]:
        driver = BlockingDriver(self.engine, Store(), self.durable)
        out: list[Any] = [None] * len(steps)

        def one(n: int) -> None:
            try:
                out[n] = driver.run(steps[n], seconds)
            except (Exception, TimeUp) as exc:
                out[n] = exc

        threads = [threading.Thread(target=one, args=(n,)) for n in range(len(steps))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        driver.close()
        return out

    async def run_async(self, steps: Any, seconds: float | None) -> list[Any]:
        driver = AsyncDriver(self.engine, Store(), self.durable)  # type: ignore[arg-type]
        runs = [driver.run(step, seconds) for step in steps]
        out = await asyncio.gather(*runs, return_exceptions=True)
        await driver.aclose()
        return out


@pytest.fixture(params=["blocking", "asyncio"])
def both(request: pytest.FixtureRequest) -> Both:
    """Each driver."""
    return Both(request.param)


def ask(effect: Any) -> Any:
    """A step of one effect."""
    return (yield effect)


def test_sql_runs_in_another_thread(both):
    assert both.run(ask(Sql("thread", ()))) != [threading.get_ident()]


def test_sql_is_told_what_is_left_of_the_deadline(both):
    (left,) = both.run(ask(Sql("sleep", (0.0,))), seconds=1.0)
    assert 0.5 < left <= 1.0


def test_deadline_holds_whatever_sql_does(both):
    began = time.monotonic()
    out = both.run(ask(Sql("sleep", (3.0,))), seconds=0.1)
    assert isinstance(out[0], TimeUp)
    # close() gives the thread one second more.
    assert time.monotonic() - began < 2.0


def test_deadline_cuts_sleep_and_is_thrown_at_the_next_effect(both):
    def step() -> Any:
        yield Sleep(5.0)
        try:
            yield Sleep(5.0)
        except TimeUp:
            return "late"

    assert both.run(step(), seconds=0.05) == ["late"]


def test_errors_are_thrown_into_the_step(both):
    def step() -> Any:
        try:
            yield Sql("fail", ())
        except CeilingError as exc:
            return exc.reason

    assert both.run(step()) == ["unavailable"]


def test_error_of_the_engine_becomes_the_value_of_each_call(both):
    both.engine.error = ConnectError("no link")
    (replies,) = both.run(ask(Fcalls(("a", "b"))))  # type: ignore[arg-type]
    assert [str(value) for value in replies.values] == ["no link"] * 2


def test_load_brings_the_library(both):
    both.run(ask(Load()))
    assert both.engine.loaded == [library_text()]
    assert library_text().startswith("#!lua name=seqcache_v1\n")


def test_shared_job_runs_once_and_gives_each_its_own_error(both):
    runs: list[int] = []

    def job() -> Any:
        runs.append(1)
        yield Sleep(0.1)
        raise CeilingError("no", reason="fence")

    errors = both.run(*(ask(Shared("key", job, 5.0)) for _ in range(4)))
    assert runs == [1]
    assert [error.reason for error in errors] == ["fence"] * 4
    assert len({id(error) for error in errors}) == 4


def test_shared_job_goes_on_when_a_caller_leaves(both):
    ended: list[int] = []

    def job() -> Any:
        yield Sleep(0.3)
        ended.append(1)

    def hasty() -> Any:
        try:
            yield Shared("key", job, 5.0)
        except TimeUp:
            return "late"

    def patient() -> Any:
        yield Shared("key", job, 5.0)
        return len(ended)

    if both.kind == "blocking":
        driver = BlockingDriver(both.engine, Store(), both.durable)
        assert driver.run(hasty(), 0.1) == "late"
        assert driver.run(patient(), 5.0) == 1
        driver.close()
        return

    async def main() -> None:
        driver = AsyncDriver(both.engine, Store(), both.durable)
        assert await driver.run(hasty(), 0.1) == "late"
        assert await driver.run(patient(), 5.0) == 1
        await driver.aclose()

    asyncio.run(main())


def test_a_job_that_ended_is_not_asked_again():
    """A signal handler that raises can leave its entry behind."""
    both = Both("blocking")
    driver = BlockingDriver(both.engine, Store(), both.durable)
    left: Future[Any] = Future()
    left.set_result("stale")
    driver._flights["key"] = left

    def job() -> Any:
        yield Sleep(0.01)
        return "fresh"

    assert driver.run(ask(Shared("key", job, 5.0)), 5.0) == "fresh"
    driver.close()


def test_background_work_is_not_waited_for(both):
    began = time.monotonic()
    both.run(ask(Background("key", lambda: ask(Sleep(1.0)), 5.0)))
    assert time.monotonic() - began < 0.8


def test_failed_background_work_is_logged_once(both, caplog):
    def job() -> Any:
        yield Sleep(0.1)  # so that all three ask while it is under way
        yield Sql("fail", ())

    def step() -> Any:
        for _ in range(3):
            yield Background("key", job, 5.0)
        yield Sleep(0.4)

    both.run(step())
    assert len(caplog.records) == 1


def test_cancelled_caller_leaves_the_machine_in_order():
    async def main() -> None:
        driver = AsyncDriver(AsyncEngine(), Store(), Durable(boottime))  # type: ignore[arg-type]
        closed: list[bool] = []

        def step() -> Any:
            try:
                yield Sleep(5.0)
            finally:
                closed.append(True)

        task = asyncio.create_task(driver.run(step()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        assert closed == [True]

    asyncio.run(main())


def test_workers_queue_beyond_their_limit_and_reuse_their_threads():
    workers = Workers("test", 2)
    out: list[int] = []

    def job(n: int) -> int:
        time.sleep(0.02)
        out.append(threading.get_ident())
        return n

    futures = [workers.submit(lambda n=n: job(n)) for n in range(6)]
    assert [future.result(5) for future in futures] == list(range(6))
    assert len(set(out)) == 2


def test_cancelled_job_is_never_run():
    workers = Workers("test", 1)
    gate, ran = threading.Event(), []
    workers.submit(gate.wait)
    waiting = workers.submit(lambda: ran.append(1))
    assert waiting.cancel()
    gate.set()
    assert workers.submit(lambda: 5).result(5) == 5
    assert ran == []


def test_idle_workers_end(monkeypatch):
    monkeypatch.setattr("seqcache._workers.IDLE_SECONDS", 0.05)
    workers = Workers("test-idle", 4)
    workers.submit(lambda: None).result(5)
    end = time.monotonic() + 5
    while any(t.name == "test-idle" for t in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert workers.submit(lambda: 7).result(5) == 7


def test_hung_sql_does_not_hold_up_the_interpreter():
    code = (
        "import time\n"
        "from seqcache._workers import Workers\n"
        "Workers('x', 1).submit(lambda: time.sleep(60))\n"
        "print('end')\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == ("end\n", "")
