"""Every example in a docstring is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import mayo_data

NAMES = sorted(
    module.name
    for module in pkgutil.walk_packages(mayo_data.__path__, "mayo_data.")
    if not module.name.endswith("__main__") and not module.name.endswith("engine.spark")
)


@pytest.mark.parametrize("name", NAMES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_the_rooms_have_examples() -> None:
    finder = doctest.DocTestFinder()
    found = sum(bool(test.examples) for name in NAMES for test in finder.find(importlib.import_module(name)))
    assert found > 60
