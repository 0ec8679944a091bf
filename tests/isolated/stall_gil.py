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


def keeps_its_speed(name: str, call) -> None:
    """One good round of several is proof: a held GIL spoils every one."""
    shares: list[float] = []
    while len(shares) < 5 and (not shares or shares[-1] < SHARE):
        free = turns(0.2)
        shares.append(stalled(call) / free)
    assert shares[-1] >= SHARE, f"{name}: {max(shares):.2f} of its speed"


def connect() -> None:
    """Connecting to a frozen server must not hold the GIL either."""
    seqcache.cache(URL, connect_timeout=20).close()


with seqcache.cache(URL, timeout=20) as cache:
    cache.increase_seq("warm")
    keeps_its_speed("single", lambda: cache.increase_seq("a"))
    keeps_its_speed("reads", lambda: cache.get_seqs([f"u{n}" for n in range(100)]))
    ids = [f"{n:0500d}" for n in range(20_000)]
    keeps_its_speed("bulk", lambda: cache.increase_seqs(ids))
keeps_its_speed("connecting", connect)
