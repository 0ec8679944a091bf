"""`seqcache demo --durable`: it kills its server, and what it says is so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("sqlalchemy")

from conftest import missing  # noqa: E402
from servers import NoServer, find_old_binary  # noqa: E402

from seqcache.cli import demo_durable, main  # noqa: E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the demo puts its server: gone afterwards."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_durable_counter_goes_on_where_the_plain_one_repeats(folder, capsys):
    assert main(["demo", "--durable", "--fast"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count(">>> kill -9 ") == 1
    assert "   ok  durable: no number twice and none back" in out
    assert max(map(len, out.splitlines())) <= 80
    assert list(folder.iterdir()) == []


def test_json_has_one_object_a_scene(folder, capsys):
    assert main(["demo", "--durable", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["scene"] for row in rows] == ["count", "crash", "flush", "judge"]
    assert all(row["ok"] for row in rows)
    _, crash, _, judge = rows
    assert crash["first"]["plain"] <= crash["before"]["plain"]
    assert crash["first"]["durable"] > crash["before"]["durable"]
    assert judge["plain"]["twice"] > 100
    assert (judge["durable"]["twice"], judge["durable"]["back"]) == (0, 0)
    assert judge["durable"]["numbers"] > 400


def test_demo_fails_when_the_durable_counter_does(folder, capsys, monkeypatch):
    real = demo_durable.cache

    def plain_after_all(url, **options):
        options.pop("ceilings", None)
        return real(url, **options)

    monkeypatch.setattr(demo_durable, "cache", plain_after_all)
    assert main(["demo", "--durable", "-q"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_without_a_server_it_says_so(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["demo", "--durable"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "no redis-server and no valkey-server on PATH" in err
    assert "hint: apt-get install redis-server" in err


def test_old_server_is_refused_with_the_reason(folder, monkeypatch, capsys):
    try:
        old = find_old_binary()
    except NoServer as exc:
        missing(str(exc))
    monkeypatch.setattr(demo_durable, "find_server", lambda: old)
    assert main(["demo", "--durable"]) == 3
    assert "durable mode needs 7.0 or newer" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_url_is_refused(capsys):
    assert main(["demo", "--durable", "--url", "redis://localhost"]) == 2
    assert "starts one of its own" in capsys.readouterr().err


def test_ctrl_c_ends_the_server_too(tmp_path):
    command = [sys.executable, "-m", "seqcache", "demo", "--durable", "--json"]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ)
    with process:
        assert process.stdout.readline().startswith(b'{"scene": "count"')
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    end = time.monotonic() + 10
    while list(tmp_path.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.01)
