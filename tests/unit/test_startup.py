"""Credentials, and the first connect that keeps trying."""

import time

import pytest

from fakes import scripted
from fakes.scripted import READY, Server, hang_up, ready, runner, silent
from seqcache import _connect, errors
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


# --- credentials --------------------------------------------------------------------


def test_credentials_are_asked_at_each_connect(face):
    asked, seen = [], []

    def ask():
        asked.append(1)
        return "bob", f"token{len(asked)}"

    def script(sock):
        seen.append(sock.recv(4096))
        sock.sendall(READY)

    with Server(script) as server:
        config = Config(server.url, password="unused", credentials=ask)
        for _ in range(2):
            face.open(config).close()
    assert [b"token1" in seen[0], b"token2" in seen[1]] == [True, True]
    assert not any(b"unused" in said for said in seen)


def test_credentials_coroutine_serves_asyncio_only(face):
    async def ask():
        return None, SECRET

    with Server(ready) as server:
        config = Config(server.url, credentials=ask)
        if face.name == "blocking":
            with pytest.raises(errors.ConfigError, match="coroutine"):
                face.open(config)
        else:
            face.open(config).close()


def test_awaitable_from_a_plain_callable_is_awaited():
    async def ask():
        return None, SECRET

    with Server(ready) as server:
        config = Config(server.url, credentials=lambda: ask())
        runner(None)(_connect.open_asyncio(config)).close()


@pytest.mark.parametrize("answer", [None, SECRET, (1, SECRET), ("u", None), ("u",)])
def test_credentials_of_another_shape(face, answer):
    with pytest.raises(errors.ConfigError) as caught:
        face.open(Config(credentials=lambda: answer))
    assert caught.value.option == "credentials"
    assert SECRET not in str(caught.value)


def test_failing_credentials_are_a_connect_error(face):
    def ask():
        raise LookupError(SECRET)

    with pytest.raises(errors.ConnectError, match="LookupError") as caught:
        face.open(Config(credentials=ask))
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value.__cause__, LookupError)


# --- the first connect ---------------------------------------------------------------


def test_startup_fails_at_once_by_default(face):
    with Server(hang_up) as server:
        with pytest.raises(errors.StartupError, match="without an answer") as caught:
            face.startup(Config(server.url))
        assert server.count == 1
    assert caught.value.hint
    assert caught.value.__cause__ is not None


def test_startup_keeps_trying_until_the_server_is_ready(face):
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"

    def script(sock):
        if server.count < 3:
            sock.recv(4096)
            sock.sendall(loading * 5)
        else:
            ready(sock)

    with Server(script) as server:
        face.startup(Config(server.url, startup_timeout=10)).close()
        assert server.count == 3


def test_startup_gives_up_in_time(face):
    with Server(hang_up) as server:
        start = time.monotonic()
        with pytest.raises(errors.StartupError, match=r"\d attempts in 0\.\d s"):
            face.startup(Config(server.url, startup_timeout=0.4))
        assert time.monotonic() - start < 1.0
        assert server.count > 1


def test_startup_of_a_silent_server_gives_up_in_time(face):
    with Server(silent) as server:
        start = time.monotonic()
        config = Config(server.url, startup_timeout=0.5, connect_timeout=0.2)
        with pytest.raises(errors.StartupError, match="no time left"):
            face.startup(config)
        assert time.monotonic() - start < 1.2


def test_startup_never_repeats_refused_credentials(face):
    def script(sock):
        sock.recv(4096)
        sock.sendall(b"-WRONGPASS invalid username-password pair\r\n" * 5)

    with Server(script) as server:
        config = Config(server.url, password=SECRET, startup_timeout=10)
        with pytest.raises(errors.AuthError) as caught:
            face.startup(config)
        assert server.count == 1
    assert SECRET not in str(caught.value)
