"""For tests of connecting: a codec, a scripted server, both ways to wait."""

import asyncio
import socket
import sys
import threading
import types

from seqcache import _connect, errors


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


def install_codec(monkeypatch):
    """Put the codec above where the extension's would be."""
    module = types.ModuleType("seqcache._native")
    module.Codec = Codec
    monkeypatch.setitem(sys.modules, "seqcache._native", module)
    monkeypatch.setattr("seqcache._native", module, raising=False)


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


WAYS = ("blocking", "asyncio", "uvloop")


def way(name):
    """One body for all ways to wait: `.open(config)` and `.startup(config)`."""
    if name == "blocking":
        return types.SimpleNamespace(
            name=name, open=_connect.open_blocking, startup=_connect.startup_blocking
        )
    run = runner(uvloop_factory if name == "uvloop" else None)
    return types.SimpleNamespace(
        name=name,
        open=lambda *a, **k: run(_connect.open_asyncio(*a, **k)),
        startup=lambda *a, **k: run(_connect.startup_asyncio(*a, **k)),
    )
