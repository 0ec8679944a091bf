"""Operations on many ids at once, one body for every face."""

from __future__ import annotations

import pytest

import seqcache

MANY = 20_000


def test_get_seqs_keeps_the_callers_order_and_duplicates(cache):
    cache.raise_seqs({"a": 1, "b": 2, "c": 3})
    assert cache.get_seqs(["c", "a", "nobody", "c", "b"]) == [3, 1, 0, 3, 2]


def test_bulk_of_nothing_is_nothing(cache):
    assert cache.get_seqs([]) == []
    assert cache.increase_seqs([]) == []
    assert cache.raise_seqs({}) == 0
    assert cache.raise_seqs([]) == 0


def test_increase_seqs_gives_one_number_per_member(cache):
    cache.increase_seq("b", 10)
    assert cache.increase_seqs(["a", "b", "c"]) == [1, 11, 1]
    assert cache.increase_seqs(["a", "b"], 5) == [6, 16]
    assert cache.increase_seqs(["a"], by=2) == [8]


def test_an_id_named_twice_increases_twice(cache):
    assert cache.increase_seqs(["a", "b", "a"]) == [1, 1, 2]
    assert cache.get_seq("a") == 2


@pytest.mark.parametrize("shape", [list, tuple, iter, set])
def test_any_iterable_of_ids_is_taken(cache, shape):
    assert cache.increase_seqs(shape(["only"])) == [1]
    assert cache.get_seqs(shape(["only"])) == [1]


def test_ids_of_different_types_name_the_same_key(cache):
    assert cache.increase_seqs(["42", 42, b"42"]) == [1, 2, 3]


@pytest.mark.parametrize("ids", ["alice", b"alice"])
@pytest.mark.parametrize("name", ["get_seqs", "increase_seqs"])
def test_a_bare_string_is_not_a_list_of_ids(cache, name, ids):
    with pytest.raises(TypeError):
        cache.call(name, ids)
    assert cache.get_seqs(["a", "alice"]) == [0, 0]


@pytest.mark.parametrize("pairs", ["ab", b"ab"])
def test_a_bare_string_is_no_pairs(cache, pairs):
    with pytest.raises(TypeError):
        cache.raise_seqs(pairs)


@pytest.mark.parametrize("ids", [None, 7, 1.5])
def test_no_iterable_is_type_error(cache, ids):
    with pytest.raises(TypeError):
        cache.get_seqs(ids)


def test_a_bad_id_in_a_bulk_counts_nothing(cache):
    with pytest.raises(seqcache.UserIdError):
        cache.increase_seqs(["a", "", "b"])
    with pytest.raises(TypeError):
        cache.increase_seqs(["a", None, "b"])
    assert cache.get_seqs(["a", "b"]) == [0, 0]


def test_an_iterable_that_raises_counts_nothing(cache):
    def ids():
        yield "a"
        raise LookupError("no more")

    with pytest.raises(LookupError):
        cache.increase_seqs(ids())
    assert cache.get_seq("a") == 0


@pytest.mark.parametrize("by", [0, -1])
def test_bulk_by_less_than_one_is_refused(cache, by):
    with pytest.raises(ValueError, match="by"):
        cache.increase_seqs(["a"], by)


def test_raise_seqs_takes_pairs_mapping_and_generator(cache):
    assert cache.raise_seqs({"a": 5, "b": 6}) == 2
    assert cache.raise_seqs([("a", 4), ("c", 9)]) == 2
    assert cache.raise_seqs((str(n), n) for n in range(1, 6)) == 5
    assert cache.get_seqs(["a", "b", "c", "5"]) == [5, 6, 9, 5]


def test_raise_seqs_repeated_is_harmless(cache):
    pairs = {f"u{n}": cache.face.last - n for n in range(100)}
    for _ in range(2):
        assert cache.raise_seqs(pairs) == 100
    assert cache.get_seqs(pairs) == list(pairs.values())


def test_large_bulks_are_right(cache):
    ids = [f"u{n}" for n in range(MANY)]
    assert cache.raise_seqs((uid, n) for n, uid in enumerate(ids)) == MANY
    assert cache.increase_seqs(ids) == list(range(1, MANY + 1))
    assert cache.get_seqs(ids) == list(range(1, MANY + 1))


def test_a_bulk_greater_than_max_pending_is_fed_in_pieces(live_face):
    with live_face.open(max_pending=100, timeout=20) as cache:
        ids = [f"u{n}" for n in range(5000)]
        assert cache.increase_seqs(ids) == [1] * 5000
        assert cache.get_seqs(ids) == [1] * 5000
        assert cache.increase_seq("u1") == 2


def test_bulks_in_parallel_do_not_mix(cache):
    groups = [[f"{group}:{n}" for n in range(300)] for group in range(8)]
    results = cache.start_all(
        "increase_seqs", [(g, i) for i, g in enumerate(groups, 1)]
    )
    assert results == [[i] * 300 for i in range(1, 9)]


def test_one_id_that_is_no_sequence_fails_alone(server, live_cache):
    server.admin("RPUSH", "seq:list", "x")
    server.admin("SET", "seq:text", "hello")
    with pytest.raises(seqcache.BulkError) as caught:
        live_cache.increase_seqs(["a", "list", "b", "text"])
    results = caught.value.results
    assert (results[0], results[2]) == (1, 1)
    assert isinstance(results[1], seqcache.NotASequence)
    assert isinstance(results[3], seqcache.NotASequence)
    assert caught.value.executed is not False
    assert live_cache.get_seqs(["a", "b"]) == [1, 1]


def test_bulk_read_of_a_wrong_type_is_an_error_never_zero(server, live_cache):
    server.admin("RPUSH", "seq:list", "x")
    server.admin("SET", "seq:b", "7")
    with pytest.raises(seqcache.BulkError) as caught:
        live_cache.get_seqs(["nobody", "list", "b"])
    results = caught.value.results
    assert (results[0], results[2]) == (0, 7)
    assert isinstance(results[1], seqcache.NotASequence)


def test_all_ids_failing_by_one_cause_is_that_error(server, live_cache):
    server.admin("RPUSH", "seq:l1", "x")
    server.admin("RPUSH", "seq:l2", "x")
    with pytest.raises(seqcache.NotASequence) as caught:
        live_cache.increase_seqs(["l1", "l2"])
    assert caught.value.executed is False


def test_raise_seqs_over_a_wrong_type_fails_for_that_id(server, live_cache):
    server.admin("RPUSH", "seq:list", "x")
    with pytest.raises(seqcache.BulkError) as caught:
        live_cache.raise_seqs({"a": 5, "list": 6, "b": 7})
    assert isinstance(caught.value.results[1], seqcache.NotASequence)
    assert live_cache.get_seqs(["a", "b"]) == [5, 7]
