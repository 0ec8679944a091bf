"""Options of durable mode: what they accept, and that no secret is shown."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import seqcache
from seqcache.config import Config
from seqcache.errors import ConfigError

STORE = "postgresql+psycopg://app:s3cret@db.example/app?sslpassword=s3cret&x=1"


def test_options_come_from_url_environment_and_arguments():
    config = Config(
        "redis://h?ceilings=sqlite:///c.db&fence=connection&fence_time=1.5"
        "&step=50&deployment=eu&token_ttl=60"
    )
    assert config.ceilings == "sqlite:///c.db"
    assert (config.fence, config.fence_time) == ("connection", 1.5)
    assert (config.step, config.deployment, config.token_ttl) == (50, "eu", 60)
    config = Config.from_env({"SEQCACHE_CEILINGS": STORE, "SEQCACHE_STEP": "64"})
    assert (config.ceilings, config.step) == (STORE, 64)
    assert Config(ceilings="").ceilings is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ceilings", "c.db"),
        ("ceilings", 3),
        ("ceilings", object()),
        ("deployment", ""),
        ("deployment", "x" * 65),
        ("deployment", "a b"),
        ("step", 0),
        ("step", 65537),
        ("fence", "none"),
        ("fence_time", 0.01),  # would be rounded to a lease of no length
        ("fence_time", float("inf")),
        ("token_ttl", 0),
        ("token_ttl", 1.5),
    ],
)
def test_wrong_values_are_refused_with_the_option(name, value):
    with pytest.raises(ConfigError) as caught:
        Config(**{name: value})
    assert caught.value.option == name


def test_password_of_the_store_is_masked_everywhere():
    config = Config(ceilings=STORE)
    shown = "postgresql+psycopg://app:***@db.example/app?sslpassword=***&x=***"
    for text in (repr(config), str(config.explain()), config._repr_html_()):
        assert "s3cret" not in text
    assert shown in repr(config)
    with pytest.raises(ConfigError) as caught:
        Config(ceilings="app:s3cret@db")
    assert "s3cret" not in str(caught.value)
    config = Config("redis://h?ceilings=sqlite:///c.db")
    assert "sqlite:///c.db" in repr(config)


def test_engine_is_kept_and_its_password_masked(tmp_path):
    engine = sa.create_engine(STORE)
    config = Config("redis://h", ceilings=engine)
    assert config.ceilings is engine
    assert config.replace(prefix="x:").ceilings is engine
    assert "s3cret" not in repr(config)
    assert "db.example" in repr(config)


def test_several_connections_are_refused():
    with pytest.raises(ConfigError) as caught:
        seqcache.cache("redis://h", ceilings="sqlite:///c.db", connections=2)
    assert caught.value.option == "connections"


def test_without_sqlalchemy_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "seqcache.ceilings", raising=False)
    with pytest.raises(ConfigError) as caught:
        seqcache.cache("redis://h", ceilings="sqlite:///c.db")
    assert "seqcache[sql]" in str(caught.value)
    assert caught.value.option == "ceilings"


@pytest.mark.parametrize("store", ["mysql+pymysql://h/d", "sqlite://", "nosuch://h/d"])
def test_store_that_cannot_be_one_is_refused(store):
    with pytest.raises(ConfigError) as caught:
        seqcache.cache("redis://127.0.0.1:1", ceilings=store)
    assert caught.value.option == "ceilings"
