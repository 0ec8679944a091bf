"""The command line as a process of its own, on real servers and broken ones."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from command import SEQCACHE, environ, run, terminal
from servers import free_port

from fakes.node import hang, reset_after

ROOT = Path(__file__).resolve().parents[2]

__all__ = ["environ", "run", "terminal"]


def test_command_line_and_redis_agree(run, server):
    server.admin("SET", "seq:alice", 41)
    assert run("incr", "alice") == (0, "42\n", "")
    assert server.admin("GET", "seq:alice") == b"42"
    assert run("reserve", "alice", "8") == (0, "43 50\n", "")
    assert run("raise", "alice", str(2**63 - 1)) == (0, f"{2**63 - 1}\n", "")
    assert run("get", "alice", "bob") == (0, f"alice\t{2**63 - 1}\nbob\t0\n", "")


def test_ls_lists_our_sequences_only(run, server):
    for key, value in (("seq:a", 1), ("seq:b", 2), ("other:c", 3), ("seq:d", "text")):
        server.admin("SET", key, value)
    code, out, err = run("ls")
    assert (code, sorted(out.splitlines()), err) == (0, ["a\t1", "b\t2"], "")


def test_installed_command_is_the_same(environ):
    command = Path(sys.executable).with_name("seqcache")
    if not command.exists():
        pytest.skip("seqcache is not installed beside this Python")
    done = subprocess.run([command, "incr", "x"], capture_output=True, env=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")


def test_server_that_is_away_is_3_with_a_hint(run):
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    code, out, err = run("get", "alice", SEQCACHE_URL=url)
    assert (code, out) == (3, "")
    assert err.startswith("seqcache: cannot connect to 127.0.0.1:")
    assert "\n  hint: " in err
    assert "secret" not in err
    assert "Traceback" not in err
    code, out, err = run("get", "alice", "--json", SEQCACHE_URL=url)
    assert (code, out) == (3, "")
    assert json.loads(err)["error"] == "StartupError"
    assert "secret" not in err


def test_wrong_password_is_1(run, make_server):
    guarded = make_server("--requirepass", "right", password="right")
    url = f"redis://:wrong-one@127.0.0.1:{guarded.port}/0"
    code, out, err = run("get", "alice", "--url", url)
    assert (code, out) == (1, "")
    assert err.startswith("seqcache: ")
    assert "wrong-one" not in err


def test_lost_answer_is_4_and_counted_once(run, node):
    node.on("INCR", do=reset_after)
    code, out, err = run("incr", "alice", "--url", node.url)
    assert (code, out) == (4, "")
    assert "not known whether it was counted" in err
    assert node.applied["seq:alice"] == 1


def test_lost_answer_of_one_of_several_is_4_and_named(run, node):
    node.on("INCR", do=reset_after, key="seq:bob")
    code, out, _ = run("incr", "alice", "bob", "--url", node.url, "--json")
    assert code == 4
    alice, bob = map(json.loads, out.splitlines())
    assert alice == {"user_id": "alice", "seq": 1, "by": 1}
    assert (bob["user_id"], bob["error"]) == ("bob", "OutcomeUnknown")
    assert bob["executed"] is None
    assert node.applied["seq:bob"] == 1


def test_foreign_value_is_1_with_a_hint_and_spares_the_others(run, server):
    server.admin("LPUSH", "seq:bob", "x")
    code, out, err = run("incr", "alice", "bob")
    assert (code, out) == (1, "alice\t1\n")
    assert err.startswith("seqcache: bob: ")
    assert "\n  hint: " in err


def test_interrupt_ends_with_130_and_says_what_it_means(environ, node):
    node.on("INCR", do=hang)
    words = [*SEQCACHE, "incr", "alice", "--url", f"{node.url}?timeout=30"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environ) as one:
        node.wait_for(lambda: node.seen("INCR"), 20)
        began = time.monotonic()
        one.send_signal(signal.SIGINT)
        _, err = one.communicate(timeout=20)
        assert time.monotonic() - began < 5
    assert one.returncode == 130
    assert err == ("interrupted: the call may have been counted, look with `get`\n")


def test_reader_that_leaves_early_gets_no_complaint(environ, server):
    pairs = [word for n in range(5000) for word in (f"seq:user-{n:05}", "1")]
    server.admin("MSET", *pairs)
    with subprocess.Popen(
        [*SEQCACHE, "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as one:
        assert one.stdout.readline().endswith(b"\t1\n")
        one.stdout.close()
        assert one.stderr.read() == b""
    assert one.returncode == 0


def test_new_number_that_nobody_could_read_is_a_failure(environ, server):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as broken:
        done = subprocess.run(
            [*SEQCACHE, "incr", "x"], stdout=broken, stderr=subprocess.PIPE, env=environ
        )
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_told(environ):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*SEQCACHE, "get", "x"], stdout=full, stderr=subprocess.PIPE, env=environ
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"seqcache: cannot write the result: ")


def test_output_that_cannot_encode_an_id_escapes_it(run, server):
    server.admin("SET", "seq:Zo\u00eb", 1)
    words = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    assert run("ls", **words) == (0, "Zo\\xeb\t1\n", "")


# --- on a terminal ------------------------------------------------------------


def test_errors_are_coloured_on_a_terminal(terminal):
    one = terminal("get", "x", "--url", "rediss://host")
    one.process.wait(20)
    one.read_until("not in this version")
    assert "\x1b[31;1mseqcache:\x1b[0m" in one.text


@pytest.mark.parametrize("words", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_nobody_wants_it(terminal, words):
    one = terminal("get", "x", "--url", "rediss://host", **words)
    one.process.wait(20)
    one.read_until("not in this version")
    assert "\x1b" not in one.text


def test_demo_on_a_terminal_ends_by_q_and_gives_the_keyboard_back(terminal, server):
    one = terminal("demo", "--url", server.url)
    one.read_until("q ends.")
    one.press(b" q")
    assert one.process.wait(20) == 0
    one.read_until("\0")
    assert "2  A block" not in one.text
    assert termios.tcgetattr(one.slave) == one.before
    assert server.admin("DBSIZE") == 0


def test_interrupted_demo_removes_its_keys_and_gives_the_keyboard_back(
    terminal, server
):
    one = terminal("demo", "--url", server.url)
    one.read_until("The tour runs on")
    began = time.monotonic()
    one.read_until("2  A block")
    assert time.monotonic() - began > 1.5, "too fast to be read"
    assert server.admin("DBSIZE") > 0
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(20) == 130
    one.read_until("\0", 5)
    assert "Traceback" not in one.text
    assert termios.tcgetattr(one.slave) == one.before
    assert server.admin("DBSIZE") == 0


# --- demo, bench, examples on a server ------------------------------------------


def test_demo_on_a_server_leaves_it_as_it_was(run, server):
    server.admin("SET", "seq:alice", 7)
    code, out, err = run("demo", "-q", "--url", server.url)
    assert (code, err) == (0, "")
    assert out.count("   ok  ") == len(out.splitlines())
    assert server.admin("GET", "seq:alice") == b"7"
    assert server.admin("DBSIZE") == 1


def test_bench_compares_with_redis_py_and_cleans_up(run, server):
    pytest.importorskip("redis")
    server.admin("SET", "seq:alice", 7)
    words = ["--rounds", "1", "--seconds", "0.02", "--json"]
    for url in (server.url, server.sock_url):
        code, out, err = run("bench", *words, "--url", url)
        assert (code, err) == (0, "")
        report = json.loads(out)
        measured = {(row["client"], row["work"]) for row in report["results"]}
        assert ("redis-py", "asyncio_100") in measured
        assert ("seqcache", "asyncio_100") in measured
        assert "redis-py" not in [row["client"] for row in report["missing"]]
    assert server.admin("DBSIZE") == 1


def test_keys_that_cannot_be_removed_are_told(run, make_server):
    limited = make_server()
    limited.admin(
        "ACL", "SETUSER", "u", "on", ">p", "~seq:*", "+@all", "-del", "-unlink"
    )
    url = f"redis://u:p@127.0.0.1:{limited.port}/0"
    code, _, err = run("demo", "-q", "--url", url)
    assert code == 0
    assert err.startswith("seqcache: keys that begin with seq:demo-")


@pytest.mark.parametrize("name", ["blocking", "asyncio"])
def test_ten_lines_run(name, environ, server):
    file = ROOT / "examples" / f"ten_lines_{name}.py"
    done = subprocess.run(
        [sys.executable, file], capture_output=True, text=True, env=environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "alice: 1, then 2 to 101\n" in done.stdout
    assert "room: 1000 different numbers" in done.stdout
    assert "group: [102, 1, 1]\n" in done.stdout
    body = [line for line in file.read_text().splitlines() if line.startswith("    ")]
    assert len(body) <= 10


def test_the_embedded_example_goes_on_where_it_was(environ, tmp_path):
    command = [sys.executable, ROOT / "examples" / "embedded.py", tmp_path / "seq.db"]
    for first in (1, 100_002):
        done = subprocess.run(command, capture_output=True, text=True, env=environ)
        assert (done.returncode, done.stderr) == (0, "")
        last = first + 99_999
        assert f"orders: {first} to {last}, 100000 different\n" in done.stdout
        assert done.stdout.endswith("message-17: 100001\n")
