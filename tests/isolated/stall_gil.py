"""A stalled server: another Python thread keeps its speed (the GIL is free)."""

import threading
import time

from helper import URL, freeze, thaw

import seqcache

SHARE = 0.3  # the promise is a half; test machines are busy


def turns(seconds: float) -> float:
    """How much pure Python work this thread does in that time, per second."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        count += 1
    return count / seconds


def stalled(call) -> float:
    """The rate of the main thread while others are stuck in `call`."""
    freeze()
    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    rate = turns(0.4)
    thaw()
    for thread in threads:
        thread.join()
    return rate


with seqcache.cache(URL, timeout=20) as cache:
    cache.increase_seq("warm")
    free = max(turns(0.3) for _ in range(3))
    for work in (
        lambda: cache.increase_seq("a"),
        lambda: cache.get_seqs([f"u{n}" for n in range(100)]),
        lambda: cache.increase_seqs([f"{n:0500d}" for n in range(20_000)]),
    ):
        best = max(stalled(work) for _ in range(2))
        assert best > SHARE * free, f"{best / free:.2f} of its speed"

# Connecting to a frozen server must not hold the GIL either.
freeze()
threading.Timer(0.8, thaw).start()
opened: list[object] = []
thread = threading.Thread(
    target=lambda: opened.append(seqcache.cache(URL, connect_timeout=20))
)
thread.start()
assert turns(0.4) > SHARE * free
thread.join()
opened[0].close()  # type: ignore[attr-defined]
