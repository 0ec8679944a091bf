"""Connecting: the handshake as a conversation, sockets, deadlines, first connect."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
import types

import pytest

from seqcache import _connect, errors
from seqcache._handshake import Hello, Talk, handshake
from seqcache.config import Config

SECRET = "s3cret!word"


class Refused(Exception):
    """What `_native.ReplyError` is: an error reply as a value."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text
        self.code = text.split(" ", 1)[0]


class Codec:
    """RESP in forty lines."""

    def __init__(self):
        self.data = b""

    def encode(self, args):
        raw = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        parts = [b"$%d\r\n%s\r\n" % (len(a), a) for a in raw]
        return b"*%d\r\n" % len(raw) + b"".join(parts)

    def feed(self, data):
        self.data += data
        replies = []
        while self.data:
            try:
                reply, self.data = self.parse(self.data)
            except IndexError:
                break
            replies.append(reply)
        return replies

    def parse(self, data):
        line, mark, rest = data.partition(b"\r\n")
        if data[:1] not in b"+-:$*%_":
            raise errors.ProtocolError("not RESP")
        if not mark:
            raise IndexError
        kind, word = line[:1], line[1:]
        if kind == b"+":
            return word, rest
        if kind == b"-":
            return Refused(word.decode()), rest
        if kind == b"_":
            return None, rest
        size = int(word)
        if kind == b":":
            return size, rest
        if kind == b"$":
            if size < 0:
                return None, rest
            if len(rest) < size + 2:
                raise IndexError
            return rest[:size], rest[size + 2 :]
        items = []
        for _ in range(size * (2 if kind == b"%" else 1)):
            item, rest = self.parse(rest)
            items.append(item)
        return (
            (dict(zip(items[::2], items[1::2], strict=True)), rest)
            if (kind == b"%")
            else (items, rest)
        )


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """Put the codec above where the extension's would be."""
    module = types.ModuleType("seqcache._native")
    module.Codec = Codec
    monkeypatch.setitem(sys.modules, "seqcache._native", module)
    monkeypatch.setattr("seqcache._native", module, raising=False)


# --- the handshake alone ------------------------------------------------------

HELLO = {b"server": b"valkey", b"version": b"8.0.1", b"proto": 3, b"id": 9}
HELLO |= {b"mode": b"standalone", b"role": b"master", b"modules": []}
MASTER = [b"master", 0, []]
SLAVE = [b"slave", b"10.0.0.1", 6379, b"connected", 7]
NOPERM = Refused("NOPERM this user has no permissions to run the 'role' command")
OLD = Refused("ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, ")
NOINFO = Refused("ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.")


def converse(config, credentials, answers):
    """Run a handshake; `answers` maps a verb to its reply (or a list, in turn)."""
    said, flow = [], handshake(config, credentials)
    defaults = {"HELLO": HELLO, "ROLE": MASTER, "EXISTS": 0, "CLIENT": b"OK"}
    defaults |= {"SELECT": b"OK", "AUTH": b"OK"}
    commands = next(flow)
    while True:
        said.append(commands)
        verbs = [" ".join(map(str, command[:2])) for command in commands]
        replies = [
            answers.get(
                verb, answers.get(verb.split()[0], defaults.get(verb.split()[0]))
            )
            for verb in verbs
        ]
        try:
            commands = flow.send(replies)
        except StopIteration as done:
            return done.value, said


def refused(config, credentials, answers):
    with pytest.raises(errors.SeqCacheError) as caught:
        converse(config, credentials, answers)
    assert SECRET not in str(caught.value) + str(caught.value.__cause__)
    return caught.value


PLAIN = Config("redis://h:7")
NOBODY = (None, None)


def test_modern_server_in_one_round_trip():
    hello, said = converse(Config("redis://h/3"), ("bob", SECRET), {})
    assert hello == Hello("valkey", "8.0.1", 3, "master", "standalone", 9)
    (batch,) = said
    assert batch[0] == ["HELLO", 3, "AUTH", "bob", SECRET, "SETNAME", "seqcache"]
    assert [command[0] for command in batch[1:]] == [
        *("CLIENT", "CLIENT", "SELECT", "ROLE", "EXISTS")
    ]
    assert batch[3] == ["SELECT", 3]
    assert batch[5] == ["EXISTS", b"seq:"]
    assert batch[1][:3] == ["CLIENT", "SETINFO", "LIB-NAME"]


def test_password_alone_is_the_default_user():
    _, said = converse(PLAIN, (None, SECRET), {})
    assert said[0][0][2:5] == ["AUTH", "default", SECRET]


def test_nothing_is_sent_that_was_not_asked_for():
    _, said = converse(Config("redis://h", client_name=""), NOBODY, {})
    assert said[0][0] == ["HELLO", 3]
    assert not any(command[0] == "SELECT" for command in said[0])


@pytest.mark.parametrize(
    "text", [OLD, Refused("NOPROTO unsupported protocol version"), Refused("ERR huh")]
)
def test_server_without_hello_3_gets_resp_2(text):
    hello, said = converse(Config("redis://h/1"), ("bob", SECRET), {"HELLO": text})
    assert (hello.proto, hello.role, hello.version) == (2, "master", "")
    assert said[1][:2] == [["AUTH", "bob", SECRET], ["CLIENT", "SETNAME", "seqcache"]]
    assert ["SELECT", 1] in said[1]


def test_protocol_2_sends_no_hello():
    hello, said = converse(Config("redis://h", protocol=2), (None, SECRET), {})
    assert hello.proto == 2
    assert said[0][0] == ["AUTH", SECRET]
    _, said = converse(Config("redis://h", protocol=2, client_name=""), NOBODY, {})
    assert said[0][0][:2] == ["CLIENT", "SETINFO"]


def test_hello_as_a_flat_list_is_understood():
    flat = [part for pair in HELLO.items() for part in pair]
    hello, _ = converse(PLAIN, NOBODY, {"HELLO": flat})
    assert hello.version == "8.0.1"


def test_refused_setinfo_is_ignored():
    assert converse(PLAIN, NOBODY, {"CLIENT": NOINFO})[0].role == "master"


@pytest.mark.parametrize(
    ("verb", "text", "hint"),
    [
        ("HELLO", "WRONGPASS invalid username-password pair", "'bob'"),
        ("HELLO", "NOAUTH HELLO must be called with the client", "PASSWORD"),
        ("HELLO", "ERR AUTH <password> called without any password", "leave it out"),
        ("HELLO", "ERR invalid password", None),
    ],
)
def test_refused_credentials_are_auth_errors(verb, text, hint):
    error = refused(PLAIN, ("bob", SECRET), {verb: Refused(text)})
    assert type(error) is errors.AuthError
    assert error.executed is False
    assert "h:7" in str(error)
    assert error.__cause__.code == text.split()[0]
    assert (hint in error.hint) if hint else error.hint is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("WRONGPASS invalid", "'bob'"),
        ("ERR wrong number of arguments for 'auth' command", "password alone"),
        ("ERR Client sent AUTH, but no password is set", "leave it out"),
        (f"ERR unknown command `AUTH`, with args beginning with: `{SECRET[:4]}", None),
        (f"ERR odd {SECRET} echoed", None),
    ],
)
def test_refused_auth_of_an_old_server(text, hint):
    answers = {"HELLO": OLD, "AUTH": Refused(text)}
    error = refused(PLAIN, ("bob", SECRET), answers)
    assert type(error) is errors.AuthError
    assert SECRET[:4] not in str(error)
    assert (hint in error.hint) if hint else error.hint is None


def test_missing_password_is_told_with_the_way_to_give_it():
    texts = Refused("NOAUTH Authentication required.")
    answers = {"HELLO": OLD, "ROLE": texts, "EXISTS": texts, "CLIENT": texts}
    error = refused(PLAIN, NOBODY, answers)
    assert type(error) is errors.AuthError
    assert "redis://:PASSWORD@" in error.hint


def test_user_without_password_may_be_a_password_and_is_not_shown():
    error = refused(PLAIN, (SECRET, None), {"HELLO": Refused(f"WRONGPASS no {SECRET}")})
    assert "without a password" in error.hint


@pytest.mark.parametrize(
    ("verb", "text", "cls", "words"),
    [
        ("SELECT", "ERR DB index is out of range", "ConnectError", "/0 to /15"),
        ("SELECT", "ERR SELECT is not allowed in cluster mode", "ConnectError", "/0"),
        ("SELECT", "NOPERM no 'select'", "AuthError", "+select"),
        ("EXISTS", "LOADING Redis is loading", "ConnectError", "startup_timeout"),
        ("EXISTS", "MASTERDOWN Link is down", "ConnectError", "primary"),
        ("EXISTS", "MOVED 1 h:2", "ConnectError", "redis+cluster"),
        ("EXISTS", "CLUSTERDOWN Hash slot not served", "ConnectError", "cluster"),
        ("HELLO", "LOADING Redis is loading", "ConnectError", "startup_timeout"),
        ("HELLO", "ERR max number of clients reached", "ConnectError", "maxclients"),
        ("HELLO", "DENIED Redis is running in protected", "ConnectError", "password"),
    ],
)
def test_server_that_cannot_serve_us(verb, text, cls, words):
    error = refused(Config("redis://h:7/99"), (None, SECRET), {verb: Refused(text)})
    assert type(error).__name__ == cls
    assert words in error.hint
    assert text.split()[0] in str(error)
    assert isinstance(error.__cause__, errors.ServerError)


@pytest.mark.parametrize("text", ["BUSY a script", "ERR unknown command", "WRONGTYPE"])
def test_other_errors_of_the_probe_show_a_serving_server(text):
    assert converse(PLAIN, NOBODY, {"EXISTS": Refused(text)})[0].role == "master"


@pytest.mark.parametrize("old", [False, True])
def test_replica_is_refused_with_its_primary(old):
    answers = {"ROLE": SLAVE, **({"HELLO": OLD} if old else {})}
    error = refused(PLAIN, NOBODY, answers)
    assert type(error) is errors.ConnectError
    assert "replica of 10.0.0.1:6379" in str(error)


def test_replica_is_found_by_hello_when_role_is_refused():
    hello = HELLO | {b"role": b"replica"}
    error = refused(PLAIN, NOBODY, {"ROLE": NOPERM, "HELLO": hello})
    assert "replica" in str(error)


def test_replica_is_found_by_info_when_role_is_refused():
    info = b"# Replication\r\nrole:slave\r\nmaster_host:x\r\n"
    answers = {"ROLE": NOPERM, "HELLO": OLD, "INFO replication": info}
    assert "replica" in str(refused(PLAIN, NOBODY, answers))


def test_sentinel_is_refused():
    hello = {key: HELLO[key] for key in (b"server", b"version", b"proto")}
    answers = {"HELLO": hello, "ROLE": [b"sentinel", [b"m"]]}
    answers["EXISTS"] = Refused("ERR unknown command 'EXISTS'")
    assert "Sentinel" in str(refused(PLAIN, NOBODY, answers))


def test_read_only_user_may_open_with_everything_refused():
    answers = {"ROLE": NOPERM, "EXISTS": NOPERM, "INFO": NOPERM, "CLIENT": NOPERM}
    hello, said = converse(PLAIN, ("ro", SECRET), answers)
    assert hello.role == "master"
    assert said[1] == [["INFO", "persistence"]]
    hello, said = converse(PLAIN, ("ro", SECRET), {**answers, "HELLO": OLD})
    assert hello.role == ""
    assert said[2] == [["INFO", "replication"], ["INFO", "persistence"]]


def test_loading_is_found_by_info_when_reads_are_refused():
    answers = {"EXISTS": NOPERM, "INFO persistence": b"loading:1\r\nx:2\r\n"}
    error = refused(PLAIN, NOBODY, answers)
    assert type(error) is errors.ConnectError
    assert "loading" in str(error)


@pytest.mark.parametrize(("size", "is_served"), [(b"1", True), (b"3", False)])
def test_cluster_node_serves_only_if_it_is_alone(size, is_served):
    answers = {"HELLO": HELLO | {b"mode": b"cluster"}}
    answers["CLUSTER INFO"] = b"cluster_state:ok\r\ncluster_size:%s\r\n" % size
    if is_served:
        assert converse(PLAIN, NOBODY, answers)[0].mode == "cluster"
    else:
        assert "Cluster" in str(refused(PLAIN, NOBODY, answers))


def test_talk_takes_any_split_of_the_bytes():
    raw = b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n+OK\r\n-ERR no\r\n"
    raw += b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n:0\r\n"
    for step in (1, 2, 7, len(raw)):
        talk = Talk(PLAIN, NOBODY, Codec())
        assert talk.begin().startswith(b"*4\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
        out = [talk.feed(raw[at : at + step]) for at in range(0, len(raw), step)]
        assert out[-1] is None
        assert set(out[:-1]) <= {b""}
        assert talk.hello == Hello("redis", "", 3, "master")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"<!DOCTYPE HTML>\n", "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "TLS"),
        (b"SSH-2.0-x\r\n", "right port"),
        (b"+OK\r\n" * 9, "right port"),
        (b"$9999999\r\n" + b"x" * (1 << 20), "right port"),
    ],
)
def test_strangers_are_told_apart(raw, words):
    talk = Talk(PLAIN, NOBODY, Codec())
    talk.begin()
    with pytest.raises(errors.ConnectError) as caught:
        talk.feed(raw)
    assert words in caught.value.hint


# --- sockets --------------------------------------------------------------------


class Server:
    """A scripted server: `script(sock)` is run for each connection, in a thread."""

    def __init__(self, script, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self.script = script
        self.count = 0
        self.reached = threading.Event()
        self.eof = threading.Event()
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(address)
        self.listener.listen()
        self.name = self.listener.getsockname()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(5)
                self.count += 1
                self.reached.set()
                try:
                    self.script(sock)
                    while sock.recv(4096):
                        pass
                    self.eof.set()
                except OSError:
                    self.eof.set()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.name[1]}"


READY = b"%1\r\n+server\r\n+redis\r\n+OK\r\n+OK\r\n*1\r\n+master\r\n:0\r\n"


def ready(sock):
    sock.recv(4096)
    sock.sendall(READY)


def silent(sock):
    sock.recv(4096)


def says(raw):
    def script(sock):
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)

    return script


def hang_up(sock):
    sock.close()


def runner(loop_factory):
    def run(coroutine):
        with asyncio.Runner(loop_factory=loop_factory) as at:
            return at.run(coroutine)

    return run


def uvloop_factory():
    import uvloop

    return uvloop.new_event_loop()


@pytest.fixture(params=["blocking", "asyncio", "uvloop"])
def face(request):
    """One body for both ways to wait: `.open(config)` and `.startup(config)`."""
    if request.param == "blocking":
        return types.SimpleNamespace(
            name="blocking",
            open=_connect.open_blocking,
            startup=_connect.startup_blocking,
        )
    run = runner(uvloop_factory if request.param == "uvloop" else None)
    return types.SimpleNamespace(
        name=request.param,
        open=lambda *a, **k: run(_connect.open_asyncio(*a, **k)),
        startup=lambda *a, **k: run(_connect.startup_asyncio(*a, **k)),
    )


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
        _connect._tuned(Selfish(), PLAIN)


def test_cancelled_open_closes_the_socket():
    async def main(server):
        task = asyncio.create_task(_connect.open_asyncio(Config(server.url)))
        assert await asyncio.to_thread(server.reached.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for factory in (None, uvloop_factory):
        with Server(silent) as server:
            runner(factory)(main(server))
            assert server.eof.wait(3)


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
