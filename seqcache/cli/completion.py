"""`seqcache completion`: what completes the command line, made from its parser."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import parser as options
from .output import Output


class Option(NamedTuple):
    """An option of a verb."""

    names: list[str]
    help: str
    value: str  # metavar of its value, empty for a switch
    choices: list[str]


class Verb(NamedTuple):
    """A verb, or a command of one: what may follow it."""

    name: str
    help: str
    options: list[Option]
    takes_file: bool
    choices: list[str]  # of its argument
    commands: list[Verb]


def completion(args: Namespace, out: Output) -> int:
    """Print the script of a shell."""
    makers: dict[str, Callable[[Verb], Iterator[str]]]
    makers = {"bash": bash, "zsh": zsh, "fish": fish}
    for line in makers[args.shell](tree()):
        out.line(line)
    return 0


def tree() -> Verb:
    """Return the command line as it is parsed."""
    return _verb("seqcache", "", options.build())


def _verb(name: str, text: str, parser: argparse.ArgumentParser) -> Verb:
    found = Verb(name, text, [], False, [], [])
    takes_file = False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            for other, made in action.choices.items():
                found.commands.append(_verb(other, helps.get(other, ""), made))
        elif action.option_strings:
            found.options.append(_option(action))
        else:
            takes_file = takes_file or action.metavar == "FILE"
            found.choices.extend(map(str, action.choices or ()))
    return found._replace(takes_file=takes_file)


def _option(action: argparse.Action) -> Option:
    text = "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
    value = "" if action.nargs == 0 else str(action.metavar or action.dest)
    choices = [str(one) for one in action.choices or ()]
    return Option(list(action.option_strings), text, value, choices)


def _words(verb: Verb) -> list[str]:
    """Return all that may stand behind a verb, files and free words apart."""
    names = [name for option in verb.options for name in option.names]
    return [*(one.name for one in verb.commands), *verb.choices, *names]


def _valued(verb: Verb) -> Iterator[str]:
    """Yield the options that want a value, of a verb and what is below."""
    for option in verb.options:
        if option.value:
            yield from option.names
    for one in verb.commands:
        yield from _valued(one)


# --- bash ------------------------------------------------------------------------


def bash(root: Verb) -> Iterator[str]:
    """Yield a bash function and its registration."""
    valued = "|".join(dict.fromkeys(_valued(root)))
    yield '# eval "$(seqcache completion bash)"'
    yield "_seqcache() {"
    yield "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}"
    yield "    local path= words= i"
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield "        case ${COMP_WORDS[i]} in"
    yield f"            {valued}) ((i++)) ;;"
    yield "            -*) ;;"
    yield '            *) path+=" ${COMP_WORDS[i]}" ;;'
    yield "        esac"
    yield "    done"
    yield "    COMPREPLY=()"
    yield "    case $prev in"
    yield "        --plot) compopt -o default; return ;;"
    yield f"        {valued}) return ;;"
    yield "    esac"
    yield "    case $path in"
    for path, verb in _paths(root, ""):
        does = f'words="{" ".join(_words(verb))}"'
        if verb.takes_file:
            does += "; [[ $cur == -* ]] || { compopt -o default; return; }"
        # What is behind the words of a verb are its arguments.
        pattern = f'"{path}"' if verb.commands else f'"{path}"*'
        yield f"        {pattern}) {does} ;;"
    yield "    esac"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$cur"))'
    yield "}"
    yield "complete -F _seqcache seqcache"


def _paths(verb: Verb, path: str) -> Iterator[tuple[str, Verb]]:
    """Yield the words that lead to each verb: ``" ceilings ls"``."""
    yield path, verb
    for one in verb.commands:
        yield from _paths(one, f"{path} {one.name}")


# --- zsh -------------------------------------------------------------------------


def zsh(root: Verb) -> Iterator[str]:
    """Yield a completion function for zsh's fpath, or for eval."""
    yield "#compdef seqcache"
    yield '# eval "$(seqcache completion zsh)", after compinit'
    yield from _zsh_function("_seqcache", root)
    yield "compdef _seqcache seqcache"


def _zsh_function(name: str, verb: Verb) -> Iterator[str]:
    for one in verb.commands:
        yield from _zsh_function(f"{name}_{one.name}", one)
    specs = [spec for option in verb.options for spec in _zsh_option(option)]
    yield f"{name}() {{"
    if verb.commands:
        yield "    local state line"
        yield "    local -a verbs=("
        for one in verb.commands:
            yield f"        {_zsh_quoted(f'{one.name}:{one.help}')}"
        yield "    )"
        specs += ["'1:verb:->verb'", "'*::argument:->rest'"]
    elif verb.choices:
        specs.append(f"'1:word:({' '.join(verb.choices)})'")
    elif verb.takes_file:
        specs.append("'*:file:_files'")
    yield "    _arguments -C \\"
    yield " \\\n".join(f"        {spec}" for spec in specs)
    if verb.commands:
        yield "    case $state in"
        yield "        verb) _describe verb verbs ;;"
        yield f"        rest) (( $+functions[{name}_$line[1]] )) && {name}_$line[1] ;;"
        yield "    esac"
    yield "}"


def _zsh_option(option: Option) -> Iterator[str]:
    text = option.help.replace("[", "(").replace("]", ")").replace(":", " ")
    for name in option.names:
        spec = f"{name}[{text}]"
        if option.value:
            values = f"({' '.join(option.choices)})" if option.choices else " "
            spec += f":{option.value}:{'_files' if name == '--plot' else values}"
        yield _zsh_quoted(spec)


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish ------------------------------------------------------------------------

# Which words were typed so far, without options and their values.
_FISH = """\
function __seqcache_in
    set -l path
    set -l skips 0
    for word in (commandline -opc)[2..-1]
        if test $skips = 1
            set skips 0
        else if contains -- $word VALUED
            set skips 1
        else if not string match -q -- '-*' $word
            set -a path $word
        end
    end
    if test (count $argv) = 0
        test (count $path) = 0
        return
    end
    set -l length (count $argv)
    test (count $path) -ge $length
    and test "$path[1..$length]" = "$argv"
end"""


def fish(root: Verb) -> Iterator[str]:
    """Yield lines for fish's completions folder, or for source."""
    yield "# seqcache completion fish | source"
    yield _FISH.replace("VALUED", " ".join(dict.fromkeys(_valued(root))))
    yield "complete -c seqcache -f"
    for path, verb in _paths(root, ""):
        start = f"complete -c seqcache -n '__seqcache_in{path}'"
        for one in verb.commands:
            yield f"{start} -a {one.name} -d {_fish_quoted(one.help)}"
        for word in verb.choices:
            yield f"{start} -a {word}"
        if verb.takes_file:
            yield f"{start} -F"
        for option in verb.options:
            yield start + _fish_option(option)


def _fish_option(option: Option) -> str:
    words = ""
    for name in option.names:
        words += f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
    if option.value:
        words += " -r -F" if "--plot" in option.names else " -x"
    if option.choices:
        words += f" -a '{' '.join(option.choices)}'"
    return f"{words} -d {_fish_quoted(option.help)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
