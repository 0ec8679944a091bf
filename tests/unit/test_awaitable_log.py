"""An exception that nobody looked at is logged once, without the loop."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from seqcache._native import _TestAwaitable as Awaitable


@pytest.fixture
def loop() -> Any:
    """A loop that fails the test when it is asked to report."""
    made = asyncio.new_event_loop()

    def refuse(context: dict[str, Any]) -> None:
        raise AssertionError(context)

    made.call_exception_handler = refuse  # type: ignore[method-assign]
    yield made
    made.close()


def failed(loop: Any) -> Any:
    """An awaitable with an exception that nobody has seen."""
    return Awaitable.make_done(loop, ValueError("unseen"), True)


def test_never_retrieved_is_one_record(
    loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = failed(loop)
    assert one._log_traceback
    loop.close()
    del one
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("seqcache", logging.ERROR)
    assert record.getMessage().startswith("Awaitable exception was never retrieved\n")
    assert "ValueError('unseen')" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "unseen"


def test_a_cycle_is_one_record_too(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    one = failed(loop)
    keeper: list[Any] = [one]
    one.exception().__dict__["keeper"] = keeper
    again = failed(loop)
    again._exception.keeper = [again]
    del one, again, keeper
    gc.collect()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "look",
    [
        lambda one: one.exception(),
        lambda one: pytest.raises(ValueError, one.result),
        lambda one: pytest.raises(ValueError, one.send, None),
        lambda one: one.cancel(),
        lambda one: setattr(one, "_log_traceback", False),
    ],
)
def test_a_look_is_enough(
    loop: Any, caplog: pytest.LogCaptureFixture, look: Any
) -> None:
    one = failed(loop)
    look(one)
    del one
    gc.collect()
    assert caplog.records == []


def test_repr_is_no_look(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    one = failed(loop)
    assert repr(one) == "<Awaitable finished exception=ValueError('unseen')>"
    with pytest.raises(ValueError, match="can only be set to False"):
        one._log_traceback = True
    del one
    assert len(caplog.records) == 1


def test_a_broken_handler_raises_nothing(
    loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the log is full")

    unraisable: list[Any] = []
    monkeypatch.setattr(logging.getLogger("seqcache"), "error", broken)
    monkeypatch.setattr("sys.unraisablehook", lambda args: unraisable.append(args))
    one = failed(loop)
    holder = [one]
    del one
    holder.clear()
    assert [str(args.exc_value) for args in unraisable] == ["the log is full"]
