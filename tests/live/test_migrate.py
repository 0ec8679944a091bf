"""`seqcache migrate` on real servers."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from command import SEQCACHE, environ, run

from seqcache.errors import NotASequence

__all__ = ["environ", "run"]

MOST = 2**63 - 1
HASHES = ["migrate", "--from", "sandcat-hash"]


@pytest.fixture
def hashes(server):
    """`hashes(alice=(5, 100))`: what sandcat keeps for alice."""

    def make(**told):
        for one, (cur, most) in told.items():
            server.admin("HSET", f"seq:{one}", "cur_seq", cur, "max_seq", most)

    return make


def test_hash_becomes_a_counter_of_its_max_seq(run, server, hashes):
    hashes(alice=(5, 100), bob=(0, 0), carol=(MOST, MOST), dave=("007", "0100"))
    server.admin("EXPIRE", "seq:alice", 1000)
    server.admin("SET", "seq:eve", 7)
    server.admin("HSET", "other:x", "max_seq", 1)
    code, out, err = run(*HASHES, "--dry-run")
    assert (code, out, err) == (
        0,
        "5 read: 4 would be raised, 1 already ahead, 0 bad\n",
        "",
    )
    assert server.admin("TYPE", "seq:alice") in ("hash", b"hash")
    code, out, _ = run(*HASHES)
    assert (code, out) == (0, "5 read: 4 raised, 1 already ahead, 0 bad\n")
    keys = ["seq:alice", "seq:bob", "seq:carol", "seq:dave", "seq:eve"]
    values = [b"100", b"0", str(MOST).encode(), b"100", b"7"]
    assert server.admin("MGET", *keys) == values
    assert server.admin("TTL", "seq:alice") == -1, "a counter does not expire"
    assert run("incr", "alice")[1] == "101\n"
    assert run(*HASHES)[1] == "5 read: 0 raised, 5 already ahead, 0 bad\n"
    assert server.admin("TYPE", "other:x") in ("hash", b"hash")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"cur_seq": 1}, "the hash has no max_seq"),
        ({"max_seq": "x"}, "max_seq is no whole number up to 2^63 - 1"),
        ({"max_seq": "-5"}, "max_seq is no whole number up to 2^63 - 1"),
        ({"max_seq": ""}, "max_seq is no whole number up to 2^63 - 1"),
        ({"max_seq": MOST + 1}, "max_seq is no whole number up to 2^63 - 1"),
        ({"cur_seq": "1.5", "max_seq": 7}, "cur_seq is no whole number"),
        ({"cur_seq": 8, "max_seq": 7}, "cur_seq is above max_seq"),
        ({"cur_seq": 10, "max_seq": 9}, "cur_seq is above max_seq"),
    ],
)
def test_hash_that_cannot_be_read_stays_and_is_told(run, server, fields, reason):
    words = [word for pair in fields.items() for word in pair]
    server.admin("HSET", "seq:bad", *words)
    server.admin("HSET", "seq:good", "max_seq", 5)
    code, out, err = run(*HASHES)
    assert (code, err) == (1, f"seqcache: bad: {reason}\n")
    assert out == "2 read: 1 raised, 0 already ahead, 1 bad\n"
    assert server.admin("HLEN", "seq:bad") == len(fields)
    assert server.admin("GET", "seq:good") == b"5"


def test_keys_that_are_neither_are_told(run, server):
    server.admin("RPUSH", "seq:list", 1)
    server.admin("SET", "seq:text", "x")
    code, out, _ = run(*HASHES, "--json")
    told = json.loads(out)
    assert (code, told["read"], told["bad"], told["dry_run"]) == (1, 2, 2, False)
    assert sorted((one["user_id"], one["reason"]) for one in told["bad_ids"]) == [
        ("list", "a list, no hash"),
        ("text", "a text, no number"),
    ]


def test_hint_of_a_wrong_type_names_the_verb_that_mends_it(run, hashes, live_cache):
    hashes(alice=(5, 100))
    with pytest.raises(NotASequence) as caught:
        live_cache.increase_seq("alice")
    assert "`seqcache migrate`" in caught.value.hint
    assert run(*HASHES)[0] == 0
    assert live_cache.increase_seq("alice") == 101


def test_migration_that_is_interrupted_goes_on(environ, run, server):
    count = 20_000
    script = "for i=1,#ARGV do redis.call('HSET','seq:u'..(i-1),'max_seq',ARGV[i]) end"
    for first in range(0, count, 5000):
        numbers = range(first + 1, first + 5001)
        part = script.replace("(i-1)", f"({first}+i-1)")
        server.admin("EVAL", part, 0, *numbers)
    with subprocess.Popen([*SEQCACHE, *HASHES], stderr=-1, env=environ) as one:
        while not strings(server):
            time.sleep(0.001)
        one.send_signal(signal.SIGINT)
        _, err = one.communicate(timeout=50)
    done = strings(server)
    assert (one.returncode, err.startswith(b"interrupted after ")) == (130, True)
    assert 0 < done < count
    told = json.loads(run(*HASHES, "--json")[1])
    assert (told["read"], told["ahead"]) == (count, done)
    keys = [f"seq:u{n}" for n in range(count)]
    assert list(map(int, server.admin("MGET", *keys))) == list(range(1, count + 1))


def strings(server):
    """How many keys hold a string now."""
    words = ["MGET", *(f"seq:u{n}" for n in range(20_000))]
    return sum(value is not None for value in server.admin(*words))


def test_hashes_in_durable_mode_go_on_above_max_seq(run, server, hashes, tmp_path):
    pytest.importorskip("sqlalchemy")
    store = f"sqlite:///{tmp_path}/ceilings.db"
    more = {
        "SEQCACHE_CEILINGS": store,
        "SEQCACHE_TIMEOUT": "20",
    }  # the disk may be slow
    hashes(alice=(5, 100))
    assert run(*HASHES, **more)[0] == 0
    assert run("incr", "alice", **more)[:2] == (0, "101\n")


# --- another prefix -----------------------------------------------------------------


def test_counters_of_another_prefix_are_raised_and_stay(run, server):
    pairs = ["old:alice", 5, "old:bob", 7, "old:carol", MOST, "seq:bob", 9]
    server.admin("MSET", *pairs, "old:text", "x", b"old:\xff", 3)
    words = ["migrate", "--from", "prefix:old:"]
    code, out, err = run(*words, "--dry-run")
    assert (code, out) == (0, "4 read: 3 would be raised, 1 already ahead, 0 bad\n")
    assert server.admin("EXISTS", "seq:alice") == 0
    code, out, err = run(*words)
    assert (code, out) == (0, "4 read: 3 raised, 1 already ahead, 0 bad\n")
    assert err.endswith("once nobody writes them, run it a last time\n")
    keys = ["seq:alice", "seq:bob", "seq:carol", b"seq:\xff", "old:alice"]
    values = [b"5", b"9", str(MOST).encode(), b"3", b"5"]
    assert server.admin("MGET", *keys) == values
    server.admin("INCR", "old:alice")
    assert run(*words, "-q") == (0, "4 read: 1 raised, 3 already ahead, 0 bad\n", "")


def test_key_of_another_type_under_the_new_prefix_is_told(run, server):
    server.admin("MSET", "old:alice", 5, "old:bob", 6)
    server.admin("RPUSH", "seq:bob", 1)
    code, out, err = run("migrate", "--from", "prefix:old:", "-q")
    assert (code, out) == (1, "2 read: 1 raised, 0 already ahead, 1 bad\n")
    assert err.startswith("seqcache: bob: WRONGTYPE")


@pytest.mark.parametrize("old", ["s", "seq", "", "seq:old:"])
def test_prefixes_that_overlap_do_not_feed_each_other(run, server, old):
    server.admin("MSET", f"{old}alice", 5, "seq:bob", 7)
    for raised in (1, 0):
        _, out, _ = run("migrate", "--from", f"prefix:{old}", "--json")
        assert json.loads(out)["raised"] == raised
    assert server.admin("GET", "seq:alice") == b"5"
    assert server.admin("DBSIZE") == 3


def test_thousands_of_counters_are_brought_over(run, server):
    pairs = [word for n in range(3000) for word in (f"old:u{n}", n + 1)]
    server.admin("MSET", *pairs)
    _, out, _ = run("migrate", "--from", "prefix:old:", "-q")
    assert out == "3,000 read: 3,000 raised, 0 already ahead, 0 bad\n"
    assert server.admin("GET", "seq:u2999") == b"3000"
