"""Connecting: sockets, deadlines, what a peer may do to us."""

import asyncio
import os
import signal
import socket
import time

import pytest

from fakes import scripted
from fakes.scripted import READY, Server, hang_up, ready, runner, says, silent
from seqcache import _connect, errors
from seqcache._handshake import Hello
from seqcache.config import Config

SECRET = "s3cret!word"


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """Let the connections speak through the fakes' codec."""
    scripted.install_codec(monkeypatch)


@pytest.fixture(params=scripted.WAYS)
def face(request):
    """Run each test in every way to wait."""
    return scripted.way(request.param)


def test_open_gives_a_ready_socket(face):
    said = []
    with Server(ready) as server:
        sock = face.open(Config(server.url), on_hello=said.append)
        with sock:
            assert sock.getblocking() is False
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
            assert not sock.get_inheritable()
    assert said == [Hello("redis", "", 3, "master")]


def test_user_timeout_follows_the_call_timeout(face):
    with Server(ready) as server:
        for timeout, expected in ((0.1, 1000), (None, 30000), (1e300, 10**9)):
            config = Config(server.url, timeout=timeout)
            with face.open(config) as sock:
                option = socket.TCP_USER_TIMEOUT
                assert sock.getsockopt(socket.IPPROTO_TCP, option) == expected


def test_unix_socket(face, tmp_path):
    path = str(tmp_path / "a b@c.sock")
    with Server(ready, socket.AF_UNIX, path):
        url = f"unix://{path.replace(' ', '%20')}"
        with face.open(Config(url)) as sock:
            assert sock.getpeername() == path


def test_second_address_of_a_name_is_tried(face, monkeypatch):
    with Server(ready) as server:
        port = server.name[1]
        kind = socket.SOCK_STREAM
        found = [
            (socket.AF_INET, kind, 6, "", ("127.0.0.1", 1)),
            (socket.AF_INET, kind, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
        monkeypatch.setattr(_connect, "_addresses_asyncio", _fixed(found))
        with face.open(Config(server.url)) as sock:
            assert sock.getpeername()[1] == port


@pytest.fixture
def black_hole():
    """A port that never accepts: its backlog is full, further SYNs are dropped."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


def test_black_hole_ends_in_time(face, black_hole):
    start = time.monotonic()
    config = Config(f"redis://127.0.0.1:{black_hole}", connect_timeout=0.2)
    with pytest.raises(errors.ConnectError, match="no time left for the connection"):
        face.open(config)
    assert 0.15 < time.monotonic() - start < 1.0


def test_black_hole_leaves_time_for_the_next_address(face, black_hole, monkeypatch):
    with Server(ready) as server:
        ports = (black_hole, server.name[1])
        found = [(2, 1, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
        monkeypatch.setattr(_connect, "_addresses_asyncio", _fixed(found))
        with face.open(Config(server.url, connect_timeout=0.6)) as sock:
            assert sock.getpeername()[1] == server.name[1]


def test_interrupt_ends_a_blocking_open_at_once_and_closes_the_socket():
    def interrupt(sock):
        sock.recv(4096)
        os.kill(os.getpid(), signal.SIGINT)

    with Server(interrupt) as server:
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            _connect.open_blocking(Config(server.url, connect_timeout=5))
        assert time.monotonic() - start < 1.0
        assert server.eof.wait(3)


def _fixed(found):
    async def addresses(config, loop):
        return [(*row[:3], row[4]) for row in found]

    return addresses


def test_refused_connection_names_host_port_and_cause(face):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"redis://u:{SECRET}@127.0.0.1:{port}"
    with pytest.raises(errors.ConnectError, match="refused") as caught:
        face.open(Config(url))
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert "running" in caught.value.hint
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "x..y"])
def test_unknown_host(face, host):
    with pytest.raises(errors.ConnectError, match="name lookup failed") as caught:
        face.open(Config(f"redis://{host}"))
    assert host in str(caught.value)
    assert isinstance(caught.value.__cause__, socket.gaierror)


def test_missing_unix_socket(face, tmp_path):
    with pytest.raises(errors.ConnectError, match=r"none\.sock"):
        face.open(Config(f"unix://{tmp_path}/none.sock"))


def test_path_too_long_for_a_unix_socket(face):
    with pytest.raises(errors.ConnectError, match="too long"):
        face.open(Config(f"unix:///{'x' * 200}"))


@pytest.mark.parametrize("by_deadline", [False, True])
def test_silent_server_ends_in_time_and_the_socket_is_closed(face, by_deadline):
    with Server(silent) as server:
        limit = 5.0 if by_deadline else 0.2
        config = Config(server.url, connect_timeout=limit, password=SECRET)
        start = time.monotonic()
        with pytest.raises(errors.ConnectError, match="no time left") as caught:
            face.open(config, start + 0.2 if by_deadline else None)
        assert 0.15 < time.monotonic() - start < 1.0
        assert server.eof.wait(3)
    assert "handshake" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_deadline_in_the_past_opens_nothing(face):
    with Server(ready) as server:
        with pytest.raises(errors.ConnectError, match="no time left"):
            face.open(Config(server.url), time.monotonic() - 1)
        assert server.count == 0


def test_slow_drip_does_not_stretch_the_deadline(face):
    def drip(sock):
        sock.recv(4096)
        for byte in READY * 99:
            sock.sendall(bytes([byte]))
            time.sleep(0.02)

    with Server(drip) as server:
        start = time.monotonic()
        with pytest.raises(errors.ConnectError, match="no time left"):
            face.open(Config(server.url, connect_timeout=0.25))
        assert time.monotonic() - start < 1.0


def test_server_that_hangs_up_at_once(face):
    with (
        Server(hang_up) as server,
        pytest.raises(errors.ConnectError, match="without an answer") as caught,
    ):
        face.open(Config(server.url))
    assert "TLS" in caught.value.hint


def test_server_that_hangs_up_in_the_middle(face):
    with (
        Server(says(b"%1\r\n+server\r\n")) as server,
        pytest.raises(errors.ConnectError, match="during the handshake"),
    ):
        face.open(Config(server.url))


def test_what_a_server_says_before_it_hangs_up_is_told(face):
    with (
        Server(says(b"-ERR max number of clients reached\r\n")) as server,
        pytest.raises(errors.ConnectError) as caught,
    ):
        face.open(Config(server.url))
    assert "maxclients" in caught.value.hint


def test_http_server(face):
    with (
        Server(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server,
        pytest.raises(errors.ConnectError) as caught,
    ):
        face.open(Config(server.url))
    assert "HTTP" in caught.value.hint
    assert isinstance(caught.value.__cause__, errors.ProtocolError)


def test_error_in_on_hello_closes_the_socket(face):
    def fail(hello):
        raise LookupError

    with Server(ready) as server:
        with pytest.raises(LookupError):
            face.open(Config(server.url), on_hello=fail)
        assert server.eof.wait(3)


def test_socket_connected_to_itself_is_refused():
    class Selfish:
        family = socket.AF_INET

        def getsockname(self):
            return ("127.0.0.1", 40000)

        getpeername = getsockname

    with pytest.raises(ConnectionRefusedError):
        _connect._tuned(Selfish(), Config())


def test_cancelled_open_closes_the_socket():
    async def main(server):
        task = asyncio.create_task(_connect.open_asyncio(Config(server.url)))
        assert await asyncio.to_thread(server.reached.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for factory in (None, scripted.uvloop_factory):
        with Server(silent) as server:
            runner(factory)(main(server))
            assert server.eof.wait(3)
