"""What a server says in an error, or answers to a reserve, may be anything."""

from __future__ import annotations

import pytest

import seqcache
from fakes import node as faults
from seqcache import _native

LATIN = b"-ERR caf\xe9 refused\r\n"
CUT = b"-ERR " + b"x" * 507 + "\u00e9".encode() + b"\r\n"  # longer than what is kept


@pytest.mark.parametrize("raw", [LATIN, CUT], ids=["latin-1", "cut"])
@pytest.mark.parametrize(
    ("method", "args"),
    [("increase_seq", ["a"]), ("get_seq", ["a"]), ("increase_seqs", [["a", "b"]])],
)
def test_an_error_that_is_no_utf8_is_a_server_error(
    plain_face, node, raw, method, args
):
    cache = plain_face.open(node.url)
    for command in ("INCRBY", "INCR", "GET", "MGET"):
        node.on(command, faults.answer(raw), times=100)
    with pytest.raises(seqcache.ServerError) as caught:
        cache.call(method, *args)
    assert caught.value.code == "ERR"


def test_the_codec_takes_an_error_that_is_no_utf8():
    (error,) = _native.Codec().feed(b"-ERR \xff\r\n")
    assert (error.code, error.text) == ("ERR", "ERR \\xff")


def test_the_codec_refuses_an_empty_command():
    with pytest.raises(ValueError, match="at least one word"):
        _native.Codec().encode(())


def test_reserve_below_zero_is_the_range_that_was_taken(server, plain_face):
    server.admin("SET", "seq:neg", -100)
    cache = plain_face.open(server.url, on_regress="off")
    assert cache.reserve("neg", 5) == range(-99, -94)


def test_reserve_takes_any_number_of_a_server(plain_face, node):
    cache = plain_face.open(node.url, on_regress="off")
    node.on("INCRBY", faults.answer(b":-9223372036854775808\r\n"))
    assert cache.reserve("a", 5) == range(-(2**63) - 4, -(2**63) + 1)


def test_an_empty_command_is_refused(plain_face, node):
    cache = plain_face.open(node.url)
    with pytest.raises(ValueError, match="at least one word"):
        cache.call("_execute", ())
    assert cache.increase_seq("a") == 1


def test_an_engine_without_blocking_links_says_so():
    engine = _native.Engine("x", lambda _: 0, 1.0, 10, "safe", None, 0, None, 600)
    with pytest.raises(RuntimeError, match="no blocking links"):
        _native.Client(engine, b"").increase_seq("a")
    with pytest.raises(TypeError, match="connect"):
        _native.Engine("x", None, 1.0, 10, "safe", None, 1, None, 600)


@pytest.mark.parametrize("method", ["ping", "scan"])
def test_errors_name_the_method_that_was_called(plain_face, node, method):
    cache = plain_face.open(node.url)
    for command in ("PING", "SCAN"):
        node.on(command, faults.error("ERR no"), times=100)
    with pytest.raises(seqcache.ServerError, match=rf"^{method}\(\) at "):
        getattr(cache, method)()


def test_a_scan_that_fails_at_its_values_is_a_scan(plain_face, node):
    cache = plain_face.open(node.url)
    cache.increase_seq("a")
    node.on("MGET", faults.error("ERR no"), times=100)
    with pytest.raises(seqcache.ServerError, match=r"^scan\(\) at "):
        cache.scan()
