"""seqcache, redis-cli and redis-py agree about the same keys."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import redis


@pytest.fixture
def other(server):
    with redis.Redis(port=server.port) as client:
        yield client


def cli(server, *args: str) -> str:
    """Ask redis-cli (or valkey-cli); the raw answer."""
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is None:
        return str(server.admin(*args).decode())
    command = [program, "-p", str(server.port), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return done.stdout.strip()


def test_redis_cli_reads_what_seqcache_counted(server, live_cache):
    live_cache.increase_seq("alice", 41)
    live_cache.increase_seq("alice")
    assert cli(server, "GET", "seq:alice") == "42"
    assert cli(server, "TYPE", "seq:alice") == "string"


def test_seqcache_continues_what_redis_cli_counted(server, live_cache):
    assert cli(server, "SET", "seq:alice", "41") == "OK"
    assert live_cache.get_seq("alice") == 41
    assert live_cache.increase_seq("alice") == 42
    assert cli(server, "INCR", "seq:alice") == "43"
    assert live_cache.get_seq("alice") == 43


def test_redis_py_and_seqcache_share_one_counter(other, live_cache):
    numbers = []
    for _ in range(50):
        numbers += [other.incr("seq:alice"), live_cache.increase_seq("alice")]
    assert numbers == list(range(1, 101))
    assert int(other.get("seq:alice")) == live_cache.get_seq("alice") == 100


def test_redis_py_sees_every_operation(other, live_cache):
    live_cache.reserve("a", 5)
    live_cache.raise_seq("b", 2**53 + 1)
    live_cache.increase_seqs(["c", "d"], 3)
    live_cache.raise_seqs({"e": 2**63 - 1})
    values = other.mget(f"seq:{uid}" for uid in "abcde")
    assert [int(value) for value in values] == [5, 2**53 + 1, 3, 3, 2**63 - 1]
    live_cache.delete_seq("a", restart_from_one=True)
    assert other.exists("seq:a") == 0


def test_raise_keeps_the_expiry_that_others_set(other, live_cache):
    other.set("seq:alice", 5, ex=1000)
    assert live_cache.raise_seq("alice", 9) == 9
    assert 900 < other.ttl("seq:alice") <= 1000
    live_cache.increase_seq("alice")
    assert 900 < other.ttl("seq:alice") <= 1000


def test_negative_values_of_others_are_read_as_they_are(other, live_cache):
    other.set("seq:alice", -5)
    assert live_cache.get_seq("alice") == -5
    assert live_cache.increase_seq("alice") == -4
    assert live_cache.raise_seq("alice", 3) == 3


def test_databases_are_apart(server, live_face):
    with redis.Redis(port=server.port, db=3) as client:
        base = server.sock_url if live_face.name == "sync-unix" else server.url
        with live_face.open(base.replace("db=0", "db=3").replace("/0", "/3")) as cache:
            cache.increase_seq("alice", 7)
            assert client.get("seq:alice") == b"7"
    assert server.admin("GET", "seq:alice") is None
