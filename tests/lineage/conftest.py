from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from served import Served, serve


@pytest.fixture
def served(synthetic_run: Path, tmp_path: Path) -> Served:
    """A copy that a test may change; key and PHI zone lie beside it."""
    folder = tmp_path / "served"
    shutil.copytree(synthetic_run, folder, copy_function=shutil.copy2)
    return serve(folder / "store", folder)
