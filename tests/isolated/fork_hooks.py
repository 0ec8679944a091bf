"""Older hooks of os.register_at_fork run while the links are locked for the fork.

They may let go of the GIL, use a cache, close one, drop one or open another.
"""

import gc
import os
import threading
import time
import warnings
from collections.abc import Callable

hooks: list[Callable[[], object]] = []
after: list[Callable[[], object]] = []


def play(what: list[Callable[[], object]]) -> None:
    for hook in what:
        hook()


# Before ours, so that they run inside it.
os.register_at_fork(before=lambda: play(hooks), after_in_child=lambda: play(after))

from helper import URL, in_child  # noqa: E402

import seqcache  # noqa: E402


def other_threads() -> None:
    """What needs a link's lock, in another thread, while the hook sleeps."""
    stop = threading.Event()
    with seqcache.cache(URL) as cache:

        def work() -> None:
            while not stop.is_set():
                cache.stats()
                with seqcache.cache(URL) as other:
                    other.increase_seq("hooks")
                time.sleep(0.001)

        def forks() -> None:
            for _ in range(3):
                in_child(lambda: cache.get_seq("hooks"))

        hooks[:] = [lambda: time.sleep(0.05)]
        threads = [threading.Thread(target=work) for _ in range(2)]
        threads.append(threading.Thread(target=forks))
        for thread in threads:
            thread.start()
        forks()
        threads.pop().join()
        stop.set()
        for thread in threads:
            thread.join()


def this_thread() -> None:
    """The forking thread itself: calls, closes, drops and opens."""
    kept: list[seqcache.SeqCache] = []
    closed, dropped = seqcache.cache(URL), [seqcache.cache(URL)]

    def drop() -> None:
        dropped.pop()._engine.close()
        gc.collect()

    with seqcache.cache(URL) as cache:
        hooks[:] = [
            lambda: cache.increase_seq("mine"),
            cache.stats,
            closed.close,
            drop,
            lambda: kept.append(seqcache.cache(URL)),
        ]
        after[:] = [lambda: cache.increase_seq("mine")]

        def child() -> None:
            assert cache.increase_seq("mine") == 3
            assert kept[0].increase_seq("mine") == 4

        in_child(child)
        hooks.clear()
        after.clear()
        assert cache.increase_seq("mine") == 5
        assert kept[0].increase_seq("mine") == 6
        kept.pop().close()


# Forks beside threads, and a cache that is dropped, are what this is about.
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", ResourceWarning)
other_threads()
this_thread()
