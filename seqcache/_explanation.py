"""What `Config.explain` returns: the settings, as text and as tables."""

from __future__ import annotations

from dataclasses import dataclass

from ._html import table


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
        rows = [(row.name, row.value, row.source) for row in self]
        return table(("field", "value", "from"), rows)
