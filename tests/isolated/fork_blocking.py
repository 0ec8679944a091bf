"""A forked child works by itself and leaves the parent's calls alone."""

import threading
import time
from functools import partial

from helper import URL, in_child

import seqcache


def idle_cache() -> None:
    with seqcache.cache(URL, client_name="fork") as cache:
        assert cache.increase_seq("a") == 1

        def child() -> None:
            assert cache.increase_seq("a") == 2
            view = cache.namespace("x:")
            assert view.increase_seq("a") == 1
            with seqcache.cache(URL) as other:
                assert other.increase_seq("a") == 3
            cache.close()

        in_child(child)
        assert cache.increase_seq("a") == 4


def while_threads_call() -> None:
    """Fork at any moment of other threads' calls; the child has no leader."""
    got: list[int] = []
    stop = threading.Event()
    with seqcache.cache(URL, timeout=10) as cache:

        def work() -> None:
            while not stop.is_set():
                got.append(cache.increase_seq("threads"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()

        def child(uid: str) -> None:
            for n in range(1, 21):
                assert cache.increase_seq(uid) == n

        for number in range(20):
            time.sleep(0.01)
            in_child(partial(child, f"child{number}"))
        stop.set()
        for thread in threads:
            thread.join()
        assert sorted(got) == list(range(1, len(got) + 1))
        assert cache.get_seq("threads") == len(got)


def memory_store() -> None:
    """The child has a copy; what it counts stays its own."""
    with seqcache.cache("memory://fork") as cache:
        cache.increase_seq("a")
        in_child(lambda: None if cache.increase_seq("a") == 2 else 1 / 0)
        assert cache.increase_seq("a") == 2


def grandchild() -> None:
    with seqcache.cache(URL) as cache:
        first = cache.increase_seq("deep")

        def child() -> None:
            assert cache.increase_seq("deep") == first + 1
            in_child(lambda: None if cache.increase_seq("deep") else 1 / 0)
            assert cache.increase_seq("deep") == first + 3

        in_child(child)
        assert cache.increase_seq("deep") == first + 4


idle_cache()
while_threads_call()
memory_store()
grandchild()
