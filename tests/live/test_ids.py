"""Which user ids work, and that the others are refused before anything is sent."""

from __future__ import annotations

import pytest

import seqcache

GOOD = {
    "space": "with space",
    "crlf": "cr\r\nlf",
    "nul": "nul\0byte",
    "only-nul": "\0",
    "braces": "{tag}rest",
    "glob": "a*b?[c]\\",
    "unicode": "ünïcødé ☃ 👍",
    "resp": "$3\r\nfoo\r\n",
    "512-bytes": "x" * 512,
    "512-bytes-utf8": "é" * 256,
    "bytes": b"\xff\xfe\x00 raw",
    "512-raw-bytes": b"\x80" * 512,
    "integer": 42,
    "negative": -7,
    "long-integer": 10**40,
}
BAD_VALUE = {
    "empty": "",
    "empty-bytes": b"",
    "513-bytes": "x" * 513,
    "514-bytes-utf8": "é" * 257,
    "513-raw-bytes": b"x" * 513,
    "surrogate": "lone\ud800",
    "only-surrogate": "\udfff",
    "integer-of-600-digits": 10**599,
}
BAD_TYPE = {
    "none": None,
    "true": True,
    "false": False,
    "float": 1.0,
    "list": ["a"],
    "tuple": ("a",),
    "bytearray": bytearray(b"a"),
    "memoryview": memoryview(b"a"),
    "object": object(),
}


def raw_key(uid: str | bytes | int) -> bytes:
    """The key on the server, made without the code under test."""
    return b"seq:" + (uid if isinstance(uid, bytes) else str(uid).encode())


def calls(cache, uid):
    """Every operation, aimed at `uid`."""
    delete = [lambda: cache.delete_seq(uid, restart_from_one=True)]
    return [
        *([] if cache.face.is_durable else delete),
        lambda: cache.get_seq(uid),
        lambda: cache.increase_seq(uid),
        lambda: cache.reserve(uid, 2),
        lambda: cache.raise_seq(uid, 3),
        lambda: cache.get_seqs([uid]),
        lambda: cache.increase_seqs(["good", uid]),
        lambda: cache.raise_seqs([("good", 9), (uid, 3)]),
    ]


@pytest.mark.parametrize("uid", GOOD.values(), ids=GOOD.keys())
def test_good_ids_work_in_every_operation(cache, uid):
    assert cache.increase_seq(uid) == 1
    assert cache.get_seq(uid) == 1
    assert cache.reserve(uid, 2) == range(2, 4)
    assert cache.raise_seq(uid, 9) == 9
    assert cache.get_seqs([uid, uid]) == [9, 9]
    assert cache.increase_seqs([uid, "other", uid]) == [10, 1, 11]
    assert cache.raise_seqs({uid: 20}) == 1
    assert cache.get_seq(uid) == 20
    if not cache.face.is_durable:
        assert cache.delete_seq(uid, restart_from_one=True) is True


@pytest.mark.parametrize("uid", GOOD.values(), ids=GOOD.keys())
def test_good_ids_are_the_key_behind_the_prefix(server, live_cache, uid):
    live_cache.increase_seq(uid, 12)
    assert server.admin("GET", raw_key(uid)) == b"12"
    assert server.admin("DBSIZE") == 1


@pytest.mark.parametrize("uid", GOOD.values(), ids=GOOD.keys())
def test_good_ids_come_back_from_scan(cache, uid):
    cache.increase_seq(uid)
    ((found, seq),) = set(cache.scan())
    assert raw_key(found) == raw_key(uid)
    assert seq == 1


@pytest.mark.parametrize("uid", BAD_VALUE.values(), ids=BAD_VALUE.keys())
def test_bad_values_are_user_id_errors_and_nothing_is_counted(cache, uid):
    for call in calls(cache, uid):
        with pytest.raises(seqcache.UserIdError) as caught:
            call()
        assert isinstance(caught.value, ValueError)
        assert caught.value.executed is False
    assert cache.get_seq("good") in (0, 9)  # raise_seqs streams in batches
    assert [pair for pair in cache.scan() if pair[0] != "good"] == []


@pytest.mark.parametrize("uid", BAD_TYPE.values(), ids=BAD_TYPE.keys())
def test_bad_types_are_type_errors_and_nothing_is_counted(cache, uid):
    for call in calls(cache, uid):
        with pytest.raises(TypeError):
            call()
    assert [pair for pair in cache.scan() if pair[0] != "good"] == []


def test_subclasses_and_index_objects_are_ids(cache):
    class Name(str):
        __slots__ = ()

    class Number:
        def __index__(self):
            return 42

    assert cache.increase_seq(Name("42")) == 1
    assert cache.increase_seq(Number()) == 2
    assert cache.increase_seq(42) == 3


def test_an_index_that_raises_is_passed_on(cache):
    class Broken:
        def __index__(self):
            raise LookupError("no")

    with pytest.raises(LookupError):
        cache.increase_seq(Broken())
