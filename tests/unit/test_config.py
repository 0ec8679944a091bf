"""Config: every way in, every refusal, no secret in any text."""

import copy
import dataclasses
import pickle

import pytest

from fakes.defaults import DEFAULTS, said
from seqcache.config import Config
from seqcache.errors import ConfigError

SECRET = "s3cretW0rd"


def refused(*args, **fields):
    with pytest.raises(ConfigError) as caught:
        Config.coerce(*args, **fields)
    assert SECRET not in str(caught.value)
    assert caught.value.executed is False
    return caught.value


# --- the dataclass ------------------------------------------------------------


def test_fields_and_defaults_are_those_of_the_contract():
    assert [field.name for field in dataclasses.fields(Config)] == list(DEFAULTS)
    assert dataclasses.asdict(Config()) == DEFAULTS


def test_frozen_hashable_comparable():
    config = Config("redis://h", password=SECRET)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.timeout = 1.0
    assert config == Config.from_url(f"redis://:{SECRET}@h:6379/0")
    assert hash(config) == hash(Config.from_url(f"redis://:{SECRET}@h:6379/0"))
    assert config != config.replace(db=1)
    assert config != 1


def test_copies_and_pickles_are_equal_and_explain_alike():
    config = Config(f"redis://bob:{SECRET}@h/3?timeout=1", prefix=b"\xff")
    copies = [copy.copy(config), copy.deepcopy(config), config.replace()]
    copies += [pickle.loads(pickle.dumps(config, at)) for at in range(6)]
    for again in copies:
        assert again == config
        assert again.explain() == config.explain()
        assert again.location == config.location


def test_only_the_url_is_positional():
    with pytest.raises(TypeError):
        Config("redis://h", "bob")


# --- URLs ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {}),
        ("redis://localhost", {}),
        ("REDIS://localhost:6379/0", {}),
        (" redis://localhost/\n", {}),
        ("redis://:7", {"url": "redis://localhost:7"}),
        ("valkey://h/3", {"url": "valkey://h:6379", "db": 3}),
        ("redis://bob@h", {"url": "redis://h:6379", "username": "bob"}),
        ("redis://:p@h", {"url": "redis://h:6379", "password": "p"}),
        ("redis://:@h", {"url": "redis://h:6379"}),
        (
            "redis://b%6Fb:p%40%2F%3A%25@h",
            {"url": "redis://h:6379", "username": "bob", "password": "p@/:%"},
        ),
        ("redis://:a@b:c@h:1", {"url": "redis://h:1", "password": "a@b:c"}),
        ("redis://:50%off@h", {"url": "redis://h:6379", "password": "50%off"}),
        ("redis://:1+1%2B@h", {"url": "redis://h:6379", "password": "1+1+"}),
        ("redis://:p%C3%A9@h", {"url": "redis://h:6379", "password": "pé"}),
        ("redis://[::1]/2", {"url": "redis://[::1]:6379", "db": 2}),
        ("redis://[fe80::1%25eth0]:7", {"url": "redis://[fe80::1%25eth0]:7"}),
        ("redis://h?db=4", {"url": "redis://h:6379", "db": 4}),
        ("redis://h/?timeout=0.5&", {"url": "redis://h:6379", "timeout": 0.5}),
        ("redis://h?timeout=none", {"url": "redis://h:6379", "timeout": None}),
        ("redis://h?socket_timeout=3", {"url": "redis://h:6379", "timeout": 3.0}),
        (
            "redis://h?socket_connect_timeout=3",
            {"url": "redis://h:6379", "connect_timeout": 3.0},
        ),
        (
            "redis://h?username=u&password=p%26q",
            {"url": "redis://h:6379", "username": "u", "password": "p&q"},
        ),
        ("redis://h?prefix=a%3Ab:", {"url": "redis://h:6379", "prefix": "a:b:"}),
        ("redis://h?prefix=%FF", {"url": "redis://h:6379", "prefix": b"\xff"}),
        ("redis://h?prefix=", {"url": "redis://h:6379", "prefix": ""}),
        (
            "redis://h?retry=gap&protocol=2&on_regress=raise&connections=2",
            {
                "url": "redis://h:6379",
                "retry": "gap",
                "protocol": 2,
                "on_regress": "raise",
                "connections": 2,
            },
        ),
        (
            "redis://h?max_pending=5&startup_timeout=0&client_name=x",
            {"url": "redis://h:6379", "max_pending": 5, "client_name": "x"},
        ),
        ("unix:///run/r.sock?db=2", {"url": "unix:///run/r.sock", "db": 2}),
        ("redis+unix:///a%20b@c", {"url": "redis+unix:///a%20b%40c"}),
        ("unix://bob:p@/s", {"url": "unix:///s", "username": "bob", "password": "p"}),
        ("memory://", {"url": "memory://"}),
        ("memory://a%20b", {"url": "memory://a%20b"}),
    ],
)
def test_url(url, expected):
    config = Config.from_url(url)
    assert said(config) == expected
    assert Config(config.url).location == config.location


@pytest.mark.parametrize(
    ("url", "kind", "address", "path"),
    [
        ("redis://h:1", "tcp", "h:1", ""),
        ("redis://[fe80::1%25eth0]:1", "tcp", "[fe80::1%eth0]:1", ""),
        ("unix:///a%20b", "unix", "/a b", "/a b"),
        ("unix:///a%FF", "unix", "/a\udcff", "/a\udcff"),
        ("memory://n%20", "memory", "memory://n%20", "n "),
    ],
)
def test_location(url, kind, address, path):
    config = Config(url)
    assert config.location.kind == kind
    assert config.address == address
    assert config.location.path == path


def test_location_of_tcp():
    where = Config("valkey://h:7/1").location
    assert (where.scheme, where.host, where.port) == ("valkey", "h", 7)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "URL"),
        ("localhost:6379", "scheme"),
        ("://h", "scheme"),
        ("re dis://h", "scheme"),
        (f"{SECRET}@h", "scheme"),
        ("redis://h:x", "port"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:", "port"),
        ("redis://h:²", "port"),
        (f"redis://h:1{SECRET}", "port"),
        ("redis://h:1:2", "':'"),
        ("redis://::1", "':'"),
        ("redis://[::1", "IPv6"),
        ("redis://[::1]x", "IPv6"),
        ("redis://[h]:1", "IPv6"),
        (f"redis://h/{SECRET}", "database number"),
        ("redis://h/0/", "database number"),
        ("redis://h/-1", "database number"),
        ("redis://h/9999999999", "database number"),
        (f"redis://:a/{SECRET}@h", "'@'"),
        (f"redis://:1?{SECRET}@h", "'@'"),
        (f"redis://u:1?{SECRET}=@h", "'@'"),
        (f"redis://:a#{SECRET}@h", "'#'"),
        (f"redis://:a {SECRET}@h", "space"),
        (f"redis://h\x00{SECRET}", "space"),
        ("redis://h?timeout", "no value"),
        ("redis://h?timeout=1&timeout=1", "twice"),
        ("redis://h?timeout=1&socket_timeout=1", "twice"),
        ("redis://h/1?db=1", "twice"),
        ("redis://:a@h?password=b", "twice"),
        ("redis://h1,h2", "not in this version"),
        ("unix://run/r.sock", "absolute path"),
        ("unix://", "absolute path"),
        ("memory://a/b", "one name"),
        ("rediss://h", "not in this version"),
        ("valkeys://h", "not in this version"),
        ("redis+sentinel://h/m", "not in this version"),
        ("redis+cluster://h", "not in this version"),
        ("rediss+cluster://h", "not in this version"),
        ("sqlite://", "needs a file"),
        ("sqlite:///", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite://file.db", "needs a file"),
        ("sqlite:///a.db?ceilings=sqlite:///b.db", "its own file"),
        ("sqlite:///a.db?db=3", "takes no db"),
        ("redi://h", "redis://"),
        ("http://h", "no backend serves http://"),
        ("redis://:%FF@h", "password in the URL"),
    ],
)
def test_bad_url(url, words):
    error = refused(url)
    assert words in str(error)
    assert error.option in ("url", "db", "timeout", "password", "ceilings")


# --- options --------------------------------------------------------------------

WRONG = [
    ("timeout", [0, -1, float("nan"), float("inf"), "x", True, b"1", 10**400, []]),
    ("connect_timeout", [None, 0, "none"]),
    ("startup_timeout", [-1, None, float("inf")]),
    ("max_pending", [0, 1.5, "1", None, True, 2**40]),
    ("connections", [0, -1, None]),
    ("db", [-1, 1.0, "0", None, False]),
    ("protocol", [1, 4, "3", None, True, 2.0]),
    ("retry", ["", "always", None, 1]),
    ("on_regress", ["", "error", None]),
    ("client_name", ["a b", "é", "a\n", None, b"x"]),
    ("username", [1, b"x", "\ud800"]),
    ("password", [1, b"x", "\ud800"]),
    ("prefix", ["sqc:", "sqc:x", b"sqc:", None, 1, "\ud800"]),
    ("credentials", ["module:function", 1]),
    ("url", [None, 1, b"redis://h", " "]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG for value in values]
)
def test_wrong_value_names_the_option_in_every_way_in(name, value):
    for attempt in (
        lambda: Config(**{name: value}),
        lambda: Config().replace(**{name: value}),
        lambda: Config.coerce({name: value}),
        lambda: Config.coerce("redis://h", **{name: value}),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert caught.value.option == name
        assert caught.value.__cause__ is None
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        *("timeout=0", "timeout=x", "timeout=nan", "timeout=inf", "timeout=%FF"),
        *("connect_timeout=none", "db=-1", "db=1.0", "db=", "db=%C2%B2", "db=1_0"),
        *("protocol=4", "protocol=x", "retry=x", "prefix=sqc:x", "client_name=a%20b"),
        *("credentials=os:getcwd", "max_pending=0", "connections=0"),
    ],
)
def test_wrong_text_names_the_option(option):
    name = option.partition("=")[0]
    error = refused(f"redis://h?{option}")
    assert error.option == name
    assert str(error).startswith(f"{name} in the URL must be")


def test_wrong_value_is_shown_short_and_a_secret_never():
    assert "'abc'" in str(refused(timeout="abc"))
    assert len(str(refused(retry="x" * 1000))) < 150
    for name in ("password", "credentials", "url"):
        assert SECRET not in str(refused(**{name: [SECRET]}))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("timout", "did you mean 'timeout'?"),
        ("Timeout", "did you mean 'timeout'?"),
        ("socket_timout", "did you mean 'timeout'?"),
        ("max_pendin", "did you mean 'max_pending'?"),
        ("pasword", "did you mean 'password'?"),
        ("zzz", None),
        ("decode_responses", "not needed: sequences are ints"),
        ("host", "it belongs into the url: redis://HOST:PORT/DB"),
    ],
)
def test_unknown_option_is_refused_with_the_nearest_name(name, hint):
    for error in (
        refused(f"redis://h?{name}=1"),
        refused("redis://h", **{name: 1}),
        refused({name: 1}),
    ):
        assert error.option == name
        assert name in str(error)
        assert error.hint == hint
    with pytest.raises(ConfigError) as caught:
        Config(**{name: 1})
    assert caught.value.option == name


@pytest.mark.parametrize("name", ["ssl_cert_reqs", "ssl_ca_certs"])
def test_option_of_a_later_version_is_not_taken_for_a_slip(name):
    assert "not in this version" in str(refused("redis://h", **{name: 1}))
    assert "not in this version" in str(refused(f"redis://h?{name}=1"))


def test_values_are_normalised():
    class Three:
        def __index__(self):
            return 3

    config = Config(timeout=1, db=Three(), prefix=b"a:", password="", username="")
    assert (config.timeout, type(config.timeout)) == (1.0, float)
    assert (config.db, type(config.db)) == (3, int)
    assert config.prefix == "a:"
    assert (config.username, config.password) == (None, None)
    assert config.key_prefix == b"a:"
    assert Config(prefix=b"\xff").key_prefix == b"\xff"
    assert Config(prefix="é").key_prefix == b"\xc3\xa9"
    assert Config(timeout="none").timeout is None


def test_redis_py_names_are_understood():
    config = Config.coerce("redis://h", socket_timeout=3, socket_connect_timeout=4)
    assert (config.timeout, config.connect_timeout) == (3.0, 4.0)
    assert "twice" in str(refused("redis://h", socket_timeout=3, timeout=3))
    with pytest.raises(ConfigError, match="did you mean 'timeout'"):
        Config(socket_timeout=3)


# --- words that cannot be meant ----------------------------------------------------


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("memory://user@shop", "username"),
        ("memory://:secret@shop", "password"),
        ("memory://shop?db=3", "db"),
    ],
)
def test_memory_has_neither_users_nor_databases(url, option):
    with pytest.raises(ConfigError, match="memory:// takes no") as caught:
        Config(url)
    assert caught.value.option == option
    assert "secret" not in str(caught.value)
    assert Config("memory://shop", db=0).db == 0


def test_a_url_within_a_url_is_refused_without_a_hint():
    with pytest.raises(ConfigError, match="cannot hold the option url") as it:
        Config("redis://h?url=redis://h")
    assert it.value.hint is None


def test_a_database_that_is_named_twice_says_where():
    with pytest.raises(ConfigError, match="by its place .* as an option"):
        Config("redis://h/1?db=2")
