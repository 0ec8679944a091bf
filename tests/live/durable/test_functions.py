"""The server functions, one by one, against a real server."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
import resp
from chaos.functions import Functions, library, load, meta_key, record_key
from servers import Server

CAP = 2**53 - 1
GID, GID2 = "a1" * 8, "b2" * 8


@pytest.fixture
def epoch(functions: Functions) -> str:
    """A begun epoch."""
    functions.begin("1.r")
    return "1.r"


def test_library_loads_once_and_says_so_again(functions, durable_server):
    with pytest.raises(resp.RespError, match="already exists"):
        load(durable_server)


def test_eight_clients_load_and_begin_at_once_one_epoch(durable_server):
    tokens: set[str] = set()

    def client(number: int) -> None:
        with Functions(durable_server.address) as mine:
            try:
                mine.ask("FUNCTION", "LOAD", library())
            except resp.RespError as exc:
                assert "already exists" in str(exc)  # noqa: PT017
            while True:
                answer = mine.call("seq_open", (), f"rnd{number}")
                if answer[0] == "cur":
                    tokens.add(answer[1])
                    return
                if answer[0] == "go":
                    mine.call("seq_begin", (), f"{number}.x", f"rnd{number}")
                time.sleep(0.005)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 1


def test_without_an_epoch_nothing_counts(functions):
    assert functions.incr("k", "1.r") == ["epoch", ""]
    assert functions.get("k", "1.r") == ["epoch", ""]
    assert functions.ask("EXISTS", "k") == 0


def test_open_names_the_epoch_and_its_challenge_is_exclusive(functions):
    assert functions.call("seq_open", (), "one")[0] == "go"
    assert functions.call("seq_open", (), "two") == ["busy"]
    assert functions.call("seq_begin", (), "1.r", "two") == ["stale"]
    assert functions.call("seq_begin", (), "1.r", "one") == ["ok"]
    assert functions.call("seq_begin", (), "2.r", "one") == ["stale"]
    assert functions.call("seq_open", (), "two") == ["cur", "1.r"]
    assert functions.call("seq_open", (), "two", "1.r")[0] == "go"
    assert functions.incr("k", "1.r") == ["epoch", ""]


def test_old_challenge_is_replaced(functions):
    functions.call("seq_open", (), "one")
    time.sleep(0.32)
    assert functions.call("seq_open", (), "two")[0] == "go"
    assert functions.call("seq_begin", (), "1.r", "one") == ["stale"]


def test_missing_cell_asks_for_a_grant_and_names_the_counter(functions, epoch):
    assert functions.incr("k", epoch) == ["take", "0"]
    functions.ask("SET", "k", str(2**63 - 1))
    assert functions.incr("k", epoch) == ["take", str(2**63 - 1)]
    assert functions.get("k", epoch) == ["take", str(2**63 - 1)]


def test_block_is_issued_densely_then_full(functions, epoch):
    assert functions.grant("k", epoch, GID, 0, 4, issue=1) == 1
    assert [functions.incr("k", epoch) for _ in range(3)] == [2, 3, 4]
    assert functions.incr("k", epoch) == ["full", GID, "4", "5"]
    assert functions.get("k", epoch) == 4
    assert functions.incr("k", epoch, by=3) == ["full", GID, "4", "7"]
    assert functions.ask("GET", "k") == "4"


def test_low_mark_tells_one_caller_and_later_another(functions, epoch):
    functions.grant("k", epoch, GID, 0, 8, issue=1, low=4)
    answers = [functions.incr("k", epoch) for _ in range(7)]
    low = [a[1] if isinstance(a, list) else None for a in answers]
    assert low == [None, None, 4, None, 6, 7, 8]
    assert answers[2] == ["low", 4, GID, "8"]


def test_extend_reaches_hot_and_cold_cells_of_its_grant_only(functions, epoch):
    functions.grant("k", epoch, GID, 0, 2, issue=1)
    assert functions.call("seq_extend", ("k", meta_key("k")), epoch, GID2, 9, 9) == [
        "lost"
    ]
    assert functions.incr("k", epoch) == 2
    assert functions.call("seq_extend", ("k", meta_key("k")), epoch, GID, 9, 9) == [
        "ok"
    ]
    assert functions.incr("k", epoch) == 3
    assert functions.call("seq_extend", ("k", meta_key("k")), epoch, GID, 5, 5) == [
        "ok"
    ]
    assert functions.incr("k", epoch, by=6) == ["low", 9, GID, "9"]


def test_raise_moves_forward_within_the_ceiling(functions, epoch):
    functions.grant("k", epoch, GID, 1, 10)
    assert functions.raise_to("k", epoch, 6) == 6
    assert functions.raise_to("k", epoch, 3) == 6
    assert functions.incr("k", epoch) == 7
    assert functions.raise_to("k", epoch, 11) == ["full", GID, "10", "11"]
    assert functions.get("k", epoch) == 7


def test_token_gets_its_number_again(functions, epoch):
    functions.grant("k", epoch, GID, 1, 100)
    assert functions.incr("k", epoch, by=3, token="t") == 4
    assert functions.incr("k", epoch) == 5
    assert functions.incr("k", epoch, by=3, token="t") == ["same", 4, 3]
    assert functions.incr("k", epoch, by=1, token="t") == ["same", 4, 3]
    assert 590 < functions.ask("TTL", record_key("k", "t")) <= 600


def test_token_of_an_install_is_kept(functions, epoch):
    keys = ("k", meta_key("k"))
    functions.call("seq_mark", keys, epoch, GID)
    assert functions.install("k", epoch, GID, 10, 20, issue=2, token="t") == 12
    assert functions.incr("k", epoch, by=2, token="t") == ["same", 12, 2]


def test_install_for_a_counted_token_issues_nothing(functions, epoch):
    functions.grant("k", epoch, GID, 1, 100)
    assert functions.incr("k", epoch, token="t") == 2
    functions.ask("DEL", meta_key("k"))
    functions.begin("2.r", old=epoch)
    assert functions.call("seq_mark", ("k", meta_key("k")), "2.r", GID2)[0] == "ok"
    again = functions.install("k", "2.r", GID2, 100, 200, 1, floor=0, token="t")
    assert again == ["same", 2, 1]
    assert functions.incr("k", "2.r") == 101


def test_mark_reports_what_it_replaces(functions, epoch):
    keys = ("k", meta_key("k"))
    assert functions.call("seq_mark", keys, epoch, GID) == ["ok", "0", "", "0", "0"]
    assert functions.call("seq_mark", keys, epoch, GID2) == ["busy"]
    functions.install("k", epoch, GID, 5, 9, issue=1, floor=3)
    assert functions.call("seq_mark", keys, epoch, GID2) == ["valid"]
    functions.begin("2.r", old=epoch)
    assert functions.call("seq_mark", keys, "2.r", GID2) == ["ok", "6", GID, "3", "9"]


def test_dead_marker_is_taken_over_with_its_history(functions, epoch):
    keys = ("k", meta_key("k"))
    functions.grant("k", epoch, GID, 5, 9, floor=3)
    functions.begin("2.r", old=epoch)
    functions.call("seq_mark", keys, "2.r", GID2)
    assert functions.incr("k", "2.r") == ["busy"]
    time.sleep(2.02)
    assert functions.incr("k", "2.r") == ["take", "5"]
    third = "c3" * 8
    assert functions.call("seq_mark", keys, "2.r", third) == [
        "ok", "5", f"{GID},{GID2}", "3", "9",
    ]  # fmt: skip
    assert functions.install("k", "2.r", GID2, 9, 19, issue=1) == ["lost"]
    assert functions.install("k", "2.r", third, 9, 19, issue=1) == 10


def test_drop_withdraws_marker_and_cell_by_name(functions, epoch):
    keys = ("k", meta_key("k"))
    functions.call("seq_mark", keys, epoch, GID)
    assert functions.call("seq_drop", keys, epoch, GID2) == ["lost"]
    assert functions.call("seq_drop", keys, epoch, GID) == ["ok"]
    assert functions.incr("k", epoch) == ["take", "0"]
    assert functions.install("k", epoch, GID, 0, 9, issue=1) == 1  # nobody else yet
    functions.ask("DEL", *keys)
    functions.grant("k", epoch, GID, 0, 9, issue=1)
    assert functions.call("seq_drop", keys, epoch, GID) == ["ok"]
    assert functions.incr("k", epoch) == ["take", "1"]


def test_withdrawn_marker_hands_on_what_it_knows_of_the_void_cell(functions, epoch):
    keys = ("k", meta_key("k"))
    functions.grant("k", epoch, GID, 5, 9, floor=3)
    functions.begin("2.r", old=epoch)
    for n in range(40):
        nonce = f"{n:016x}"
        marked = functions.call("seq_mark", keys, "2.r", nonce)
        assert (marked[0], marked[1], marked[3:]) == ("ok", "5", ["3", "9"])
        assert functions.call("seq_drop", keys, "2.r", nonce) == ["ok"]
        assert functions.incr("k", "2.r") == ["take", "5"]
    gids = marked[2].split(",")
    assert gids == [GID] + [f"{n:016x}" for n in range(24, 39)]


def test_batches_answer_each_key_in_order(functions, epoch):
    functions.grant("a", epoch, GID, 1, 9)
    functions.ask("RPUSH", "list", "x")
    functions.grant("b", epoch, GID2, 4, 5)
    ids = ("a", "list", "b", "new", "a", "b")
    keys = tuple(k for i in ids for k in (i, meta_key(i)))
    answers = functions.call("seq_incr_many", keys, epoch, 1)
    assert answers[1][0] == "err"
    assert "WRONGTYPE" in answers[1][1]
    full = ["full", GID2, "5", "6"]
    assert answers == [2, answers[1], 5, ["take", "0"], 3, full]
    assert functions.call("seq_get_many", keys, epoch, 0) == [
        3, answers[1], 5, ["take", "0"], 3, 5,
    ]  # fmt: skip


def test_batch_with_one_bad_key_serves_the_others(functions, epoch):
    for key in ("a", "b"):
        functions.grant(key, epoch, GID, 1, 9)
    functions.ask("DEL", "b")
    functions.ask("RPUSH", "b", "x")
    keys = ("a", meta_key("a"), "b", meta_key("b"))
    good, bad = functions.call("seq_incr_many", keys, epoch, 1)
    assert good == 2
    assert bad[0] == "err"
    assert "WRONGTYPE" in bad[1]
    good, bad = functions.call("seq_get_many", keys, epoch, 0)
    assert (good, bad[0]) == (2, "err")


def test_cut_text_of_a_counter_is_no_number(functions, epoch):
    functions.ask("SET", "k", "0" * 70 + "x")
    told = functions.incr("k", epoch)
    assert told[0] == "take"
    assert not told[1].isdecimal()


def test_batch_with_a_token_has_a_record_for_each_key(functions, epoch):
    for key in ("a", "b"):
        functions.grant(key, epoch, GID, 1, 9)
    keys = tuple(
        k for i in ("a", "b", "a") for k in (i, meta_key(i), record_key(i, "t"))
    )
    answers = functions.call("seq_incr_many", keys, epoch, 1, "", 60)
    assert answers == [2, 2, ["same", 2, 1]]


def test_what_is_told_of_a_counter_is_short(functions, epoch):
    functions.ask("SET", "k", "9" * 100_000)
    assert functions.incr("k", epoch) == ["take", "9" * 64 + "?"]
    assert functions.get("k", epoch) == ["take", "9" * 64 + "?"]
    marked = functions.call("seq_mark", ("k", meta_key("k")), epoch, GID)
    assert marked[1] == "9" * 64 + "?"


@pytest.mark.parametrize("value", ["junk", "0x10", " 7", "1e3", "-3"])
def test_foreign_text_is_never_read_as_a_number(functions, epoch, value):
    functions.grant("k", epoch, GID, 0, 100, issue=1)
    functions.ask("SET", "k", value)
    assert functions.get("k", epoch) == ["take", value]


def test_last_number_of_durable_mode_is_exact(functions, epoch):
    functions.grant("k", epoch, GID, CAP - 3, CAP, low=CAP)
    assert functions.incr("k", epoch, by=2) == CAP - 1
    assert functions.incr("k", epoch) == ["low", CAP, GID, str(CAP)]
    assert functions.incr("k", epoch) == ["full", GID, str(CAP), str(CAP + 1)]
    assert functions.get("k", epoch) == CAP
    assert functions.ask("GET", "k") == str(CAP)


def test_number_beyond_the_cell_is_undone_exactly(functions, epoch):
    functions.grant("k", epoch, GID, CAP - 3, CAP)
    assert functions.incr("k", epoch, by=4)[0] == "full"
    assert functions.ask("GET", "k") == str(CAP - 3)


@pytest.mark.parametrize("first", [1, 2, 3, CAP // 2, CAP - 20])
def test_sum_that_is_not_exact_is_refused_and_loses_no_cell(functions, epoch, first):
    functions.grant("k", epoch, GID, first - 1, CAP, issue=1, low=CAP)
    for last in range(first, first + 8):  # of a cell that is read, then at hand
        for beyond in (1, 2):
            with contextlib.suppress(resp.RespError):  # "would overflow", or:
                by = CAP - last + (beyond + last) % 3 + 1
                assert functions.incr("k", epoch, by=by)[0] == "full"
            assert functions.get("k", epoch) == last
        assert functions.incr("k", epoch) == last + 1


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("seq_incr", True), ("seq_raise", True), ("seq_mark", True),
        ("seq_install", True), ("seq_extend", True), ("seq_incr_many", True),
        ("seq_incr_keys", True),
        ("seq_get", False), ("seq_get_many", False), ("seq_drop", False),
    ],
)  # fmt: skip
def test_out_of_memory_refuses_what_grows(
    functions, epoch, durable_server, name, refused
):
    functions.grant("k", epoch, GID, 0, 9, issue=1)
    durable_server.admin("CONFIG", "SET", "maxmemory", "1")
    args = {"seq_install": (GID2, 1, 2, 2, 0, 1), "seq_mark": (GID2,),
            "seq_drop": (GID,), "seq_extend": (GID, 20, 20)}  # fmt: skip
    keys = ("k", meta_key("k"))
    if refused:
        with pytest.raises(resp.RespError, match="OOM"):
            functions.call(name, keys, epoch, *args.get(name, (1,)))
        assert functions.get("k", epoch) == 1
    else:
        functions.call(name, keys, epoch, *args.get(name, (0,)))


def test_replica_refuses_every_function(functions, epoch, durable_server):
    functions.grant("k", epoch, GID, 0, 9)
    try:
        durable_server.admin("REPLICAOF", "127.0.0.1", "1")
        for name in ("seq_incr_keys", "seq_get", "seq_open", "seq_begin", "seq_drop"):
            with pytest.raises(resp.RespError, match="READONLY"):
                functions.call(name, ("k", meta_key("k")), epoch, "1")
    finally:
        durable_server.admin("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("how", ["reload", "flush"])
def test_epoch_is_gone_with_the_process_state(functions, epoch, durable_server, how):
    functions.grant("k", epoch, GID, 0, 9, issue=1)
    if how == "reload":
        durable_server.admin("DEBUG", "RELOAD")
    else:
        durable_server.admin("FUNCTION", "FLUSH")
        load(durable_server)
    assert functions.incr("k", epoch) == ["epoch", ""]
    assert functions.ask("GET", "k") == "1"


def test_hot_table_survives_being_dropped_whole(functions, epoch):
    functions.grant("k", epoch, GID, 0, 9, issue=1)
    functions.ask(
        "EVAL",
        "for i = 1, 70000 do redis.call('SET', 'sqc:m:{h' .. i .. '}', ARGV[1]) "
        "redis.call('SET', 'h' .. i, 1) end",
        0,
        f"c:{epoch}:{GID}:1:9:99:0",
    )
    for start in range(1, 70000, 500):
        keys = tuple(
            k for i in range(start, start + 500) for k in (f"h{i}", meta_key(f"h{i}"))
        )
        assert functions.call("seq_incr_many", keys, epoch, 1) == [2] * 500
        assert functions.call("seq_incr_keys", keys[::2], epoch, 1) == [3] * 500
    keys = ("h1", *(f"h{n}" for n in range(69_500, 70_001)), "h2")
    assert functions.call("seq_incr_keys", keys, epoch, 1) == [4] * 503
    assert functions.incr("k", epoch) == 2


def test_two_keys_that_share_a_slot_share_no_cell():
    assert meta_key("x") != meta_key("{x}")
    assert record_key("x", "t") != record_key("{x}", "t")


def test_server_of_the_fixture_is_left_as_it_was(durable_server: Server):
    assert durable_server.info("replication")["role"] == "master"
