"""The tests of the ceiling store again, on a private PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.register_assert_rewrite("unit.test_ceilings", "unit.test_ceilings_admin")
pytest.importorskip("sqlalchemy")
pytest.importorskip("psycopg")

from chaos.postgres import Postgres  # noqa: E402
from unit import test_ceilings as common  # noqa: E402
from unit.test_ceilings import *  # noqa: E402, F403
from unit.test_ceilings_admin import *  # noqa: E402, F403

from seqcache.ceilings import CeilingStore  # noqa: E402
from seqcache.errors import CeilingError  # noqa: E402


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """An empty database in place of the SQLite file."""
    import sqlalchemy as sa

    engine = sa.create_engine(postgres.url)
    with engine.begin() as conn:
        conn.exec_driver_sql("DROP SCHEMA public CASCADE")
        conn.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return postgres.url


def test_store_recovers_from_a_crashed_database(
    postgres: Postgres, make_store: Callable[..., CeilingStore]
) -> None:
    store = make_store()
    token = store.begin_epoch(common.RUN_A, 5)
    postgres.stop()
    with pytest.raises(CeilingError) as caught:
        store.state(token, 1)
    assert caught.value.reason == "unavailable"
    postgres.start()
    assert store.state(token, 5)[0] == "open"


def test_read_only_replica_is_refused(
    make_store: Callable[..., CeilingStore], monkeypatch: Any
) -> None:
    store = make_store()
    store.begin_epoch(common.RUN_A, 5)
    store._engine.dispose()
    with store._engine.connect() as conn:
        conn.exec_driver_sql(
            "CREATE FUNCTION public.pg_is_in_recovery() RETURNS bool"
            " LANGUAGE sql AS 'SELECT true'"
        )
        conn.exec_driver_sql(
            "ALTER DATABASE postgres SET search_path = public, pg_catalog"
        )
        conn.commit()
    store._engine.dispose()
    try:
        with pytest.raises(CeilingError, match="replica"):
            store.begin_epoch(common.RUN_A, 5)
    finally:
        with store._engine.connect() as conn:
            conn.exec_driver_sql("ALTER DATABASE postgres RESET search_path")
            conn.commit()


def test_commits_are_durable_even_if_the_default_is_not(
    make_store: Callable[..., CeilingStore],
) -> None:
    store = make_store()
    store.begin_epoch(common.RUN_A, 5)
    with store._engine.connect() as conn:
        conn.exec_driver_sql("ALTER DATABASE postgres SET synchronous_commit = off")
        conn.commit()
    store._engine.dispose()
    try:
        store.begin_epoch(common.RUN_A, 5)
        with store._engine.connect() as conn:
            shown = conn.exec_driver_sql("SHOW synchronous_commit").scalar_one()
        assert shown == "on"
    finally:
        with store._engine.connect() as conn:
            conn.exec_driver_sql("ALTER DATABASE postgres RESET synchronous_commit")
            conn.commit()
