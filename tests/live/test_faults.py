"""What `seqcache.testing.Faults` does to calls of both faces and of others."""

from __future__ import annotations

import math
import time

import pytest
import redis
import resp

import seqcache
from seqcache.testing import Faults


@pytest.fixture(params=["server", "unix", "memory"])
def faults(request):
    """Before a real server by TCP and by unix socket, and over the stand-in."""
    url = "memory://"
    if request.param != "memory":
        real = request.getfixturevalue("server")
        url = real.url if request.param == "server" else real.sock_url
    with Faults(url) as made:
        yield made


@pytest.fixture
def cache(faults, plain_face):
    return plain_face.open(faults.url, timeout=1.0, on_regress="raise")


def test_undisturbed_it_is_the_server(faults, cache):
    assert cache.get_seq("alice") == 0
    assert cache.increase_seq("alice", 5) == 5
    assert cache.reserve("alice", 3) == range(6, 9)
    assert cache.raise_seq("alice", 2**62) == 2**62
    assert cache.raise_seq("alice", 1) == 2**62
    assert cache.increase_seqs(["bob"] * 3 + ["a\r\n\0"]) == [1, 2, 3, 1]
    assert cache.get_seqs(["alice", "bob", "nobody"]) == [2**62, 3, 0]
    assert dict(cache.scan("[ab]*"))["bob"] == 3
    assert cache.delete_seq("bob", restart_from_one=True) is True
    assert cache.ping() > 0
    assert faults.calls[0] == (b"GET", b"seq:alice")
    assert faults.connections == 1


def test_lost_reply_is_counted_and_unknown_at_once(faults, cache):
    fault = faults.lose_reply()
    began = time.monotonic()
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice", timeout=60)
    assert time.monotonic() - began < 30
    assert fault.fired == 1
    assert cache.get_seq("alice") == 1
    assert cache.increase_seq("alice") == 2


def test_silence_is_counted_and_ends_by_the_deadline(faults, cache):
    faults.silence()
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice", timeout=0.2)
    faults.hang_up()
    assert cache.get_seq("alice") == 1


def test_delay_comes_late_and_whole(faults, cache):
    faults.delay(0.3)
    began = time.monotonic()
    assert cache.increase_seqs(["alice", "bob"], timeout=30) == [1, 1]
    assert time.monotonic() - began >= 0.3
    faults.delay(60)
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice", timeout=0.1)


def test_reset_is_not_counted_and_unknown(faults, cache):
    faults.reset()
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice")
    assert cache.get_seq("alice") == 0


def test_readonly_once_is_repeated_and_for_ever_told(faults, cache):
    fault = faults.readonly()
    assert cache.increase_seq("alice", timeout=30) == 1
    assert fault.fired == 1
    faults.readonly(times=math.inf)
    with pytest.raises(seqcache.ServerError) as caught:
        cache.increase_seq("alice", timeout=0.2)
    assert caught.value.code == "READONLY"
    assert caught.value.executed is False
    faults.clear()
    assert cache.increase_seq("alice", timeout=30) == 2


def test_going_back_repeats_numbers_and_is_noticed(faults, cache):
    cache.increase_seqs(["alice"] * 5 + ["bob"])
    faults.go_back(3)
    with pytest.raises(seqcache.SequenceRegressed) as caught:
        cache.increase_seq("alice")
    assert (caught.value.seen, caught.value.got) == (5, 3)
    assert cache.get_seqs(["carol"]) == [0]
    faults.go_back(command="GET")
    with pytest.raises(seqcache.SequenceRegressed) as caught:
        cache.get_seq("bob")
    assert (caught.value.seen, caught.value.got) == (1, 0)


def test_token_takes_one_number_through_lost_replies(faults, cache):
    faults.lose_reply(times=3)
    assert cache.increase_seq("alice", token="m1", timeout=60) == 1
    assert cache.increase_seq("alice", token="m1") == 1
    assert cache.increase_seqs(["alice", "bob"], token="m2") == [2, 1]
    with pytest.raises(seqcache.TokenConflict):
        cache.increase_seq("alice", 5, token="m1")
    faults.go_back(1)
    assert cache.get_seqs(["bob", "carol"]) == [0, 0]


def test_nth_key_and_command_choose_the_call(faults, cache):
    faults.lose_reply(3, key="seq:alice", command="incr")
    cache.increase_seqs(["alice", "bob", "bob", "alice"])
    cache.get_seq("alice")
    with pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs(["bob", "alice", "bob"])
    first, second, third = caught.value.results
    assert first == 3
    assert [e.user_id for e in (second, third)] == ["alice", "bob"]
    assert cache.get_seqs(["alice", "bob"])[0] == 3


def test_replies_before_the_fault_arrive(faults, cache):
    for fault in (faults.lose_reply, faults.silence):
        fault(50)
        ids = [f"{fault.__name__}{n}" for n in range(100)]
        with pytest.raises(seqcache.BulkError) as caught:
            cache.increase_seqs(ids)
        assert caught.value.results[:49] == [1] * 49
        assert isinstance(caught.value.results[49], seqcache.OutcomeUnknown)
        faults.hang_up()


def test_held_answers_come_after_the_release(faults, cache):
    cache.get_seq("alice")
    faults.hold()
    call = cache.start("increase_seq", "alice", timeout=30)
    while not any(words[0] == b"INCR" for words in faults.calls):
        time.sleep(0.005)
    time.sleep(0.05)
    assert not call.done()
    faults.release()
    assert call.result(30) == 1


def test_black_hole_swallows_and_new_connections_work(faults, cache):
    cache.increase_seq("alice")
    faults.black_hole()
    with pytest.raises(seqcache.OutcomeUnknown):
        cache.increase_seq("alice", timeout=0.2)
    with seqcache.cache(faults.url) as other:
        assert other.get_seq("alice") == 1


def test_down_and_up(faults, cache):
    cache.increase_seq("alice")
    faults.down()
    with pytest.raises(seqcache.ConnectError):
        cache.increase_seq("alice", timeout=0.3)
    with pytest.raises(seqcache.StartupError):
        seqcache.cache(faults.url)
    faults.up()
    assert cache.increase_seq("alice", timeout=30) == 2


def test_foreign_clients_may_use_it_too(faults):
    port = int(faults.url.split(":")[2].split("/")[0])
    with redis.Redis(port=port, protocol=3) as other:
        assert other.incr("a") == 1
        assert other.mget("a", "b") == [b"1", None]
        faults.error("OOM no", command="INCRBY")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            other.incr("a")


def test_what_is_no_redis_is_hung_up_on(faults):
    port = int(faults.url.split(":")[2].split("/")[0])
    with resp.Resp(("127.0.0.1", port)) as raw:
        raw.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionError):
            raw.read()
    with seqcache.cache(faults.url) as cache:
        assert cache.increase_seq("alice") == 1


def test_password_database_and_options_of_the_url_stay(make_server):
    server = make_server("--requirepass", "s@crt", password="s@crt")
    url = f"redis://:s%40crt@127.0.0.1:{server.port}/3?prefix=x%3A&timeout=9"
    with Faults(url) as faults, seqcache.cache(faults.url) as cache:
        assert (cache.config.db, cache.config.timeout) == (3, 9.0)
        assert cache.increase_seq("alice") == 1
        faults.go_back()
        assert cache.get_seq("alice") == 0
        assert faults.calls[0] == (b"INCR", b"x:alice")


def test_backends_of_third_parties_have_no_faults():
    seqcache.register_backend("other", dict)
    with pytest.raises(seqcache.ConfigError, match="not for other://"):
        Faults("other://x")


@pytest.mark.parametrize("words", [{"nth": 0}, {"times": 0}])
def test_counting_from_zero_is_refused(words):
    with Faults("memory://") as faults, pytest.raises(ValueError, match="from 1"):
        faults.reset(**words)


def test_what_fails_in_it_is_raised_at_the_end(make_server):
    faults = Faults(make_server("--rename-command", "FLUSHDB", "").url)
    with seqcache.cache(faults.url) as cache:
        faults.go_back()
        with pytest.raises(seqcache.SeqCacheError):
            cache.increase_seq("alice", timeout=0.3)
    with pytest.raises(seqcache.ServerError, match="unknown command"):
        faults.close()
    with pytest.raises(RuntimeError, match="has ended"):
        faults.lose_reply()
