"""`seqcache ceilings` on a real server and a real store, as operators use it."""

from __future__ import annotations

import contextlib
import json

import pytest

pytest.importorskip("sqlalchemy")

from servers import free_port  # noqa: E402

import seqcache  # noqa: E402
from seqcache.ceilings import CAP  # noqa: E402
from seqcache.cli import main  # noqa: E402


@pytest.fixture
def durable(durable_server, url):
    """A durable cache of that server and store."""
    with seqcache.cache(durable_server.url, ceilings=url, step=10) as cache:
        yield cache


@pytest.fixture
def run(durable_server, url, capsys, monkeypatch):
    """`run("check")` -> (exit code, standard output, standard error)."""
    monkeypatch.setenv("SEQCACHE_URL", durable_server.url)
    monkeypatch.setenv("SEQCACHE_CEILINGS", url)

    def call(*words):
        capsys.readouterr()
        code = main(["ceilings", *words])
        return code, *capsys.readouterr()

    return call


def rows_of(out):
    """The JSON objects of the lines."""
    return [json.loads(line) for line in out.splitlines()]


def rewind(durable, ceiling):
    """What a restored backup of the store looks like."""
    store = durable._works.store
    with store._engine.begin() as conn:
        table = store._tables.ceiling
        conn.execute(table.update().values(ceiling=ceiling, base=0))


def test_ls_lists_keys_and_ceilings(run, durable):
    durable.increase_seqs(["alice", b"\xff"])
    durable.namespace("send:").increase_seq("bob")
    assert run("ls") == (0, "send:bob\t10\nseq:alice\t10\nseq:\\xff\t10\n", "")
    assert run("ls", "--prefix", "send:") == (0, "send:bob\t10\n", "")
    code, out, _ = run("ls", "--json")
    rows = rows_of(out)
    assert [row.get("key", row.get("key_base64")) for row in rows] == [
        "send:bob",
        "seq:alice",
        "c2VxOv8=",
    ]
    assert (code, rows[0]["ceiling"], rows[0]["base"]) == (0, 10, 0)


def test_ls_of_another_deployment_says_which_there_are(run, durable):
    durable.increase_seq("alice")
    code, out, err = run("ls", "--deployment", "mian")
    assert (code, out) == (0, "")
    assert err == "nothing of mian/0; here are main/0\n"


def test_check_is_well_while_clients_count(run, durable):
    durable.increase_seqs([f"u{n}" for n in range(30)], 7)
    code, out, err = run("check")
    assert (code, err) == (0, "")
    assert "deployment main/0: 30 ceilings\nepochs: 1 open\n" in out
    assert "in Redis: 30 counters, 30 cells\nok: " in out


def test_check_finds_a_store_that_forgot(run, durable):
    durable.increase_seq("alice")
    durable.namespace("{tag}:").increase_seq("bob", 30)
    rewind(durable, 9)
    code, out, err = run("check")
    assert code == 1
    assert "behind\tseq:alice\tceiling 9, 10 in Redis\n" in out
    assert "behind\t{tag}:bob\tceiling 9, 30 in Redis\n" in out
    assert "2 behind, 0 missing" in out
    assert "restored backup" in err
    code, out, err = run("check", "--json")
    *rows, summary = rows_of(out)
    assert (code, err, len(rows)) == (1, "", 2)
    assert {row["problem"] for row in rows} == {"behind"}
    assert (summary["ok"], summary["behind"]) == (False, 2)
    assert (summary["counters"], summary["cells"]) == (1, 2)


def test_raise_from_redis_heals_a_store_that_forgot(run, durable, durable_server):
    numbers = [durable.increase_seq("alice") for _ in range(8)]
    other = durable.namespace("{tag}:")
    other.increase_seq("bob", 30)
    rewind(durable, 3)
    durable_server.admin("FUNCTION", "FLUSH")
    for _ in range(3):  # and it does not forget that it was refused
        with pytest.raises(seqcache.CeilingError, match="restored backup"):
            durable.increase_seq("alice")
    code, out, err = run("raise", "--margin", "100", "--from-redis")
    assert (code, out) == (0, "2 ceilings lifted by 100\n")
    assert "FUNCTION FLUSH" in err
    assert run("check")[0] == 0
    durable_server.admin("FUNCTION", "FLUSH")
    numbers.append(durable.increase_seq("alice"))
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > 110
    assert other.increase_seq("bob") > 130


def test_raise_needs_no_server_and_something_to_raise_by(run, durable, monkeypatch):
    durable.increase_seq("alice")
    monkeypatch.setenv("SEQCACHE_URL", f"redis://127.0.0.1:{free_port()}/0")
    assert run("raise", "--margin", "5", "--json", "-q") == (0, '{"lifted": 1}\n', "")
    assert run("ls")[1] == "seq:alice\t15\n"
    code, out, err = run("raise")
    assert (code, out) == (2, "")
    assert "nothing to raise by\n  hint: --margin N" in err
    code, _, err = run("raise", "--margin", str(CAP))  # it would use up every id
    assert code == 2
    assert "must be from 0 to 1000000000000" in err
    assert run("ls")[1] == "seq:alice\t15\n"
    assert run("raise", "--from-redis")[0] == 3


def test_fence_ends_the_wait_of_a_failover(run, durable, url, make_server):
    number = durable.increase_seq("alice")
    options = {"ceilings": url, "fence_time": 60.0, "timeout": 0.3}
    with seqcache.cache(make_server().url, **options) as after:
        # The old primary is not known to be dead: for a minute nobody may go on.
        with pytest.raises(seqcache.CeilingError) as told:
            after.increase_seq("alice")
        assert told.value.reason == "fence"
        code, out, _ = run("fence")
        assert (code, out) == (0, "2 epochs closed\n")
        assert after.increase_seq("alice", timeout=5.0) > number
    assert run("fence", "--json")[1] == '{"closed": 0}\n'


def test_counters_adopted_survive_a_server_that_loses_them(run, url, durable_server):
    for n in range(1200):
        durable_server.admin("SET", f"seq:u{n}", n)
    assert run("check")[0] == 2  # there is no store yet
    assert run("adopt") == (0, "1200 counters adopted, 0 had a row\n", "")
    code, out, _ = run("adopt", "--json")
    assert (code, rows_of(out)) == (0, [{"added": 0, "existing": 1200}])
    assert run("check")[0] == 0
    durable_server.admin("FLUSHALL")
    with seqcache.cache(durable_server.url, ceilings=url) as cache:
        assert cache.increase_seqs(["u41", "u1199", "new"]) == [42, 1200, 1]


def test_adopt_tells_what_it_cannot_vouch_for(run, durable, durable_server):
    durable.increase_seq("alice")
    durable_server.admin("SET", "seq:alice", 5000)
    durable_server.admin("SET", "seq:huge", CAP + 1)
    code, out, err = run("adopt")
    assert (code, out) == (1, "0 counters adopted, 1 had a row\n")
    assert "seq:alice: its row has a lower ceiling already" in err
    assert f"seq:huge: durable numbers end at 2**53 - 1 = {CAP}" in err
    code, out, _ = run("check")
    assert code == 1
    assert f"missing\tseq:huge\tno row, {CAP + 1} in Redis" in out


def test_store_that_is_away_is_3_and_named_without_its_password(run):
    away = f"postgresql+psycopg://app:secret@127.0.0.1:{free_port()}/app"
    code, out, err = run("ls", "--ceilings", away)
    assert (code, out) == (3, "")
    assert f"app:***@127.0.0.1:{away.rpartition(':')[2]} grants no numbers" in err
    assert "secret" not in err


@pytest.mark.parametrize("words", [("ls",), ("check",), ("raise", "--margin", "1")])
def test_mistyped_file_is_2_and_is_not_made(run, tmp_path, words):
    path = tmp_path / "typo.db"
    code, _, err = run(*words, "--ceilings", f"sqlite:///{path}")
    assert (code, err) == (2, f"seqcache: there is no file {path}\n")
    assert not path.exists()


def test_without_a_store_or_a_command_it_is_2(run, monkeypatch):
    monkeypatch.delenv("SEQCACHE_CEILINGS")
    code, _, err = run("ls")
    assert code == 2
    assert "hint: --ceilings URL" in err
    with contextlib.suppress(SystemExit):
        assert run()[0] == 2
    assert run("check", "--url", "memory://", "--ceilings", "sqlite:///x.db")[0] == 2
