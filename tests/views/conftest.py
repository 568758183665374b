"""What the tests of views share: resources as a file, and one column of a view over them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mayo_data as md


@pytest.fixture
def evaluate(tmp_path: Path) -> Callable[..., list[Any]]:
    """Return a function: the column that a path gives, one value a resource; decimals as their digits."""

    def run(resources: Any, path: str, **column: Any) -> list[Any]:
        listed = resources if isinstance(resources, list) else [resources]
        file = tmp_path / "resources.ndjson"
        file.write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in listed))
        kind = json.loads(listed[0])["resourceType"] if isinstance(listed[0], str) else listed[0]["resourceType"]
        constant = column.pop("constant", [])
        body = {"resource": kind, "constant": constant, "select": [{"column": [{"name": "x", "path": path, **column}]}]}
        return [row[0] for row in md.view(body, file).preview(1000)]

    return run
