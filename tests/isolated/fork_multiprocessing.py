"""multiprocessing with fork: one cache made before, used by every worker."""

import multiprocessing
import warnings

from helper import URL

import seqcache

cache = seqcache.cache(URL, timeout=20)
cache.increase_seq("warm")


def work(_: int) -> list[int]:
    """Count in a worker, on the inherited cache."""
    return [cache.increase_seq("shared") for _ in range(100)]


if __name__ == "__main__":
    # 3.12 and newer warn about any fork of a process with threads.
    warnings.simplefilter("ignore", DeprecationWarning)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        parts = pool.map(work, range(8))
        pool.close()
        pool.join()
    numbers = sorted(number for part in parts for number in part)
    assert numbers == list(range(1, 801))
    assert cache.increase_seq("warm") == 2
    cache.close()
