"""A bulk whose ids all fail for one reason: each has an error of its own, cheaply."""

from __future__ import annotations

import math
import pickle

import pytest

import seqcache
from fakes import node as faults
from seqcache import _outcome

IDS = [*(f"user{number}" for number in range(5_000)), b"\xff", "it's", 7]


@pytest.fixture
def made(monkeypatch):
    """The ids for which a message was made in Python."""
    ids = []
    make = _outcome.make

    def counted(class_name, method, where, user_id, *rest):
        ids.append(user_id)
        return make(class_name, method, where, user_id, *rest)

    monkeypatch.setattr(_outcome, "make", counted)
    return ids


def test_each_id_has_its_own_unknown_outcome(plain_face, node, made):
    cache = plain_face.open(node.url, timeout=0.5)
    node.on("*", faults.swallow, times=math.inf)
    with pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs(IDS, 3)
    results = caught.value.results
    assert len({id(error) for error in results}) == len(IDS)
    for given, error in zip(IDS, results, strict=True):
        uid = str(given) if isinstance(given, int) else given
        again = pickle.loads(pickle.dumps(error))
        for one in (error, again):
            assert type(one) is seqcache.OutcomeUnknown
            assert (one.user_id, one.by, one.executed) == (uid, 3, None)
            assert str(one).startswith(f"increase_seqs({uid!r}) at ")
            assert "not known whether it was counted" in str(one)
            assert type(one.cause) is seqcache.CallTimeout
        assert error.__cause__ is error.cause
    assert len(made) < 5


def test_ids_that_were_refused_alike_keep_class_and_code(plain_face, node, made):
    cache = plain_face.open(node.url)
    node.on("*", faults.error("OOM no memory"), nth=2, times=100)
    with pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs(["a", "b", "c", "d"])
    first, *refused = caught.value.results
    assert first == 1
    assert [type(error) for error in refused] == [seqcache.ServerError] * 3
    assert [error.args for error in refused] == [
        (refused[0].args[0].replace("'b'", repr(uid)),) for uid in "bcd"
    ]
    assert {(e.code, e.executed, e.hint) for e in refused} == {
        ("OOM", False, refused[0].hint)
    }
    assert made == ["b"]


def test_nothing_reached_is_one_error_for_all(plain_face, own_server, made):
    cache = plain_face.open(own_server.url, timeout=0.5)
    own_server.close()
    with pytest.raises(seqcache.ConnectError) as caught:
        cache.increase_seqs(IDS)
    assert caught.value.executed is False
    assert "'user0'" in str(caught.value)
    assert len(made) < 5
