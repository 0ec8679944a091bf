"""Check the rules of the house that a machine can see, and measure the rest.

Prints the measured column of the table in STYLE.md (section 5) and one line for
each violation. Exit code 1 if there is one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES, C_LINES, PY_LINES, COLUMNS = 80, 500, 400, 79

BANNED = re.compile(
    r"(?<![\w.>])(sprintf|vsprintf|strcpy|strcat|atoi|atol|strtok|gets"
    r"|malloc|calloc|realloc|free|strdup)\s*\("
)
ALLOCATORS = {"malloc", "calloc", "realloc", "free", "strdup"}
# Reserved names that belong to the compiler, and may be used.
COMPILER = re.compile(
    r"__(attribute__|func__|FILE__|LINE__|VA_ARGS__|VA_OPT__|GNUC|GNUC_MINOR__"
    r"|GNUC__|STDC_\w+|builtin_\w+|atomic_\w+|sync_\w+|has_\w+|SANITIZE_\w+"
    r"|extension__|int128|clang__|linux__|APPLE__|x86_64__|aarch64__|SIZEOF_\w+)\b"
)
RESERVED = re.compile(r"(?<!\w)__[A-Za-z]\w*")
# A function with such a name holds a lock across its end; its callers are counted.
HOLDS = re.compile(r"(^|_)(un)?lock(_|$)|_fork(_|$)")
# (opens, closes, may close more often than it opens: an early way out)
PAIRS = [
    (
        r"\b(?:\w+_)?lock(?:_\w+)?\s*\(|PyMutex_Lock\b",
        r"\b(?:\w+_)?unlock(?:_\w+)?\s*\(|PyMutex_Unlock\b",
        True,
    ),
    (r"Py_BEGIN_ALLOW_THREADS\b", r"Py_END_ALLOW_THREADS\b", False),
    (r"Py_BEGIN_CRITICAL_SECTION\b", r"Py_END_CRITICAL_SECTION\b", False),
    (r"PyEval_SaveThread\b", r"PyEval_RestoreThread\b", True),
    (r"PyGILState_Ensure\b", r"PyGILState_Release\b", True),
]
TOKEN = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.S)


def blank(found: re.Match[str]) -> str:
    """Return what stands for a comment or a literal: only its line breaks."""
    return "\n" * found.group().count("\n") or " "


class Source:
    """One C file: its text, its code without comments, its functions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        text = path.read_text()
        self.lines = text.splitlines()
        self.code = TOKEN.sub(blank, text).split("\n")
        found = (m.group() for m in TOKEN.finditer(text))
        self.comments = sum(
            t.count("\n") + 1 for t in found if t.startswith(("/*", "//"))
        )

    def functions(self) -> Iterator[tuple[str, int, list[str]]]:
        """Yield (name, line of the opening brace, body), braces included."""
        start = None
        for number, line in enumerate(self.code, 1):
            if line.rstrip() == "{":
                start = number
            elif start and line.startswith("}"):
                yield self.named(start), start, self.code[start - 1 : number]
                start = None

    def named(self, brace: int) -> str:
        """Return the name of the function whose body opens at line ``brace``."""
        for line in reversed(self.code[max(0, brace - 12) : brace - 1]):
            found = re.match(r"(\w+)\s*\(", line)
            if found:
                return found.group(1)
        return "?"


def check_c(source: Source) -> Iterator[str]:
    """Yield the violations of one C file."""
    name = source.name
    if source.path.suffix == ".c" and len(source.lines) > C_LINES:
        yield f"{name}: {len(source.lines)} lines, {C_LINES} allowed"
    for number, line in enumerate(source.lines, 1):
        if len(line) > COLUMNS:
            yield f"{name}:{number}: {len(line)} columns, {COLUMNS} allowed"
        if "core" in source.path.parts and re.search(r"#\s*include.*Python\.h", line):
            yield f"{name}:{number}: Python.h in the core"
    for number, line in enumerate(source.code, 1):
        for call in BANNED.findall(line):
            if source.path.name != "alloc.c" or call not in ALLOCATORS:
                yield f"{name}:{number}: {call}() is banned"
        if re.search(r"\bstatic\s+PyTypeObject\b", line):
            yield f"{name}:{number}: static PyTypeObject; use a heap type"
        for word in RESERVED.findall(line):
            if not COMPILER.match(word):
                yield f"{name}:{number}: {word} is a reserved name"
    for function, number, body in source.functions():
        if len(body) > FUNCTION_LINES:
            yield f"{name}:{number}: {function}() has {len(body)} lines"
        if not HOLDS.search(function):
            yield from check_pairs(f"{name}:{number}: {function}()", "\n".join(body))


def check_pairs(where: str, body: str) -> Iterator[str]:
    """Yield what a function opens and does not close, or the other way round."""
    for opens, closes, more in PAIRS:
        opened, closed = len(re.findall(opens, body)), len(re.findall(closes, body))
        if opened > closed or (closed > opened and not (more and opened)):
            what = re.findall(r"[A-Z]\w{5,}", opens)[-1]
            label = "lock" if what == "PyMutex_Lock" else what
            yield f"{where}: {label} {opened} times, its counterpart {closed} times"


def check_python(path: Path) -> Iterator[str]:
    """Yield the violations of one Python file."""
    name, text = path.relative_to(ROOT), path.read_text()
    count = len(text.splitlines())
    if count > PY_LINES:
        yield f"{name}: {count} lines, {PY_LINES} allowed"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1 if ast.get_docstring(node) and node.body[1:] else 0]
            lines = (node.end_lineno or 0) - first.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name}() has {lines} lines"


def count_lines(*patterns: str) -> int:
    """Return the lines of all files that match."""
    files = [p for pattern in patterns for p in ROOT.glob(pattern) if p.is_file()]
    return sum(len(p.read_text(errors="replace").splitlines()) for p in files)


def measured(sources: list[Source]) -> Iterator[str]:
    """Yield the rows of the comparison table that can be counted."""
    lengths = sorted(len(body) for s in sources for _, _, body in s.functions())
    if not lengths:
        return
    over = 100 * sum(n > 60 for n in lengths) / len(lengths)
    ninetieth = lengths[min(len(lengths) - 1, len(lengths) * 9 // 10)]
    yield (
        f"function med/p90/max (over 60)   {lengths[len(lengths) // 2]}/{ninetieth}/"
        f"{lengths[-1]} ({over:.0f}%) of {len(lengths)}"
    )
    largest = max(sources, key=lambda s: len(s.lines))
    yield f"largest hand-written C file      {len(largest.lines)} ({largest.name})"
    for part in ("core", "binding"):
        own = [s for s in sources if part in s.path.parts]
        total = sum(len(s.lines) for s in own)
        share = 100 * sum(s.comments for s in own) / max(1, total)
        yield f"comment lines, {part:8}          {share:.0f}% of {total}"
    code = count_lines("csrc/**/*.[ch]", "seqcache/**/*.py")
    tests = count_lines("tests/**/*.py", "tests/**/*.[ch]")
    yield f"tests : code lines               {tests / code:.2f} ({tests} : {code})"


def main() -> int:
    """Print measurements and violations; return the exit code."""
    sources = [Source(path) for path in sorted(ROOT.glob("csrc/**/*.[ch]"))]
    python = [ROOT / "setup.py"]
    for folder in ("seqcache", "tools", "tests", "bench", "examples"):
        python += sorted((ROOT / folder).rglob("*.py"))
    found = [line for source in sources for line in check_c(source)]
    found += [line for path in python for line in check_python(path)]
    print(*measured(sources), *found, f"{len(found)} violations", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
