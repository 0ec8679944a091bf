"""The fake node and the private server, judged by redis-py.

They carry the proofs of the fault tests, so they are tried with a client that
we did not write (its `incr` sends INCRBY), and with bare sockets.
"""

from __future__ import annotations

import time

import pytest
import redis
import resp
from redis.backoff import NoBackoff
from redis.retry import Retry

from fakes import node as faults


def client(port: int, retries: int = 0, **options):
    """A redis-py client that does not hide faults."""
    return redis.Redis(
        port=port,
        socket_timeout=0.3,
        retry=Retry(NoBackoff(), retries),
        **options,
    )


@pytest.mark.parametrize("protocol", [2, 3])
def test_node_serves_a_foreign_client(node, protocol):
    with client(node.port, protocol=protocol) as other:
        assert other.incr("a") == 1
        assert other.incrby("a", 4) == 5
        assert other.get("a") == b"5"
        assert other.mget("a", "b") == [b"5", None]
        assert sorted(other.scan_iter("[a]")) == [b"a"]
        assert other.delete("a", "b") == 1
    assert node.applied["a"] == 3


def test_swallowed_reply_is_applied_and_never_answered(node):
    node.on("INCRBY", faults.swallow)
    with client(node.port) as other:
        with pytest.raises(redis.TimeoutError):
            other.incr("a")
        assert other.incr("a") == 2
    assert node.applied["a"] == 2


def test_lost_replies_make_a_retrying_client_count_often(node):
    node.on("INCRBY", faults.reset_after, times=10)
    with client(node.port, retries=10) as other:
        assert other.incr("a") == 11
    assert node.applied["a"] == 11


def test_nth_and_key_choose_the_call(node):
    node.on("INCRBY", faults.error("READONLY no"), nth=2, key="b")
    with client(node.port) as other:
        assert [other.incr("b"), other.incr("a")] == [1, 1]
        with pytest.raises(redis.ReadOnlyError):
            other.incr("b")
        assert other.incr("b") == 2


@pytest.mark.parametrize("fault", [faults.reset_before, faults.close_before])
def test_cut_before_is_not_applied(node, fault):
    node.on("INCRBY", fault)
    with client(node.port) as other, pytest.raises(redis.ConnectionError):
        other.incr("a")
    assert node.applied["a"] == 0


@pytest.mark.parametrize("fault", [faults.split, faults.drip(0.001)])
def test_a_reply_in_single_bytes_is_still_the_reply(node, fault):
    node.on("INCRBY", fault)
    with client(node.port) as other:
        assert other.incrby("a", 123456) == 123456


def test_closing_node_ends_every_thread():
    node = faults.FakeNode()
    node.on("INCR", faults.hang)
    with resp.Resp(("127.0.0.1", node.port)) as raw:
        raw.sock.sendall(resp.encode("INCR", "a"))
        node.wait_for(lambda: node.seen("INCR"))
        began = time.monotonic()
        node.close()
        assert time.monotonic() - began < 3
        with pytest.raises(ConnectionError):
            raw.read()


def test_server_paused_and_killed_comes_back(own_server):
    own_server.pause()
    with pytest.raises(TimeoutError):
        own_server.admin("PING", timeout=0.1)
    own_server.resume()
    assert own_server.admin("INCR", "a") == 1
    own_server.restart()
    assert own_server.admin("GET", "a") is None


def test_old_server_is_older_than_seven(old_server):
    assert old_server.info("server")["redis_version"].startswith(("5.", "6."))
