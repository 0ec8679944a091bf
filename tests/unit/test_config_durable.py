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


def test_a_store_that_was_left_empty_is_no_plain_cache():
    """Numbers without ceilings may repeat: nobody gets them by an empty variable."""
    for make in (
        lambda: Config(ceilings=""),
        lambda: Config("redis://h?ceilings="),
        lambda: Config.from_env({"SEQCACHE_CEILINGS": ""}),
    ):
        with pytest.raises(ConfigError, match="ceilings|CEILINGS") as caught:
            make()
        assert caught.value.option == "ceilings"
    assert Config(ceilings=None).ceilings is None
    assert Config.from_env({"SEQCACHE_STEP": ""}).step == Config().step


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:pa?55@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:55@55@h:1/db", "postgresql://u:***@h:1/db"),
        (
            "postgresql://h/d?user=a@b&password=55",
            "postgresql://h/d?user=***&password=***",
        ),
        ("sqlite:////v/x@y.db?a=55@c", "sqlite:////v/x@y.db?a=***"),
        ("postgresql://u@h:5/d", "postgresql://u@h:5/d"),
    ],
)
def test_whatever_may_be_a_password_is_masked(url, shown):
    text = repr(Config(ceilings=url))
    assert f"'{shown}'" in text
    assert "55" not in text


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
