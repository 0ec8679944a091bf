"""The completion scripts, run by the shells that they are for."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import time

import pytest

from seqcache.cli import completion, main

VERBS = {one.name for one in completion.tree().commands}


@pytest.fixture
def script(capsys, tmp_path):
    """The file with the script of a shell; skipped where there is no such shell."""

    def write(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        assert main(["completion", shell]) == 0
        path = tmp_path / f"completion.{shell}"
        path.write_text(capsys.readouterr().out)
        return path

    return write


CASES = [
    ("seqcache ", VERBS),
    ("seqcache inc", {"incr"}),
    ("seqcache --url memory:// inc", {"incr"}),
    ("seqcache incr --b", {"--by"}),
    ("seqcache incr alice --b", {"--by"}),
    ("seqcache ceilings ", {"ls", "check", "raise", "fence", "adopt"}),
    ("seqcache ceilings raise --m", {"--margin"}),
    ("seqcache completion ", {"bash", "zsh", "fish"}),
    ("seqcache get --url ", set()),
    ("seqcache import ./fil", {"./file.csv"}),
]


@pytest.mark.parametrize(("line", "wanted"), CASES)
def test_bash_completes(script, tmp_path, line, wanted):
    path = script("bash")
    (tmp_path / "file.csv").touch()
    words = line.split(" ")
    code = f"""
    used=
    compopt() {{ used=$2; }}  # it works only while a line is edited
    source {path}
    COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
    COMP_CWORD={len(words) - 1}
    _seqcache
    [[ $used != default ]] || COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}"))
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-uc", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stderr == ""
    found = set(done.stdout.split())
    if not line.endswith(" ") or wanted <= {""}:
        assert found == wanted
    else:  # options are offered beside the words
        assert {word for word in found if not word.startswith("-")} == wanted


@pytest.mark.parametrize(("line", "wanted"), CASES)
def test_fish_completes(script, tmp_path, line, wanted):
    path = script("fish")
    (tmp_path / "file.csv").touch()
    code = f"source {path}; complete -C '{line}'"
    environ = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["fish", "--no-config", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environ,
    )
    assert done.stderr == ""
    found = {row.partition("\t")[0] for row in done.stdout.splitlines()}
    assert found == wanted


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("seqcache inc\t", "seqcache incr "),
        ("seqcache incr --b\t", "seqcache incr --by "),
        ("seqcache ceilings fen\t", "seqcache ceilings fence "),
        ("seqcache ceilings raise --mar\t", "seqcache ceilings raise --margin "),
        ("seqcache completion z\t", "seqcache completion zsh "),
        ("seqcache import ./fil\t", "seqcache import ./file.csv "),
        ("seqcache i\t\t", "increase each id and print"),
    ],
)
def test_zsh_completes(script, tmp_path, typed, shown):
    path = script("zsh")
    (tmp_path / "file.csv").touch()
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TERM": "dumb"}
    pid, master = pty.fork()
    if pid == 0:  # pragma: no cover - another program
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-f", "-i"], environ)
    try:
        setup = "unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u -D;"
        os.write(master, f"{setup} source {path}; echo read''y\n".encode())
        read_until(master, "ready")
        os.write(master, typed.encode())
        read_until(master, shown)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(master)


def read_until(master, wanted, seconds=30.0):
    """Read what the terminal shows until the text is there."""
    os.set_blocking(master, False)
    end, text = time.monotonic() + seconds, ""
    while wanted not in text:
        assert time.monotonic() < end, text
        try:
            text += os.read(master, 65536).decode()
        except BlockingIOError:
            time.sleep(0.01)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_verb_and_option_is_in_every_script(shell, capsys):
    main(["completion", shell])
    text = capsys.readouterr().out
    for verb in completion.tree().commands:
        assert verb.name in text
        for option in verb.options:
            for name in option.names:
                spelled = f"-l {name[2:]}" if shell == "fish" else name
                assert spelled in text or name in ("-h", "-q")
