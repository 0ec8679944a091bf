"""`seqcache export` and `seqcache import` on real servers."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from command import SEQCACHE, environ, run, terminal

__all__ = ["environ", "run", "terminal"]


def test_export_and_import_through_a_pipe(environ, server):
    pairs = [word for n in range(3000) for word in (f"seq:user-{n:05}", n + 1)]
    server.admin("MSET", *pairs)
    out = subprocess.Popen([*SEQCACHE, "export", "-"], stdout=-1, env=environ)
    words = [*SEQCACHE, "import", "-", "--prefix", "copy:", "--json"]
    with out, subprocess.Popen(words, stdin=out.stdout, stdout=-1, env=environ) as one:
        out.stdout.close()
        told = json.loads(one.communicate(timeout=50)[0])
    assert (out.returncode, one.returncode) == (0, 0)
    assert (told["read"], told["raised"], told["file"]) == (3000, 3000, "-")
    assert server.admin("GET", "copy:user-02999") == b"3000"


def test_export_whose_reader_leaves_gets_no_complaint(environ, server):
    pairs = [word for n in range(5000) for word in (f"seq:user-{n:05}", "1")]
    server.admin("MSET", *pairs)
    words = [*SEQCACHE, "export", "-"]
    with subprocess.Popen(words, stdout=-1, stderr=-1, env=environ) as one:
        assert one.stdout.readline().endswith(b"1}\n")
        one.stdout.close()
        assert one.stderr.read() == b""
    assert one.returncode == 0


def test_import_that_is_interrupted_and_started_again_ends_right(
    environ, run, server, tmp_path
):
    count, file = 20_000, tmp_path / "x.jsonl"
    with file.open("w") as opened:
        for n in range(count):
            opened.write(f'{{"user_id": "user-{n}", "seq": {n + 1}}}\n')
    words = [*SEQCACHE, "import", str(file)]
    with subprocess.Popen(words, stdout=-1, stderr=-1, text=True, env=environ) as one:
        while server.admin("DBSIZE") == 0:
            time.sleep(0.001)
        one.send_signal(signal.SIGINT)
        out, err = one.communicate(timeout=50)
    done = server.admin("DBSIZE")
    assert (one.returncode, out) == (130, "")
    assert err.startswith("interrupted after ")
    assert 0 < done < count
    code, out, _ = run("import", str(file), "--json")
    told = json.loads(out)
    assert (code, told["read"], told["bad"]) == (0, count, 0)
    assert (told["ahead"], told["raised"]) == (done, count - done)
    keys = [f"seq:user-{n}" for n in range(count)]
    assert list(map(int, server.admin("MGET", *keys))) == list(range(1, count + 1))


def test_interrupted_import_of_a_pipe_ends_at_once(environ, server):
    words = [*SEQCACHE, "import", "-"]
    with subprocess.Popen(words, stdin=-1, stderr=-1, text=True, env=environ) as one:
        while not server.client_count():
            time.sleep(0.005)
        time.sleep(0.2)  # it reads, and nothing comes
        one.send_signal(signal.SIGINT)
        assert one.wait(20) == 130
        assert one.stderr.read().startswith("interrupted after 0 lines")
        one.stdin.close()


def test_refused_import_says_how_far_it_came(run, make_server, tmp_path):
    small = make_server("--maxmemory", "1")
    file = tmp_path / "x.csv"
    file.write_text("alice,5\n")
    code, out, err = run("import", str(file), "--url", small.url)
    assert (code, out) == (1, "")
    assert "OOM" in err
    assert err.endswith("\n  import: 0 rows were done before\n")


@pytest.mark.parametrize("rich", [True, False])
def test_import_on_a_terminal_shows_a_bar(terminal, server, tmp_path, rich):
    file = tmp_path / "x.csv"
    file.write_text("".join(f"user-{n},{n}\n" for n in range(3000)))
    more = {} if rich else {"PYTHONPATH": str(hide_rich(tmp_path))}
    one = terminal("import", str(file), **more)
    assert one.process.wait(30) == 0
    one.read_until("rows a second")
    assert "3,000 read: 2,999 raised, 1 already ahead, 0 bad" in one.text
    assert "3,000 lines" in one.text or "3,000 of 3,000 (100%) lines" in one.text
    assert ("\u2501" in one.text) == rich


def hide_rich(folder):
    """Make a folder in which rich is not installed, whatever is behind it."""
    (folder / "rich").mkdir()
    (folder / "rich" / "__init__.py").write_text("raise ImportError('hidden')")
    return folder
