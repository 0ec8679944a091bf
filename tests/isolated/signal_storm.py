"""Interrupted callers: no number goes astray, none is counted twice.

The main thread's calls are torn by a signal handler that raises, at random
moments, while other threads use the same link.
"""

import contextlib
import os
import random
import signal
import threading

from helper import URL

import seqcache

SPAN = 10**12


class Interrupted(Exception):
    """Raised by the handler, anywhere."""


def interrupt(number: int, frame: object) -> None:
    """Tear what the main thread does."""
    if armed:
        raise Interrupted


armed = False
signal.signal(signal.SIGALRM, interrupt)
chance = random.Random(5)
got: list[int] = []
torn = 0
stop = threading.Event()
others: list[int] = []

with seqcache.cache(URL, timeout=20) as cache:
    cache.raise_seqs({"main": SPAN, "other": 2 * SPAN})
    cache.raise_seqs({f"read{n}": (n + 5) * SPAN for n in range(1000)})

    def work() -> None:
        """Count beside the torn calls."""
        while not stop.is_set():
            others.append(cache.increase_seq("other"))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(int(os.environ.get("SEQCACHE_TEST_STORM", "1500"))):
        with contextlib.suppress(Interrupted):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + chance.random() * 3e-4)
                armed = True
                value = cache.increase_seq("main")
                armed = False
                got.append(value)
            except Interrupted:
                armed = False
                torn += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    stop.set()
    for thread in threads:
        thread.join()
    for n in range(1000):
        assert cache.get_seq(f"read{n}") == (n + 5) * SPAN
    top = cache.get_seq("main") - SPAN
    assert torn > 50, torn
    assert len(set(got)) == len(got)
    assert all(SPAN < value <= SPAN + top for value in got)
    assert len(got) <= top <= len(got) + torn
    assert sorted(others) == list(range(2 * SPAN + 1, 2 * SPAN + 1 + len(others)))
    assert cache.stats().reconnects == 0
