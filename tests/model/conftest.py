"""A store that is large enough to learn from, and a model trained on it. Both are read only; `own` is a copy."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install -e '.[train]'")

TASK = """
name = "back_90d"
[index]
codes = ["ENCOUNTER//ACT//(IMP|EMER|AMB)"]
at = "end"
[outcome]
codes = ["ENCOUNTER//ACT//(IMP|EMER|AMB)"]
window = "90d"
known = "leave_out"
"""
PLAN = """
name = "back"
task = "back_90d.toml"
[features]
min_subjects = 8
[model]
penalties = [0.1]
[report]
resamples = 60
controls = 8
smallest_cell = 5
"""


@pytest.fixture(scope="session")
def trained(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A folder with `store/`, `model/`, the training file and its task. Read only."""

    def make(folder: Path) -> None:
        import mayo_data as md
        from mayo_data.synth import generate

        folder.mkdir()
        generate(folder / "export", patients=44, seed=5, formats=("fhir",))
        # always the same key: splits follow it, and figures follow splits
        (folder / "site.key").write_bytes(base64.b64encode(bytes(range(32))) + b"\n")
        splits = "{ train = 0.5, tuning = 0.1, held_out = 0.4 }"
        (folder / "run.toml").write_text(f'name = "c"\n[phi]\nmodel = "none"\n[store]\nsplits = {splits}\n')
        md.run(
            folder / "run.toml", folder / "export" / "fhir", folder / "store", key_file=folder / "site.key", workers=1
        )
        (folder / "back_90d.toml").write_text(TASK)
        (folder / "train.toml").write_text(PLAN)
        md.train(folder / "train.toml", folder / "store", folder / "model")

    return once("trained", make)


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    """A copy of the store and the model that a test may change."""
    for name in ("store", "store.phi", "model"):
        shutil.copytree(trained / name, tmp_path / name)
    for name in ("train.toml", "back_90d.toml"):
        shutil.copy(trained / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def report(trained: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((trained / "model" / "report.json").read_text())
    return found
