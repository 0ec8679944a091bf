"""Errors that the server answers: typed, never read as 0, repeated if not run."""

from __future__ import annotations

import math
import pickle
import threading
import time

import pytest

import seqcache
from fakes import node as faults

NOT_RUN = ["READONLY", "LOADING", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN"]
REFUSED = ["OOM", "MISCONF"]
TEXTS = ["hello", "", " 12", "012", "1.5", "1e3", "+1", "9223372036854775808"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_no_integer_is_not_a_sequence(server, live_cache, text):
    server.admin("SET", "seq:alice", text)
    calls = [
        lambda: live_cache.get_seq("alice"),
        lambda: live_cache.increase_seq("alice"),
        lambda: live_cache.reserve("alice", 3),
        lambda: live_cache.raise_seq("alice", 5),
        lambda: live_cache.get_seqs(["alice"]),
        lambda: live_cache.increase_seqs(["alice"]),
    ]
    for call in calls:
        with pytest.raises(seqcache.NotASequence) as caught:
            call()
        assert caught.value.executed is False
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, seqcache.ServerError)
        assert "migrate" in (caught.value.hint or "")
    assert server.admin("GET", "seq:alice") == text.encode()


@pytest.mark.parametrize(
    "make", [("RPUSH", "seq:alice", "1"), ("HSET", "seq:alice", "cur_seq", "1")]
)
def test_a_wrong_type_is_not_a_sequence(server, live_cache, make):
    server.admin(*make)
    for name, args in [
        ("get_seq", ("alice",)),
        ("increase_seq", ("alice",)),
        ("raise_seq", ("alice", 5)),
        ("get_seqs", (["alice"],)),
        ("increase_seqs", (["alice"],)),
    ]:
        with pytest.raises(seqcache.NotASequence) as caught:
            live_cache.call(name, *args)
        assert caught.value.code == "WRONGTYPE"
        assert caught.value.executed is False
    assert live_cache.increase_seq("bob") == 1


def test_errors_of_the_server_pickle(server, live_cache):
    server.admin("RPUSH", "seq:alice", "1")
    with pytest.raises(seqcache.NotASequence) as caught:
        live_cache.increase_seq("alice")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.code, again.executed) == ("WRONGTYPE", False)
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("code", NOT_RUN)
def test_a_call_that_was_not_run_is_repeated(net_face, node, code):
    cache = net_face.open(node.url, timeout=5)
    node.on("INCR", faults.error(f"{code} not now"), times=2)
    assert cache.increase_seq("alice") == 1
    assert node.seen("INCR") == 3
    assert node.applied["seq:alice"] == 1


@pytest.mark.parametrize("code", NOT_RUN)
def test_a_call_never_run_ends_with_the_servers_error(
    net_face, node, code, ends_within
):
    cache = net_face.open(node.url, timeout=0.4)
    node.on("INCR", faults.error(f"{code} not now"), times=math.inf)
    with ends_within(0.4), pytest.raises(seqcache.ServerError) as caught:
        cache.increase_seq("alice")
    assert caught.value.code == code
    assert caught.value.executed is False
    assert node.applied["seq:alice"] == 0
    assert node.seen("INCR") < 200


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_that_will_not_pass_is_told_at_once(net_face, node, code):
    cache = net_face.open(node.url, timeout=30)
    node.on("INCR", faults.error(f"{code} no"), times=math.inf)
    with pytest.raises(seqcache.ServerError) as caught:
        cache.increase_seq("alice")
    assert (caught.value.code, caught.value.executed) == (code, False)
    assert node.seen("INCR") == 1


def test_retry_never_does_not_repeat_what_was_not_run(net_face, node):
    cache = net_face.open(node.url, timeout=5, retry="never")
    node.on("INCR", faults.error("READONLY no"), times=math.inf)
    with pytest.raises(seqcache.ServerError) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is False
    assert node.seen("INCR") == 1


@pytest.mark.parametrize("code", ["NOPERM", "NOAUTH", "WRONGPASS"])
def test_a_missing_right_is_auth_error(net_face, node, code):
    cache = net_face.open(node.url)
    node.on("INCR", faults.error(f"{code} no"))
    with pytest.raises(seqcache.AuthError) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is False
    assert isinstance(caught.value, PermissionError)
    assert cache.increase_seq("alice") == 1


def test_an_unknown_error_is_a_server_error_with_its_code(net_face, node):
    cache = net_face.open(node.url)
    node.on("INCR", faults.error("ODDITY what is this"))
    with pytest.raises(seqcache.ServerError, match="what is this") as caught:
        cache.increase_seq("alice")
    assert caught.value.code == "ODDITY"


def test_one_refused_call_leaves_its_neighbours_alone(net_face, node):
    cache = net_face.open(node.url, timeout=10)
    node.on("INCR", faults.error("OOM no"), key="seq:u7", times=math.inf)
    results = cache.start_all("increase_seq", [(f"u{n}",) for n in range(20)])
    assert [r for n, r in enumerate(results) if n != 7] == [1] * 19
    assert isinstance(results[7], seqcache.ServerError)


def test_a_primary_demoted_and_promoted_again(own_server, net_face):
    cache = net_face.open(own_server.url, timeout=0.4)
    assert cache.increase_seq("alice") == 1
    own_server.admin("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(seqcache.SeqCacheError) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is False
    timer = threading.Timer(0.5, own_server.admin, ("REPLICAOF", "NO", "ONE"))
    timer.start()
    assert cache.increase_seq("alice", timeout=10) == 2
    timer.join()


def test_out_of_memory_is_told_and_passes(own_server, net_face):
    cache = net_face.open(own_server.url)
    own_server.admin("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(seqcache.ServerError) as caught:
        cache.increase_seq("alice")
    assert (caught.value.code, caught.value.executed) == ("OOM", False)
    assert cache.get_seq("alice") == 0
    own_server.admin("CONFIG", "SET", "maxmemory", "0")
    assert cache.increase_seq("alice") == 1


def test_failing_snapshots_are_misconf(make_server, net_face):
    own_server = make_server("--dbfilename", "blocked.rdb")
    (own_server.dir / "blocked.rdb").mkdir()
    own_server.admin("CONFIG", "SET", "save", "1 1")
    cache = net_face.open(own_server.url)
    cache.increase_seq("alice")
    own_server.admin("BGSAVE")
    end = time.monotonic() + 10
    while own_server.info("persistence")["rdb_last_bgsave_status"] != "err":
        assert time.monotonic() < end
        time.sleep(0.02)
    with pytest.raises(seqcache.ServerError) as caught:
        cache.increase_seq("alice")
    assert (caught.value.code, caught.value.executed) == ("MISCONF", False)
    assert cache.get_seq("alice") == 1


def test_a_read_only_user_reads_and_cannot_count(own_server, net_face):
    own_server.admin("SET", "seq:alice", 5)
    own_server.admin(
        "ACL", "SETUSER", "reader", "on", ">pw", "~seq:*", "+@read", "+@connection"
    )
    url = own_server.url.replace("//", "//reader:pw@")
    cache = net_face.open(url)
    assert cache.get_seq("alice") == 5
    with pytest.raises(seqcache.AuthError) as caught:
        cache.increase_seq("alice")
    assert caught.value.executed is False
    assert own_server.admin("GET", "seq:alice") == b"5"
