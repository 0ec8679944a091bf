"""A name lookup that stalls keeps to the deadlines of the blocking face."""

from __future__ import annotations

import socket
import threading
import time

import pytest

import seqcache

STALL_S = 3.0
real = socket.getaddrinfo


@pytest.fixture
def stalled(monkeypatch):
    """From the set event on, looking up a name takes seconds."""
    on, over = threading.Event(), threading.Event()

    def slow(host, *args, flags=0, **words):
        numeric = flags & socket.AI_NUMERICHOST
        if on.is_set() and host == "localhost" and not numeric:
            over.wait(STALL_S)
        return real(host, *args, flags=flags, **words)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    yield on
    over.set()


def by_name(server):
    return server.url.replace("127.0.0.1", "localhost")


def test_a_stalled_lookup_ends_with_the_calls_deadline(own_server, stalled):
    with seqcache.cache(by_name(own_server), timeout=0.3) as cache:
        cache.increase_seq("a")
        stalled.set()
        own_server.admin("CLIENT", "KILL", "TYPE", "normal")
        start = time.monotonic()
        with pytest.raises(seqcache.ConnectError, match="name lookup"):
            cache.get_seqs(["a"])
        assert time.monotonic() - start < STALL_S / 2
        stalled.clear()
        time.sleep(0.1)
        assert cache.get_seq("a", timeout=5) == 1


def test_a_stalled_lookup_ends_with_connect_timeout(server, stalled):
    stalled.set()
    start = time.monotonic()
    with pytest.raises(seqcache.StartupError, match="name lookup"):
        seqcache.cache(by_name(server), connect_timeout=0.2, startup_timeout=0)
    assert time.monotonic() - start < STALL_S / 2


def test_an_address_asks_nobody(server, stalled):
    stalled.set()
    with seqcache.cache(server.url, connect_timeout=0.5) as cache:
        assert cache.increase_seq("a") == 1
    assert not [t for t in threading.enumerate() if t.name == "seqcache-lookup"]


def test_a_name_that_does_not_exist_is_told_as_before():
    with pytest.raises(seqcache.StartupError, match="name lookup failed"):
        seqcache.cache("redis://no-such-host.invalid", startup_timeout=0)
