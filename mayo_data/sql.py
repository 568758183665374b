"""How names, text and paths are written in DuckDB's SQL. Nothing from an export is ever written into a query."""

from __future__ import annotations

import re
from pathlib import Path


def text(value: str) -> str:
    """Return text as an SQL string.

    >>> text("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """Return text as an SQL name.

    >>> name("offset")
    '"offset"'
    """
    return '"' + value.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """Return a path as DuckDB must be given it where `*`, `?` and `[` are to mean themselves.

    >>> literal(Path("a[1]/b.csv"))
    'a[[]1]/b.csv'
    """
    return re.sub(r"([*?\[])", r"[\1]", str(path))
