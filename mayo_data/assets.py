"""Finds the data files that ship with the library: schemas, policies, mappings, pipelines.

In a wheel they lie in `mayo_data/_schemas` and `mayo_data/_pipelines`; in an editable checkout, where the
build does not copy them, beside the package.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def path(kind: str, *parts: str) -> Path:
    """Return the path of a shipped data file or folder.

    Args:
        kind: `"schemas"` or `"pipelines"`.
        parts: Path below that folder.

    Raises:
        FileNotFoundError: The installation lacks the file.

    >>> path("schemas", "tables", "events.toml").name
    'events.toml'
    """
    for root in (_PACKAGE / f"_{kind}", _PACKAGE.parent / kind):
        found = root.joinpath(*parts)
        if found.exists():
            return found
    raise FileNotFoundError(f"{kind}/{'/'.join(parts)} is not part of this installation: install mayo-data again")


@cache
def toml(kind: str, *parts: str) -> dict[str, Any]:
    """Read a shipped TOML file, once a process; callers must not change what they get.

    >>> toml("schemas", "tables", "codes.toml")["name"]
    'codes'
    """
    return tomllib.loads(path(kind, *parts).read_text(encoding="utf-8"))
