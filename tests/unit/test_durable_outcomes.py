"""How calls of durable mode end: sent again, refused, unknown, late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.durable_script import K, Script

from seqcache.durable.effects import (
    TimeUp,
)
from seqcache.durable.items import (
    GET,
    INCR,
    RAISE,
    Item,
    refused,
)
from seqcache.durable.rows import Owner
from seqcache.errors import (
    AuthError,
    CallTimeout,
    CeilingError,
    ConnectError,
    NotASequence,
    OutcomeUnknown,
    SequenceOverflow,
    ServerError,
    TokenConflict,
)


@pytest.fixture
def script() -> Script:
    """A client that believes in an epoch."""
    return Script().believe()


LOST = OutcomeUnknown("lost")
READONLY = ServerError("READONLY You can't", code="READONLY")
OOM = ServerError("OOM command not allowed", code="OOM")
NO_LIBRARY = ServerError("ERR Function not found", code="ERR")


@pytest.mark.parametrize(
    ("item", "retry", "error", "again"),
    [
        (K, "safe", LOST, False),
        (K, "gap", LOST, True),
        (K, "never", LOST, False),
        (Item(INCR, b"k", 1, b"t"), "safe", LOST, True),
        (Item(INCR, b"k", 1, b"t"), "never", LOST, False),
        (Item(GET, b"k", 0), "safe", CallTimeout("lost"), True),
        (Item(RAISE, b"k", 3), "safe", CallTimeout("lost"), True),
        (K, "safe", READONLY, True),
        (K, "safe", NO_LIBRARY, True),
        (K, "never", READONLY, False),
        (K, "never", NO_LIBRARY, True),
        (K, "gap", OOM, False),
        (K, "safe", ConnectError("no link"), False),
    ],
)
def test_what_is_sent_again_after_an_error(item, retry, error, again):
    script = Script(retry=retry).believe()
    script.redis = {f"seq_{item.op}": [5]}
    (result,) = script.run(script.slow([item], [error]))
    if again:
        assert result == 5
        assert ("Rediscover" in script.done) == (error is READONLY)
        assert ("Load" in script.done) == (error is NO_LIBRARY)
    else:
        assert type(result) is type(error)
        assert script.done == []


def test_library_that_does_not_stay_is_loaded_at_a_pace():
    script = Script().believe()
    script.redis = {"seq_incr": [NO_LIBRARY, NO_LIBRARY, 5]}
    assert script.run(script.slow([K], [NO_LIBRARY])) == [5]
    again = ["Load", "Sleep", "seq_incr"]
    assert script.names() == ["Load", "seq_incr", *again, *again]


def test_error_after_an_unknown_try_stays_unknown():
    script = Script().believe()
    item = Item(INCR, b"k", 1, b"t")
    script.redis = {"seq_incr": [OOM]}
    (result,) = script.run(script.slow([item], [LOST]))
    assert isinstance(result, OutcomeUnknown)
    assert (result.executed, result.token, result.by) == (None, b"t", 1)
    assert result.cause is OOM


def time_up() -> Any:
    raise TimeUp


@pytest.mark.parametrize(
    ("tables", "kind", "reason"),
    [
        ({"owners": [time_up]}, CeilingError, "unavailable"),
        ({"owners": [[Owner("wait", "a", 3, 9.0)]], "epoch_state": [time_up]},
         CeilingError, "fence"),
        ({"owners": [[Owner("none")]], "mark": [time_up]}, CallTimeout, None),
        ({"owners": [[Owner("none")]], "take": [time_up]}, CeilingError, "unavailable"),
    ],
)  # fmt: skip
def test_deadline_says_what_the_call_waited_for(script, tables, kind, reason):
    mark: list[Callable[[], Any] | Any] = tables.pop("mark", [])
    script.sql = tables
    script.redis = {"seq_mark": mark or [[b"ok", b"0", b"", b"0", b"0"]]}
    (error,) = script.run(script.slow([K], [[b"take", b"0"]]))
    assert type(error) is kind
    assert error.executed is False
    assert getattr(error, "reason", None) == reason
    if reason == "unavailable":
        assert "db" in str(error)


def test_deadline_after_a_lost_reply_is_unknown(script):
    script.redis = {"seq_incr": [time_up]}
    item = Item(INCR, b"k", 2, b"t")
    (error,) = script.run(script.slow([item], [LOST]))
    assert isinstance(error, OutcomeUnknown)


def test_token_with_another_amount_conflicts(script):
    item = Item(INCR, b"k", 2, b"t")
    (error,) = script.run(script.slow([item], [[b"same", 9, 3]]))
    assert isinstance(error, TokenConflict)


def test_bulk_keeps_each_outcome_apart(script):
    items = [Item(INCR, name) for name in (b"a", b"b", b"c", b"d", b"e")]
    told = [1, [b"err", b"WRONGTYPE Operation"], [b"take", b"junk"], [b"busy"],
            [b"err", b"ERR increment or decrement would overflow"]]  # fmt: skip
    script.redis = {"seq_incr": [8]}
    a, b, c, d, e = script.run(script.slow(items, told))
    assert (a, d) == (1, 8)
    assert isinstance(b, NotASequence)
    assert isinstance(c, NotASequence)
    assert isinstance(e, SequenceOverflow)


@pytest.mark.parametrize(
    "text",
    [
        "NOPERM this user has no permissions",
        "ERR ACL failure in script: No permissions to access a key",
        "ERR The user executing the script can't access at least one of the keys",
    ],
)
def test_missing_right_of_one_key_is_an_auth_error(text):
    error = refused(Item(INCR, b"seq:k"), text)
    assert isinstance(error, AuthError)
    assert error.executed is False
    assert "sqc:" in str(error.hint)
