"""What moves on a server: the sampler, and `seqcache top`."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from command import SEQCACHE, environ, run, terminal

import seqcache
from seqcache.cli import sampler as sampling
from seqcache.cli.sampler import Sampler, fields_of, totals_of
from seqcache.cli.top import amount, span, sparks
from seqcache.errors import ConfigError, ConnectError

__all__ = ["environ", "run", "terminal"]


@pytest.fixture
def seqs(server):
    with seqcache.cache(server.url) as opened:
        yield opened


def increase(server, **by):
    for one, amount_ in by.items():
        server.admin("INCRBY", f"seq:{one}", amount_)


def test_ids_are_told_by_their_rate(server, seqs):
    increase(server, alice=5, bob=5, carol=5)
    sampler = Sampler(seqs)
    assert sampler.look().ids == []
    increase(server, alice=100, bob=300)
    look = sampler.look()
    assert [(one.user_id, one.seq) for one in look.ids] == [
        ("bob", 305),
        ("alice", 105),
    ]
    bob, alice = (one.per_second for one in look.ids)
    assert 2.0 < bob / alice < 4.5
    assert (look.moving, look.looked, look.known) == (2, 3, 3)
    assert sampler.look().ids == [], "what stands still has no rate"


def test_id_that_is_new_gets_its_rate_at_the_next_look(server, seqs):
    sampler = Sampler(seqs)
    sampler.look()
    increase(server, alice=5)
    assert sampler.look().ids == []
    increase(server, alice=5)
    assert [one.user_id for one in sampler.look().ids] == ["alice"]


def test_keyspace_in_slices_comes_in_turn_and_hot_ids_at_every_look(
    server, seqs, monkeypatch
):
    monkeypatch.setattr(sampling, "SLICE", 100)
    server.admin("MSET", *[word for n in range(1000) for word in (f"seq:u{n}", 1)])
    sampler = Sampler(seqs)
    looks = [sampler.look() for _ in range(12)]
    assert looks[0].looked == 100
    assert looks[-1].known == 1000
    server.admin("MSET", *[word for n in range(1000) for word in (f"seq:u{n}", 2)])
    found = set()
    for _ in range(12):
        found |= {one.user_id for one in sampler.look().ids}
    assert len(found) > 15
    increase(server, u7=5)
    for _ in range(12):
        if "u7" in [one.user_id for one in sampler.look().ids]:
            break
    for _ in range(3):  # it is another slice's turn
        increase(server, u7=5)
        assert [one.user_id for one in sampler.look().ids] == ["u7"]


def test_memory_of_ids_is_bounded(server, seqs, monkeypatch):
    monkeypatch.setattr(sampling, "KNOWN", 50)
    monkeypatch.setattr(sampling, "HOT", 10)
    server.admin("MSET", *[word for n in range(200) for word in (f"seq:u{n}", 1)])
    sampler = Sampler(seqs, top=5)
    sampler.look()
    server.admin("MSET", *[word for n in range(200) for word in (f"seq:u{n}", 2)])
    look = sampler.look()
    assert (look.known, look.looked, look.moving, len(look.ids)) == (50, 200, 10, 5)


def test_number_that_went_back_is_told(server, seqs):
    increase(server, alice=100, bob=1)
    sampler = Sampler(seqs)
    sampler.look()
    server.admin("SET", "seq:alice", 3)
    assert sampler.look().back == ["alice"]
    assert sampler.look().back == []


def test_id_that_turns_into_something_else_is_left_out(server, seqs, monkeypatch):
    monkeypatch.setattr(sampling, "SLICE", 0)  # only hot ids are read
    increase(server, alice=1, bob=1)
    sampler = Sampler(seqs)
    sampler._hot = {"alice": 1.0, "bob": 1.0}
    sampler.look()
    server.admin("DEL", "seq:alice")
    server.admin("RPUSH", "seq:alice", 1)
    sampler._hot = {"alice": 1.0, "bob": 1.0}
    assert sampler.look().looked == 1
    sampler._hot = {"alice": 1.0}
    assert sampler.look().looked == 0


@pytest.fixture
def lonely(own_server):
    """A server that no other test has left a link at."""
    with seqcache.cache(own_server.url) as opened:
        yield own_server, opened


def test_commands_and_errors_of_the_server_have_rates(lonely):
    server, seqs = lonely
    sampler = Sampler(seqs)
    sampler.look()
    for _ in range(200):
        server.admin("SET", "x", "text")
    for _ in range(10):
        with pytest.raises(Exception, match="not an integer"):
            server.admin("INCR", "x")
    look = sampler.look()
    rates = {one.name: one for one in look.commands}
    ratio = rates["set"].per_second / rates["incr"].per_second
    assert 15 < ratio < 25
    assert rates["incr"].failed_per_second == rates["incr"].per_second
    assert rates["set"].usec > 0
    assert look.errors["ERR"] == pytest.approx(rates["incr"].per_second)
    assert look.per_second >= rates["set"].per_second
    assert look.keys == 1
    assert look.links == 1
    assert look.clients >= 1
    assert look.role == "primary"


def test_counters_that_start_again_are_no_negative_rate(server, seqs):
    sampler = Sampler(seqs)
    for _ in range(100):
        server.admin("PING")
    sampler.look()
    server.admin("CONFIG", "RESETSTAT")
    look = sampler.look()
    assert look.per_second >= 0
    assert all(one.per_second >= 0 for one in look.commands)


def test_user_who_may_only_read_sees_the_ids(own_server):
    rules = ["on", ">p", "~seq:*", "+ping", "+exists", "+get", "+mget", "+scan"]
    own_server.admin("ACL", "SETUSER", "u", *rules)
    url = f"redis://u:p@127.0.0.1:{own_server.port}/0"
    with seqcache.cache(url) as seqs:
        sampler = Sampler(seqs)
        increase(own_server, alice=1)
        sampler.look()
        increase(own_server, alice=1)
        look = sampler.look()
    assert [one.user_id for one in look.ids] == ["alice"]
    assert (look.commands, look.clients, look.links, look.keys) == (
        [],
        None,
        None,
        None,
    )


def test_server_that_goes_away_and_comes_back_is_told(own_server):
    with seqcache.cache(own_server.url, timeout=1.0) as seqs:
        sampler = Sampler(seqs)
        assert sampler.look_patiently().trouble == ""
        own_server.kill()
        assert "Connection refused" in sampler.look_patiently().trouble
        with pytest.raises(ConnectError):
            sampler.look()
        own_server.start()
        look = sampler.look_patiently()
        assert (look.trouble, look.per_second) == ("", 0.0)
        assert sampler.look_patiently().per_second >= 0
    own_server.kill()


def test_what_lives_in_one_process_cannot_be_watched(run, tmp_path):
    with seqcache.cache("memory://") as seqs, pytest.raises(ConfigError):
        Sampler(seqs)
    code, _, err = run("top", "--once", "--url", f"sqlite:///{tmp_path}/x.db")
    assert (code, "watch a server" in err) == (2, True)


def test_info_is_read_into_totals():
    info = {
        "total_commands_processed": "7",
        "cmdstat_get": "calls=5,usec=10,usec_per_call=2.00,rejected_calls=1",
        "errorstat_OOM": "count=3",
        "redis_version": "7",
    }
    totals = totals_of(info)
    assert totals["all"] == {"commands": 7}
    assert (totals["calls"], totals["usec"]) == ({"get": 5.0}, {"get": 10.0})
    assert (totals["failed"], totals["errors"]) == ({"get": 1.0}, {"OOM": 3.0})
    assert fields_of("a=1,b=x,c") == {"a": 1.0}


def test_figures_are_written_for_people():
    assert [amount(rate) for rate in (0.04, 99.94, 100, 1234567)] == [
        "0.0",
        "99.9",
        "100",
        "1,234,567",
    ]
    spans = {5: "5 s", 65: "1 min", 3700: "1 h 1 min", 90000: "1 d 1 h"}
    assert {seconds: span(seconds) for seconds in spans} == spans
    assert (sparks([]), sparks([0, 0]), sparks([0, 4, 8])) == ("", "  ", " ▄█")


# --- the verb -----------------------------------------------------------------------


@pytest.fixture
def busy(server, environ):
    """A process that increases alice all the time."""
    code = (
        "import seqcache, time\nwith seqcache.cache() as c:\n"
        "    while True: c.increase_seq('alice'); time.sleep(0.002)"
    )
    with subprocess.Popen([SEQCACHE[0], "-c", code], env=environ) as one:
        while not server.admin("EXISTS", "seq:alice"):
            time.sleep(0.01)
        yield
        one.kill()


def test_top_once_prints_ids_and_commands(run, busy):
    code, out, err = run("top", "--once", "--interval", "0.3")
    assert (code, err) == (0, "")
    assert "redis" in out or "valkey" in out
    assert [line for line in out.splitlines() if line.startswith("alice ")]
    assert [line for line in out.splitlines() if line.startswith("incr ")]
    assert "1 ids read in this look, 1 of them moving" in out


def test_top_once_in_json(run, busy):
    code, out, _ = run("top", "--once", "--interval", "0.3", "--json")
    look = json.loads(out)
    assert code == 0
    assert look["ids"][0]["user_id"] == "alice"
    assert look["ids"][0]["per_second"] > 0
    assert "incr" in [one["name"] for one in look["commands"]]


def test_top_in_json_goes_on_until_ctrl_c(environ, busy):
    words = [*SEQCACHE, "top", "--interval", "0.1", "--json"]
    with subprocess.Popen(words, stdout=-1, stderr=-1, env=environ) as one:
        looks = [json.loads(one.stdout.readline()) for _ in range(3)]
        one.send_signal(signal.SIGINT)
        _, err = one.communicate(timeout=20)
    assert (one.returncode, err) == (130, b"")
    assert looks[0]["time"] < looks[1]["time"] < looks[2]["time"]


@pytest.mark.parametrize("rich", [True, False])
def test_top_on_a_terminal_ends_by_ctrl_c_and_gives_it_back(
    terminal, busy, tmp_path, rich
):
    more = {}
    if not rich:
        (tmp_path / "rich").mkdir()
        (tmp_path / "rich" / "__init__.py").write_text("raise ImportError")
        more["PYTHONPATH"] = str(tmp_path)
    one = terminal("top", "--interval", "0.1", **more)
    one.read_until("alice")
    one.read_until("incr")
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(20) == 130
    one.read_until("\0", 5)
    assert "Traceback" not in one.text
    if rich:
        assert "\x1b[?1049h" in one.text, "it takes a screen of its own"
        assert "\x1b[?1049l" in one.text, "and gives the other one back"


def test_top_stays_when_the_server_goes_and_comes_back(terminal, own_server):
    url = f"{own_server.url}?timeout=0.3"
    one = terminal("top", "--interval", "0.1", "--url", url)
    one.read_until("no id moves")
    own_server.kill()
    one.read_until("refused")
    own_server.start()
    one.text = ""
    one.read_until("no id moves")
    assert one.process.poll() is None
