"""sqlite:///file when the file, the disk or a process is not as it should be."""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
import threading
import time

import pytest

import seqcache
from seqcache.embedded import ledger as ledgers
from seqcache.embedded import store as stores


@pytest.fixture
def path(tmp_path):
    return tmp_path / "seq.db"


@pytest.fixture
def face(embedded_face):
    return embedded_face


@contextlib.contextmanager
def opened(path):
    """The file as a tool opens it."""
    with contextlib.closing(sqlite3.connect(path)) as raw:
        yield raw


def refused(call, reason="unavailable"):
    """The CeilingError of a call; nothing was counted."""
    with pytest.raises(seqcache.CeilingError) as caught:
        call()
    assert caught.value.reason == reason
    assert caught.value.executed is False
    return str(caught.value)


def the_store(path):
    """The store behind the caches of a file."""
    return stores._stores[os.path.realpath(path), "main/memory"]


# --- the database refuses -----------------------------------------------------------


def test_a_locked_file_is_a_ceiling_error_and_no_number_is_lost(
    face, path, monkeypatch
):
    monkeypatch.setattr(ledgers, "BUSY_SECONDS", 0.2)
    with face.open(step=64) as cache:
        assert cache.increase_seq("alice") == 1
        with opened(path) as raw:
            raw.execute("BEGIN IMMEDIATE")
            # What was granted goes on; what was not waits for the tool.
            assert cache.increase_seq("alice") == 2
            text = refused(lambda: cache.increase_seq("bob"))
            assert "locked" in text
            assert str(path) in text
            refused(lambda: cache.increase_seq("alice", 100))
            refused(lambda: cache.increase_seq("alice", token="m"))
        assert cache.increase_seq("alice", 100) == 102
        assert cache.increase_seq("bob") == 1


def test_a_call_waits_for_its_own_deadline_only(face, path):
    with face.open() as cache:
        assert cache.increase_seq("alice") == 1
        with opened(path) as raw:
            raw.execute("BEGIN IMMEDIATE")
            text = refused(lambda: cache.increase_seq("bob", timeout=0.1))
            assert "in time" in text
            assert cache.get_seq("alice") == 1
        assert cache.increase_seq("bob", timeout=20) == 1


def test_a_full_disk_is_a_ceiling_error_and_all_goes_on_after_it(face, path):
    with face.open(step=64) as cache:
        assert cache.increase_seq("alice") == 1
        conn = the_store(path).ledger._conn
        (pages,) = conn.execute("PRAGMA page_count").fetchone()
        conn.execute(f"PRAGMA max_page_count={pages}")
        ids = [f"{n:0500}" for n in range(200)]
        text = refused(lambda: cache.increase_seqs(ids))
        assert "full" in text
        assert cache.increase_seq("alice") == 2
        conn.execute("PRAGMA max_page_count=1000000")
        assert cache.increase_seqs(ids) == [1] * 200


def test_a_file_that_was_made_read_only_is_refused_when_it_is_opened(
    face, path, monkeypatch
):
    with face.open() as cache:
        cache.increase_seq("alice")
    real = sqlite3.connect

    def read_only(name, **words):
        return real(f"file:{name}?mode=ro", uri=True, **words)

    # root may write anything: what others meet is played.
    monkeypatch.setattr(ledgers.sqlite3, "connect", read_only)
    with pytest.raises(seqcache.StartupError, match="readonly"):
        face.open()


def test_a_damaged_file_is_refused(face, path):
    with face.open() as cache:
        cache.increase_seqs([f"u{n}" for n in range(2000)])
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)
    with pytest.raises(seqcache.StartupError, match="damaged|malformed"):
        face.open()


def test_a_full_disk_at_the_opening_is_a_startup_error(face, path, monkeypatch):
    class Full(sqlite3.Connection):
        def execute(self, text, *words):
            if text == "COMMIT":
                super().execute("ROLLBACK")
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(text, *words)

    real = sqlite3.connect
    monkeypatch.setattr(
        ledgers.sqlite3, "connect", lambda *args, **kw: real(*args, factory=Full, **kw)
    )
    with pytest.raises(seqcache.StartupError, match="disk is full") as caught:
        face.open()
    assert str(path) in str(caught.value)
    monkeypatch.undo()
    with face.open() as cache:
        assert cache.increase_seq("alice") == 1


def test_a_file_with_two_names_is_refused_by_both(face, path):
    """The lock of its owner is on a name: two processes could give its numbers."""
    with face.open() as cache:
        assert cache.increase_seq("alice") == 1
    other = path.with_name("other.db")
    os.link(path, other)
    for name in (path, other):
        with pytest.raises(seqcache.StartupError, match="several names"):
            seqcache.cache(f"sqlite:///{name}")
    other.unlink()
    with face.open() as cache:
        assert cache.increase_seq("alice") == 2


def test_a_second_cache_of_the_file_cannot_have_another_step(face, path):
    with face.open(step=64) as cache, face.open(step=64) as same:
        with pytest.raises(seqcache.ConfigError, match="step=64, not 1000") as caught:
            seqcache.cache(f"sqlite:///{path}")
        assert caught.value.option == "step"
        assert [cache.increase_seq("alice"), same.increase_seq("alice")] == [1, 2]


@pytest.mark.parametrize("how", ["replaced", "gone"])
def test_a_file_that_is_not_there_any_more_grants_nothing(face, path, how):
    with face.open(step=64) as cache:
        assert cache.increase_seq("alice") == 1
        path.rename(path.with_name("moved"))
        if how == "replaced":
            path.write_bytes(b"")
        reason = "rolled_back" if how == "replaced" else "unavailable"
        refused(lambda: cache.increase_seq("bob"), reason)
        refused(lambda: cache.increase_seq("alice", token="m"), reason)
        path.unlink(missing_ok=True)
        path.with_name("moved").rename(path)
        assert cache.increase_seq("bob") == 1


def test_rows_that_an_older_copy_brought_back_are_noticed(face, path):
    with face.open(step=64) as cache:
        assert cache.increase_seq("alice", 500) == 500
        with opened(path) as raw:
            raw.execute("UPDATE seq_ceiling SET ceiling = 100")
            raw.commit()
        refused(lambda: cache.increase_seq("alice", 500), "rolled_back")


def test_an_operator_may_lift_the_ceilings_meanwhile(face, path):
    pytest.importorskip("sqlalchemy")
    from seqcache.ceilings import CeilingStore
    from seqcache.durable.admin import raise_all

    with face.open(step=64) as cache:
        assert cache.increase_seq("alice") == 1
        tool = CeilingStore(f"sqlite:///{path}", "main/memory")
        assert raise_all(tool, 10_000) == 1
        tool.close()
        numbers = [cache.increase_seq("alice") for _ in range(300)]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] > 10_000
    with face.open() as cache:
        assert cache.increase_seq("alice") == numbers[-1] + 1


def test_a_commit_of_unknown_fate_is_told_so_with_a_token_only(face, path):
    with face.open(step=64) as cache:
        assert cache.increase_seq("alice") == 1
        ledger = the_store(path).ledger
        real = ledger._conn

        class Failing:
            """Commits, and says that it did not."""

            def execute(self, text, *words):
                done = real.execute(text, *words)
                if text == "COMMIT":
                    raise sqlite3.OperationalError("disk I/O error")
                return done

            def __getattr__(self, name):
                return getattr(real, name)

        ledger._conn = Failing()
        refused(lambda: cache.increase_seq("alice", 100))
        with pytest.raises(seqcache.OutcomeUnknown) as caught:
            cache.increase_seq("alice", token="m")
        assert caught.value.executed is None
        assert caught.value.token in ("m", b"m")
        assert isinstance(caught.value.cause, seqcache.CeilingError)
        ledger._conn = real
        assert cache.increase_seq("alice", token="m") == 2  # it was committed
        assert cache.increase_seq("alice", 100) == 102
        assert cache.increase_seq("alice", token="n") == 103


# --- closing -----------------------------------------------------------------------


def test_calls_that_wait_end_with_closed_error(face, path):
    cache = face.open()
    assert cache.increase_seq("alice") == 1
    with opened(path) as raw:
        raw.execute("BEGIN IMMEDIATE")
        calls = [cache.start("increase_seq", f"u{n}", timeout=20) for n in range(5)]
        time.sleep(0.2)
        raw.rollback()
        raw.execute("BEGIN IMMEDIATE")
        closing = threading.Thread(target=cache.close)
        closing.start()
        for call in calls:
            error = call.exception(10)
            # The one that the thread was at may have got its number.
            assert error is None or isinstance(
                error, (seqcache.ClosedError, seqcache.CeilingError)
            )
            assert error is None or error.executed is False
        raw.rollback()
        closing.join(20)
    with pytest.raises(seqcache.ClosedError):
        cache.increase_seq("alice")
    with face.open() as cache:
        assert cache.increase_seq("alice") == 2


def test_a_call_that_meets_a_store_at_its_end_is_told_that_it_closed(face, path):
    cache = face.open()
    assert cache.increase_seq("alice") == 1
    the_store(path).granter.stop()  # close() in another thread is this far
    for call in (
        lambda: cache.increase_seq("bob"),
        lambda: cache.increase_seq("bob", token="m"),
        lambda: cache.increase_seqs(["bob", "carol"]),
        cache.ping,
    ):
        with pytest.raises(seqcache.ClosedError) as caught:
            call()
        assert caught.value.executed is False
    cache.close()
    with face.open() as again:
        assert again.increase_seq("alice") == 2


def test_nothing_is_given_between_the_last_number_and_the_close(face, path):
    """The ceilings come down: who waited meanwhile must not get what is above."""
    with face.open(step=1) as cache:
        assert cache.increase_seq("alice") == 1
        store = the_store(path)
        cells, wanted = store.cells, []
        lower = store.ledger.close

        def close(numbers):
            lower(numbers)
            wanted.append(cells.increase(b"seq:alice", 1))

        store.ledger.close = close
    assert wanted == [None]
    with face.open() as cache:
        assert cache.increase_seq("alice") == 2


def test_a_close_that_cannot_write_leaves_a_gap_and_a_warning(
    face, path, monkeypatch, caplog
):
    monkeypatch.setattr(ledgers, "BUSY_SECONDS", 0.1)
    cache = face.open(step=64)
    assert cache.increase_seq("alice") == 1
    with opened(path) as raw:
        raw.execute("BEGIN IMMEDIATE")
        cache.close()
    assert "gaps stay" in caplog.text
    with face.open() as cache:
        assert cache.increase_seq("alice") == 65


@pytest.mark.filterwarnings("ignore:unclosed")
def test_a_cache_that_was_dropped_lets_go_of_the_file(path):
    url = f"sqlite:///{path}"
    cache = seqcache.cache(url, step=64, timeout=20)
    assert cache.increase_seq("alice") == 1
    del cache
    gc.collect()
    with seqcache.cache(url, timeout=20) as cache:
        assert cache.increase_seq("alice") == 65
    assert not stores._stores


def test_no_thread_and_no_descriptor_is_left(face, path):
    before = len(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())
    for _ in range(5):
        with face.open() as cache:
            cache.increase_seq("alice")
            cache.increase_seq("alice", token="m")
    left = [one.name for one in threading.enumerate() if one not in threads]
    assert not [name for name in left if name.startswith("seqcache-ceil")]
    assert len(os.listdir("/proc/self/fd")) <= before + 1


# --- files that cannot be one --------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be read" * 99]
)
def test_a_foreign_file_is_refused_and_left_alone(face, path, content):
    path.write_bytes(content)
    with pytest.raises(seqcache.StartupError, match="cannot keep ceilings"):
        face.open()
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused(face, path):
    with opened(path) as raw:
        raw.execute("CREATE TABLE notes (text)")
    with pytest.raises(seqcache.StartupError, match="another program"):
        face.open()
    with opened(path) as raw:
        names = raw.execute("SELECT name FROM sqlite_master").fetchall()
        assert names == [("notes",)]
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_folder_that_is_not_there_is_named(face, tmp_path):
    with pytest.raises(seqcache.StartupError, match="nowhere"):
        face.open(f"sqlite:///{tmp_path}/nowhere/seq.db")
