"""One run of the interpreter's tests in a process of its own.

`python -m tests.asyncio_suite.child FUTURE LOOP` with FUTURE one of `stock`
(the baseline), `scheduled` and `direct`, and LOOP `asyncio` or `uvloop`;
prints one JSON object {test id: outcome} as the last line.
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.futures
import faulthandler
import importlib
import json
import resource
import sys
import unittest
import warnings
from collections.abc import Callable
from typing import Any

from . import exclusions

TEST_SECONDS = 120
MEMORY_BYTES = 4 << 30  # a test that hangs may eat the machine

FUTURE_MODULES = ["test_futures", "test_tasks"]
LOOP_MODULES = [
    "test_futures2",
    "test_waitfor",
    "test_timeouts",
    "test_taskgroups",
    "test_eager_task_factory",
    "test_context",
    "test_locks",
    "test_queues",
    "test_runners",
    "test_pep492",
    "test_staggered",
    "test_threads",
]
# What uses nothing but the public face of a loop.
UVLOOP_MODULES = [
    "test_waitfor",
    "test_timeouts",
    "test_taskgroups",
    "test_eager_task_factory",
    "test_locks",
    "test_queues",
]


# Who wakes its waiter from a callback, where the tests count the loop's turns;
# a seqcache reply is never awaited there.
INNER_WAITERS = {
    ("asyncio.tasks", "_wait"),
    ("asyncio.taskgroups", "__aexit__"),
    ("asyncio.taskgroups", "_aexit"),
}


def awaitable_types() -> tuple[Any, Any]:
    """Return our type that Python can make and finish, and one that wakes directly."""
    from seqcache._native import _TestAwaitable

    class DirectAwaitable(_TestAwaitable):  # type: ignore[misc]
        _direct = True

    return _TestAwaitable, DirectAwaitable


def substitute(future: str) -> Callable[[Any], Any] | None:
    """Put our type where the interpreter's tests take their futures from."""
    if future == "stock":
        return None
    scheduled, direct = awaitable_types()
    ours = direct if future == "direct" else scheduled

    def create_future(loop: Any) -> Any:
        caller = sys._getframe(1)
        where = (caller.f_globals.get("__name__"), caller.f_code.co_name)
        return (scheduled if where in INNER_WAITERS else ours)(loop=loop)

    # "Needed for tests", says asyncio: the C future that the tests are run on.
    asyncio.futures._CFuture = ours
    asyncio.base_events.BaseEventLoop.create_future = create_future
    return create_future


def use_no_debug_mode() -> None:
    """In debug mode, the default of these tests, no task is woken directly."""

    def set_up(case: Any) -> None:
        case._asyncioRunner = asyncio.Runner(debug=False)

    unittest.IsolatedAsyncioTestCase._setupAsyncioRunner = set_up


def use_uvloop(create: Callable[[Any], Any] | None) -> Callable[[], None]:
    """Return a function that makes uvloop the loop of the next tests."""
    import uvloop

    class Loop(uvloop.Loop):
        pass

    if create is not None:
        Loop.create_future = create

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> Any:
            return Loop()

    # The tests put the default policy back after every module.
    return lambda: asyncio.set_event_loop_policy(Policy())


class Recorder(unittest.TestResult):
    """Keeps one outcome a test: passed, skipped, or the text of the failure."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        """See unittest."""
        super().startTest(test)
        self.outcomes[test.id()] = "passed"
        print(test.id(), file=sys.stderr)
        faulthandler.dump_traceback_later(TEST_SECONDS, exit=True)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        """See unittest."""
        self.outcomes[test.id()] = self._exc_info_to_string(err, test)

    addError = addFailure  # noqa: N815  (unittest's name)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """See unittest."""
        self.outcomes[test.id()] = "skipped"

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        """See unittest."""
        self.outcomes[test.id()] = "skipped"

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        """See unittest."""
        if err is not None:
            self.outcomes[test.id()] = self._exc_info_to_string(err, test)


def wanted(suite: Any, only: str) -> list[unittest.TestCase]:
    """Return the tests of a suite that are not excluded."""
    if isinstance(suite, unittest.TestSuite):
        return [case for part in suite for case in wanted(part, only)]
    if exclusions.reason_against(suite.id()) or only not in suite.id():
        return []
    return [suite]


def run(modules: list[str], prepare: Callable[[], None], only: str) -> dict[str, str]:
    """Run modules of the package test.test_asyncio; return {id: outcome}."""
    recorder = Recorder()
    for name in modules:
        try:
            module = importlib.import_module(f"test.test_asyncio.{name}")
        except ModuleNotFoundError:
            continue  # an older Python has fewer
        prepare()
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        # A suite, since it runs setUpModule and tearDownModule.
        unittest.TestSuite(wanted(suite, only)).run(recorder)
    return recorder.outcomes


def main(future: str, loop: str, only: str = "") -> None:
    """Run what fits, print the outcomes."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    create = substitute(future)
    modules, prepare = FUTURE_MODULES + LOOP_MODULES, lambda: None
    if loop == "uvloop":
        modules, prepare = UVLOOP_MODULES, use_uvloop(create)
    if future == "direct" or loop == "uvloop":
        use_no_debug_mode()
    print(json.dumps(run(modules, prepare, only)))


if __name__ == "__main__":
    main(*sys.argv[1:])
