"""What the tests of documents and of benchmarks share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Load a script of `benchmarks/` as a module."""
    if not BENCHMARKS.exists():
        pytest.skip("not a checkout: the benchmarks are not here")
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module
