"""What a call of asyncio returns where Python, not the C engine, does the work."""

from __future__ import annotations

import asyncio

from ._log import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from typing import Any

    from ._native import Awaitable as Future
else:
    Future = asyncio.Future


class CallFuture(Future["Any"]):
    """A future that create_task() and TaskGroup take, too, as the engine's do."""

    on_cancel: Callable[[], Any] | None = None
    _steps: Generator[Any, None, Any] | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        """Give up waiting; the work is withdrawn now, not a turn of the loop later."""
        cancelled = super().cancel(msg)
        if cancelled and self.on_cancel is not None:
            self.on_cancel()
        return cancelled

    # With these three it passes for a coroutine, as the engine's awaitable does.
    def send(self, value: Any) -> Any:
        """Wait as a coroutine does."""
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise at the place that waits."""
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.throw(*error)

    def close(self) -> None:
        """Wait no longer; the call itself goes on."""
        if self._steps is not None:
            self._steps.close()

    def __del__(self) -> None:
        if not self._log_traceback:
            return
        self._log_traceback = False
        logger.error(
            "%s exception was never retrieved\nfuture: %r",
            type(self).__name__,
            self,
            exc_info=self._exception,
        )


def start(
    work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop
) -> CallFuture:
    """Start `work` as a task of `loop`; the future ends as it does.

    Cancelling the future cancels the work.
    """
    call = CallFuture(loop=loop)
    task = loop.create_task(work)
    call.on_cancel = task.cancel

    def hand_over(done: asyncio.Task[Any]) -> None:
        if call.done():
            if not done.cancelled():
                done.exception()  # seen: nobody waits for it any more
        elif done.cancelled():
            call.cancel()
        elif (error := done.exception()) is not None:
            call.set_exception(error)
        else:
            call.set_result(done.result())

    task.add_done_callback(hand_over)
    return call
