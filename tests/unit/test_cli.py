"""The command line in this process, on memory://: output, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import pytest

import seqcache
from seqcache.cli import main
from seqcache.cli.output import Output, exit_code, printable

MOST = 2**63 - 1


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """What the developer's shell says must not matter."""
    for name in ("SEQCACHE_URL", "REDIS_URL", "SEQCACHE_PREFIX", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def url():
    """A store that all runs of one test share."""
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def run(url, capsys):
    """`run("get", "alice")` -> (exit code, standard output, standard error)."""

    def call(*args):
        code = main(["--url", url, *args])
        return code, *capsys.readouterr()

    return call


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_get_of_an_unknown_id_prints_zero(run):
    assert run("get", "alice") == (0, "0\n", "")


def test_incr_of_one_id_prints_the_bare_number(run):
    assert run("incr", "alice") == (0, "1\n", "")
    assert run("incr", "alice", "--by", "10") == (0, "11\n", "")
    assert run("get", "alice") == (0, "11\n", "")


def test_incr_with_a_token_counts_once(run):
    assert run("incr", "alice", "--token", "m1") == (0, "1\n", "")
    assert run("incr", "alice", "bob", "--token", "m1") == (0, "alice\t1\nbob\t1\n", "")
    code, out, err = run("incr", "alice", "--by", "2", "--token", "m1")
    assert (code, out) == (1, "")
    assert "counted 1 before, not 2" in err
    assert run("incr", "alice", "--token", "")[0] == 2


def test_several_ids_are_printed_with_their_numbers_in_order(run):
    run("incr", "bob", "--by", "4")
    assert run("incr", "alice", "bob", "alice") == (
        0,
        "alice\t1\nbob\t5\nalice\t2\n",
        "",
    )
    assert run("get", "bob", "eve") == (0, "bob\t5\neve\t0\n", "")


def test_reserve_prints_the_first_and_the_last(run):
    assert run("reserve", "alice", "100") == (0, "1 100\n", "")
    assert run("reserve", "alice", "1") == (0, "101 101\n", "")


def test_raise_never_lowers_and_says_so(run):
    assert run("raise", "alice", "50") == (0, "50\n", "")
    code, out, err = run("raise", "alice", "7")
    assert (code, out) == (0, "50\n")
    assert err == "alice was beyond 7 and stays there\n"
    assert run("raise", "alice", "7", "-q") == (0, "50\n", "")


def test_ls_lists_what_matches(run):
    run("incr", "alice", "alan", "bob")
    code, out, _ = run("ls")
    assert code == 0
    assert sorted(out.splitlines()) == ["alan\t1", "alice\t1", "bob\t1"]
    assert run("ls", "--match", "b*") == (0, "bob\t1\n", "")


def test_ping_tells_the_server_and_the_time(run, url):
    code, out, _ = run("ping")
    assert code == 0
    assert out.startswith(f"{url} answered in ")
    assert out.endswith(" ms\n")


def test_prefix_makes_another_sequence(run):
    run("incr", "alice")
    assert run("get", "alice", "--prefix", "send:") == (0, "0\n", "")


def test_json_is_one_object_a_line(run):
    assert lines(run("get", "alice", "--json")[1]) == [{"user_id": "alice", "seq": 0}]
    assert lines(run("incr", "a", "b", "--json", "--by", "2")[1]) == [
        {"user_id": "a", "seq": 2, "by": 2},
        {"user_id": "b", "seq": 2, "by": 2},
    ]
    assert lines(run("reserve", "a", "3", "--json")[1]) == [
        {"user_id": "a", "first": 3, "last": 5, "count": 3}
    ]
    assert lines(run("raise", "a", "9", "--json")[1]) == [{"user_id": "a", "seq": 9}]
    assert lines(run("ls", "--json", "--match", "a")[1]) == [{"user_id": "a", "seq": 9}]
    (pinged,) = lines(run("ping", "--json")[1])
    assert pinged.keys() == {"server", "seconds"}
    assert isinstance(pinged["seconds"], float)


def test_export_and_import_bring_every_number_back(run, tmp_path):
    run("incr", "alice", "bob", "--by", "7")
    file = str(tmp_path / "x.csv.gz")
    assert run("export", file) == (0, f"2 ids written to {file}\n", "")
    code, out, err = run("import", file, "--prefix", "copy:", "--dry-run")
    assert (code, out) == (
        0,
        "2 read: 2 would be raised, 0 already ahead, 0 bad\n",
    )
    code, out, err = run("import", file, "--prefix", "copy:")
    assert (code, out) == (0, "2 read: 2 raised, 0 already ahead, 0 bad\n")
    assert err.endswith(" rows a second\n")
    code, out, err = run("import", file, "--prefix", "copy:", "-q")
    assert (code, out, err) == (0, "2 read: 0 raised, 2 already ahead, 0 bad\n", "")
    assert run("get", "bob", "--prefix", "copy:")[1] == "7\n"
    assert lines(run("export", file, "--json")[1]) == [{"file": file, "written": 2}]


def test_import_tells_bad_lines_by_number_and_fails(run, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("alice,5\nbob,five\n\x1b[2J,1,*\n")
    code, out, err = run("import", str(file), "-q")
    assert (code, out) == (1, "3 read: 1 raised, 0 already ahead, 2 bad\n")
    assert err == (
        f"seqcache: {file}:2: seq is no whole number: 'five'\n"
        f"seqcache: {file}:3: user_id_base64 is no base64\n"
    )
    code, out, err = run("import", str(file), "--json")
    assert (code, err) == (1, "")
    (told,) = lines(out)
    assert told.pop("seconds") >= 0
    assert told == {
        "file": str(file),
        "read": 3,
        "raised": 0,
        "ahead": 1,
        "bad": 2,
        "bad_lines": [
            {"line": 2, "reason": "seq is no whole number: 'five'"},
            {"line": 3, "reason": "user_id_base64 is no base64"},
        ],
        "dry_run": False,
    }


def test_bad_lines_that_are_too_many_are_counted(run, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("x\n" * 1500)
    code, out, err = run("import", str(file), "-q")
    assert (code, out) == (1, "1,500 read: 0 raised, 0 already ahead, 1,500 bad\n")
    assert len(err.splitlines()) == 1001
    assert err.endswith(f"seqcache: {file}: 500 more bad lines\n")


def test_file_that_is_not_there_is_1(run, tmp_path):
    code, out, err = run("import", str(tmp_path / "x"))
    assert (code, out) == (1, "")
    assert err.startswith("seqcache: [Errno 2] No such file")
    assert run("export", str(tmp_path / "x" / "y"))[0] == 1


def test_migrate_brings_counters_of_another_prefix_over(run):
    run("incr", "alice", "bob", "--by", "7", "--prefix", "old:")
    code, out, _ = run("migrate", "--from", "prefix:old:")
    assert (code, out) == (0, "2 read: 2 raised, 0 already ahead, 0 bad\n")
    (told,) = lines(run("migrate", "--from", "prefix:old:", "--json")[1])
    assert told.pop("seconds") >= 0
    counts = {"read": 2, "raised": 0, "ahead": 2, "bad": 0}
    assert told == {**counts, "bad_ids": [], "dry_run": False}
    assert run("get", "alice")[1] == "7\n"


def test_config_tells_each_value_and_where_it_came_from(capsys, monkeypatch):
    monkeypatch.setenv("SEQCACHE_URL", "redis://:secret@h/3?timeout=1")
    monkeypatch.setenv("SEQCACHE_RETRY", "gap")
    assert main(["config"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert {"db = 3", "password = '***'", "retry = 'gap'"} <= set(said)
    assert main(["config", "--explain", "--prefix", "x:"]) == 0
    text = capsys.readouterr().out
    rows = [row.split() for row in text.splitlines()]
    assert ["prefix", "'x:'", "argument"] in rows
    assert ["retry", "'gap'", "SEQCACHE_RETRY"] in rows
    assert "secret" not in text
    assert main(["config", "--json"]) == 0
    rows = {one["name"]: one for one in lines(capsys.readouterr().out)}
    assert rows["timeout"] == {"name": "timeout", "value": "1.0", "source": "URL"}


def test_options_may_stand_before_the_verb(url, capsys):
    assert main(["--json", "--url", url, "get", "x"]) == 0
    assert lines(capsys.readouterr().out) == [{"user_id": "x", "seq": 0}]
    assert main(["get", "x", "--json", "--url", url]) == 0
    assert lines(capsys.readouterr().out) == [{"user_id": "x", "seq": 0}]


def test_id_that_is_not_utf8_survives_in_both_outputs(run):
    raw = b"caf\xe9".decode("utf-8", "surrogateescape")  # as Python gives arguments
    assert run("incr", raw, "x")[1] == "caf\\xe9\t1\nx\t1\n"
    (row,) = lines(run("ls", "--json", "--match", raw)[1])
    assert row == {"user_id_base64": "Y2Fm6Q==", "seq": 1}


def test_control_characters_of_an_id_do_not_reach_the_terminal(run):
    assert run("incr", "a\x1b[2J\n\t", "b\\n")[1] == "a\\x1b[2J\\n\\t\t1\nb\\\\n\t1\n"
    assert printable("user\u202e") == "user\\u202e"
    assert printable("Zoë 1") == "Zoë 1"


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["get"],
        ["incr", "alice", "--by", "0"],
        ["incr", "alice", "--by", "x"],
        ["incr", "alice", "--by", str(MOST + 1)],
        ["reserve", "alice", "0"],
        ["raise", "alice", "-1"],
        ["raise", "alice", str(MOST + 1)],
        ["get", ""],
        ["get", "x" * 513],
        ["get", "x", "--prefix", "sqc:"],
        ["get", "x", "--url", "nonsense"],
        ["get", "x", "--url", "rediss://localhost"],
        ["get", "x", "--ur", "memory://"],
        ["migrate"],
        ["migrate", "--from", "nonsense"],
        ["migrate", "--from", "prefix"],
        ["migrate", "--from", "prefix:seq:", "--url", "memory://"],
        ["migrate", "--from", "sandcat-hash", "--url", "memory://"],
        ["completion"],
        ["completion", "tcsh"],
        ["export"],
        ["import"],
        ["bench", "--seconds", "0"],
        ["bench", "--rounds", "0"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(args, capsys):
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err


def test_variable_that_is_wrong_is_wrong_usage(monkeypatch, capsys):
    monkeypatch.setenv("SEQCACHE_TIMEOUT", "soon")
    assert main(["get", "x"]) == 2
    assert "SEQCACHE_TIMEOUT" in capsys.readouterr().err


def test_environment_names_the_server(url, monkeypatch, capsys):
    monkeypatch.setenv("SEQCACHE_URL", url)
    assert main(["incr", "alice"]) == 0
    assert main(["get", "alice"]) == 0
    assert capsys.readouterr().out == "1\n1\n"


def test_help_and_version_end_with_0(capsys):
    assert main(["--help"]) == 0
    assert "exit codes:" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"seqcache {seqcache.__version__}\n"


def test_overflow_fails_with_1(run):
    run("raise", "alice", str(MOST))
    code, out, err = run("incr", "alice")
    assert (code, out) == (1, "")
    assert err.startswith("seqcache: increase_seq('alice')")
    assert run("get", "alice")[1] == f"{MOST}\n"


def test_one_failure_of_several_leaves_the_numbers_of_the_others(run):
    run("raise", "full", str(MOST))
    code, out, err = run("incr", "alice", "full", "bob")
    assert (code, out) == (1, "alice\t1\nbob\t1\n")
    assert err.startswith("seqcache: full: ")
    code, out, _ = run("incr", "alice", "full", "--json")
    assert code == 1
    alice, full = lines(out)
    assert alice == {"user_id": "alice", "seq": 2, "by": 1}
    assert (full["user_id"], full["error"]) == ("full", "SequenceOverflow")
    assert full["executed"] is False


def test_failure_in_json_is_one_object_on_standard_error(run):
    run("raise", "alice", str(MOST))
    code, out, err = run("incr", "alice", "--json")
    assert (code, out) == (1, "")
    (told,) = lines(err)
    assert told.keys() == {"error", "message", "hint", "executed"}
    assert (told["error"], told["executed"]) == ("SequenceOverflow", False)


def test_exit_code_of_every_error():
    unknown = seqcache.OutcomeUnknown("?")
    gone = seqcache.ConnectError("gone")
    full = seqcache.SequenceOverflow("full")
    assert exit_code(unknown) == 4
    assert exit_code(seqcache.StartupError("down")) == 3
    assert exit_code(seqcache.CallTimeout("late")) == 3
    assert exit_code(seqcache.AuthError("no")) == 1
    assert exit_code(full) == 1
    assert exit_code(seqcache.BulkError("some", results=[1, full, unknown])) == 4
    assert exit_code(seqcache.BulkError("some", results=[1, gone])) == 3
    assert exit_code(seqcache.BulkError("some", results=[gone, full])) == 1


def test_hint_is_a_line_of_its_own_and_quiet_drops_it(capsys):
    error = seqcache.ServerError("READONLY no", hint="connect to the primary")
    Output(json_lines=False, quiet=False).error(error)
    told = "seqcache: READONLY no\n  hint: connect to the primary\n"
    assert capsys.readouterr().err == told
    Output(json_lines=False, quiet=True).error(error)
    assert capsys.readouterr().err == "seqcache: READONLY no\n"


def test_verb_imports_only_what_it_needs():
    heavy = "{'asyncio', 'ssl', 'redis', 'seqcache.cli.bench', 'seqcache.cli.demo'}"
    code = (
        "import sys; from seqcache.cli import main; "
        "main(['get', 'x', '--url', 'memory://']); "
        f"print(sorted({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0\n[]\n")
