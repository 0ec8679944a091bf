"""Which ceiling stores are refused, how errors name them, how SQLite is set up."""

from __future__ import annotations

import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from seqcache.ceilings import CeilingStore  # noqa: E402
from seqcache.errors import CeilingError, ConfigError  # noqa: E402

RUN_A, T = "a" * 40, 5.0


def test_in_memory_sqlite_is_refused():
    with pytest.raises(ConfigError) as caught:
        CeilingStore("sqlite://")
    assert caught.value.option == "ceilings"


@pytest.mark.parametrize(
    "wrong", ["mysql+pymysql://u@h/d", "postgresql+asyncpg://u@h/d", "nonsense", "x://"]
)
def test_unusable_store_is_a_config_error(wrong):
    with pytest.raises(ConfigError) as caught:
        CeilingStore(wrong)
    assert caught.value.option == "ceilings"


@pytest.mark.parametrize("wrong", ["mysql", "mysql+pymysql", "mariadb+mysqldb"])
def test_mysql_is_refused_with_the_reason_before_its_driver_is_missed(wrong):
    with pytest.raises(ConfigError) as caught:
        CeilingStore(f"{wrong}://u@h/d")
    kind = wrong.partition("+")[0]
    assert str(caught.value).startswith(f"ceilings in {kind} are not supported: its")
    assert "use postgresql+psycopg://" in caught.value.hint


@pytest.mark.parametrize(
    "where", ["u:hush@127.0.0.1:1/d", "127.0.0.1:1/d?password=hush"]
)
def test_passwords_stay_out_of_errors(where):
    store = CeilingStore(f"postgresql+psycopg://{where}")
    with pytest.raises(CeilingError) as caught:
        store.begin_epoch(RUN_A, 1)
    assert "hush" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)
    assert caught.value.reason == "unavailable"
    store.close()
    assert pickle.loads(pickle.dumps(caught.value)).reason == "unavailable"


@pytest.mark.parametrize("where", ["u@h:port/d", "u:pa@hu:sh@h/d", "u:hush/@h:x/d"])
def test_a_url_that_cannot_be_read_is_not_quoted(where):
    with pytest.raises(ConfigError, match="the URL cannot be read") as caught:
        CeilingStore(f"postgresql+psycopg://{where}")
    assert caught.value.option == "ceilings"
    assert where not in str(caught.value)
    assert "sh@h" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_sqlite_commits_are_synced(tmp_path):
    store = CeilingStore(f"sqlite:///{tmp_path}/c.db")
    store.begin_epoch(RUN_A, T)
    with store._engine.connect() as conn:
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    store.close()
    with sqlite3.connect(tmp_path / "c.db") as raw:
        assert raw.execute("SELECT version FROM seq_version").fetchone() == (1,)
    raw.close()


def test_importing_the_rows_needs_no_sqlalchemy():
    code = "import sys, seqcache.durable.rows; print('sqlalchemy' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
