"""The durable state machine, effect by effect, without a server or a clock."""

from __future__ import annotations

import math

import pytest
from unit.durable_script import EPOCH, K, Script

from seqcache.durable.items import (
    INCR,
    RAISE,
    Call,
    Item,
    meta_key,
    record_key,
    requests,
)
from seqcache.durable.rows import Grant, Owner, Raised, overflow
from seqcache.errors import (
    CeilingError,
    ConnectError,
    OutcomeUnknown,
    SequenceOverflow,
)


@pytest.fixture
def script() -> Script:
    """A client that believes in an epoch."""
    return Script().believe()


def test_first_call_opens_an_epoch_and_publishes_its_lease():
    script = Script()
    script.redis = {
        "seq_incr": [[b"take", b"0"]],
        "seq_open": [[b"go", b"run"]],
        "seq_begin": [[b"ok"]],
        "seq_mark": [[b"ok", b"0", b"", b"0", b"0"]],
        "seq_install": [1],
    }

    def begin() -> str:
        script.now += 2.0  # SQL is slow: the lease counts from before the query
        return EPOCH

    script.sql = {"begin_epoch": [begin], "owners": [[Owner("none")]],
                  "take": [[Grant(0, 10, 0)]]}  # fmt: skip
    assert script.run(script.durable.slow([K])) == [1]
    assert script.durable.belief.until == 105.0
    assert script.beliefs[-1].token == EPOCH
    assert script.names() == [
        "seq_open", "begin_epoch", "seq_begin", "seq_incr", "owners",
        "seq_mark", "take", "seq_install",
    ]  # fmt: skip


def test_epoch_of_others_is_joined_after_sql_calls_it_open():
    script = Script()
    script.redis = {"seq_open": [[b"cur", EPOCH.encode()]], "seq_incr": [5]}
    script.sql = {"state": [("open", 5.0)]}
    assert script.run(script.durable.slow([K])) == [5]


def test_closed_epoch_is_replaced_only_after_discovery_was_asked():
    script = Script()
    script.redis = {
        "seq_open": [[b"cur", b"3.x"], [b"busy"], [b"go", b"run"]],
        "seq_begin": [[b"ok"]],
        "seq_incr": [5],
    }
    script.sql = {"state": [("closing", 5.0)], "begin_epoch": [EPOCH]}
    assert script.run(script.durable.slow([K])) == [5]
    names = script.names()
    assert names.index("Rediscover") < names.index("begin_epoch")
    assert script.done[3][2] == "3.x"  # the second seq_open names the old one
    assert 0.005 <= script.slept <= 0.02


def test_r1_seq_begin_is_never_repeated_with_its_number():
    script = Script()
    lost = OutcomeUnknown("lost")
    script.redis = {
        "seq_open": [[b"go", b"run"], [b"cur", EPOCH.encode()]],
        "seq_begin": [lost],
        "seq_incr": [5],
    }
    script.sql = {"begin_epoch": [EPOCH], "state": [("open", 5.0)]}
    assert script.run(script.durable.slow([K])) == [5]
    assert script.names().count("seq_begin") == 1


def test_r6_lease_that_is_over_is_renewed_before_sending(script):
    script.now = 105.0
    script.redis = {"seq_incr": [5]}
    script.sql = {"state": [("open", 5.0)]}
    assert script.run(script.durable.slow([K])) == [5]
    assert script.names() == ["state", "seq_incr"]
    assert script.durable.belief.until == 110.0


def test_r6_lease_that_cannot_be_renewed_stops_the_call(script):
    script.now = 106.0
    away = CeilingError("away", reason="unavailable")
    script.sql = {"state": [away]}
    (error,) = script.run(script.durable.slow([K]))
    assert error is away
    assert script.names() == ["state"]


def test_verdicts_of_the_fast_path_need_no_second_sending(script):
    verdicts = [4, [b"low", 5, b"ab", b"9"], [b"same", 2, 1]]
    items = [K, Item(INCR, b"j"), Item(INCR, b"i", 1, b"t")]
    assert script.run(script.slow(items, verdicts)) == [4, 5, 2]
    assert script.done == []
    assert [one.key[:2] for one in script.background] == [("extend", b"j")]


def test_other_epoch_is_looked_up_and_the_call_sent_again(script):
    script.redis = {"seq_open": [[b"cur", b"8.y"]], "seq_incr": [5]}
    script.sql = {"state": [("open", 5.0)]}
    told = [[b"epoch", b"8.y"]]
    assert script.run(script.slow([K], told)) == [5]
    assert script.done[-1] == ("seq_incr", "8.y", 1, "")


def test_full_block_is_extended_and_counted_again(script):
    script.sql = {"extend": [[Raised("ok", 30, 20)]]}
    script.redis = {"seq_extend": [[b"ok"]], "seq_incr": [11]}
    told = [[b"full", b"ab", b"10", b"11"]]
    assert script.run(script.slow([K], told)) == [11]
    assert script.done[1] == ("seq_extend", EPOCH, "ab", 30, 20)


def test_superseded_cell_is_dropped(script):
    script.sql = {"extend": [[Raised("gone")]]}
    script.redis = {"seq_drop": [[b"ok"]], "seq_incr": [11]}
    told = [[b"full", b"ab", b"10", b"11"]]
    assert script.run(script.slow([K], told)) == [11]
    assert script.done[1] == ("seq_drop", EPOCH, "ab")


def test_fenced_epoch_is_replaced(script):
    script.sql = {"extend": [[Raised("fenced")]], "begin_epoch": ["9.z"]}
    script.redis = {
        "seq_open": [[b"go", b"run"]], "seq_begin": [[b"ok"]], "seq_incr": [11]
    }  # fmt: skip
    told = [[b"full", b"ab", b"10", b"11"]]
    assert script.run(script.slow([K], told)) == [11]
    assert script.durable.stats.fenced == 1
    assert script.done[-1][1] == "9.z"


def test_overflow_is_told_to_its_caller_only(script):
    script.sql = {"extend": [[overflow(b"k")]]}
    told = [[b"full", b"ab", b"10", b"11"]]
    (error,) = script.run(script.slow([K], told))
    assert isinstance(error, SequenceOverflow)


def test_wait_for_a_lease_is_counted_from_the_first_sight(script):
    script.sql = {
        "owners": [[Owner("wait", "ab", 3, 1.0)], [Owner("free", "ab")]],
        "epoch_state": ["closing"] * 40,
        "close_epoch": [None],
        "take": [[Grant(20, 30, 20)]],
    }
    script.redis = {
        "seq_incr": [[b"take", b"4"]],
        "seq_mark": [[b"ok", b"4", b"ab", b"1", b"10"]],
        "seq_install": [21],
    }
    began = script.now
    told = [[b"take", b"4"]]
    assert script.run(script.slow([K], told)) == [21]
    assert script.now - began == pytest.approx(1.1)
    take = next(one for one in script.done if one[0] == "take")[1][0]
    assert (take.gids, take.floor, take.cell_ceiling) == (frozenset(["ab"]), 1, 10)
    assert (take.seen, take.at_least, take.need) == ("ab", 4, 1)


def test_store_that_is_away_does_not_stop_the_wait(script):
    away = CeilingError("away", reason="unavailable")
    script.sql = {"epoch_state": [away] * 40, "close_epoch": [None]}
    script.run(script.durable.wait_closed(3, 1.0))
    assert script.names()[-1] == "close_epoch"


def test_take_that_failed_withdraws_its_marker(script):
    away = CeilingError("away", reason="unavailable")
    script.sql = {"owners": [[Owner("none")]], "take": [away] * 3}
    script.redis = {"seq_mark": [[b"ok", b"0", b"", b"0", b"0"]], "seq_drop": [[b"ok"]]}
    (error,) = script.run(script.slow([K], [[b"take", b"0"]]))
    assert error is away
    script.run(script.background[0].make())
    assert script.names()[-1] == "seq_drop"


def test_install_that_was_not_sent_is_never_sent_elsewhere(script):
    gone = ConnectError("the link is gone")
    script.sql = {"owners": [[Owner("none")]], "take": [[Grant(0, 10, 0)]]}
    script.redis = {
        "seq_mark": [[b"ok", b"0", b"", b"0", b"0"]],
        "seq_install": [gone],
        "seq_incr": [11],
    }
    assert script.run(script.slow([K], [[b"take", b"0"]])) == [11]
    assert script.names().count("seq_install") == 1
    assert len(script.background) == 1  # the marker's withdrawal


def test_large_bulk_is_split_and_its_kinds_kept_apart():
    items = [Item(INCR, b"%d" % n) for n in range(1030)]
    calls, parts = requests(Call(items, False), EPOCH, True, 600)
    assert [len(part) for part in parts] == [512, 512, 6]
    assert {call.name for call in calls} == {"seq_incr_many"}
    assert calls[0].args == (EPOCH, 1, "v")
    mixed = [Item(RAISE, b"a", 4), Item(RAISE, b"b", 4), Item(INCR, b"c", 1, b"t")]
    calls, _ = requests(Call(mixed, False), EPOCH, False, 60)
    assert [call.name for call in calls] == ["seq_raise", "seq_raise", "seq_incr"]
    assert calls[2].args == (EPOCH, 1, "", 60)


def test_keys_of_one_counter_share_its_slot_and_nothing_else():
    assert meta_key(b"seq:x") == b"sqc:m:{seq:x}"
    assert meta_key(b"{t}x") == b"sqc:b:{t}x"
    assert meta_key(b"{x}") != meta_key(b"x")
    assert record_key(b"x", b"a:b") == b"sqc:t:1:{x}:a:b"
    assert record_key(b"x", b"t") != record_key(b"{x}", b"t")


def test_renewal_goes_on_while_in_use_and_ends_when_idle(script):
    script.sql = {"state": [("open", 5.0)] * 60}
    script.durable._used = script.now
    script.run(script.durable.renewal())
    assert script.now == pytest.approx(130, abs=2)
    assert script.durable.stats.renewals == pytest.approx(30, abs=3)
    assert script.durable.belief.touch_at == -math.inf


def test_touch_starts_one_renewal_and_says_when_to_touch_again(script):
    script.run(script.durable.touch())
    assert [one.key for one in script.background] == ["renewal"]
    assert script.durable.belief.touch_at == pytest.approx(115.0)


def test_epoch_without_a_lease_never_ends_and_is_verified():
    script = Script(fence="connection")
    script.redis = {
        "seq_open": [[b"go", b"run"]], "seq_begin": [[b"ok"]], "seq_incr": [5]
    }  # fmt: skip
    script.sql = {"begin_epoch": [EPOCH]}
    assert script.run(script.durable.slow([K])) == [5]
    assert script.durable.belief.until == math.inf
    assert script.done[-1] == ("seq_incr", EPOCH, 1, "v")
