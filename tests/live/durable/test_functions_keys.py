"""seq_incr_keys, and the places of the cells that it uses, against a real server."""

# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import pytest
from chaos.functions import Functions, library, meta_key
from durable_faces import anyface, face

import seqcache

__all__ = ["anyface", "face"]

PREFIX = "seq:"
CAP = 2**53 - 1
GID, GID2 = "a1" * 8, "b2" * 8
OLDER = library().replace("register('seq_incr_keys', seq_incr_keys, {})\n", "")


@pytest.fixture
def epoch(functions: Functions) -> str:
    """A begun epoch."""
    functions.begin("1.r")
    return "1.r"


def test_keys_alone_are_answered_as_keys_with_their_cells(functions, epoch):
    functions.grant("a", epoch, GID, 1, 9)
    functions.grant("{b}", epoch, GID2, 4, 5)
    functions.ask("RPUSH", "list", "x")
    ids = ("a", "list", "{b}", "new", "a", "{b}")
    for first in (2, 4):  # cold, then hot
        full = ["full", GID2, "5", "6"]
        answers = functions.call("seq_incr_keys", ids, epoch, 1)
        assert answers[1][0] == "err"
        assert "WRONGTYPE" in answers[1][1]
        b = 5 if first == 2 else full
        assert answers == [first, answers[1], b, ["take", "0"], first + 1, full]
    assert functions.call("seq_incr_keys", ids, "2.r", 1) == ["epoch", epoch]
    assert functions.call("seq_incr_keys", ("a",), epoch, 3, "v") == [8]


def test_keys_alone_meet_marks_ceilings_and_extensions(functions, epoch):
    keys = ("k", meta_key("k"))
    functions.grant("k", epoch, GID, 0, 8, issue=1, low=4)
    answers = functions.call("seq_incr_keys", ("k",) * 8, epoch, 1)
    low = [a[1] if a[0] == "low" else a[0] for a in answers if isinstance(a, list)]
    assert [a for a in answers if isinstance(a, int)] == [2, 3, 5]
    assert low == [4, 6, 7, 8, "full"]
    assert answers[2] == ["low", 4, GID, "8"]
    assert functions.incr("k", epoch) == ["full", GID, "8", "9"]
    assert functions.incr("k", epoch, by=0) == ["low", 8, GID, "8"]  # hot again
    assert functions.call("seq_extend", keys, epoch, GID, 20, 12) == ["ok"]
    answers = functions.call("seq_incr_keys", ("k",) * 4, epoch, 1)
    assert answers == [9, 10, 11, ["low", 12, GID, "20"]]
    assert functions.call("seq_raise", keys, epoch, 13) == 13
    assert functions.call("seq_incr_keys", ("k",), epoch, 1) == [14]
    answers = functions.call("seq_incr_keys", ("k",) * 2, epoch, 6)
    assert answers == [["low", 20, GID, "20"], ["full", GID, "20", "26"]]
    assert functions.ask("GET", "k") == "20"


@pytest.mark.parametrize("value", ["5", "1", "20", "0", None, "junk", "-3"])
def test_keys_alone_compare_the_counter_with_what_was_issued(functions, epoch, value):
    functions.grant("k", epoch, GID, 0, 100, issue=1)
    assert functions.call("seq_incr_keys", ("k",) * 2, epoch, 1) == [2, 3]
    if value is None:
        functions.ask("DEL", "k")
    else:
        functions.ask("SET", "k", value)
    answers = functions.call("seq_incr_keys", ("k", "k"), epoch, 1)
    if value == "junk":
        assert {answer[0] for answer in answers} == {"err"}
        functions.ask("DEL", "k")
        answers = functions.call("seq_incr_keys", ("k", "k"), epoch, 1)
        value = None
    assert answers == [["take", value or "0"]] * 2
    kept = value if value != "0" else None  # undone to nothing
    assert functions.ask("GET", "k") == kept


def test_keys_alone_are_exact_to_the_last_number(functions, epoch):
    functions.grant("k", epoch, GID, CAP - 6, CAP, issue=1, low=CAP)
    answers = functions.call("seq_incr_keys", ("k",) * 7, epoch, 1)
    assert answers[:4] == [CAP - 4, CAP - 3, CAP - 2, CAP - 1]
    assert answers[4:6] == [
        ["low", CAP, GID, str(CAP)],
        ["full", GID, str(CAP), str(CAP + 1)],
    ]
    assert functions.ask("GET", "k") == str(CAP)
    functions.grant("l", epoch, GID2, CAP - 9, CAP, issue=1)
    assert functions.call("seq_incr_keys", ("l",), epoch, 2) == [CAP - 6]
    (answer,) = functions.call("seq_incr_keys", ("l",), epoch, CAP)
    assert answer[0] == "err"
    assert "overflow" in answer[1]
    assert functions.ask("GET", "l") == str(CAP - 6)


def test_places_of_cells_are_used_again_by_others(functions, epoch):
    keys = tuple("abcd")
    for key in keys:
        functions.grant(key, epoch, GID, 0, 9, issue=1)
    assert functions.call("seq_incr_keys", keys, epoch, 1) == [2] * 4
    functions.ask("DEL", "b", "d")
    takes = [["take", "0"]] * 2
    assert functions.call("seq_incr_keys", ("b", "d"), epoch, 1) == takes
    functions.grant("e", epoch, GID2, 50, 60, issue=1)
    functions.grant("d", epoch, GID2, 10, 20, issue=1)
    functions.grant("f", epoch, GID2, 90, 95, issue=1)
    for n in range(3):
        answers = functions.call("seq_incr_keys", tuple("eadfc"), epoch, 1)
        assert answers == [52 + n, 3 + n, 12 + n, 92 + n, 3 + n]


# --- clients of several versions ---------------------------------------------------


def test_older_library_is_replaced_when_a_function_is_missed(face, durable_server):
    durable_server.admin("FUNCTION", "LOAD", OLDER)
    cache, other = face.open(), face.open()
    ids = ["alice", "bob", "carol"]
    assert cache.increase_seq("alice") == other.increase_seq("bob") == 1
    seen = {id_: [] for id_ in ids}
    for one in (cache, other, cache, other):
        for id_, number in zip(ids, one.increase_seqs(ids), strict=True):
            seen[id_].append(number)
    for numbers in seen.values():
        assert numbers == sorted(set(numbers))
    told = str(durable_server.admin("FUNCTION", "LIST"))
    assert "seq_incr_keys" in told
    epochs = cache.stats().durable["epochs"] + other.stats().durable["epochs"]
    assert epochs <= 4
    # an older client goes on with what it knows
    with Functions(durable_server.address) as older:
        token = older.call("seq_open", (), "rnd")[1]
        keys = tuple(k for id_ in ids for k in (PREFIX + id_, meta_key(PREFIX + id_)))
        answers = older.call("seq_incr_many", keys, token, 1)
        assert answers == [seen[id_][-1] + 1 for id_ in ids]
    assert cache.increase_seqs(ids) == [answer + 1 for answer in answers]


@pytest.mark.parametrize("older", [True, False])
def test_who_may_not_repeat_loads_the_library_all_the_same(face, durable_server, older):
    """retry="never": what the server has not got did not run, so no call fails."""
    durable_server.admin("FUNCTION", "LOAD", OLDER if older else library())
    cache = face.open(retry="never")
    assert cache.increase_seq("alice") == 1
    lease = cache.lease("alice", size=2)
    last = 1
    for call in (
        lambda _: cache.increase_seqs(["alice", "bob"])[0],
        lambda _: cache.increase_seq("alice"),
        lambda _: cache.increase_seq("alice", token="m"),
        lambda _: cache.increase_seqs(["alice", "bob"], token="n")[0],
        lambda _: cache.reserve("alice", 2)[0],
        lambda last: cache.raise_seq("alice", last + 1),
        lambda last: cache.raise_seqs({"alice": last + 1}) and cache.get_seq("alice"),
        lambda _: lease.next(),
    ):
        if not older:
            durable_server.admin("FUNCTION", "FLUSH")
        number = call(last)
        assert number > last
        last = number
    lease.close()
    if not older:
        durable_server.admin("FUNCTION", "FLUSH")
    assert cache.get_seqs(["alice"])[0] >= last


def test_library_of_this_version_is_left_alone(durable_server, functions, url):
    with seqcache.cache(durable_server.url, ceilings=url, step=50) as cache:
        assert cache.increase_seqs(["a", "b"]) == [1, 1]
        epoch = functions.call("seq_open", (), "rnd")
        cache._works.link.load(library(), 5.0)
        assert functions.call("seq_open", (), "rnd") == epoch
        durable_server.admin("FUNCTION", "FLUSH")
        cache._works.link.load(library(), 5.0)
        assert functions.call("seq_open", (), "rnd")[0] == "go"
