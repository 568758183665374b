"""Each target of the fuzzer for a moment, so that it stays runnable; and every input that once failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from targets import TARGETS, once

FOUND = [
    ("merge", 1),  # a span outside the text: string index out of range
    ("merge", 13),  # a stronger span over the rest of a longer one: the result overlapped
    ("merge", 381),
]


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_inputs(name: str, tmp_path: Path) -> None:
    for seed in range(60):
        once(name, seed, tmp_path)


@pytest.mark.parametrize(("name", "seed"), FOUND)
def test_what_once_failed(name: str, seed: int, tmp_path: Path) -> None:
    once(name, seed, tmp_path)
