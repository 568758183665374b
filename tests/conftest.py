"""What the rooms of tests share: a synthetic export, a store made of it, the data beside the checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

PATIENTS = 8

# A property is tried 40 times on every change; `pytest --hypothesis-profile thorough` tries harder.
settings.register_profile("quick", max_examples=40)
settings.register_profile("thorough", max_examples=1000)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder once a session, whichever worker of pytest-xdist comes first; nobody may change it."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder, draft = root / f"shared-{name}", root / f"draft-{name}"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.rmtree(draft, ignore_errors=True)
                make(draft)
                draft.rename(folder)  # complete, or not there
        return folder

    return made


@pytest.fixture(scope="session")
def synthetic_export(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A synthetic export of a few patients: `fhir/`, `omop_csv/`, `omop_parquet/`, `gold/`. Read only."""

    def make(folder: Path) -> None:
        from mayo_data.synth import generate

        generate(folder, patients=PATIENTS, seed=7)

    return once("export", make)


@pytest.fixture(scope="session")
def synthetic_run(once: Callable[[str, Callable[[Path], None]], Path], synthetic_export: Path) -> Path:
    """A folder with `site.key`, `store/`, `store.phi/`: a run over the synthetic export. Read only."""

    def make(folder: Path) -> None:
        from mayo_data import keys
        from mayo_data.pipeline import run_file

        folder.mkdir()
        keys.generate(folder / "site.key")
        source, store = synthetic_export / "fhir", folder / "store"
        run_file("fhir.toml", source, store, key_file=folder / "site.key", workers=1)

    return once("run", make)


@pytest.fixture(scope="session")
def synthetic_store(synthetic_run: Path) -> Path:
    """A store made from the synthetic export. Read only; PHI zone and key lie beside it."""
    return synthetic_run / "store"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data beside the checkout: real exports, corpora. Tests on it are skipped where it is absent."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("../shared is not here: this machine has no real exports")
    return path
