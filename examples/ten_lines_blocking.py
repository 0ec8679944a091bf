"""Ten lines with threads. The server: SEQCACHE_URL, else redis://localhost:6379/0."""

from concurrent.futures import ThreadPoolExecutor

import seqcache

with seqcache.cache() as cache:
    number = cache.increase_seq("alice")
    block = cache.reserve("alice", 100)
    print(f"alice: {number}, then {block[0]} to {block[-1]}")
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(cache.increase_seq, ["room"] * 1000))
    print(f"room: {len(set(numbers))} different numbers from 8 threads")
    print("group:", cache.increase_seqs(["alice", "bob", "carol"]))
