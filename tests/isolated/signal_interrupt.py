"""Ctrl-C ends a call of the main thread soon; the cache stays usable."""

import asyncio
import os
import signal
import threading
import time

from helper import URL, freeze, thaw

import seqcache

SOON = 1.0  # the promise is 0.1 s; test machines are busy


def interrupt_later(seconds: float = 0.3) -> list[float]:
    """Send SIGINT to this process; the list gets the moment."""
    sent: list[float] = []

    def send() -> None:
        time.sleep(seconds)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send).start()
    return sent


def expect_interrupt(call) -> None:
    """`call` must end by KeyboardInterrupt soon after the signal."""
    sent = interrupt_later()
    try:
        call()
    except KeyboardInterrupt:
        late = time.monotonic() - sent[0]
    else:
        raise AssertionError("the call was not interrupted")
    assert late < SOON, f"{late:.3f} s late"


def blocking(timeout: float | None) -> None:
    with seqcache.cache(URL, timeout=timeout) as cache:
        cache.increase_seq("warm")
        for call in (
            lambda: cache.increase_seq("a"),
            lambda: cache.get_seqs(["a", "b"]),
            lambda: cache.increase_seqs([f"u{n}" for n in range(2000)]),
        ):
            freeze()
            expect_interrupt(call)
            thaw()
            assert cache.increase_seq("b", timeout=10) >= 1


def while_another_thread_leads() -> None:
    with seqcache.cache(URL, timeout=20) as cache:
        cache.increase_seq("warm")
        freeze()
        thread = threading.Thread(target=cache.increase_seq, args=("thread",))
        thread.start()
        time.sleep(0.1)
        expect_interrupt(lambda: cache.increase_seq("main"))
        thaw()
        thread.join()
        assert cache.get_seq("thread") == 1


def a_handler_may_use_the_cache() -> None:
    with seqcache.cache(URL, timeout=10) as cache:
        cache.increase_seq("warm")
        seen: list[object] = []

        def handler(number: int, frame: object) -> None:
            thaw()
            seen.append(cache.increase_seq("handler"))

        previous = signal.signal(signal.SIGALRM, handler)
        freeze()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        assert cache.increase_seq("waits") == 1
        signal.signal(signal.SIGALRM, previous)
        assert seen == [1]


def a_signal_that_raises_nothing_leaves_the_call() -> None:
    with seqcache.cache(URL, timeout=10) as cache:
        ticks: list[int] = []
        previous = signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        freeze()
        threading.Timer(0.5, thaw).start()
        assert cache.increase_seq("ticks") == 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        assert ticks


def in_a_loop() -> None:
    async def main() -> None:
        async with seqcache.acache(URL, timeout=20) as cache:
            freeze()
            sent.extend(interrupt_later())
            await cache.increase_seq("loop")

    sent: list[float] = []
    began = time.monotonic()
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        assert time.monotonic() - began < 0.3 + 2 * SOON
    else:
        raise AssertionError("the loop was not interrupted")
    thaw()


blocking(20)
blocking(None)
while_another_thread_leads()
a_handler_may_use_the_cache()
a_signal_that_raises_nothing_leaves_the_call()
in_a_loop()
