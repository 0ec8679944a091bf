"""Opening a cache: what the factory proves, and how it says no."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing

import pytest

import seqcache
from fakes import node as faults

SECRET = "s3cr3t-pa55"


def test_the_factory_fails_at_once_where_nobody_listens(plain_face, ends_within):
    with ends_within(1), pytest.raises(seqcache.StartupError) as caught:
        plain_face.open("redis://127.0.0.1:1/0")
    assert "127.0.0.1" in str(caught.value)
    assert ":1" in str(caught.value) or "port 1" in str(caught.value)
    assert caught.value.hint
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.executed is False


def test_unix_socket_that_is_not_there(plain_face, tmp_path):
    with pytest.raises(seqcache.StartupError, match=r"none\.sock"):
        plain_face.open(f"unix://{tmp_path}/none.sock")


def test_unknown_host_is_a_startup_error(plain_face):
    with pytest.raises(seqcache.StartupError, match="no-such-host"):
        plain_face.open("redis://no-such-host.invalid:6379/0")


@pytest.mark.parametrize("accept", ["close", "reset"])
def test_a_peer_that_hangs_up_is_a_startup_error(plain_face, node, accept):
    node.accept = accept
    with pytest.raises(seqcache.StartupError):
        plain_face.open(node.url)


def test_a_silent_peer_ends_within_connect_timeout(plain_face, node, ends_within):
    node.accept = "ignore"
    with ends_within(0.3), pytest.raises(seqcache.StartupError):
        plain_face.open(node.url, connect_timeout=0.3)


def test_a_full_backlog_ends_within_connect_timeout(plain_face, ends_within):
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        url = f"redis://127.0.0.1:{address[1]}/0"
        with ends_within(0.3), pytest.raises(seqcache.StartupError):
            plain_face.open(url, connect_timeout=0.3)
        for sock in waiting:
            sock.close()


def test_a_peer_that_is_no_redis_is_a_startup_error(plain_face, node):
    node.on("*", faults.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), times=99)
    with pytest.raises(seqcache.StartupError):
        plain_face.open(node.url)


def test_a_replica_is_refused(own_server, make_server, plain_face):
    replica = make_server("--replicaof", "127.0.0.1", str(own_server.port))
    with pytest.raises(seqcache.StartupError, match=r"(?i)replica|primary"):
        plain_face.open(replica.url)


def test_a_loading_server_is_refused(plain_face, node):
    node.store.loading = True
    with pytest.raises(seqcache.StartupError, match=r"(?i)loading"):
        plain_face.open(node.url)


def test_startup_timeout_waits_for_a_loading_server(plain_face, node):
    node.store.loading = True
    timer = threading.Timer(0.5, setattr, (node.store, "loading", False))
    timer.start()
    cache = plain_face.open(node.url, startup_timeout=10)
    assert cache.increase_seq("alice") == 1
    timer.join()


def test_startup_timeout_waits_for_a_server_to_start(own_server, plain_face):
    own_server.kill()
    timer = threading.Timer(0.5, own_server.start)
    timer.start()
    cache = plain_face.open(own_server.url, startup_timeout=15)
    assert cache.increase_seq("alice") == 1
    timer.join()


def test_startup_timeout_ends(plain_face, ends_within):
    began = time.monotonic()
    with ends_within(0.6), pytest.raises(seqcache.StartupError):
        plain_face.open("redis://127.0.0.1:1/0", startup_timeout=0.6)
    assert time.monotonic() - began >= 0.3  # several attempts, the last in time


@pytest.mark.parametrize("userinfo", [f":{SECRET}@", f"app:{SECRET}@"])
def test_password_and_user_are_taken(own_server, plain_face, userinfo):
    own_server.admin("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+@all")
    own_server.admin("CONFIG", "SET", "requirepass", SECRET)
    cache = plain_face.open(own_server.url.replace("//", f"//{userinfo}"))
    assert cache.increase_seq("alice") == 1
    assert SECRET not in repr(cache.raw)


@pytest.mark.parametrize("userinfo", ["", f":{SECRET}-wrong@", f"who:{SECRET}@"])
def test_refused_credentials_are_auth_error_and_not_retried(
    make_server, plain_face, userinfo, ends_within
):
    server = make_server("--requirepass", "other", password="other")
    url = server.url.replace("//", f"//{userinfo}")
    with ends_within(2), pytest.raises(seqcache.AuthError) as caught:
        plain_face.open(url, startup_timeout=20)
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert caught.value.hint
    assert caught.value.executed is False


def test_no_error_of_startup_tells_the_password(plain_face):
    with pytest.raises(seqcache.StartupError) as caught:
        plain_face.open(f"redis://u:{SECRET}@127.0.0.1:1/0")
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error) + repr(error)
        error = error.__cause__ or error.__context__


def test_credentials_callable_is_asked_at_each_connect(make_server, plain_face):
    server = make_server("--requirepass", SECRET, password=SECRET)
    asked = []

    def credentials():
        asked.append(1)
        return "default", SECRET

    cache = plain_face.open(server.url, credentials=credentials, timeout=10)
    assert cache.increase_seq("alice") == 1
    server.restart()
    time.sleep(0.05)
    assert cache.increase_seq("alice") == 1
    assert len(asked) >= 2


def test_a_server_without_hello_is_spoken_to_in_resp2(plain_face):
    with faults.FakeNode(old=True) as node:
        cache = plain_face.open(node.url)
        assert cache.increase_seq("alice") == 1
        assert node.connections[-1].protocol == 2


def test_a_server_without_hello_but_with_a_password(plain_face):
    with faults.FakeNode(old=True, password=SECRET) as node:
        cache = plain_face.open(node.url.replace("//", f"//:{SECRET}@"))
        assert cache.increase_seq("alice") == 1
        with pytest.raises(seqcache.AuthError):
            plain_face.open(node.url.replace("//", "//:wrong@"))


@pytest.mark.parametrize("protocol", [2, 3])
def test_protocol_is_asked_for(plain_face, node, protocol):
    cache = plain_face.open(node.url, protocol=protocol)
    assert cache.increase_seqs(["a", "b"]) == [1, 1]
    assert cache.get_seqs(["a", "nobody"]) == [1, 0]
    assert node.connections[-1].protocol == protocol


def test_client_name_is_seen_by_the_server(server, live_face):
    cache = live_face.open(client_name="my-service")
    assert cache.get_seq("alice") == 0
    assert server.client_count("my-service") == 1
    cache.close()
    time.sleep(0.1)
    assert server.client_count("my-service") == 0


def test_an_old_redis_works(old_server, plain_face):
    cache = plain_face.open(old_server.url)
    assert cache.increase_seqs(["a", "b", "a"]) == [1, 1, 2]
    assert cache.raise_seq("a", 2**63 - 2) == 2**63 - 2
    assert cache.raise_seqs({"b": 2**53 + 1}) == 1
    assert cache.get_seqs(["a", "b"]) == [2**63 - 2, 2**53 + 1]
    assert dict(cache.scan()) == {"a": 2**63 - 2, "b": 2**53 + 1}


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_schemes_of_one_server(server, plain_face, scheme):
    cache = plain_face.open(server.url.replace("redis", scheme))
    assert cache.increase_seq("alice") == 1


@pytest.mark.parametrize("scheme", ["unix", "redis+unix"])
def test_schemes_of_a_unix_socket(server, plain_face, scheme):
    cache = plain_face.open(f"{scheme}://{server.path}?db=2")
    assert cache.increase_seq("alice") == 1
    assert server.admin("DBSIZE") == 0


def test_a_config_and_a_mapping_open_the_same(server, plain_face):
    for target in (
        seqcache.Config.from_url(server.url),
        {"url": server.url, "timeout": 3.0},
    ):
        assert plain_face.open(target).increase_seq("alice") >= 1


def test_the_environment_is_the_default(server, monkeypatch):
    monkeypatch.setenv("SEQCACHE_URL", server.url)
    monkeypatch.setenv("SEQCACHE_PREFIX", "env:")
    with seqcache.cache() as cache:
        cache.increase_seq("alice")
    assert server.admin("GET", "env:alice") == b"1"


@pytest.mark.parametrize(
    "url", ["rediss+nothing://h", "http://localhost", "redis+sentinel://h/s", "x"]
)
def test_a_scheme_that_is_not_there_is_config_error(plain_face, url):
    with pytest.raises(seqcache.ConfigError):
        plain_face.open(url)
