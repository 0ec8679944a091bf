"""Third parties' backends: registration, entry points, the protocols."""

import importlib.metadata

import pytest

from seqcache import backends
from seqcache.config import Config
from seqcache.errors import ConfigError


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Nothing is registered at the start, nothing is left at the end."""
    monkeypatch.setattr(backends, "_registered", {})


@pytest.fixture
def installed(monkeypatch):
    """Pretend that packages with these entry points are installed."""

    def install(**points):
        found = importlib.metadata.EntryPoints(
            importlib.metadata.EntryPoint(name, value, backends.ENTRY_POINT_GROUP)
            for name, value in points.items()
        )
        real = importlib.metadata.entry_points
        monkeypatch.setattr(
            importlib.metadata,
            "entry_points",
            lambda **key: found.select(**key) or real(**key),
        )

    return install


class Blocking:
    """The least that `Backend` asks for."""

    def __init__(self, config):
        self.config = config

    def get(self, keys, *, timeout):
        return [0 for _ in keys]

    def increase(self, keys, by, *, timeout):
        return [by for _ in keys]

    def raise_to(self, items, *, timeout):
        return [value for _, value in items]

    def scan(self, prefix):
        return iter(())

    def ping(self, *, timeout):
        return None

    def close(self):
        return None


class Asyncio:
    """The least that `AsyncBackend` asks for."""

    async def get(self, keys, *, timeout):  # noqa: ASYNC109
        return [0 for _ in keys]

    async def increase(self, keys, by, *, timeout):  # noqa: ASYNC109
        return [by for _ in keys]

    async def raise_to(self, items, *, timeout):  # noqa: ASYNC109
        return [value for _, value in items]

    async def scan(self, prefix):
        return
        yield

    async def ping(self, *, timeout):  # noqa: ASYNC109
        return None

    async def aclose(self):
        return None


def test_group_is_the_documented_one():
    assert backends.ENTRY_POINT_GROUP == "seqcache.backends"


def test_protocols_tell_blocking_from_asyncio():
    assert isinstance(Blocking(None), backends.Backend)
    assert not isinstance(Blocking(None), backends.AsyncBackend)
    assert isinstance(Asyncio(), backends.AsyncBackend)
    assert not isinstance(Asyncio(), backends.Backend)


def test_registered_scheme_is_found_in_any_case():
    backends.register_backend("My-Store", Blocking)
    assert backends.find_backend("my-store") is Blocking
    assert backends.find_backend("MY-STORE") is Blocking
    assert backends.known_schemes() == ("my-store",)
    assert backends.find_backend("other") is None


def test_registering_again_replaces():
    backends.register_backend("my", Blocking)
    backends.register_backend("my", Asyncio)
    assert backends.find_backend("my") is Asyncio


@pytest.mark.parametrize("scheme", ["redis", "REDISS", "memory", "sqlite", "unix"])
def test_own_schemes_cannot_be_taken(scheme):
    with pytest.raises(ConfigError, match="belongs to seqcache"):
        backends.register_backend(scheme, Blocking)


@pytest.mark.parametrize("scheme", ["", "1a", "a b", "a_b", "a:", "é"])
def test_malformed_scheme(scheme):
    with pytest.raises(ConfigError, match="scheme"):
        backends.register_backend(scheme, Blocking)


def test_factory_must_be_callable():
    with pytest.raises(TypeError, match="callable, not str"):
        backends.register_backend("my", "module:factory")


def test_entry_point_is_found_and_loaded(installed):
    installed(MyStore="collections:OrderedDict")
    assert backends.known_schemes() == ("mystore",)
    assert backends.find_backend("mystore").__name__ == "OrderedDict"
    assert Config("mystore://somewhere").location.scheme == "mystore"


def test_registered_goes_before_installed(installed):
    installed(my="collections:OrderedDict")
    backends.register_backend("my", Blocking)
    assert backends.find_backend("my") is Blocking


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:x", "ModuleNotFoundError"),
        ("os:no_such_name", "AttributeError"),
        ("os:sep", "not callable"),
    ],
)
def test_broken_entry_point_is_named(installed, value, words):
    installed(my=value)
    with pytest.raises(ConfigError, match=words) as caught:
        backends.find_backend("my")
    assert value in str(caught.value)


def test_config_keeps_what_a_foreign_url_says():
    backends.register_backend("my", Blocking)
    config = Config("my://u:p%40@h:1/a/b?timeout=3&shard=x%20y&key=k")
    assert config.url == "my://h:1/a/b?shard=x%20y&key=k"
    assert (config.username, config.password, config.timeout) == ("u", "p@", 3.0)
    assert config.replace() == config
    assert Config(config.url, username="u", password="p@", timeout=3) == config
    assert "p@" not in repr(config)
    assert "shard=***&key=***" in repr(config)


def test_unregistered_scheme_is_refused_with_the_nearest():
    backends.register_backend("mystore", Blocking)
    with pytest.raises(ConfigError, match="no backend serves mystor://") as caught:
        Config("mystor://h")
    assert "mystore://" in caught.value.hint
