"""What a report is made of: sections of paragraphs, tables and pictures, said once and written in every form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mayo_data.types import Json

WITHHELD = "–"


@dataclass(frozen=True)
class Share:
    """A part of a whole, shown as a bar and a percentage.

    Attributes:
        part: How many.
        whole: Of how many; None where it is withheld.

    >>> str(Share(1, 8)), str(Share(1, 4000)), str(Share(None, 8))
    ('12.5 %', '0.03 %', '–')
    """

    part: float | None
    whole: float | None

    @property
    def value(self) -> float | None:
        """The share, 0 to 1; None where it is withheld."""
        return None if self.part is None or self.whole is None else self.part / self.whole if self.whole else 0.0

    def __str__(self) -> str:
        if self.value is None:
            return WITHHELD
        percent = self.value * 100
        return f"{percent:.2f} %" if 0 < percent < 0.1 else f"{percent:.1f} %"


@dataclass(frozen=True)
class Code:
    """A digest or an id, shown letter by letter."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Mark:
    """A verdict: a word, and how it is meant."""

    text: str
    tone: Literal["good", "note", "bad"]

    def __str__(self) -> str:
        return self.text


Cell = str | int | float | Share | Code | Mark | None


@dataclass(frozen=True)
class Table:
    """A table with a caption and headings; the first cell of a row names the row.

    Attributes:
        caption: What it shows.
        columns: The headings.
        rows: The cells; None is what is withheld.
        notes: A sentence below it.
        fold: Whether a page may fold it away, because a picture says the same or few want to read it.
    """

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    notes: str = ""
    fold: bool = False


@dataclass(frozen=True)
class Pairs:
    """Names and what they are."""

    rows: Sequence[tuple[str, Cell]]


@dataclass(frozen=True)
class Picture:
    """A picture, drawn by the page alone: the tables say the same in words.

    Attributes:
        kind: `flow`, `lineage` or `years`.
        facts: What it draws.
        caption: What it shows.
    """

    kind: Literal["flow", "lineage", "years"]
    facts: Json
    caption: str


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        key: Its name in links.
        title: Its heading.
        lead: What it says and why it matters, in a few sentences.
        blocks: What it shows.
    """

    key: str
    title: str
    lead: str
    blocks: Sequence[Table | Pairs | Picture | str] = field(default_factory=list)


def number(value: object) -> str:
    """Return a cell as text: thousands apart, what is withheld as a dash.

    >>> number(12345), number(0.25), number(None), number("x")
    ('12,345', '0.250', '–', 'x')
    """
    if value is None:
        return WITHHELD
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return str(value)
