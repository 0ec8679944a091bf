"""Examples in prose: `EXPRESSION  # VALUE: remark` becomes a comparison."""

from __future__ import annotations

import re
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
# The value is a number, a list, a range or a truth.
SAID = re.compile(r"^( *)((?:await )?\S.*?) +# ((?:range|[\[\d]|True).*)$", re.M)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def checked(code: str) -> str:
    """Code that compares what its comments say with what it returns."""

    def compare(found: re.Match[str]) -> str:
        indent, expression, comment = found.groups()
        return f"{indent}compare({expression}, {comment.partition(': ')[0]})"

    return SAID.sub(compare, code)
