"""Numbers of one process that survive a kill. The file: the first argument."""

import sys
from concurrent.futures import ThreadPoolExecutor

import seqcache

path = sys.argv[1] if len(sys.argv) > 1 else "seq.db"
with seqcache.cache(f"sqlite:///{path}", startup_timeout=10) as cache:
    before = cache.get_seq("orders")
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(cache.increase_seq, ["orders"] * 100_000))
    print(f"orders: {before + 1} to {max(numbers)}, {len(set(numbers))} different")
    # The message's own id: delivered twice, numbered once, whatever died in between.
    print("message-17:", cache.increase_seq("orders", token="message-17"))
