from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from clinic import KEY, commit, hospital

from mayo_data.store import write
from mayo_data.store.layout import Store


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", KEY)


@pytest.fixture(scope="session")
def clinic_of_all(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A store of `hospital()`. Read only, its ledger too."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(write, "ROW_GROUP", 16)  # so that a subject lies in several row groups
            commit(Store.create(folder, KEY), hospital())

    return once("clinic", make)


@pytest.fixture
def clinic(clinic_of_all: Path, tmp_path: Path) -> Path:
    """A store of `hospital()` for one test alone."""
    shutil.copytree(clinic_of_all, tmp_path / "clinic")
    return tmp_path / "clinic"


@pytest.fixture(scope="module")
def ward(clinic_of_all: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of `hospital()` for the tests of a file: its ledger grows, its snapshot stays."""
    folder = tmp_path_factory.mktemp("ward") / "store"
    shutil.copytree(clinic_of_all, folder)
    return folder
