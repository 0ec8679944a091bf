"""The exception tree: bases, fields, `executed`, text, pickling."""

import copy
import pickle

import pytest

from seqcache import errors

TREE = {
    "SeqCacheError": (Exception,),
    "ConfigError": (errors.SeqCacheError, ValueError),
    "UserIdError": (errors.SeqCacheError, ValueError),
    "ClosedError": (errors.SeqCacheError, RuntimeError),
    "ConnectError": (errors.SeqCacheError, ConnectionError),
    "StartupError": (errors.ConnectError,),
    "AuthError": (errors.SeqCacheError, PermissionError),
    "CallTimeout": (errors.SeqCacheError, TimeoutError),
    "BusyError": (errors.SeqCacheError,),
    "OutcomeUnknown": (errors.SeqCacheError,),
    "ServerError": (errors.SeqCacheError,),
    "NotASequence": (errors.ServerError, ValueError),
    "SequenceOverflow": (errors.ServerError, OverflowError),
    "TokenConflict": (errors.SeqCacheError, ValueError),
    "SequenceRegressed": (errors.SeqCacheError,),
    "CeilingError": (errors.SeqCacheError,),
    "ProtocolError": (errors.SeqCacheError,),
    "BulkError": (errors.SeqCacheError,),
}

# (class, its own fields, `executed` when nobody says it)
FIELDS = [
    ("SeqCacheError", {}, None),
    ("ConfigError", {"option": "timeout"}, False),
    ("UserIdError", {}, False),
    ("ClosedError", {}, None),
    ("ConnectError", {}, False),
    ("StartupError", {}, False),
    ("AuthError", {}, False),
    ("CallTimeout", {}, None),
    ("BusyError", {}, False),
    ("OutcomeUnknown", {"user_id": b"\xff", "by": 3, "token": "m1"}, None),
    ("ServerError", {"code": "OOM"}, False),
    ("NotASequence", {"code": "WRONGTYPE"}, False),
    ("SequenceOverflow", {"code": "ERR"}, False),
    ("TokenConflict", {}, False),
    ("SequenceRegressed", {"seen": 9, "got": 1}, True),
    ("CeilingError", {"reason": "store away"}, False),
    ("ProtocolError", {}, None),
    ("BulkError", {"results": [1, 2]}, None),
]
each_class = pytest.mark.parametrize(
    ("name", "fields", "known"), FIELDS, ids=[row[0] for row in FIELDS]
)


def test_tree_is_complete_and_has_the_documented_bases():
    assert sorted(TREE) == sorted(errors.__all__) == sorted(row[0] for row in FIELDS)
    for name, bases in TREE.items():
        assert getattr(errors, name).__bases__ == bases
        assert name in (errors.__doc__ or "")


def test_outcome_unknown_is_not_caught_by_generic_retry_code():
    error = errors.OutcomeUnknown("gone")
    assert not isinstance(error, (ConnectionError, TimeoutError, OSError))


@each_class
def test_fields_and_defaults(name, fields, known):
    cls = getattr(errors, name)
    error = cls("what happened", hint="what to do", **fields)
    assert error.args == ("what happened",)
    assert str(error) == "what happened (hint: what to do)"
    assert error.executed is known
    assert {key: getattr(error, key) for key in fields} == fields
    assert str(cls("what happened")) == "what happened"
    for key in fields:
        assert not getattr(cls("x"), key)
    if name != "OutcomeUnknown":
        assert cls("x", executed=False).executed is False
        assert cls("x", executed=True).executed is True


def test_outcome_unknown_is_never_told_otherwise():
    assert errors.OutcomeUnknown("x", executed=True).executed is None
    assert errors.OutcomeUnknown("x", executed=False).executed is None


def test_fields_are_keywords_only():
    with pytest.raises(TypeError):
        errors.ConfigError("x", False)  # type: ignore[misc]


@each_class
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_class_text_and_fields(name, fields, known, protocol):
    error = getattr(errors, name)("what", executed=None, hint="do", **fields)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is type(error)
    assert (again.args, str(again)) == (error.args, str(error))
    assert again.__dict__ == error.__dict__
    assert copy.copy(error).__dict__ == error.__dict__


def test_pickle_of_executed_that_differs_from_the_class():
    error = errors.ServerError("x", executed=True, code="BUSY")
    again = pickle.loads(pickle.dumps(error))
    assert again.executed is True


def test_pickle_of_bulk_error_with_errors_inside():
    cause = errors.ConnectError("gone", hint="look")
    unknown = errors.OutcomeUnknown("lost", cause=cause, user_id="bob", by=2)
    error = errors.BulkError("2 of 3 failed", results=[7, unknown, ValueError("v")])
    again = pickle.loads(pickle.dumps(error))
    assert again.results[0] == 7
    assert type(again.results[1]) is errors.OutcomeUnknown
    assert again.results[1].user_id == "bob"
    assert type(again.results[1].cause) is errors.ConnectError
    assert str(again.results[1].cause) == "gone (hint: look)"
    assert str(again.results[2]) == "v"


def test_pickle_of_outcome_unknown_with_an_os_error_as_cause():
    error = errors.OutcomeUnknown("x", cause=ConnectionResetError(104, "reset"))
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again.cause, ConnectionResetError)
    assert again.cause.errno == 104
