"""Restarts, leases, deadlines and errors, through the blocking driver."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from chaos.functions import library

from seqcache.durable import admin as admin
from seqcache.errors import (
    CallTimeout,
    CeilingError,
    OutcomeUnknown,
    StartupError,
)

CAP = 2**53 - 1


def test_restart_waits_for_the_lease_and_goes_on(client_of, own_server):
    client = client_of(own_server, fence_time=0.5)
    numbers = [client.increase_seq("k") for _ in range(5)]
    own_server.restart()
    with pytest.raises(OutcomeUnknown):
        client.increase_seq("k")  # its link was cut
    numbers.append(client.increase_seq("k"))
    assert numbers == sorted(set(numbers))
    assert client.durable.stats.waits == 1


def test_wait_that_outlasts_the_call_goes_on_for_the_next(client_of, own_server):
    client = client_of(own_server, fence_time=1.5, timeout=0.4)
    client.increase_seq("k")
    own_server.restart()
    reasons = []
    while True:
        try:
            assert client.increase_seq("k") > 1
            break
        except (CeilingError, OutcomeUnknown) as exc:
            reasons.append(getattr(exc, "reason", None))
    assert "fence" in reasons
    assert client.durable.stats.waits == 1


def test_fence_command_ends_the_wait(client_of, own_server):
    client = client_of(own_server, fence_time=30.0)
    client.increase_seq("k")
    own_server.restart()
    with pytest.raises(OutcomeUnknown):
        client.increase_seq("k")
    timer = threading.Timer(0.4, lambda: admin.fence(client.store))
    timer.start()
    assert client.increase_seq("k") > 1
    timer.join()


def test_without_lease_a_restart_costs_no_wait(client_of, own_server):
    client = client_of(own_server, fence="connection")
    client.increase_seq("k")
    own_server.restart()
    with pytest.raises(OutcomeUnknown):
        client.increase_seq("k")
    assert client.increase_seq("k") > 1
    assert client.durable.stats.waits == 0


def test_lease_client_replaces_an_epoch_without_lease(client_of, durable_server):
    loose = client_of(durable_server, fence="connection")
    loose.increase_seq("k")
    strict = client_of(durable_server)
    strict.increase_seq("k")
    assert strict.durable.belief.until < float("inf")
    assert loose.increase_seq("k") > 0
    assert loose.durable.belief.token == strict.durable.belief.token


def test_lease_is_renewed_in_the_background_while_in_use(client_of, durable_server):
    client = client_of(durable_server, fence_time=0.5)
    end = time.monotonic() + 1.6
    client.increase_seq("k")
    waits = client.durable.stats.sql_waits
    while time.monotonic() < end:
        client.increase_seq("j")
        time.sleep(0.005)
    assert client.durable.stats.renewals >= 8
    assert client.durable.stats.sql_waits - waits <= 1  # the first touch of j
    assert client.durable.lease_age() > 0.2


def test_steady_state_waits_for_no_sql(client):
    for _ in range(10):
        client.increase_seq("k")
    before = client.durable.stats.sql_waits
    for _ in range(3000):
        client.increase_seq("k")
        time.sleep(0.0002)
    assert client.durable.stats.sql_waits == before
    assert client.durable.stats.prefetches > 3


def test_foreign_library_is_a_clear_error(client, durable_server):
    text = library().replace("name=seqcache_v1", "name=somebody")
    durable_server.admin("FUNCTION", "LOAD", text.replace("'seq_open'", "'seq_xopen'"))
    with pytest.raises(StartupError, match="foreign library"):
        client.increase_seq("k")


def test_library_that_vanished_is_loaded_again(client, durable_server):
    client.increase_seq("k")
    durable_server.admin("FUNCTION", "FLUSH")
    assert client.increase_seqs(["k", "j"])[1] == 1


def test_out_of_memory_is_not_executed(client, durable_server):
    from seqcache.errors import ServerError

    number = client.increase_seq("k")
    durable_server.admin("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(ServerError) as caught:
        client.increase_seq("k")
    assert (caught.value.code, caught.value.executed) == ("OOM", False)
    assert client.get_seq("k") == number
    durable_server.admin("CONFIG", "SET", "maxmemory", "0")
    assert client.increase_seq("k") == number + 1


def test_frozen_server_ends_calls_by_their_deadline(client_of, own_server):
    client = client_of(own_server, timeout=0.4)
    first = client.increase_seq("k")
    own_server.pause()
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown) as caught:
        client.increase_seq("k")
    assert caught.value.executed is None
    with pytest.raises(CallTimeout):
        client.get_seq("k")
    with pytest.raises(OutcomeUnknown):
        client.increase_seq("k", token="t")
    assert time.monotonic() - began < 2.0
    own_server.resume()
    number = client.increase_seq("k", token="t")
    assert number > first
    assert client.increase_seq("k", token="t") == number


def test_retry_gap_repeats_and_never_gives_a_number_twice(client_of, own_server):
    client = client_of(own_server, retry="gap", fence="connection")
    numbers = [client.increase_seq("k") for _ in range(5)]
    own_server.restart()
    numbers += [client.increase_seq("k") for _ in range(5)]
    assert numbers == sorted(set(numbers))


def test_store_that_is_away_is_named(client_of, own_server, tmp_path):
    client = client_of(own_server, fence_time=0.5, timeout=0.5)
    client.increase_seq("k")
    (tmp_path / "ceilings.db").rename(tmp_path / "gone.db")
    for end in ("-wal", "-shm"):
        path = tmp_path / f"ceilings.db{end}"
        if path.exists():
            path.rename(tmp_path / f"gone.db{end}")
    client.store._engine.dispose()
    os.mkdir(tmp_path / "ceilings.db")
    time.sleep(0.6)
    with pytest.raises(CeilingError, match="ceilings.db") as caught:
        client.increase_seq("k")
    assert (caught.value.reason, caught.value.executed) == ("unavailable", False)
    os.rmdir(tmp_path / "ceilings.db")
    for end in ("", "-wal", "-shm"):
        path = tmp_path / f"gone.db{end}"
        if path.exists():
            path.rename(tmp_path / f"ceilings.db{end}")
    client.timeout = 20.0
    assert client.increase_seq("k") > 1


@contextmanager
def handler_that_counts(client):
    """A signal handler that makes a call; what it got."""
    got = []
    action = signal.signal(
        signal.SIGUSR1, lambda *_: got.append(client.increase_seq("k"))
    )
    try:
        yield got
    finally:
        signal.signal(signal.SIGUSR1, action)


def test_signal_handler_may_wait_for_a_job_while_one_is_begun(client):
    """It runs between two steps of that thread, which cannot let go of its lock."""
    client.increase_seq("k")
    client.durable.doubt(client.durable.belief.token)  # so that it joins the epoch
    with handler_that_counts(client) as got, client.driver._lock:
        signal.raise_signal(signal.SIGUSR1)
    assert got == [2]


def test_signal_handler_may_call_while_the_belief_changes(client):
    client.increase_seq("k")
    client.durable._believe(client.durable.belief.token, -math.inf)  # it is to touch
    with handler_that_counts(client) as got, client.durable._lock:
        signal.raise_signal(signal.SIGUSR1)
    assert got == [2]


def test_forked_child_counts_with_links_of_its_own(client):
    numbers = [client.increase_seq("k") for _ in range(3)]
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        client.engine.all, client.engine.free = set(), []
        got = [client.increase_seq("k") for _ in range(60)]
        os.write(write, repr(got).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        child = eval(file.read())
    os.waitpid(pid, 0)
    numbers += [client.increase_seq("k") for _ in range(60)]
    assert len(set(numbers + child)) == 123
