"""Files of sequences: every format that is read, every way in which a line is bad."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random

import pytest

from seqcache import _files
from seqcache._files import Reader, Writer, count_lines

MOST = 2**63 - 1


def rows_of(file, size=1000):
    """All rows of a file, read in batches."""
    reader = Reader(file)
    found = []
    while batch := reader.batch(size):
        found += batch
    reader.close()
    return found


def read(text, name="rows.jsonl", tmp_path=None):
    file = io.BytesIO(text.encode() if isinstance(text, str) else text)
    file.name = name
    return rows_of(file)


def test_json_lines_are_read_with_their_numbers():
    text = '{"user_id": "alice", "seq": 5}\n\n{"seq": 0, "user_id": 42, "by": 1}\n'
    assert read(text) == [(1, b"alice", 5), (3, b"42", 0)]
    assert read(text.replace("\n", "\r\n")) == [(1, b"alice", 5), (3, b"42", 0)]
    assert read(text.rstrip()) == [(1, b"alice", 5), (3, b"42", 0)]
    assert read("\ufeff" + text)[0] == (1, b"alice", 5)


def test_id_that_is_not_utf8_comes_in_base64():
    text = json.dumps({"user_id_base64": base64.b64encode(b"caf\xe9").decode()})
    assert read(text + ', "seq": 1}') == [(1, "no JSON: Extra data", None)]
    assert read(text[:-1] + ', "seq": 1}') == [(1, b"caf\xe9", 1)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x", "no JSON: Expecting value"),
        ("[1", "no JSON: Expecting ',' delimiter"),
        ("5", 'no object like {"user_id": "alice", "seq": 5}'),
        ('["user_id", "seq"]', 'no object like {"user_id": "alice", "seq": 5}'),
        ('{"user_id": "a", "seq": 1}, {"user_id": "b", "seq": 1}', "no JSON: Extra"),
        ('{"user_id": "a"}', 'no "seq"'),
        ('{"seq": 5}', 'no "user_id"'),
        ('{"user_id": "a", "seq": "5"}', "seq is no whole number: '5'"),
        ('{"user_id": "a", "seq": 5.0}', "seq is no whole number: 5.0"),
        ('{"user_id": "a", "seq": true}', "seq is no whole number: True"),
        ('{"user_id": "a", "seq": null}', "seq is no whole number: None"),
        ('{"user_id": "a", "seq": -1}', "seq must be from 0 to 2**63 - 1: -1"),
        (f'{{"user_id": "a", "seq": {MOST + 1}}}', "seq must be from 0 to 2**63 - 1"),
        ('{"user_id": "a", "seq": %s}' % ("9" * 5000), "no JSON: Exceeds the limit"),
        ('{"user_id": "", "seq": 1}', "the user id is empty"),
        ('{"user_id": "%s", "seq": 1}' % ("x" * 513), "the user id is longer"),
        ('{"user_id": "\\ud800", "seq": 1}', "the user id has lone"),
        ('{"user_id": 1.5, "seq": 1}', "a user id is str"),
        ('{"user_id": true, "seq": 1}', "a user id is str"),
        ('{"user_id": null, "seq": 1}', "a user id is str"),
        ('{"user_id_base64": "*", "seq": 1}', "user_id_base64 is no base64"),
        ('{"user_id_base64": 5, "seq": 1}', "user_id_base64 is no base64"),
        ("[" * 100_000, "longer than 65536 bytes"),
        ("[" * 60_000, "no JSON: nested too deeply"),
        (b'{"user_id": "\xff", "seq": 1}', "not UTF-8"),
    ],
)
def test_bad_json_line_is_told_and_spares_the_others(line, reason):
    raw = line if isinstance(line, bytes) else line.encode()
    good = b'{"user_id": "a", "seq": 1}'
    first, bad, last = read(good + b"\n" + raw + b"\n" + good)
    assert (first, last) == ((1, b"a", 1), (3, b"a", 1))
    assert (bad[0], bad[2]) == (2, None)
    assert bad[1].startswith(reason)


def test_rows_that_are_only_together_json_are_bad():
    found = read('{"user_id": "a", "x": [1\n2], "seq": 5}\n')
    assert [(line, seq) for line, _, seq in found] == [(1, None), (2, None)]


@pytest.mark.parametrize(
    "text",
    [
        "alice,5\nbob,7\n",
        "user_id,seq\nalice,5\nbob,7\n",
        "SEQ, user_id ,more\r\n5,alice,x\r\n7,bob,y\r\n",
        'user_id,seq,user_id_base64\n"alice",5,\n,7,Ym9i\n',
    ],
)
def test_csv_is_read_with_and_without_a_head(text):
    for name in ("rows.csv", "rows.CSV", "unnamed"):
        found = read(text, name)
        assert [row[1:] for row in found] == [(b"alice", 5), (b"bob", 7)]


def test_csv_keeps_what_is_quoted_and_numbers_the_first_line_of_a_record():
    text = '"a,""b""",1\n"two\nlines",2\n\n"Zoë",3\n'
    assert read(text, "x.csv") == [
        (1, b'a,"b"', 1),
        (2, b"two\nlines", 2),
        (5, "Zoë".encode(), 3),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("alice", "no column for the number"),
        ("alice,", "seq is no whole number: ''"),
        ("alice,five", "seq is no whole number: 'five'"),
        ("alice,-1", "seq is no whole number: '-1'"),
        ("alice,5.0", "seq is no whole number: '5.0'"),
        ("alice,\u0665", "seq is no whole number"),
        (f"alice,{MOST + 1}", "seq must be from 0 to 2**63 - 1"),
        ("alice," + "9" * 5000, "seq must be from 0 to 2**63 - 1"),
        (",5", "the user id is empty"),
        (",5,*", "user_id_base64 is no base64"),
        ('"a"b,5', "no CSV: "),
        (b"\xff,5", "not UTF-8: such an id goes into user_id_base64"),
        ("x" * 70_000, "longer than 65536 bytes"),
    ],
)
def test_bad_csv_line_is_told_and_spares_the_others(line, reason):
    raw = line if isinstance(line, bytes) else line.encode()
    first, bad, last = read(b"a,1\n" + raw + b"\nb,2\n", "x.csv")
    assert (first, last) == ((1, b"a", 1), (3, b"b", 2))
    assert (bad[0], bad[2]) == (2, None)
    assert bad[1].startswith(reason)


def test_csv_head_without_an_id_leaves_every_row_bad():
    assert read("seq,user_id_base64\n5,\n", "x.csv") == [
        (2, "no column for the id", None)
    ]


def test_line_without_end_is_dropped_in_pieces(monkeypatch):
    monkeypatch.setattr(_files, "CHUNK", 1000)
    good = b'{"user_id": "a", "seq": 1}\n'
    found = read(good + b"x" * 300_000 + b"\n" + good + b"y" * 100_000)
    assert found == [
        (1, b"a", 1),
        (2, "longer than 65536 bytes", None),
        (3, b"a", 1),
        (4, "longer than 65536 bytes", None),
    ]


@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
def test_rows_do_not_depend_on_how_a_file_is_cut(monkeypatch, chunk, name):
    pairs = [(f"user {n}", n) for n in range(30)]
    file = io.BytesIO()
    file.name = name
    Writer(file).rows(pairs)
    whole = read(file.getvalue(), name)
    monkeypatch.setattr(_files, "CHUNK", chunk)
    assert read(file.getvalue(), name) == whole
    assert [row[1:] for row in whole] == [(one.encode(), n) for one, n in pairs]


# --- files ------------------------------------------------------------------------

PAIRS = [
    ("alice", 1),
    ("", 0),
    ("Zo\u00eb \U0001f600", MOST),
    ('"quoted", \\ comma', 2),
    ("line\r\nbreak\n\ttab\0nul\x1b", 3),
    (b"caf\xe9", 4),
    (bytes(range(256)), 5),
    (" spaces ", 6),
    ("{id}", 7),
    ("user_id", 8),
]


@pytest.mark.parametrize(
    "name", ["x.jsonl", "x.ndjson", "x", "x.csv", "x.jsonl.gz", "x.CSV.GZ", "x.gz"]
)
def test_every_id_comes_back_from_every_format(tmp_path, name):
    path = tmp_path / name
    writer = Writer(path)
    writer.rows(PAIRS[:4])
    writer.rows(PAIRS[4:])
    assert not path.exists(), "a file that is not complete has not its name"
    writer.finish()
    writer.close()
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.lower().endswith("gz")
    found = [row for row in rows_of(path) if row[2] is not None]
    wanted = [(one.encode() if isinstance(one, str) else one, n) for one, n in PAIRS]
    assert [row[1:] for row in found] == [pair for pair in wanted if pair[0]]


def test_random_ids_come_back(tmp_path):
    chance = random.Random(5)
    pairs = []
    for _ in range(2000):
        raw = bytes(chance.choices(b'ab"\\,\n\r\0\x80\xc3\xa9', k=chance.randint(1, 9)))
        try:
            pairs.append((raw.decode(), chance.randint(0, MOST)))
        except UnicodeDecodeError:
            pairs.append((raw, chance.randint(0, MOST)))
    for name in ("x.jsonl", "x.csv"):
        writer = Writer(tmp_path / name)
        writer.rows(pairs)
        writer.finish()
        writer.close()
        found = [row[1:] for row in rows_of(tmp_path / name)]
        assert found == [
            (one.encode() if isinstance(one, str) else one, n) for one, n in pairs
        ]


def test_unfinished_file_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("before")
    writer = Writer(path)
    writer.rows([("alice", 1)])
    writer.close()
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


def test_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.jsonl", tmp_path / "link.csv"
    target.write_text("")
    link.symlink_to(target)
    writer = Writer(link)
    writer.finish()
    writer.close()
    assert link.is_symlink()
    assert target.read_text().startswith("user_id,seq")


def test_open_files_are_left_open_whatever_they_hold(tmp_path):
    for file in (io.StringIO(), io.BytesIO()):
        writer = Writer(file)
        writer.rows([("Zoë", 1)])
        writer.finish()
        writer.close()
        assert not file.closed
        file.seek(0)
        assert rows_of(file) == [(1, "Zoë".encode(), 1)]
        assert not file.closed
    assert rows_of(io.StringIO("a,5\n")) == [(1, b"a", 5)]


def test_device_is_written_in_place():
    writer = Writer("/dev/null")
    writer.rows([("alice", 1)])
    writer.finish()
    writer.close()


@pytest.mark.parametrize("size", [10, 100, 3000])
def test_gzip_file_that_ends_too_early_is_an_error(tmp_path, size):
    path = tmp_path / "x.jsonl.gz"
    lines = (json.dumps({"user_id": str(n), "seq": n}) for n in range(2000))
    whole = gzip.compress("\n".join(lines).encode())
    path.write_bytes(whole[:size])
    with pytest.raises(OSError, match=r"x\.jsonl\.gz"):
        rows_of(path)
    path.write_bytes(whole[:200] + b"\0" * 200 + whole[400:])
    with pytest.raises(OSError, match=r"x\.jsonl\.gz|CRC"):
        rows_of(path)


def test_file_that_is_no_gzip_or_not_there_is_an_error(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(b'{"user_id": "a", "seq": 1}\n')
    with pytest.raises(OSError, match="ot a gzipped file"):
        rows_of(path)
    with pytest.raises(FileNotFoundError):
        Reader(tmp_path / "nothing.jsonl")


def test_empty_file_has_no_rows(tmp_path):
    for name in ("x.jsonl", "x.csv"):
        assert read(b"", name) == []
    assert read(b"\n\n") == []


@pytest.mark.parametrize(
    ("text", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"\n\n", 2)]
)
def test_lines_are_counted_beforehand(tmp_path, text, lines):
    (tmp_path / "x").write_bytes(text)
    (tmp_path / "x.gz").write_bytes(gzip.compress(text))
    assert count_lines(tmp_path / "x") == lines
    assert count_lines(str(tmp_path / "x.gz")) == lines
    assert count_lines(io.BytesIO(text)) is None
    assert count_lines("/dev/null") is None
