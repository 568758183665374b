"""Runs are killed and resumed: a few in every test run, two hundred with `make test-slow`."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import Ground, campaign


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_whatever_is_killed_the_end_is_the_same(tmp_path: Path, kills: int) -> None:
    killed = campaign(Ground.prepare(tmp_path), kills, seed=kills, workers=(1, 1, 2) if kills > 100 else (1,))
    assert killed.total() - killed["rounds"] >= kills
    if kills > 100:
        assert set(killed) >= {"survey", "map", "build", "commit", "start"}
