"""sqlite:///file: numbers of this process, ceilings in a file that it owns."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest

import seqcache
from seqcache.embedded import granter


@pytest.fixture
def path(tmp_path):
    return tmp_path / "seq.db"


@pytest.fixture
def face(embedded_face):
    return embedded_face


@contextlib.contextmanager
def opened(path):
    """The file as a tool opens it."""
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        yield raw


def row(path, user_id):
    """(ceiling, epoch) of a key, read as a tool would."""
    with opened(path) as raw:
        query = "SELECT ceiling, epoch FROM seq_ceiling WHERE k = ?"
        return raw.execute(query, (b"seq:" + user_id.encode(),)).fetchone()


def in_process(code, *args):
    """Run a script in a fresh process; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- numbers over restarts ---------------------------------------------------------


def test_numbers_go_on_without_a_gap_after_a_clean_close(face):
    with face.open() as cache:
        assert [cache.increase_seq("alice") for _ in range(3)] == [1, 2, 3]
        assert cache.reserve("bob", 2000) == range(1, 2001)
    with face.open() as cache:
        assert cache.get_seqs(["alice", "bob", "carol"]) == [3, 2000, 0]
        assert cache.increase_seq("alice") == 4
        assert cache.reserve("bob", 5) == range(2001, 2006)


def test_a_number_is_not_lost_with_a_failed_prefetch(face, monkeypatch):
    reported = []
    hook = lambda told: reported.append(type(told.exc_value))  # noqa: E731
    monkeypatch.setattr(sys, "unraisablehook", hook)
    monkeypatch.setattr(granter.Granter, "low", None)  # to call that is a TypeError
    numbers = list(range(1, 61))
    with face.open(step=20) as cache:
        assert [cache.increase_seq("a") for _ in numbers] == numbers
        singly = len(reported)
        assert cache.increase_seqs(["b"] * 60) == numbers
    assert set(reported) == {TypeError}
    assert len(reported) > singly > 0


def test_a_gap_and_no_repeat_after_a_kill(path, face):
    code = """
        import os, signal, sys, seqcache
        cache = seqcache.cache("sqlite:///" + sys.argv[1], step=100, timeout=20)
        for _ in range(30):
            last = cache.increase_seq("alice")
        print(last, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "30\n"
    with face.open() as cache:
        assert cache.get_seq("alice") == 100  # the upper edge of the gap
        assert cache.increase_seq("alice") == 101


def test_a_raise_is_kept_and_never_lowered(face):
    with face.open() as cache:
        assert cache.raise_seq("alice", 5000) == 5000
        assert cache.raise_seq("alice", 7) == 5000
        assert cache.raise_seqs({"bob": 10, "alice": 1}) == 2
    with face.open() as cache:
        assert cache.raise_seq("alice", 0) == 5000
        assert cache.increase_seqs(["alice", "bob"]) == [5001, 11]


def test_no_number_is_above_the_committed_ceiling(face, path):
    cache = face.open(step=64)
    for _ in range(3000):
        number = cache.increase_seq("alice")
        assert number <= row(path, "alice")[0]


def test_reading_writes_nothing(face, path):
    with face.open() as cache:
        assert cache.get_seq("nobody") == 0
        assert cache.get_seqs(["nobody", "nobody"]) == [0, 0]
        assert cache.raise_seq("nobody", 0) == 0
    assert row(path, "nobody") is None


def test_the_close_brings_the_ceiling_down_to_the_number(face, path):
    with face.open() as cache:
        cache.increase_seq("alice")
        assert row(path, "alice")[0] == 1000
    assert row(path, "alice") == (1, 0)


def test_prefixes_are_apart(face):
    with face.open() as cache:
        assert cache.increase_seq("alice") == 1
        assert cache.namespace("send:").increase_seq("alice", 7) == 7
        assert cache.scan() == [("alice", 1)]
    with face.open(prefix="send:") as cache:
        assert cache.get_seq("alice") == 7


def test_scan_shows_what_was_given_loaded_or_not(face):
    with face.open() as cache:
        cache.raise_seqs((f"u{n}", n + 1) for n in range(2500))
    with face.open() as cache:
        cache.increase_seq("u7")
        found = dict(cache.scan())
        assert len(found) == 2500
        assert found["u7"] == 9
        assert found["u2499"] == 2500
        assert dict(cache.scan("u249?")) == {f"u249{n}": 2491 + n for n in range(10)}


def test_delete_is_refused(face):
    with face.open() as cache:
        cache.increase_seq("alice")
        with pytest.raises(seqcache.SeqCacheError, match="never gives") as caught:
            cache.delete_seq("alice", restart_from_one=True)
        assert caught.value.executed is False
        assert cache.increase_seq("alice") == 2


def test_calls_of_one_loop_keep_their_order_at_a_ceiling(face):
    with face.open(step=1) as cache:
        for by in (1, 2000, 1):
            futures = [cache.start("increase_seq", "alice", by) for _ in range(5)]
            numbers = [future.result(10) for future in futures]
            if face.kind == "async":
                assert numbers == sorted(numbers)
            assert len(set(numbers)) == 5


# --- tokens ------------------------------------------------------------------------


def test_a_token_gets_its_number_again_after_a_restart(face):
    with face.open() as cache:
        assert cache.increase_seq("alice", token="m1") == 1
        assert cache.reserve("alice", 5, token="m2") == range(2, 7)
        assert cache.increase_seqs(["alice", "bob"], token="m3") == [7, 1]
    with face.open() as cache:
        assert cache.increase_seq("alice") == 8
        assert cache.reserve("alice", 5, token="m2") == range(2, 7)
        assert cache.increase_seqs(["bob", "carol"], token="m3") == [1, 1]
        with pytest.raises(seqcache.TokenConflict, match="counted 1 before"):
            cache.increase_seq("alice", 2, token="m1")
        assert cache.increase_seq("alice", token="m1") == 1
        assert cache.get_seq("alice") == 8


def test_a_token_gets_its_number_again_after_a_kill(path, face):
    code = """
        import os, signal, sys, seqcache
        cache = seqcache.cache("sqlite:///" + sys.argv[1], step=100, timeout=20)
        cache.increase_seq("alice", 3)
        print(cache.increase_seq("alice", token="m"), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "4\n", done.stderr
    with face.open() as cache:
        assert cache.increase_seq("alice", token="m") == 4
        assert cache.increase_seq("alice", token="n") == 101


def test_a_number_with_a_token_is_committed_before_it_is_told(face, path):
    with face.open() as cache:
        for n in range(20):
            number = cache.increase_seq("alice", token=f"m{n}")
            with opened(path) as raw:
                query = "SELECT last FROM seq_token WHERE token = ?"
                (last,) = raw.execute(query, (f"m{n}".encode(),)).fetchone()
            assert last == number


def test_one_token_at_once_is_one_number(face):
    with face.open() as cache:
        calls = [cache.start("increase_seq", "alice", token="m") for _ in range(50)]
        calls += [
            cache.start("increase_seq", "alice", token=f"n{n}") for n in range(50)
        ]
        numbers = [call.result(20) for call in calls]
        assert len(set(numbers[:50])) == 1
        assert sorted({*numbers}) == list(range(1, 52))


def test_a_token_is_forgotten_after_its_time_and_cleared_away(face, path, monkeypatch):
    from seqcache.embedded import ledger

    with face.open(token_ttl=100) as cache:
        assert cache.increase_seq("alice", token="m") == 1
    now = ledger.time.time

    class Later:
        monotonic = ledger.time.monotonic

        @staticmethod
        def time():
            return now() + 101

    monkeypatch.setattr(ledger, "time", Later)
    with face.open() as cache:
        assert cache.increase_seq("alice", token="m") == 2
        assert cache.increase_seq("alice", token="n") == 3
    with opened(path) as raw:
        assert raw.execute("SELECT count(*) FROM seq_token").fetchone() == (2,)


def test_the_last_number_is_no_token_s(face):
    with face.open() as cache:
        cache.raise_seq("alice", 2**53 - 3)
        assert cache.increase_seq("alice", token="m") == 2**53 - 2
        with pytest.raises(seqcache.SequenceOverflow):
            cache.increase_seq("alice", 2, token="n")
        assert cache.increase_seq("alice", token="o") == 2**53 - 1
        with pytest.raises(seqcache.SequenceOverflow):
            cache.increase_seq("alice", token="p")


# --- one owner ---------------------------------------------------------------------


def test_caches_of_one_process_share_the_store(face):
    with face.open() as one, face.open() as two:
        assert one.increase_seq("alice") == 1
        assert two.increase_seq("alice") == 2
        one.close()
        assert two.increase_seq("alice") == 3
    with face.open() as cache:
        assert cache.increase_seq("alice") == 4


def test_both_faces_share_the_store(face, path, tmp_path):
    url = f"sqlite:///{tmp_path}/./seq.db"
    with face.open() as one, seqcache.cache(url) as two:
        assert one.increase_seq("alice") == 1
        assert two.increase_seq("alice") == 2


def test_a_second_process_is_refused_with_the_owners_pid(face, path):
    code = """
        import sys, seqcache
        try:
            seqcache.cache("sqlite:///" + sys.argv[1])
        except seqcache.StartupError as error:
            print(error.args[0])
    """
    with face.open():
        assert in_process(code, path) == (f"{path} is owned by process {os.getpid()}\n")
    assert in_process(code, path) == ""


def test_the_file_is_free_after_a_kill(face, path):
    code = """
        import os, signal, sys, seqcache
        cache = seqcache.cache("sqlite:///" + sys.argv[1])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path], timeout=30, check=False
    )
    with face.open() as cache:
        assert cache.increase_seq("alice") == 1


def test_startup_timeout_waits_for_the_owner(path):
    code = """
        import sys, time, seqcache
        cache = seqcache.cache("sqlite:///" + sys.argv[1], timeout=20)
        print(cache.increase_seq("alice"), flush=True)
        sys.stdin.read()
        cache.close()
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with owner:
        assert owner.stdout.readline() == b"1\n"
        with pytest.raises(seqcache.StartupError, match=str(owner.pid)):
            seqcache.cache(f"sqlite:///{path}")
        owner.stdin.close()
        patient = f"sqlite:///{path}?startup_timeout=20&timeout=20"
        with seqcache.cache(patient) as cache:
            assert cache.increase_seq("alice") == 2


def test_the_tables_are_those_of_the_ceiling_store(face, path, tmp_path):
    pytest.importorskip("sqlalchemy")
    from seqcache.ceilings import CeilingStore

    def columns(file):
        with opened(file) as raw:
            tables = raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {
                name: raw.execute(f"PRAGMA table_info({name})").fetchall()
                for (name,) in tables.fetchall()
            }

    with face.open() as cache:
        cache.increase_seq("alice")
    other = CeilingStore(f"sqlite:///{tmp_path}/other.db")
    other.begin_epoch("run", 2)
    other.close()
    ours = columns(path)
    assert ours.pop("seq_token")  # nobody else keeps those in SQL
    assert ours == columns(tmp_path / "other.db")
    store = CeilingStore(f"sqlite:///{path}", "main/memory")
    assert store.begin_epoch("run", 2)
    store.close()


def test_the_tools_find_the_ceilings(face, path, capsys):
    pytest.importorskip("sqlalchemy")
    from seqcache.cli.app import main

    with face.open() as cache:
        cache.increase_seq("alice", 7)
    words = ["--url", f"sqlite:///{path}", "ceilings"]
    assert main([*words, "ls"]) == 0
    assert capsys.readouterr().out == "seq:alice\t7\n"
    assert main([*words, "raise", "--margin", "100"]) == 0
    assert main([*words, "fence"]) == 0
    with face.open() as cache:
        assert cache.increase_seq("alice") == 108


def test_memory_with_ceilings_in_a_file_is_durable(face, path):
    options = {"ceilings": f"sqlite:///{path}", "timeout": 20}
    with face.open("memory://", **options) as cache:
        assert cache.increase_seq("alice", 3) == 3
    with face.open("memory://", **options) as cache:
        assert cache.increase_seq("alice") == 4
    with face.open() as cache:  # the same store by its other name
        assert cache.increase_seq("alice") == 5


def test_named_memories_and_deployments_are_apart(face, path):
    options = {"ceilings": f"sqlite:///{path}", "timeout": 20}
    with (
        face.open("memory://a", **options) as one,
        face.open("memory://b", **options) as two,
        face.open("memory://a", deployment="test", **options) as three,
    ):
        assert one.increase_seq("alice", 5) == 5
        assert two.increase_seq("alice") == 1
        assert three.increase_seq("alice", 2) == 2
    with face.open("memory://a", **options) as cache:
        assert cache.get_seq("alice") == 5
