"""Nobody but its owner may enter the PHI zone: not while a run works, not after one that was killed, not later."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hospital import cli, export, go, key_file, note, observation, patient, pipeline_file
from test_resume import dies

import mayo_data as md
import mayo_data.pipeline.driver
from mayo_data import keys
from mayo_data.keys import Secret
from mayo_data.phi.vault import Vault

DRIVER = mayo_data.pipeline.driver.__name__
SECTIONS: dict[str, Any] = {"phi": {"model": "none"}, "store": {"shards": 2}}
STAGES = {
    "while it surveys": dies("mayo_data.pipeline.survey", "survey_file", after=True),
    "while it maps": dies(DRIVER, "map_split", 2, after=True),
    "while it builds": dies(DRIVER, "build_shard", 2, after=True),
    "before it commits": dies("mayo_data.store.layout:Store", "commit"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [observation("o1"), note("n1", "Ms. Quimbleford is well."), b"{bad"]
    files = {"Patient.ndjson": [patient()], "a.ndjson": rows, "b.ndjson": [observation("o2")]}
    return export(tmp_path_factory.mktemp("rights") / "in", files)


def open_to_others(zone: Path) -> list[str]:
    """What in a folder is for anybody but its owner, or may be executed."""
    found = []
    for path in (zone, *zone.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & (0o077 if path.is_dir() else 0o177):
            found.append(f"{mode:o} {path.relative_to(zone)}")
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_is_killed_leaves_nothing_open(source: Path, tmp_path: Path, stage: str) -> None:
    zone = tmp_path / "zone"
    zone.mkdir(mode=0o755)  # made by hand, and open
    words = ["run", pipeline_file(tmp_path / "n.toml", **SECTIONS), "--input", source, "--store", tmp_path / "store"]
    words += ["--key-file", key_file(tmp_path), "--workers", "1", "--phi-zone", zone]
    before = os.umask(0)
    try:
        done = cli(*words, before=STAGES[stage])
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(list(zone.rglob("*"))) > 3
        assert open_to_others(zone) == []
        assert cli(*words).returncode == 0
    finally:
        os.umask(before)
    assert {path.name for path in zone.iterdir()} >= {"lock", "vault.sqlite", "quarantine", "memory", "work"}
    assert open_to_others(zone) == []


def by_hand(folder: Path) -> Path:
    """A PHI zone that somebody has made by hand, and left open."""
    zone = folder / "zone"
    for inner in ("", "work", "quarantine"):
        (zone / inner).mkdir(mode=0o755)
    return zone


@pytest.fixture
def lax() -> Iterator[None]:
    """A world in which every new file is for everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


SCRUBS = {
    "fhir, while it scrubs": ("fhir", dies("mayo_data.pipeline.scrubbed", "scrub_split", 2, after=True)),
    "fhir, before it ends": ("fhir", dies("mayo_data.pipeline.scrubbed:_Export", "_tell")),
    "omop, once it is loaded": ("omop", dies("mayo_data.pipeline.omop:OmopSide", "ready", after=True)),
    "omop, while it scrubs": ("omop", dies("mayo_data.pipeline.omop_scrub", "scrub_table", 2, after=True)),
}


@pytest.mark.usefixtures("lax")
@pytest.mark.parametrize("stage", SCRUBS)
def test_a_scrub_that_is_killed_leaves_nothing_open(
    source: Path, synthetic_export: Path, tmp_path: Path, stage: str
) -> None:
    form, death = SCRUBS[stage]
    zone, out = by_hand(tmp_path), tmp_path / "copies" / "out"
    given = source if form == "fhir" else synthetic_export / "omop_csv"
    words = ["scrub", "--input", given, "--output", out, "--phi-zone", zone, "--key-file", key_file(tmp_path)]
    done = cli(*words, "--workers", "1", before=death)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len([path for path in zone.rglob("*") if path.is_file()]) >= 2
    assert open_to_others(zone) == []
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("lax")
def test_an_omop_run_that_is_killed_leaves_nothing_open(synthetic_export: Path, tmp_path: Path) -> None:
    zone = by_hand(tmp_path)
    toml = pipeline_file(tmp_path / "n.toml", source={"format": "omop"}, **SECTIONS)
    words = ["run", toml, "--input", synthetic_export / "omop_csv", "--store", tmp_path / "store", "--phi-zone", zone]
    words += ["--key-file", key_file(tmp_path), "--workers", "1"]
    done = cli(*words, before=dies(DRIVER, "build_shard", after=True))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert open_to_others(zone) == []
    assert cli(*words).returncode == 0
    assert open_to_others(zone) == []


@pytest.mark.slow
@pytest.mark.usefixtures("lax")
def test_no_command_opens_the_zone(source: Path, tmp_path: Path) -> None:
    zone, store, key = by_hand(tmp_path), tmp_path / "store", key_file(tmp_path)
    toml = pipeline_file(tmp_path / "n.toml", phi={"model": "none", "crosswalk": True}, store={"shards": 2})
    delta = pipeline_file(tmp_path / "d.toml", phi={"model": "none", "crosswalk": True}, source={"mode": "delta"})
    in_zone = ("--phi-zone", zone, "--key-file", key)
    night = export(tmp_path / "night", {"c.ndjson": [observation("o3"), note("n2", "Ms. Quimbleford is well.")]})

    def works(*words: str | Path) -> None:
        done = cli(*words)
        assert done.returncode == 0, (words[0], done.stderr)
        assert open_to_others(zone) == [], words[0]

    works("run", toml, "--input", source, "--store", store, *in_zone, "--workers", "2")
    works("run", delta, "--input", night, "--store", store, *in_zone, "--workers", "1")
    [subject] = md.open(store).subjects()
    told = ("--reason", "test")
    works("reidentify", store, "--subject", str(subject), "--by", "me", *told, *in_zone)
    works("audit", store, "--ids", "--phi-zone", zone)
    works("quality", store, "--key-file", key)
    works("withdraw", store, str(subject), *told, *in_zone)
    works("erase", store, str(subject), *told, *in_zone)
    works("snapshots", "prune", store, "--keep", "1", "--phi-zone", zone)
    assert {path.name for path in zone.iterdir()} >= {"lock", "vault.sqlite", "quarantine", "work"}


def test_a_store_is_for_reading(source: Path, tmp_path: Path) -> None:
    report = go(source, tmp_path / "store", **SECTIONS)
    for path in report.snapshot.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o444, path.name


def test_the_journal_of_the_vault_is_as_closed_as_the_vault(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        vault = Vault(tmp_path / "vault.sqlite", Secret(bytes(32)))
        vault._db.execute("begin")
        vault._db.execute("create table t(a)")
        vault._db.execute("insert into t values (zeroblob(10000000))")  # more than the cache holds
        assert {path.name for path in tmp_path.iterdir()} == {"vault.sqlite", "vault.sqlite-journal"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
        vault.close()
    finally:
        os.umask(before)


def test_a_key_file_is_for_its_owner(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.generate(tmp_path / "site.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "site.key").stat().st_mode) == 0o600
