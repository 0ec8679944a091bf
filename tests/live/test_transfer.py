"""export_seqs and import_seqs on every face."""

from __future__ import annotations

import io
import json
import random

import pytest

import seqcache
from fakes.node import error, reset_after, reset_before
from seqcache.errors import (
    AuthError,
    BulkError,
    ClosedError,
    ConnectError,
    NotASequence,
    ServerError,
)

MOST = 2**53 - 1  # durable mode's; a number above it has a test of its own


def write(path, pairs):
    lines = (json.dumps({"user_id": one, "seq": seq}) + "\n" for one, seq in pairs)
    path.write_text("".join(lines))
    return path


def counts(report):
    return report.read, report.raised, report.ahead, report.bad


def test_import_raises_what_is_lower_and_never_lowers(cache, tmp_path):
    cache.raise_seqs({"behind": 3, "equal": 7, "ahead": 9})
    pairs = [("new", MOST), ("behind", 7), ("equal", 7), ("ahead", 7), ("zero", 0)]
    file = write(tmp_path / "x.jsonl", pairs)
    report = cache.import_seqs(file)
    assert isinstance(report, seqcache.ImportReport)
    assert counts(report) == (5, 2, 3, 0)
    ids = [one for one, _ in pairs]
    assert cache.get_seqs(ids) == [MOST, 7, 7, 9, 0]
    assert "zero" not in dict(cache.scan()), "raising to 0 makes no key"
    assert counts(cache.import_seqs(str(file))) == (5, 0, 5, 0)


def test_dry_run_tells_the_same_and_changes_nothing(cache, tmp_path):
    cache.increase_seq("bob")
    file = write(tmp_path / "x.jsonl", [("alice", 5), ("bob", 1), ("alice", 6)])
    report = cache.import_seqs(file, dry_run=True)
    assert (counts(report), report.dry_run) == ((3, 2, 1, 0), True)
    assert cache.get_seqs(["alice", "bob"]) == [0, 1]
    assert counts(cache.import_seqs(file)) == counts(report)
    assert str(report) == "3 read: 2 would be raised, 1 already ahead, 0 bad"


def test_bad_lines_are_told_by_number_and_the_rest_is_imported(cache, tmp_path):
    good = '{"user_id": "%s", "seq": 5}\n'
    text = good % "a" + "nonsense\n" + good % "b" + '{"user_id": "", "seq": 1}'
    (tmp_path / "x").write_text(text)
    report = cache.import_seqs(tmp_path / "x")
    assert counts(report) == (4, 2, 0, 2)
    assert report.bad_lines == (
        (2, "no JSON: Expecting value"),
        (4, "the user id is empty"),
    )
    assert cache.get_seqs(["a", "b"]) == [5, 5]


def test_id_of_several_rows_gets_the_highest(cache, tmp_path):
    pairs = [("a", 5), ("a", 9), ("a", 7), ("b", 1), ("a", 10)]
    assert counts(cache.import_seqs(write(tmp_path / "x", pairs))) == (5, 4, 1, 0)
    assert cache.get_seqs(["a", "b"]) == [10, 1]


def test_many_rows_in_batches_with_progress(cache, tmp_path):
    chance = random.Random(1)
    wanted = {f"u{n}": chance.randint(1, MOST) for n in range(2500)}
    file = write(tmp_path / "x.jsonl.part", wanted.items())
    told = []
    report = cache.import_seqs(file, progress=lambda *args: told.append(args))
    assert counts(report) == (2500, 2500, 0, 0)
    assert told == [(1000, 2500), (2000, 2500), (2500, 2500)]
    assert dict(cache.scan()) == wanted
    higher = {one: min(seq + 5, MOST) for one, seq in wanted.items()}
    write(file, [*higher.items(), ("new", 1), ("new too", 1)])
    assert counts(cache.import_seqs(file)) == (2502, 2502, 0, 0)
    assert dict(cache.scan()) == higher | {"new": 1, "new too": 1}
    stream = io.BytesIO(file.read_bytes())
    told.clear()
    cache.import_seqs(stream, progress=lambda *args: told.append(args))
    assert told == [(1000, None), (2000, None), (2502, None)]


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.csv.gz"])
def test_export_of_one_cache_imported_by_another_is_the_same(face, tmp_path, name):
    wanted = {"alice": 1, 'Zo\u00eb, "x"\n': MOST, b"caf\xe9": 3} | {
        f"u{n}": n for n in range(1, 1200)
    }
    one, other = face.open(), face.open(prefix="copy:")
    one.raise_seqs(wanted)
    told = []
    report = one.export_seqs(tmp_path / name, progress=lambda *args: told.append(args))
    assert isinstance(report, seqcache.ExportReport)
    assert report.written >= len(wanted)
    assert told[-1] == (report.written, None)
    assert counts(other.import_seqs(tmp_path / name))[1:] == (
        len(wanted),
        report.written - len(wanted),
        0,
    )
    assert dict(other.scan()) == wanted


def test_export_to_open_files_and_of_nothing(cache):
    assert cache.export_seqs(io.BytesIO()).written == 0
    cache.increase_seq("alice")
    text = io.StringIO()
    assert cache.export_seqs(text).written == 1
    assert text.getvalue() == '{"user_id": "alice", "seq": 1}\n'


def test_file_that_is_not_there_is_an_os_error(cache, tmp_path):
    with pytest.raises(FileNotFoundError):
        cache.import_seqs(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        cache.export_seqs(tmp_path / "nowhere" / "x")


def test_progress_that_raises_ends_the_import(cache, tmp_path):
    def stop(done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.import_seqs(write(tmp_path / "x", [("a", 1)]), progress=stop)
    with pytest.raises(ZeroDivisionError):
        cache.export_seqs(tmp_path / "y", progress=stop)
    assert not (tmp_path / "y").exists()
    assert not (tmp_path / "y.part").exists()
    assert cache.get_seq("a") == 1


def test_closed_cache_imports_nothing(cache, tmp_path):
    file = write(tmp_path / "x", [("a", 1)])
    cache.close()
    with pytest.raises(ClosedError):
        cache.import_seqs(file)
    with pytest.raises(ClosedError):
        cache.export_seqs(tmp_path / "y")


def test_highest_number_is_imported_where_it_can_be_held(face, tmp_path):
    cache, most = face.open(), 2**63 - 1
    report = cache.import_seqs(write(tmp_path / "x", [("a", 1), ("b", most)]))
    if face.is_durable:
        assert counts(report) == (2, 1, 0, 1)
        assert "2**53 - 1" in report.bad_lines[0].reason
    else:
        assert counts(report) == (2, 2, 0, 0)
        assert cache.get_seq("b") == most


# --- on a server --------------------------------------------------------------------


def test_key_of_another_type_is_a_bad_line(live_cache, server, tmp_path):
    server.admin("RPUSH", "seq:list", "x")
    server.admin("SET", "seq:text", "x")
    pairs = [("a", 1), ("list", 2), ("b", 3), ("text", 4), ("c", 5)]
    report = live_cache.import_seqs(write(tmp_path / "x", pairs))
    assert counts(report) == (5, 3, 0, 2)
    assert [line for line, _ in report.bad_lines] == [2, 4]
    assert "WRONGTYPE" in report.bad_lines[0].reason
    assert "not an integer" in report.bad_lines[1].reason
    only = write(tmp_path / "y", [("list", 2), ("text", 4)])
    assert counts(live_cache.import_seqs(only)) == (2, 0, 0, 2)
    with pytest.raises(NotASequence):
        live_cache.get_seq("list")


@pytest.mark.parametrize("there", [0, 3])
def test_keys_that_appear_meanwhile_are_not_lowered(net_face, node, tmp_path, there):
    """Just before the keys are made somebody else makes one of them."""
    cache = net_face.open(node.url)
    cache.raise_seqs([(f"u{n}", 1) for n in range(there)])

    def meanwhile(call):
        call.connection.run([b"SET", b"seq:u7", b"1000"])
        call.send(call.apply())

    node.on("MSETNX", do=meanwhile, nth=1 + bool(there))
    pairs = [(f"u{n}", 5) for n in range(10)]
    assert cache.import_seqs(write(tmp_path / "x", pairs)).read == 10
    assert (node.value("seq:u7"), node.value("seq:u3")) == (1000, 5)
    assert node.seen("MSETNX") == 2


@pytest.mark.parametrize("do", [reset_before, reset_after])
@pytest.mark.parametrize("command", ["MGET", "MSETNX", "EVALSHA"])
def test_lost_link_is_survived(net_face, node, tmp_path, command, do):
    cache = net_face.open(node.url)
    cache.raise_seqs({"u3": 1, "u4": 1})
    rule = node.on(command, do=do)
    pairs = [(f"u{n}", 5) for n in range(10)]
    assert cache.import_seqs(write(tmp_path / "x", pairs)).read == 10
    assert [node.value(f"seq:u{n}") for n in range(10)] == [5] * 10
    assert rule.seen


@pytest.mark.parametrize("refusal", ["ERR unknown command 'MSETNX'", "NOPERM no"])
def test_server_that_makes_no_keys_at_once_makes_them_one_by_one(
    net_face, node, tmp_path, refusal
):
    cache = net_face.open(node.url)
    node.on("MSETNX", do=error(refusal), times=1)
    pairs = [(f"u{n}", 5) for n in range(1500)]
    assert counts(cache.import_seqs(write(tmp_path / "x", pairs))) == (1500, 1500, 0, 0)
    assert node.seen("MSETNX") == 1
    assert node.value("seq:u1499") == 5


@pytest.mark.parametrize(
    ("command", "nth", "refusal", "raised"),
    [
        ("MGET", 2, "NOPERM no", AuthError),
        ("MSETNX", 2, "OOM no", ServerError),
        ("MSETNX", 2, "READONLY no", (ServerError, ConnectError)),
        ("EVALSHA", 1001, "OOM no", (ServerError, BulkError)),
    ],
)
def test_refusal_ends_the_import_and_says_how_far_it_came(
    net_face, node, tmp_path, command, nth, refusal, raised
):
    cache = net_face.open(node.url, timeout=0.5)
    pairs = [(f"u{n}", 5) for n in range(1500)]
    if command != "MSETNX":
        cache.raise_seqs([(one, 1) for one, _ in pairs])
    node.on(command, do=error(refusal), nth=nth, times=10**9)
    file = write(tmp_path / "x", pairs)
    with pytest.raises(raised) as caught:
        cache.import_seqs(file)
    assert caught.value.__notes__ == ["import: 1,000 rows were done before"]
    node.clear()
    report = cache.import_seqs(file)
    assert (report.raised, report.ahead) == (500, 1000)
