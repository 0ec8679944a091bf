"""What cannot be meant is refused by the promised class, and in the caller's words."""

from __future__ import annotations

import pytest

import seqcache
from seqcache import _outcome


@pytest.fixture
def cache():
    with seqcache.cache("memory://") as cache:
        yield cache


def test_an_integer_of_too_many_digits_is_an_id_that_cannot_be_a_key(cache):
    with pytest.raises(seqcache.UserIdError, match="longer than 512 bytes"):
        cache.get_seq(10**5000)


def test_a_token_with_lone_surrogates_is_named(cache):
    with pytest.raises(ValueError, match="the token has lone surrogates"):
        cache.increase_seq("alice", token="\ud800")


@pytest.mark.parametrize("pair", [b"ab", "ab"])
def test_two_bytes_are_no_pair_of_integers(cache, pair):
    with pytest.raises(TypeError, match="expected pairs"):
        cache.raise_seqs([pair])
    assert list(cache.scan()) == []


@pytest.mark.parametrize("call", ["ping", "health", "scan"])
def test_a_closed_cache_names_the_public_method(call):
    cache = seqcache.cache("memory://")
    cache.close()
    with pytest.raises(seqcache.ClosedError) as caught:
        list(getattr(cache, call)())
    assert "_" not in str(caught.value).partition("(")[0]


def test_a_prefix_without_room_is_a_config_error(cache):
    with pytest.raises(seqcache.ConfigError, match="1024 bytes"):
        cache.namespace("x" * 1025)
    assert cache.namespace("x" * 1024).increase_seq("y" * 512) == 1


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("sqlite:///seq.db", {"ceilings": "sqlite:///other.db"}),
        ("memory://", {"db": 3}),
        ("memory://", {"password": "hunter2"}),
    ],
)
def test_overrides_are_refused_as_in_the_url(url, fields):
    with pytest.raises(seqcache.ConfigError) as caught:
        seqcache.cache(url, **fields)
    assert caught.value.option in fields


def test_an_unknown_field_of_a_file_tells_the_file(tmp_path):
    path = tmp_path / "app.toml"
    path.write_text("[seqcache]\ntmeout = 1\n")
    with pytest.raises(seqcache.ConfigError, match=r"app\.toml \[seqcache\]") as caught:
        seqcache.Config.from_toml(path)
    assert "'timeout'" in caught.value.hint


def test_an_option_twice_in_the_url_has_no_place_of_its_own():
    with pytest.raises(seqcache.ConfigError, match="two options of the URL"):
        seqcache.Config("redis://h?timeout=1&socket_timeout=2")


def _made(class_name, method, text, last_error=None):
    return _outcome.make(
        class_name, method, "h:1/0", "alice", 1, None, text, "", last_error, 1.0, None
    )


def test_no_connection_has_the_hint_of_its_cause():
    cause = seqcache.ConnectError("refused", hint="is the server running?")
    error = _outcome.make(
        "ConnectError",
        "get_seq",
        "h:1/0",
        "alice",
        0,
        False,
        None,
        "",
        cause,
        1.0,
        None,
    )
    assert error.hint == "is the server running?"
    assert str(error).count("hint:") == 1


def test_a_delete_of_unknown_fate_is_not_told_to_take_a_token():
    error = _made("OutcomeUnknown", "delete_seq", None)
    assert "token" not in error.hint


def test_a_value_that_we_refuse_has_the_code_of_the_server():
    error = _made("NotASequence", "get_seq", "value is not an integer or out of range")
    assert error.code == "ERR"
