"""Config: who wins, environment, TOML, explain(), no secret in any text."""

import copy
import logging
import os
import subprocess
import sys

import pytest

from fakes.defaults import DEFAULTS, said
from seqcache.config import Config
from seqcache.errors import ConfigError

SECRET = "s3cretW0rd"

# --- who wins ---------------------------------------------------------------------


def test_argument_goes_before_the_url_even_if_it_is_the_default():
    url = "redis://bob:x@h/3?timeout=9&prefix=a:"
    for config in (
        Config(url, db=0, timeout=2.0, prefix="seq:", username=None),
        Config.from_url(url, db=0, timeout=2.0, prefix="seq:", username=None),
        Config.coerce(url, db=0, timeout=2.0, prefix="seq:", username=None),
        Config.coerce(
            {"url": url, "db": 0, "timeout": 2.0}, prefix="seq:", username=None
        ),
        Config(url).replace(db=0, timeout=2.0, prefix="seq:", username=None),
    ):
        assert said(config) == {"url": "redis://h:6379", "password": "x"}


def test_replace_keeps_the_rest():
    config = Config(f"redis://bob:{SECRET}@h/3?timeout=9")
    assert config.replace(timeout=1) == Config(f"redis://bob:{SECRET}@h/3?timeout=1")
    assert config.replace(timeout=1).location == config.location
    if sys.version_info >= (3, 13):
        assert copy.replace(config, timeout=1) == config.replace(timeout=1)


def test_new_url_takes_no_password_to_another_server():
    config = Config(f"redis://bob:{SECRET}@h/3?timeout=9&prefix=a:")
    moved = config.replace(url="redis://other?prefix=b:")
    assert said(moved) == {"url": "redis://other:6379", "timeout": 9.0, "prefix": "b:"}
    assert config.replace(url="redis://o", password="n").password == "n"


def test_coerce(monkeypatch):
    config = Config("redis://h")
    assert Config.coerce(config) is config
    assert Config.coerce(config, db=1) == config.replace(db=1)
    assert Config.coerce("redis://h") == config
    assert Config.coerce({"url": "redis://h", "socket_timeout": 1}).timeout == 1.0
    assert Config.coerce({}) == Config()
    monkeypatch.setenv("SEQCACHE_URL", "redis://env")
    assert Config.coerce().address == "env:6379"
    assert Config.coerce(timeout=1).timeout == 1.0
    for wrong in (b"redis://h", 1, ["redis://h"]):
        with pytest.raises(TypeError, match="URL, a Config, a mapping or None"):
            Config.coerce(wrong)


# --- environment -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {}),
        ({"REDIS_URL": "redis://r/2"}, {"url": "redis://r:6379", "db": 2}),
        (
            {"REDIS_URL": "redis://r/2", "SEQCACHE_URL": "redis://s"},
            {"url": "redis://s:6379"},
        ),
        (
            {"SEQCACHE_URL": "redis://s", "REDIS_URL": "nonsense"},
            {"url": "redis://s:6379"},
        ),
        ({"SEQCACHE_URL": "", "REDIS_URL": ""}, {}),
        ({"SEQCACHE_TIMEOUT": "none"}, {"timeout": None}),
        ({"SEQCACHE_SOCKET_TIMEOUT": "4"}, {"timeout": 4.0}),
        ({"SEQCACHE_TIMEOUT": ""}, {}),
        (
            {"SEQCACHE_URL": "redis://a:b@s/1?timeout=1", "SEQCACHE_TIMEOUT": "3"},
            {
                "url": "redis://s:6379",
                "username": "a",
                "password": "b",
                "db": 1,
                "timeout": 3.0,
            },
        ),
        ({"SEQCACHE_PASSWORD": "p", "SEQCACHE_DB": "5"}, {"password": "p", "db": 5}),
        ({"SEQCACHE_PREFIX": "\udcff"}, {"prefix": b"\xff"}),
        # build switches, tests, and what Kubernetes adds for a service "seqcache"
        (
            {
                "SEQCACHE_HIREDIS": "bundled",
                "SEQCACHE_DEBUG": "1",
                "SEQCACHE_PORT": "tcp://10.0.0.1:6379",
                "SEQCACHE_SERVICE_HOST": "10.0.0.1",
                "SEQCACHE_PORT_6379_TCP_PROTO": "tcp",
                "SEQCACHES": "x",
            },
            {},
        ),
    ],
)
def test_from_env(environ, expected):
    assert said(Config.from_env(environ)) == expected


def test_from_env_reads_the_process_by_default(monkeypatch):
    monkeypatch.setenv("SEQCACHE_DB", "7")
    assert Config.from_env().db == 7


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SEQCACHE_TIMEOUT": "x"}, "SEQCACHE_TIMEOUT must be"),
        ({"SEQCACHE_TIMOUT": "1"}, "did you mean SEQCACHE_TIMEOUT?"),
        ({"SEQCACHE_PASWORD": SECRET}, "did you mean SEQCACHE_PASSWORD?"),
        ({"SEQCACHE_CEILINGS": SECRET}, "SEQCACHE_CEILINGS must be a"),
        ({"SEQCACHE_CREDENTIALS": SECRET}, "SEQCACHE_CREDENTIALS must be"),
        ({"SEQCACHE_PASSWORD": f"{SECRET}\udcff"}, "SEQCACHE_PASSWORD must be"),
        ({"REDIS_URL": f"rediss://:{SECRET}@h"}, "not in this version"),
        ({"SEQCACHE_TIMEOUT": "1", "SEQCACHE_SOCKET_TIMEOUT": "1"}, "twice"),
    ],
)
def test_from_env_refuses(environ, words):
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


# --- TOML --------------------------------------------------------------------------


def toml(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return path


def test_from_toml(tmp_path):
    path = toml(
        tmp_path,
        '[seqcache]\nurl = "redis://h/3?timeout=9"\ntimeout = 1\nprefix = "a:"\n'
        '[tool.seqcache]\nsocket_timeout = 4.5\n[other]\ntimeout = "none"\n',
    )
    config = Config.from_toml(path)
    assert said(config) == {
        "url": "redis://h:6379",
        "db": 3,
        "timeout": 1.0,
        "prefix": "a:",
    }
    assert Config.from_toml(str(path), "tool.seqcache").timeout == 4.5
    assert Config.from_toml(path, table="other").timeout is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no table [seqcache]"),
        ("seqcache = 1", "has no table [seqcache]"),
        ("[seqcache", "c.toml"),
        ("[seqcache]\ntimeout = 'x'", "timeout in "),
        ("[seqcache]\ntimout = 1", "did you mean 'timeout'?"),
        (f"[seqcache]\npassword = ['{SECRET}']", "password in "),
        ("[seqcache]\ntimeout = 1\nsocket_timeout = 1", "twice"),
    ],
)
def test_from_toml_refuses(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(toml(tmp_path, text))
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_missing_toml_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Config.from_toml(tmp_path / "none.toml")


# --- texts -------------------------------------------------------------------------


def test_secrets_are_masked_everywhere(caplog):
    class Vault:
        def __call__(self):
            return None, SECRET

        def __repr__(self):
            return SECRET

    for config in (
        Config(f"redis://bob:{SECRET}@h/3"),
        Config(f"redis://{SECRET}@h"),
        Config("redis://h", credentials=Vault()),
        Config.from_env({"SEQCACHE_PASSWORD": SECRET}),
    ):
        logging.getLogger("seqcache").warning("%s %r", config, config)
        texts = [str(config), repr(config), config._repr_html_(), config.url]
        texts += [str(config.explain()), repr(config.explain()), caplog.text]
        texts += [config.explain()._repr_html_(), config.address]
        texts += [str(row) for row in config.explain()]
        assert SECRET not in "".join(texts)
    assert "bob" in repr(Config(f"redis://bob:{SECRET}@h"))
    assert "password='***'" in repr(Config(f"redis://bob:{SECRET}@h"))


def test_repr_shows_what_was_said():
    assert repr(Config()) == "Config('redis://localhost:6379')"
    config = Config("redis://h/3", timeout=None)
    assert repr(config) == "Config('redis://h:6379', db=3, timeout=None)"
    assert "<len>" in repr(Config(credentials=len))


def test_explain_tells_where_each_value_came_from(tmp_path):
    environ = {"REDIS_URL": "redis://h/3?prefix=a:", "SEQCACHE_TIMEOUT": "1"}
    rows = Config.from_env(environ).replace(protocol=2).explain()
    sources = {row.name: (row.value, row.source) for row in rows}
    assert list(sources) == list(DEFAULTS)
    assert sources["url"] == ("'redis://h:6379'", "REDIS_URL")
    assert sources["db"] == ("3", "URL")
    assert sources["prefix"] == ("'a:'", "URL")
    assert sources["timeout"] == ("1.0", "SEQCACHE_TIMEOUT")
    assert sources["protocol"] == ("2", "argument")
    assert sources["retry"] == ("'safe'", "default")
    path = toml(tmp_path, "[seqcache]\ndb = 1")
    row = Config.from_toml(path).explain()[3]
    assert str(row) == f"db = 1  ({path} [seqcache])"
    lines = str(Config.from_toml(path).explain()).splitlines()
    assert lines[3].split("  ")[-1].strip() == f"{path} [seqcache]"
    assert len({line.index("default") for line in lines if "default" in line}) == 1


def test_html_is_short_and_escaped():
    html = Config("redis://h", prefix="<b>&").explain()._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert html.count("<tr>") == len(DEFAULTS) + 1
    assert Config("redis://h")._repr_html_().count("<tr>") == 2


# --- import ------------------------------------------------------------------------


def test_import_brings_neither_asyncio_nor_ssl_nor_anything_rare():
    names = "asyncio ssl difflib tomllib random urllib.parse importlib.metadata"
    code = (
        "import sys; before = set(sys.modules)\n"
        "from seqcache.config import Config\n"
        "import seqcache._connect\n"
        "Config('redis://:x@h/1?timeout=1').explain()\n"
        f"print(*sorted(set({names.split()!r}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == []
