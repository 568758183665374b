"""Runs are killed and resumed: a few in every run of the tests, 200 with `python -m tests.faults.kills --kills 200`."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import Ground, campaign


@pytest.mark.slow
@pytest.mark.parametrize("kills", [24])
def test_whatever_is_killed_the_end_is_the_same(tmp_path: Path, kills: int) -> None:
    killed = campaign(Ground.prepare(tmp_path), kills, seed=kills, workers=(1, 1, 2) if kills > 10 else (1,))
    assert killed.total() - killed["rounds"] >= kills
    if kills > 10:
        assert len(set(killed) & {"start", "survey", "run", "map", "build", "commit"}) >= 3
