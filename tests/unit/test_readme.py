"""The README is true: its examples run, its tables are those of the code."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from said import blocks, checked

import seqcache
from seqcache.cli import main, parser

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(ROOT / "README.md")
# Run elsewhere: durable mode in tests/live/durable, the file in test_embedded, the test
# in tests/plugin.
ELSEWHERE = re.compile("ceilings=|sqlite:///|def test_")
PYTHON = [b for name, b in BLOCKS if name == "python" and not ELSEWHERE.search(b)]
CONSOLE = [body for language, body in BLOCKS if language == "console"]


def section(title):
    """The text below a heading, up to the next one."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    return found


def rows(text):
    """The cells of all tables, without heads and rulers."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [row for row in cells if row[0].startswith("`")]


@pytest.mark.parametrize(
    ("number", "said"), [(0, 6), (1, 2), (2, 3), (3, 3), (4, 1), (5, 0), (6, 4)]
)
def test_example_runs_and_returns_what_it_says(number, said, capsys):
    compared = []

    def compare(value, expected):
        assert value == expected
        compared.append(value)

    code = PYTHON[number].replace("redis://localhost:6379/0", "memory://")
    names = {"seqcache": seqcache, "compare": compare}
    names["cache"] = seqcache.cache("memory://")
    exec(compile(checked(code), f"README example {number}", "exec"), names)
    assert len(compared) == said


def test_every_python_example_is_known():
    assert len(PYTHON) == 7


def test_example_of_an_error_says_what_an_error_has():
    code = PYTHON[5].replace('cache.increase_seq("alice")', "fail()")

    def fail():
        cause = seqcache.CallTimeout("late")
        raise seqcache.OutcomeUnknown("?", user_id="alice", by=1, cause=cause)

    assert "fail()" in code
    exec(compile(code, "README", "exec"), {"seqcache": seqcache, "fail": fail})


def test_commands_print_what_they_say(capsys):
    commands = re.findall(r"^\$ seqcache (.*)\n((?:(?!\$).*\n)*)", CONSOLE[-1], re.M)
    assert len(commands) == 4
    for words, printed in commands:
        assert main(words.split()) == 0
        assert capsys.readouterr().out == printed


def test_make_knows_the_targets():
    targets = re.findall(r"^\$ make (\w+)", README, re.M)
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in [*targets, *re.findall(r"`make (\w+)`", README)]:
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_operations_are_those_of_both_faces():
    for call, _ in rows(section("Operations")):
        for text in re.findall(r"`([^`]+)`", call):
            name = text.partition("(")[0]
            faces = [seqcache.SeqCache, seqcache.AsyncSeqCache]
            for face in faces[name == "aclose" : 1 if name == "close" else 2]:
                expected = ast.parse(f"f{text[len(name) :]}", mode="eval").body
                parameters = inspect.signature(getattr(face, name)).parameters
                words = [*expected.args, *expected.keywords]
                names = [getattr(w, "arg", None) or w.id for w in words]
                mine = [p for p in parameters if p not in ("self", "timeout")]
                assert names == mine, f"{face.__name__}.{name}"


def test_every_operation_is_listed():
    listed = set(
        re.findall(r"`(\w+)\(", "".join(r[0] for r in rows(section("Operations"))))
    )
    public = {
        name
        for face in (seqcache.SeqCache, seqcache.AsyncSeqCache)
        for name, item in inspect.getmembers(face, callable)
        if not name.startswith("_")
    }
    assert listed == public


def test_configuration_table_is_config():
    config = seqcache.Config()
    listed = {}
    for field, default, *_ in [r for r in rows(section("Configuration")) if len(r) > 2]:
        for name in re.findall(r"`(\w+)`", field):
            listed[name] = ast.literal_eval(default.strip("`"))
    rest = {row.name for row in config.explain()} - {"url"}
    assert listed == {name: getattr(config, name) for name in rest}


def test_schemes_open_or_are_refused():
    for url, _ in [r for r in rows(section("Configuration")) if len(r) == 2]:
        for scheme in re.findall(r"`([\w+]+)://", url):
            seqcache.Config(f"{scheme}://" + "/x" * (scheme[-3:] in ("nix", "ite")))
    for url in ("rediss://h", "redis+sentinel://h/s", "redis+cluster://h:1"):
        with pytest.raises(seqcache.ConfigError, match="not in this version"):
            seqcache.cache(url)


def test_error_tree_is_that_of_the_classes():
    (tree,) = [body for language, body in BLOCKS if language == "text"]
    above, found = [], set()
    for line in tree.splitlines():
        bars, name, base = re.match(r"([│├└─ ]*)(\w+)(?:\((\w+)\))?", line).groups()
        depth = len(bars) // 4
        cls = getattr(seqcache, name)
        bases = [cls.__bases__[0].__name__] if depth else []
        assert bases == ([above[depth - 1]] if depth else [])
        assert [b.__name__ for b in cls.__bases__[bool(depth) :]] == [base] * bool(base)
        above[depth:] = [name]
        found.add(name)
    exported = vars(seqcache).items()
    errors = {
        name
        for name, item in exported
        if isinstance(item, type) and issubclass(item, Exception)
    }
    assert found == errors


def choices_of(verb):
    """The verbs, or the commands of a verb, by name; none if it has none."""
    made = [a for a in verb._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(made[0].choices) if made else {}


def test_verbs_are_those_of_the_parser():
    verbs = choices_of(parser.build())
    listed = set()
    for row in rows(section("Command line")):
        name, *rest = row[0].strip("`").split()
        listed.add(name)
        parsers = [verbs[name]]
        if commands := choices_of(verbs[name]):
            assert rest[0] in commands
            listed.add(f"{name} {rest[0]}")
            parsers.append(commands[rest[0]])
        for option in re.findall(r"--\w+", row[0] + row[1]):
            assert any(option in one.format_help() for one in parsers)
    said = set(verbs)
    said |= {f"{name} {one}" for name in verbs for one in choices_of(verbs[name])}
    assert listed == said


def test_exit_codes_are_those_of_the_help():
    (codes,) = re.findall(r"Exit codes: (.*)\.", README)
    assert codes.replace(", ", "   ") in parser.EPILOG


def test_links_lead_somewhere():
    for text in (README, (ROOT / "docs" / "architecture.md").read_text()):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (ROOT / target).exists(), target


def test_architecture_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    known = [path for path in (ROOT / "csrc").rglob("*.[ch]")]
    known += [path for path in (ROOT / "seqcache").rglob("*.py")]
    names = [str(path) for path in known]
    for word in set(re.findall(r"[\w/]+\.(?:c|h|py)\b", text)) - {"Python.h"}:
        assert any(name.endswith(f"/{word}") for name in names), word


def test_what_readme_says_about_memory_holds_across_threads_and_views():
    one, other = (seqcache.cache("memory://readme-views") for _ in range(2))
    one.namespace("send_seq:").increase_seq("alice")
    assert other.namespace("send_seq:").get_seq("alice") == 1
    assert other.get_seq("alice") == 0
    assert one.get_seq(42) == one.increase_seq("42") - 1 == other.get_seq(42) - 1


def test_outcome_unknown_escapes_generic_retry_code():
    assert not issubclass(seqcache.OutcomeUnknown, (ConnectionError, TimeoutError))


def test_import_takes_neither_asyncio_nor_ssl():
    code = "import sys, seqcache; print({'asyncio', 'ssl'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n"
