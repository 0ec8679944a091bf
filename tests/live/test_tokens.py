"""Calls with a token: counted once, whatever becomes of their answers."""

from __future__ import annotations

import pickle
import time

import pytest

import seqcache

MAX = 2**63 - 1
EDGES = [0, 2**53 - 2, 2**53, 2**53 + 1, 10**18, MAX - 4]


def record_of(key: str, token: str) -> str:
    tag = key if "{" in key else "{" + key + "}"
    return f"sqc:t:{len(key.encode())}:{tag}:{token}"


# --- what a token means -----------------------------------------------------------


def test_same_token_gets_the_same_number(cache):
    assert cache.increase_seq("alice", token="m1") == 1
    assert cache.increase_seq("alice") == 2
    assert cache.increase_seq("alice", token=b"m1") == 1
    assert cache.increase_seq("alice", 1, token="m1") == 1
    assert cache.increase_seq("alice", token="m2") == 3
    assert cache.increase_seq("alice", token=None) == 4
    assert cache.get_seq("alice") == 4


def test_same_token_gets_the_same_range(cache):
    assert cache.reserve("alice", 5, token="m1") == range(1, 6)
    assert cache.reserve("alice", 5, token="m2") == range(6, 11)
    assert cache.reserve("alice", 5, token="m1") == range(1, 6)
    assert cache.increase_seq("alice", by=5, token="m1") == 5
    assert cache.get_seq("alice") == 10


def test_one_token_serves_every_member_of_a_group(cache):
    cache.increase_seq("bob", by=7)
    assert cache.increase_seqs(["alice", "bob"], token="m1") == [1, 8]
    assert cache.increase_seqs(["bob", "carol", "alice"], token="m1") == [8, 1, 1]
    assert cache.increase_seq("carol", token="m1") == 1
    assert cache.get_seqs(["alice", "bob", "carol"]) == [1, 8, 1]


def test_id_named_twice_with_a_token_gets_one_number(cache):
    assert cache.increase_seqs(["alice", "alice", "bob"], token="m") == [1, 1, 1]
    assert cache.increase_seqs(["alice", "alice"]) == [2, 3]


def test_same_token_with_another_amount_is_a_conflict(cache):
    cache.increase_seq("alice", by=3, token="m1")
    for again in (
        lambda: cache.increase_seq("alice", token="m1"),
        lambda: cache.reserve("alice", 2, token="m1"),
        lambda: cache.increase_seqs(["alice"], 4, token="m1"),
    ):
        with pytest.raises(seqcache.TokenConflict, match="counted 3 before") as caught:
            again()
        assert caught.value.executed is False
        assert isinstance(caught.value, ValueError)
        assert pickle.loads(pickle.dumps(caught.value)).hint == caught.value.hint
    assert cache.get_seq("alice") == 3


def test_conflict_of_one_member_leaves_the_others_counted(cache):
    cache.increase_seq("bob", by=2, token="m")
    with pytest.raises(seqcache.BulkError) as caught:
        cache.increase_seqs(["alice", "bob", "carol"], token="m")
    first, second, third = caught.value.results
    assert (first, third) == (1, 1)
    assert isinstance(second, seqcache.TokenConflict)
    assert caught.value.executed is None


def test_tokens_of_namespaces_are_apart(cache):
    other = cache.namespace("other:")
    assert cache.increase_seq("alice", by=2, token="m") == 2
    assert other.increase_seq("alice", token="m") == 1


def test_ids_and_tokens_that_look_alike_are_apart(cache):
    pairs = [("a", "b:c"), ("a:b", "c"), ("{a}", "x"), ("a", "x"), ("a", "}x")]
    # Two that share a record are a conflict: each has an amount of its own.
    for by, (user_id, token) in enumerate(pairs * 2, 1):
        cache.increase_seq(user_id, 1 + by % len(pairs), token=token)


@pytest.mark.parametrize("token", ["t" * 512, b"\xff\0\r\n" * 128, "\u20ac" * 170, "0"])
def test_longest_and_strangest_tokens_work(cache, token):
    long_id = "i" * 512
    assert cache.increase_seq(long_id, token=token) == 1
    assert cache.increase_seqs(["b", long_id], token=token) == [1, 1]


@pytest.mark.parametrize("token", ["", b"", "t" * 513, "\u20ac" * 171, "\ud800"])
def test_token_of_a_wrong_value_is_refused_before_anything_counts(cache, token):
    for call in (
        lambda: cache.increase_seq("alice", token=token),
        lambda: cache.reserve("alice", 2, token=token),
        lambda: cache.increase_seqs(["alice"], token=token),
    ):
        with pytest.raises(ValueError, match="token|surrogates"):
            call()
    assert cache.get_seq("alice") == 0


@pytest.mark.parametrize("token", [17, 1.5, True, ["m"], bytearray(b"m")])
def test_token_of_a_wrong_type_is_refused(cache, token):
    with pytest.raises(TypeError, match="token must be str or bytes"):
        cache.increase_seq("alice", token=token)
    assert cache.get_seq("alice") == 0


def test_token_is_a_keyword_of_counting_calls_only(cache):
    with pytest.raises(TypeError):
        cache.increase_seq("alice", 1, "m1")
    for name, args in [("get_seq", ("a",)), ("raise_seq", ("a", 1))]:
        with pytest.raises(TypeError, match="token"):
            cache.call(name, *args, token="m")


# --- numbers at the edges ---------------------------------------------------------


@pytest.mark.parametrize("start", EDGES)
def test_numbers_with_a_token_are_exact(plain_cache, start):
    plain_cache.raise_seq("alice", start)
    assert plain_cache.increase_seq("alice", token="m1") == start + 1
    assert plain_cache.reserve("alice", 3, token="m2") == range(start + 2, start + 5)
    assert plain_cache.increase_seq("alice", token="m1") == start + 1
    assert plain_cache.reserve("alice", 3, token="m2") == range(start + 2, start + 5)
    assert plain_cache.get_seq("alice") == start + 4


def test_whole_range_in_one_call_with_a_token(plain_cache):
    assert plain_cache.increase_seq("alice", by=MAX, token="m") == MAX
    assert plain_cache.increase_seq("alice", by=MAX, token="m") == MAX
    with pytest.raises(seqcache.TokenConflict, match=str(MAX)):
        plain_cache.increase_seq("alice", by=MAX - 1, token="m")


def test_overflow_with_a_token_is_told_and_changes_nothing(plain_cache):
    plain_cache.raise_seq("alice", MAX - 1)
    for _ in range(2):
        with pytest.raises(seqcache.SequenceOverflow) as caught:
            plain_cache.reserve("alice", 2, token="m")
        assert caught.value.executed is False
    assert plain_cache.get_seq("alice") == MAX - 1
    assert plain_cache.increase_seq("alice", token="m") == MAX  # nothing was recorded
    assert plain_cache.increase_seq("alice", token="m") == MAX


def test_durable_numbers_end_at_2_to_53_with_a_token_too(embedded_face):
    cache = embedded_face.open()
    cache.raise_seq("alice", 2**53 - 3)
    assert cache.reserve("alice", 2, token="m") == range(2**53 - 2, 2**53)
    with pytest.raises(seqcache.SequenceOverflow):
        cache.increase_seq("alice", token="n")
    assert cache.reserve("alice", 2, token="m") == range(2**53 - 2, 2**53)


def test_blocks_larger_than_the_ceiling_with_a_token(embedded_face):
    cache = embedded_face.open()
    for _ in range(2):
        assert cache.reserve("alice", 10**6, token="m") == range(1, 10**6 + 1)
        assert (
            cache.increase_seqs(["bob"] * 3 + ["carol"], 5000, token="m") == [5000] * 4
        )
    assert cache.get_seqs(["alice", "bob", "carol"]) == [10**6, 5000, 5000]


def test_negative_counter_of_somebody_else_counts_up_with_a_token(server, live_face):
    cache = live_face.open()
    server.admin("SET", "seq:alice", "-7")
    assert cache.increase_seq("alice", by=2, token="m") == -5
    assert cache.increase_seq("alice", by=2, token="m") == -5


@pytest.mark.parametrize("make", [("RPUSH", "seq:a", "1"), ("SET", "seq:a", "x")])
def test_key_that_is_no_sequence_is_told_and_not_recorded(server, live_face, make):
    cache = live_face.open()
    server.admin(*make)
    with pytest.raises(seqcache.NotASequence) as caught:
        cache.increase_seq("a", token="m")
    assert caught.value.executed is False
    assert server.admin("EXISTS", record_of("seq:a", "m")) == 0
    server.admin("DEL", "seq:a")
    assert cache.increase_seq("a", token="m") == 1


# --- what the server keeps --------------------------------------------------------


def test_record_is_that_of_durable_mode_and_expires(server, live_face):
    cache = live_face.open(token_ttl=77)
    cache.increase_seq("alice", by=3, token="m1")
    cache.increase_seq("{a}b", token="m1")
    record = record_of("seq:alice", "m1")
    assert record == "sqc:t:9:{seq:alice}:m1"
    assert server.admin("GET", record) == b"3/3"
    assert 70 <= server.admin("TTL", record) <= 77
    assert server.admin("GET", "sqc:t:8:seq:{a}b:m1") == b"1/1"
    server.admin("DEL", record)
    assert cache.increase_seq("alice", by=3, token="m1") == 6


def test_token_is_forgotten_after_its_time(face):
    cache = face.open(token_ttl=1)
    assert cache.increase_seq("alice", token="m") == 1
    while (number := cache.increase_seq("alice", token="m")) == 1:
        time.sleep(0.05)
    assert number == 2


def test_records_are_no_sequences_of_a_scan(cache):
    cache.increase_seq("alice", token="m")
    assert cache.namespace("").scan() == [("seq:alice", 1)]


def test_old_server_counts_a_token_once(old_server, net_face):
    cache = net_face.open(old_server.url)
    cache.raise_seq("alice", 2**53)
    for _ in range(2):
        assert cache.increase_seq("alice", token="m") == 2**53 + 1
        assert cache.increase_seqs(["alice", "bob"], 2, token="g") == [2**53 + 3, 2]
    with pytest.raises(seqcache.TokenConflict):
        cache.increase_seq("alice", by=2, token="m")
    cache.raise_seq("top", MAX)
    with pytest.raises(seqcache.SequenceOverflow):
        cache.increase_seq("top", token="m")
    old_server.admin("RPUSH", "seq:list", "1")
    with pytest.raises(seqcache.NotASequence) as caught:
        cache.increase_seq("list", token="m")
    assert caught.value.executed is False


def test_script_flushed_from_the_server_is_sent_again(server, live_face):
    cache = live_face.open()
    assert cache.increase_seq("alice", token="m1") == 1
    server.admin("SCRIPT", "FLUSH")
    assert cache.increase_seq("alice", token="m2") == 2
    assert cache.increase_seqs([f"u{i}" for i in range(50)], token="m") == [1] * 50


def test_user_who_may_not_record_counts_nothing(make_server, net_face):
    server = make_server()
    server.admin(
        "ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-set"
    )  # INCRBY alone is permitted
    url = server.url.replace("redis://", "redis://u:p@")
    cache = net_face.open(url)
    assert cache.increase_seq("alice") == 1
    with pytest.raises(seqcache.AuthError) as caught:
        cache.increase_seq("alice", by=5, token="m")
    assert caught.value.executed is False
    assert cache.get_seq("alice") == 1


# --- many at once -----------------------------------------------------------------


def test_eight_at_once_with_one_token_get_one_number(face):
    cache = face.open()
    for turn in range(20):
        calls = [
            cache.start("increase_seq", "alice", token=f"m{turn}") for _ in range(8)
        ]
        assert {call.result(10) for call in calls} == {turn + 1}
    assert cache.get_seq("alice") == 20


def test_two_caches_share_the_tokens_of_a_server(live_face):
    one, two = live_face.open(), live_face.open()
    assert one.increase_seq("alice", token="m") == 1
    assert two.increase_seq("alice", token="m") == 1


# --- lost numbers: token calls are not checked ------------------------------------


def test_token_of_before_a_delete_is_no_regression(plain_face_or_memory):
    cache = plain_face_or_memory.open(on_regress="raise")
    for _ in range(9):
        cache.increase_seq("alice")
    assert cache.increase_seq("alice", token="m") == 10
    cache.delete_seq("alice", restart_from_one=True)
    assert cache.increase_seq("alice", token="m") == 10
    assert cache.get_seq("alice") == 0
    assert cache.increase_seq("alice") == 1
    assert cache.stats().regressions == 0
