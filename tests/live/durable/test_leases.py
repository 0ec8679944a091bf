"""Leases in durable mode: what the server loses, no lease gives again."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import subprocess
import sys

from durable_faces import anyface, cache, face

__all__ = ["anyface", "cache", "face"]


def over_a_flush(cache, server):
    """Numbers of a lease and of other calls, before and after all keys are gone."""
    lease = cache.lease("alice", size=100)
    given = lease.many(60)
    server.admin("FLUSHALL")
    given += lease.many(300)
    given += lease.take(250)
    given.append(cache.increase_seq("alice"))
    return given


def test_lease_gives_no_number_twice_over_a_flush(cache, durable_server):
    assert cache.stats().durable is not None
    given = over_a_flush(cache, durable_server)
    assert given == sorted(set(given))
    assert cache.stats().leases["failures"] == 0


def test_the_same_flush_repeats_numbers_without_ceilings(face, durable_server):
    plain = face.open_plain(durable_server.url, on_regress="off")
    given = over_a_flush(plain, durable_server)
    assert len(set(given)) < len(given)


def test_closed_lease_leaves_a_gap_and_lowers_nothing(cache):
    lease = cache.lease("alice", size=100)
    assert lease.many(3) == [1, 2, 3]
    lease.close()
    assert cache.increase_seq("alice") == 101


PROCESS = """
import sys, time, seqcache
options = {"ceilings": sys.argv[2], "timeout": 30, "startup_timeout": 30}
with seqcache.cache(sys.argv[1], **options) as cache, cache.lease("alice") as lease:
    given = [next(lease)]
    for _ in range(20):
        while lease.remaining < 500:  # other work, in which the next block comes
            time.sleep(0.001)
        given += [next(lease) for _ in range(250)]
    assert given == sorted(set(given))
    print(cache.stats().leases["waits"], cache.stats().leases["failures"])
    print(*given)
"""


def test_eight_processes_get_each_number_once_and_wait_for_no_refill(
    durable_server, url
):
    command = [sys.executable, "-c", PROCESS, durable_server.url, url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    outputs = [process.communicate(timeout=55)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    lines = [output.decode().splitlines() for output in outputs]
    assert [counts for counts, _ in lines] == ["0 0"] * 8
    every = [int(number) for _, given in lines for number in given.split()]
    assert len(set(every)) == len(every) == 8 * (20 * 250 + 1)
