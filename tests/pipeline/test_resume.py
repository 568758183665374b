"""Killed at any point and run again: the same snapshot as an undisturbed run, and nothing left lying about."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hospital import (
    KEY,
    balanced,
    cli,
    command_line,
    export,
    go,
    key_file,
    note,
    observation,
    patient,
    pipeline,
    pipeline_file,
    quarantined,
)

import mayo_data as md
from mayo_data.engine import exchange
from mayo_data.engine.local import LocalEngine
from mayo_data.keys import Secret
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.pipeline import run
from mayo_data.pipeline.place import Place
from mayo_data.sources import fhir
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest

PATIENTS = 24
SECTIONS: dict[str, dict[str, Any]] = {"store": {"shards": 5}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of many small files, so that there are many tasks to be killed in."""
    files: dict[str, list[Any]] = {"Patient.ndjson": []}
    for number in range(PATIENTS):
        name = f"Quimble{'abcdefghijklmnopqrstuvwxyz'[number]}"
        files["Patient.ndjson"].append(patient(f"p{number}", name=[{"family": name}]))
        rows: list[Any] = [
            observation(f"o{number}-{row}", f"p{number}", note=[{"text": f"{name} is well, 4/{row + 1}/2019"}])
            for row in range(25)
        ]
        rows.append(note(f"n{number}", f"Mr. {name} was seen on 5/6/2020." * 5, of=f"p{number}"))
        files[f"{number:02d}.ndjson"] = [*rows, b"{bad"]
    return export(tmp_path_factory.mktemp("resume") / "in", files)


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    report = go(source, tmp_path_factory.mktemp("undisturbed") / "store", **SECTIONS)
    balanced(report)
    return report.logical_digest


def words(source: Path, folder: Path, workers: int = 1, **sections: Any) -> list[str | Path]:
    toml = pipeline_file(folder / "night.toml", **{**SECTIONS, **sections})
    return [
        "run",
        toml,
        "--input",
        source,
        "--store",
        folder / "store",
        "--key-file",
        key_file(folder),
        "--workers",
        str(workers),
    ]


def finished(folder: Path, undisturbed: str) -> None:
    """The store holds one snapshot, that of an undisturbed run, and nothing that a killed run left."""
    store = Store.open(folder / "store")
    place = Place.of(folder / "store", None)
    assert store.snapshots() == ["000001"]
    assert [path.name for path in (folder / "store" / "snapshots").iterdir()] == ["000001"]
    assert Manifest.read(store.current()).logical_digest == undisturbed
    assert md.validate(folder / "store") == []
    assert list((folder / "store" / "staging").iterdir()) == []
    assert list((place.phi_zone / "work").iterdir()) == []
    assert not list((folder / "store").rglob("*.writing"))
    assert verify(store.ledger) == []
    kinds = [record["kind"] for record in Ledger(store.ledger).records()]
    assert kinds.count("snapshot") == 1
    assert len(quarantined(folder / "store")) == PATIENTS


def dies(where: str, name: str, call: int = 1, after: bool = False) -> str:
    """Python that kills the process in the given call of a function."""
    return (
        f"import importlib, os, signal\nmodule = importlib.import_module({where.partition(':')[0]!r})\n"
        f"owner = module{''.join('.' + part for part in where.partition(':')[2].split('.') if part)}\n"
        f"real, calls = owner.__dict__[{name!r}], []\n"
        "def deadly(*a, **k):\n"
        "    calls.append(1)\n"
        f"    if len(calls) == {call} and not {after}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done = real(*a, **k)\n"
        f"    if len(calls) == {call}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return done\n"
        f"setattr(owner, {name!r}, deadly)\n"
    )


RUN = "mayo_data.pipeline.driver"
BOUNDARIES = {
    "first survey": dies("mayo_data.pipeline.survey", "survey_file"),
    "late survey": dies("mayo_data.pipeline.survey", "survey_file", 9, after=True),
    "vault": dies("mayo_data.phi.vault:Vault", "add"),
    "vault done": dies("mayo_data.phi.vault:Vault", "index", after=True),
    "first split": dies(RUN, "map_split"),
    "within a split": dies("mayo_data.phi.structured:_Scrubber", "batch", 7),
    "between splits": dies(RUN, "map_split", 11, after=True),
    "receipt of a split": dies("mayo_data.store.write", "write_bytes", 4),
    "after the splits": dies("mayo_data.quality.gates", "source_verdicts"),
    "first shard": dies(RUN, "build_shard"),
    "within a shard": dies("mayo_data.store.write", "write_table", 5),
    "between shards": dies(RUN, "build_shard", 3, after=True),
    "after the shards": dies("mayo_data.quality.gates", "shard_verdicts"),
    "before the seal": dies("mayo_data.store.snapshot", "seal"),
    "within the seal": dies("mayo_data.store.catalog", "build_catalog", after=True),
    "after the seal": dies("mayo_data.store.snapshot", "seal", after=True),
    "validated": dies("mayo_data.store.validate", "validate", after=True),
    "ledger": dies("mayo_data.lineage.ledger:Ledger", "append", 6),
    "before the commit": dies("mayo_data.store.layout:Store", "commit"),
    "after the commit": dies("mayo_data.store.layout:Store", "commit", after=True),
}
FEW = ["within a split", "between shards", "after the commit"]


@pytest.mark.parametrize(
    "boundary", [pytest.param(name, marks=[] if name in FEW else pytest.mark.slow) for name in BOUNDARIES]
)
def test_killed_at_a_boundary(source: Path, undisturbed: str, tmp_path: Path, boundary: str) -> None:
    done = cli(*words(source, tmp_path), before=BOUNDARIES[boundary])
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    store = Store.open(tmp_path / "store")
    assert store.snapshots() == (["000001"] if boundary == "after the commit" else [])
    done = cli(*words(source, tmp_path))
    assert done.returncode == 0, done.stderr
    finished(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("size", [7, 40])
def test_an_omop_run_may_cut_its_tables_otherwise_when_it_resumes(
    synthetic_export: Path, tmp_path: Path, size: int
) -> None:
    """Another number of workers cuts tables otherwise: no receipt may be taken for that of more rows, or of fewer."""
    cut = "import mayo_data.pipeline.omop as o\no._ROWS = o._TEXT_ROWS = o._WORDY_ROWS = {}\n".format
    command = [
        "run", "omop.toml", "--input", synthetic_export / "omop_csv", "--store", tmp_path / "store", "--key-file",
        key_file(tmp_path), "--workers", "1",
    ]  # fmt: skip
    done = cli(*command, before=cut(size) + dies("mayo_data.pipeline.omop_tasks", "_receipted", 6, after=True))
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert len(list((tmp_path / "store.phi" / "work").rglob("omop-*.json"))) >= 6
    done = cli(*command, before=cut(13))
    assert done.returncode == 0, done.stderr
    whole = md.run("omop.toml", synthetic_export / "omop_csv", tmp_path / "whole", key_file=tmp_path / "site.key")
    assert Manifest.read(Store.open(tmp_path / "store").current()).logical_digest == whole.logical_digest


def test_finished_parts_are_not_done_again(source: Path, undisturbed: str, tmp_path: Path) -> None:
    cli(*words(source, tmp_path), before=dies(RUN, "build_shard", 3, after=True))
    # The splits are done and two shards as well: neither may be touched.
    before = "import mayo_data.phi.structured as s\ndef never(*a): raise RuntimeError\ns._Scrubber.batch = never\n"
    before += dies("mayo_data.timeline.build", "build", 99)
    done = cli(*words(source, tmp_path), before=before)
    assert done.returncode == 0, done.stderr
    finished(tmp_path, undisturbed)


def killed_at(source: Path, folder: Path, seconds: float, workers: int) -> int:
    """Start a run and kill it, and only it, after some time; return its exit code."""
    process = subprocess.Popen(
        command_line(*words(source, folder, workers)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
    finally:
        gone = time.monotonic() + 20
        while time.monotonic() < gone and alive(process.pid):
            time.sleep(0.05)
        left = alive(process.pid)
        if left:
            os.killpg(process.pid, signal.SIGKILL)
        assert not left, "workers outlive a run that was killed"


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def kill_and_resume(source: Path, undisturbed: str, folder: Path, kills: int, seed: int, workers: int) -> None:
    dice = random.Random(seed)
    for _ in range(kills):
        code = killed_at(source, folder, dice.uniform(0.3, 2.2), workers)
        assert code in (0, -signal.SIGKILL)
        if (folder / "store" / "store.json").exists():
            store = Store.open(folder / "store")
            assert len(store.snapshots()) == len(list((folder / "store").glob("snapshots/*"))) <= 1
    done = cli(*words(source, folder, workers))
    assert done.returncode == 0, done.stderr
    finished(folder, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_killed_at_random(source: Path, undisturbed: str, tmp_path: Path, seed: int) -> None:
    kill_and_resume(source, undisturbed, tmp_path, kills=4, seed=seed, workers=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 16))
def test_killed_at_random_many_times(source: Path, undisturbed: str, tmp_path: Path, seed: int) -> None:
    kill_and_resume(source, undisturbed, tmp_path, kills=4, seed=seed, workers=1 + seed % 2)


def test_safe_harbor_resumes_under_its_random_key(source: Path, tmp_path: Path) -> None:
    harbor = {"phi": {"policy": "safe_harbor"}}
    done = cli(*words(source, tmp_path, **harbor), before=dies(RUN, "map_split", 11, after=True))
    assert done.returncode == -signal.SIGKILL
    report = go(source, tmp_path / "store", **SECTIONS, **harbor)
    balanced(report)
    assert report.subjects == PATIENTS
    assert not list((tmp_path / "store.phi").rglob("random.key"))
    assert list((tmp_path / "store.phi" / "work").iterdir()) == []


def test_a_key_that_was_half_written_is_made_anew(source: Path, tmp_path: Path) -> None:
    harbor = {"phi": {"policy": "safe_harbor"}}
    cli(*words(source, tmp_path, **harbor), before=dies(RUN, "map_split"))
    [key] = (tmp_path / "store.phi").rglob("random.key")
    key.chmod(0o600)
    key.write_bytes(b"")  # the process died between opening and writing
    assert go(source, tmp_path / "store", **SECTIONS, **harbor).subjects == PATIENTS


def test_a_second_run_does_nothing(source: Path, undisturbed: str, tmp_path: Path) -> None:
    first = go(source, tmp_path / "store", **SECTIONS)
    ledger = Store.open(tmp_path / "store").ledger
    before = ledger.read_bytes()
    second = go(source, tmp_path / "store", **SECTIONS)
    assert (first.repeated, second.repeated) == (False, True)
    assert (second.snapshot, second.events, second.logical_digest) == (first.snapshot, first.events, undisturbed)
    assert ledger.read_bytes() == before
    finished(tmp_path, undisturbed)
    changed = go(source, tmp_path / "store", **SECTIONS, gates={"warn_quarantined": 0.5})
    assert not changed.repeated
    assert Store.open(tmp_path / "store").snapshots() == ["000001", "000002"]
    assert changed.logical_digest == undisturbed


def test_of_two_runs_at_once_one_is_told_to_wait(source: Path, undisturbed: str, tmp_path: Path) -> None:
    slow = (
        "import pathlib, time\nimport mayo_data.pipeline.driver as r\nreal = r.map_split\n"
        f"def late(task):\n    pathlib.Path({str(tmp_path / 'began')!r}).touch()\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.02)\n    return real(task)\nr.map_split = late\n"
    )
    first = subprocess.Popen(command_line(*words(source, tmp_path), before=slow), stdout=subprocess.DEVNULL)
    try:
        waited = time.monotonic() + 60
        while not (tmp_path / "began").exists() and time.monotonic() < waited and first.poll() is None:
            time.sleep(0.02)
        second = cli(*words(source, tmp_path))
        assert second.returncode == 3
        assert f"process {first.pid} is writing to this store" in second.stderr
        assert md.__version__ in cli("version").stdout
    finally:
        (tmp_path / "go").touch()
    assert first.wait(60) == 0
    finished(tmp_path, undisturbed)


# ── one digest, however the work is cut ───────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_number_of_workers_and_shards_does_not_matter(source: Path, undisturbed: str, tmp_path: Path) -> None:
    assert go(source, tmp_path / "two", workers=2, **SECTIONS).logical_digest == undisturbed
    for shards in (1, 17):
        assert go(source, tmp_path / f"shards{shards}", store={"shards": shards}).logical_digest == undisturbed


MANY: dict[str, dict[str, Any]] = {"store": {"shards": 13}}  # of three lanes


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> str:
    """Shards are shuffled over three lanes: here, and in a process that begins with what is returned."""
    monkeypatch.setattr(exchange, "LANES", 3)
    return "import mayo_data.engine.exchange as e\ne.LANES = 3\n"


def test_lanes_do_not_matter(source: Path, undisturbed: str, tmp_path: Path, lanes: str) -> None:
    told: list[str] = []
    tell = lambda event, **_: told.append(event)  # noqa: E731
    report = run(pipeline(**MANY), source, tmp_path / "store", Secret(KEY), workers=1, watcher=tell)
    assert "shuffle" in told
    assert report.logical_digest == undisturbed
    balanced(report)


@pytest.mark.parametrize(
    "boundary",
    [
        dies(RUN, "shuffle", after=True),
        pytest.param(dies("mayo_data.pipeline.shuffle", "split_lane"), marks=pytest.mark.slow),
        pytest.param(dies("mayo_data.pipeline.shuffle", "regroup", 2), marks=pytest.mark.slow),
        pytest.param(dies("mayo_data.pipeline.shuffle", "split_lane", 3, after=True), marks=pytest.mark.slow),
        pytest.param(dies(RUN, "build_shard", 5, after=True), marks=pytest.mark.slow),
    ],
    ids=["all lanes", "first lane", "a lane", "last lane", "the shards"],
)
def test_killed_among_the_lanes(source: Path, undisturbed: str, tmp_path: Path, lanes: str, boundary: str) -> None:
    command = words(source, tmp_path, **MANY)
    done = cli(*command, before=lanes + boundary)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    done = cli(*command, before=lanes)
    assert done.returncode == 0, done.stderr
    finished(tmp_path, undisturbed)


def test_the_size_of_splits_and_batches_and_their_order_do_not_matter(
    source: Path, undisturbed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pipeline(**SECTIONS)
    small = msgspec.structs.replace(config, source=msgspec.structs.replace(config.source, split_mib=0.002))  # type: ignore[arg-type]
    report = run(small, source, tmp_path / "splits", Secret(KEY), workers=1)
    assert report.logical_digest == undisturbed
    balanced(report)

    def backwards(self: LocalEngine, function: Any, tasks: Iterable[Any]) -> Iterator[Any]:
        return iter([function(task) for task in list(tasks)[::-1]])

    monkeypatch.setattr(LocalEngine, "map", backwards)
    monkeypatch.setattr(fhir, "_ROWS", 3)
    report = go(source, tmp_path / "backwards", **SECTIONS)
    assert report.logical_digest == undisturbed
    balanced(report)


def test_another_file_name_is_the_same_data(source: Path, undisturbed: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for path in source.iterdir():
        (tmp_path / "in" / f"x{path.name}").write_bytes(path.read_bytes())
    assert go(tmp_path / "in", tmp_path / "store", **SECTIONS).logical_digest == undisturbed
