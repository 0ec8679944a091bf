"""docs/errors.md shows each error with the text that it really has."""

from __future__ import annotations

import asyncio
import http.server
import re
import socket
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

import seqcache

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
ENTRIES = re.findall(
    r"^### (.*?)\n\n```text\n(.*?)^```\n\n(\S.*?)\n$", PAGE.read_text(), re.M | re.S
)


def opened(url: str, **options):
    """Open a cache and close it again: the error is in the opening."""
    with seqcache.cache(url, **options):
        pass


@contextmanager
def serving(handle):
    """A port at which each connection is handled by a function."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                with link:
                    handle(link)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Mistakes:
    """One method for each entry of the page; it makes the mistake."""

    def __init__(self, request):
        self.get = request.getfixturevalue

    @property
    def cache(self):
        return self.get("made")

    def nobody_listens_there(self):
        opened(f"redis://127.0.0.1:{refused_port()}")

    def the_host_does_not_exist(self):
        opened("redis://redis.invalid:6379")

    def nobody_answers(self):
        with serving(lambda link: link.recv(1 << 16) and link.recv(1)) as url:
            opened(url, connect_timeout=0.2)

    def another_program_has_the_port(self):
        handler = http.server.BaseHTTPRequestHandler
        handler.log_message = lambda *_: None
        with http.server.HTTPServer(("127.0.0.1", 0), handler) as web:
            threading.Thread(target=web.handle_request, daemon=True).start()
            opened(f"redis://127.0.0.1:{web.server_port}")

    def the_port_speaks_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def handshake(link):
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(link, server_side=True)

        with serving(handshake) as url:
            opened(url)

    def no_password(self):
        opened(self.get("locked").url)

    def a_wrong_password(self):
        opened(self.get("locked").url, password="wrong")

    def characters_in_a_password(self):
        opened("redis://:p@ss/word@localhost")

    def a_replica(self):
        port = self.get("server").port
        opened(self.get("make_server")("--replicaof", "127.0.0.1", str(port)).url)

    def the_server_is_loading(self):
        node = self.get("node")
        node.store.loading = True
        opened(node.url)

    def no_such_database(self):
        opened(f"redis://127.0.0.1:{self.get('server').port}/6379")

    def an_address_without_a_scheme(self):
        opened("localhost:6379")

    def an_option_that_is_none(self):
        opened("memory://", timout=1)

    def an_id_that_is_no_id(self):
        self.cache.get_seq(42.0)

    def an_empty_id(self):
        self.cache.get_seq("")

    def one_id_where_many_are_expected(self):
        self.cache.get_seqs("alice")

    def something_else_is_at_the_key(self):
        self.get("server").admin("LPUSH", "seq:alice", "1")
        self.cache.increase_seq("alice")

    def a_closed_cache(self):
        self.cache.close()
        self.cache.get_seq("alice")

    def numbers_that_would_start_again(self):
        self.cache.delete_seq("alice")

    def the_answer_is_lost(self):
        with seqcache.cache(self.get("faults").url) as cache:
            self.get("faults").silence()
            cache.increase_seq("alice", timeout=0.2)

    def the_server_went_away(self):
        server = self.get("own_server")
        with seqcache.cache(server.url) as cache:
            server.kill()
            cache.increase_seq("alice", timeout=0.2)

    def the_server_is_full(self):
        server = self.get("own_server")
        server.admin("CONFIG", "SET", "maxmemory", "1")
        with seqcache.cache(server.url) as cache:
            cache.increase_seq("alice")

    def a_right_is_missing(self):
        server = self.get("own_server")
        rights = ("on", ">pw", "~*", "+@read", "+@connection", "+role")
        server.admin("ACL", "SETUSER", "reader", *rights)
        url = server.url.replace("//", "//reader:pw@")
        with seqcache.cache(url) as cache:
            cache.increase_seq("alice")

    async def acache_without_await(self):
        cache = seqcache.acache("memory://")
        await cache.increase_seq("alice")

    async def a_call_without_await(self):
        async with seqcache.acache("memory://") as cache:
            return cache.increase_seq("alice") + 1

    def no_event_loop(self):
        self.get("chats").increase_seq("alice")

    def a_call_awaited_in_another_loop(self):
        chats = self.get("chats")

        async def begin():
            return chats.increase_seq("alice")

        async def end(call):
            return await call

        with asyncio.Runner() as runner:
            asyncio.run(end(runner.run(begin())))

    async def a_blocking_cache_in_async_with(self):
        async with self.cache:
            pass


@pytest.fixture
def made(server):
    with seqcache.cache(server.url) as cache:
        yield cache


@pytest.fixture
def chats(server):
    """A cache of asyncio, opened in a loop that has ended."""

    async def begin():
        return await seqcache.acache(server.url)

    cache = asyncio.run(begin())
    yield cache
    asyncio.run(cache.aclose())


@pytest.fixture
def locked(make_server):
    return make_server("--requirepass", "secret", password="secret")


def name_of(title: str) -> str:
    """The method of an entry."""
    return re.sub(r"\W+", "_", title).strip("_").lower()


def one_line(text: str) -> str:
    """Without the breaks that fit a text to a page."""
    return " ".join(text.split())


def shown(error: BaseException) -> str:
    """As the last line of a traceback, with the usual address."""
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    text = re.sub(r"127\.0\.0\.1:\d+", "localhost:6379", str(error))
    text = text.replace("replica of localhost:6379", "replica of localhost:6380")
    return one_line(f"{module}{kind.__qualname__}: {text}")


@pytest.mark.parametrize(("title", "text"), [entry[:2] for entry in ENTRIES])
def test_an_error_says_what_the_page_says(title, text, request):
    mistake = getattr(Mistakes(request), name_of(title))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - compared as a whole
        asyncio.run(mistake()) if asyncio.iscoroutinefunction(mistake) else mistake()
    expected = re.escape(one_line(text)).replace("…", ".*").replace(r"\ .*", ".*")
    assert re.fullmatch(expected, shown(caught.value)), shown(caught.value)


def test_every_mistake_has_an_entry_with_a_way_out():
    known = {name for name in vars(Mistakes) if not name.startswith("_")} - {"cache"}
    assert {name_of(title) for title, _, _ in ENTRIES} == known
    assert len(ENTRIES) == PAGE.read_text().count("\n### ") >= 20
