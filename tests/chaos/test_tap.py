"""The proxy of the scenarios does what it is told, and nothing else."""

from __future__ import annotations

import threading
import time

import pytest
import resp

from chaos.tap import Tap, frame_end, lose, words_of

FRAMES = [
    b"+OK\r\n",
    b":12\r\n",
    b"_\r\n",
    b"$-1\r\n",
    b"$3\r\na\r\n\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n$1\r\nx\r\n*1\r\n:5\r\n",
    b"%1\r\n+k\r\n~2\r\n,1.5\r\n#t\r\n",
    b">2\r\n+message\r\n=5\r\ntxt:x\r\n",
]


@pytest.mark.parametrize("frame", FRAMES)
def test_frame_ends_where_it_ends_and_not_before(frame):
    assert frame_end(b":1\r\n" + frame + b"+more\r\n", 4) == 4 + len(frame)
    assert {frame_end(frame[:cut], 0) for cut in range(len(frame))} == {-1}


def test_words_of_a_command():
    assert words_of(resp.encode("FCALL", b"f\r\n", 2)) == [b"FCALL", b"f\r\n", b"2"]


@pytest.fixture
def tap(server):
    """A proxy before the shared server."""
    made = Tap(server.address)
    yield made
    made.close()


def test_the_nth_reply_is_lost_after_it_was_counted(tap, server):
    rule = tap.on("INCR", lose, nth=2, reply=True)
    with resp.Resp(("127.0.0.1", tap.port)) as link:
        assert link.ask("INCR", "k") == 1
        with pytest.raises(ConnectionError):
            link.ask("INCR", "k")
    assert (rule.seen, rule.done) == (2, 1)
    with resp.Resp(("127.0.0.1", tap.port)) as link:
        assert link.ask("INCR", "k") == 3


def test_a_request_that_is_cut_is_not_counted(tap, server):
    tap.on("INCR", lose)
    with pytest.raises(ConnectionError), resp.Resp(("127.0.0.1", tap.port)) as link:
        link.ask("INCR", "k")
    assert server.admin("GET", "k") is None


def test_a_request_held_back_arrives_late(tap, server):
    gate = threading.Event()
    rule = tap.on("INCR", lambda _: gate.wait(10) and None)
    with resp.Resp(("127.0.0.1", tap.port)) as link:
        link.sock.sendall(resp.encode("GET", "k") + resp.encode("INCR", "k"))
        assert link.read() is None  # what came before it is on its way
        deadline = time.monotonic() + 10
        while not rule.seen:
            assert time.monotonic() < deadline
        assert server.admin("GET", "k") is None
        gate.set()
        assert link.read() == 1


def test_a_request_can_be_executed_twice(tap, server):
    tap.on("INCR", lambda command: command.repeat(server.address))
    with resp.Resp(("127.0.0.1", tap.port)) as link:
        assert link.ask("INCR", "k") == 2


def test_links_are_cut_when_the_way_leads_elsewhere(tap, make_server):
    other = make_server()
    with resp.Resp(("127.0.0.1", tap.port)) as link:
        link.ask("SET", "where", "here")
        tap.lead(other.address)
        with pytest.raises(ConnectionError):
            link.ask("GET", "where")
    with resp.Resp(("127.0.0.1", tap.port)) as link:
        assert link.ask("GET", "where") is None
