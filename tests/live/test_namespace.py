"""Prefixes and views."""

from __future__ import annotations

import gc

import pytest
from faces import Handle

import seqcache


def test_a_view_has_its_own_prefix(server, live_cache):
    view = live_cache.namespace("send_seq:")
    assert view.increase_seq("alice") == 1
    assert live_cache.increase_seq("alice", 5) == 5
    assert server.admin("GET", "send_seq:alice") == b"1"
    assert server.admin("GET", "seq:alice") == b"5"


def test_views_of_memory_do_not_mix(cache):
    view = cache.namespace("x:")
    view.increase_seq("alice", 3)
    assert cache.get_seq("alice") == 0
    assert view.get_seqs(["alice", "bob"]) == [3, 0]
    assert dict(view.scan()) == {"alice": 3}


def test_a_view_is_of_the_same_class(cache):
    assert type(cache.namespace("x:").raw) is type(cache.raw)


def test_a_view_replaces_the_prefix_of_a_view(cache):
    inner = cache.namespace("x:").namespace("y:")
    inner.increase_seq("alice", 9)
    assert cache.namespace("y:").get_seq("alice") == 9
    assert cache.namespace("x:").get_seq("alice") == 0


def test_views_use_the_same_connections(server, live_face):
    with live_face.open(client_name="views-test") as cache:
        for n in range(20):
            cache.namespace(f"n{n}:").increase_seq("alice")
        assert server.client_count("views-test") == 1


def test_closing_a_view_closes_the_view_only(cache):
    view = cache.namespace("x:")
    view.close()
    with pytest.raises(seqcache.ClosedError):
        view.increase_seq("alice")
    assert cache.increase_seq("alice") == 1
    assert cache.namespace("x:").get_seq("alice") == 0


def test_closing_the_cache_closes_its_views(cache):
    view = cache.namespace("x:")
    cache.close()
    with pytest.raises(seqcache.ClosedError) as caught:
        view.get_seq("alice")
    assert caught.value.executed is False


def test_prefix_of_the_configuration_is_used(server, live_face):
    with live_face.open(prefix="conv:") as cache:
        cache.increase_seq("alice", 8)
    assert server.admin("GET", "conv:alice") == b"8"


@pytest.mark.parametrize("prefix", ["", "with space\r\n", "ünï:", "{tag}:"])
def test_any_text_may_be_a_prefix(server, live_face, prefix):
    with live_face.open(prefix=prefix) as cache:
        cache.increase_seq("alice", 8)
    assert server.admin("GET", prefix + "alice") == b"8"


@pytest.mark.parametrize("prefix", [None, 5])
def test_a_prefix_that_is_no_text_is_type_error(cache, prefix):
    with pytest.raises((TypeError, ValueError)):
        cache.namespace(prefix)


def test_a_view_keeps_the_cache_open(face):
    opened = face.open()
    face.opened.remove(opened)  # nobody holds it but the views
    view = opened.namespace("a:").namespace("b:")
    del opened
    gc.collect()
    assert view.increase_seq("alice") == 1
    face.opened.append(Handle(face, view.raw._parent._parent))  # to be closed


@pytest.mark.parametrize("prefix", ["", "s", "sq", "sqc"])
def test_no_id_reaches_our_own_keys(cache, prefix):
    """A user who chooses an id must not unmake a token's record, or a cell."""
    view = cache.namespace(prefix)
    rest = "sqc:"[len(prefix) :]
    for user_id in (rest, rest + "t:5:{seq:k}:tok", (rest + "x").encode()):
        for call in (
            lambda user_id=user_id: view.increase_seq(user_id),
            lambda user_id=user_id: view.get_seq(user_id),
            lambda user_id=user_id: view.get_seqs(["a", user_id]),
            lambda user_id=user_id: view.increase_seqs([user_id, "a"]),
            lambda user_id=user_id: view.raise_seqs([(user_id, 5)]),
            lambda user_id=user_id: view.lease(user_id),
        ):
            with pytest.raises(seqcache.UserIdError, match="reserved"):
                call()
        with pytest.raises(seqcache.SeqCacheError):  # embedded: it deletes nothing
            view.delete_seq(user_id, restart_from_one=True)
    assert view.increase_seq("x" + rest) == 1
    assert view.get_seq("a") == 0
