"""What `Config.explain` returns: the settings, as text and as tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """One field of a Config: its name, its value as text (masked), its source."""

    name: str
    value: str
    source: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value}  ({self.source})"


class Explanation(list[Setting]):
    """The settings of a Config: a list that prints as a table."""

    def __str__(self) -> str:
        names = max((len(row.name) for row in self), default=0)
        values = max((len(row.value) for row in self), default=0)
        return "\n".join(
            f"{row.name:{names}}  {row.value:{values}}  {row.source}" for row in self
        )

    def _repr_html_(self) -> str:
        cells = (
            "".join(f"<td>{_escape(text)}</td>" for text in (r.name, r.value, r.source))
            for r in self
        )
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        head = "<tr><th>field</th><th>value</th><th>from</th></tr>"
        return f"<table>{head}{body}</table>"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
