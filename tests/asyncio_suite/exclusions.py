"""Tests of the interpreter that do not apply to our awaitable, and why.

A key ends the name of a test (module.Class.method) or names a whole class or
method; the same test must be excluded for the same reason everywhere.
"""

from __future__ import annotations

import re

_OWN_LOG = "we log to the logger `seqcache`, without the loop: test_awaitable_log.py"
_COROUTINE = "the test wants a future to be refused as no coroutine; ours is both"
_SET_BY_CLASS = "the test finishes a Task by Future.set_result: a Task is not our type"
_ISINSTANCE = "gather() of nothing returns loop.create_future(): no asyncio.Future here"
_TURNS = "counts turns, and asyncio.wait()'s inner waiter is a direct one of the test's"

EXCLUSIONS: dict[str, str] = {
    r"\.test_(future_)?exception_never_retrieved(_debug)?": _OWN_LOG,
    r"\.test_tb_logger_exception_unretrieved": _OWN_LOG,
    r"\.CTask_CFuture_Tests\.test_set_(result|exception)_causes_invalid_state": (
        _SET_BY_CLASS
    ),
    r"\.CTask_CFuture_(Subclass)?Tests\.test_wait_really_done": _TURNS,
    r"\.FutureGatherTests\.test_constructor_empty_sequence_use_\w+": _ISINSTANCE,
    r"\.RunnerTests\.test_run_future": _COROUTINE,
}


def reason_against(test_id: str) -> str | None:
    """Return why the test with this id is left out, or None."""
    for pattern, reason in EXCLUSIONS.items():
        if re.search(pattern + r"$", test_id):
            return reason
    return None
