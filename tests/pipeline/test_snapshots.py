"""Snapshots: listed, compared, made current again, removed; readers go on reading while one writes."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hospital import cli, command_line, events, export, key_file, observation, patient, pipeline_file
from test_delta import BASE, FAST, at, deletion, merged, nights, whole

import mayo_data as md
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.store import history
from mayo_data.store.layout import Store

NIGHT = {
    "a.ndjson": [at(observation("o1-0", "p1", status="amended"), 5), at(observation("o1-9", "p1"), 5), at(patient("p9"), 5)],
    "d.ndjson": [deletion("Observation/o3-0", "Patient/p4", day=5)],
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two nights."""
    base, night = nights(tmp_path, [BASE, NIGHT])
    whole(base, tmp_path / "store")
    merged(night, tmp_path / "store")
    return tmp_path / "store"


def kinds(store: Path) -> list[str]:
    return [
        record["kind"]
        for record in Ledger(Store.open(store).ledger).records()
        if record["kind"] in ("snapshot", "prune")
    ]


def test_they_are_listed(store: Path) -> None:
    first, second = md.snapshots(store)
    assert (first.name, first.mode, first.previous, first.current) == ("000001", "full", None, False)
    assert (second.name, second.mode, second.previous, second.current) == ("000002", "delta", "000001", True)
    assert second.events == len(events(store))
    assert (first.subjects, second.subjects) == (8, 8)
    assert first.run_id != second.run_id
    assert first.logical_digest != second.logical_digest
    assert 0 < second.own_bytes < second.bytes
    shown = cli("snapshots", "list", store)
    assert shown.returncode == 0, shown.stderr
    assert "000002 *" in shown.stdout
    listed = json.loads(cli("snapshots", "list", store, "--json").stdout)
    assert [one["name"] for one in listed] == ["000001", "000002"]


def test_the_difference_is_told_by_kind_and_by_type(store: Path) -> None:
    found = md.diff(store, "1", "000002")
    assert found.subjects == {"added": 1, "removed": 1, "changed": 2}  # p9; p4; p1 and p3
    assert found.types["Observation"] == {"added": 1, "removed": 5, "changed": 1}
    assert found.kinds["OBSERVATION"] == {"added": 1, "removed": 5, "changed": 1}
    assert found.types["Patient"]["added"] == found.types["Patient"]["removed"] > 0
    assert found.events["changed"] == 1
    back = md.diff(store, "2", "1")
    assert back.events == {"added": found.events["removed"], "removed": found.events["added"], "changed": 1}
    assert md.diff(store, "2", "2").events == {"added": 0, "removed": 0, "changed": 0}
    shown = cli("snapshots", "diff", store, "1", "2")
    assert shown.returncode == 0, shown.stderr
    assert "kind OBSERVATION" in shown.stdout
    assert json.loads(cli("snapshots", "diff", store, "1", "2", "--json").stdout)["older"] == "000001"
    with pytest.raises(StoreError, match="no such snapshot"):
        md.diff(store, "1", "7")


def test_an_old_one_is_made_current_again(store: Path, tmp_path: Path) -> None:
    first, second = md.snapshots(store)
    assert md.rollback(store, "1") == "000003"
    third = md.snapshots(store)[-1]
    assert (third.mode, third.restores, third.previous, third.current) == ("rollback", "000001", "000002", True)
    assert (third.logical_digest, third.run_id) == (first.logical_digest, first.run_id)
    assert md.validate(store) == []
    assert verify(Store.open(store).ledger) == []
    assert kinds(store) == ["snapshot"] * 3
    last = list(Ledger(Store.open(store).ledger).records("snapshot"))[-1]["body"]
    assert (last["snapshot"], last["mode"], last["restores"]) == ("000003", "rollback", "000001")
    assert (
        json.loads((store / "snapshots" / "000003" / "metadata" / "dataset.json").read_bytes())["dataset_version"]
        == "000003"
    )
    # A delta goes on from there.
    assert merged(tmp_path / "all" / "01", store).logical_digest == second.logical_digest
    with pytest.raises(ConfigError, match="is the current one"):
        md.rollback(store, "4")
    done = cli("snapshots", "rollback", store, "3")
    assert done.returncode == 0, done.stderr
    assert "snapshot 000005 is current: it holds what snapshot 000003 holds" in done.stdout


def test_a_rollback_that_was_killed_is_finished_or_forgotten(store: Path) -> None:
    die = "import os, signal, mayo_data.store.layout as l\n"
    before = die + "def dead(*a): os.kill(os.getpid(), signal.SIGKILL)\nl.Store.commit = dead\n"
    assert cli("snapshots", "rollback", store, "1", before=before).returncode == -9
    assert Store.open(store).snapshots() == ["000001", "000002"]
    assert md.rollback(store, "1") == "000003"
    assert md.validate(store) == []


def test_old_ones_are_removed_and_never_the_current_one(store: Path, tmp_path: Path) -> None:
    memory = tmp_path / "store.phi" / "memory"
    md.rollback(store, "1")
    would = md.prune(store, 1, dry_run=True)
    assert (would.removed, would.kept, would.dry_run) == (("000001", "000002"), ("000003",), True)
    assert kinds(store) == ["snapshot"] * 3
    assert len(md.snapshots(store)) == 3
    assert md.prune(store, 1, older_than=7).removed == ()
    files = len(list(memory.iterdir()))
    done = cli("snapshots", "prune", store, "--keep", "2")
    assert done.returncode == 0, done.stderr
    assert "removed: 000001 (" in done.stdout
    assert len(list(memory.iterdir())) == files  # the third needs what the first left
    assert md.prune(store, 1).removed == ("000002",)
    assert len(list(memory.iterdir())) < files
    [left] = md.snapshots(store)
    assert (left.name, left.current) == ("000003", True)
    assert list((store / "staging").iterdir()) == []
    assert kinds(store) == ["snapshot"] * 3 + ["prune"] * 2
    assert verify(Store.open(store).ledger) == []
    assert md.validate(store) == []
    assert merged(tmp_path / "all" / "01", store).mode == "delta"
    assert md.prune(store, 5).removed == ()
    with pytest.raises(ConfigError):
        md.prune(store, 0)
    with pytest.raises(ConfigError):
        md.prune(store, 1, older_than=-1)


def test_only_what_is_old_enough_goes(store: Path) -> None:
    found = md.snapshots(store)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert [one.name for one in history.to_prune(found, 1, tomorrow)] == ["000001"]
    assert history.to_prune(found, 1, tomorrow - timedelta(days=3)) == []


def test_readers_go_on_while_one_writes(store: Path, tmp_path: Path) -> None:
    """Connections that were open before the commit answer from their snapshot; new ones see the new one."""
    readers = [md.connect(store) for _ in range(3)]
    ask = "SELECT count(*), count(DISTINCT subject_id) FROM event"
    try:
        before = [db.sql(ask).fetchall() for db in readers]
        source = export(tmp_path / "later", {"a.ndjson": [at(patient("p8"), 9), at(observation("o8", "p8"), 9)]})
        report = merged(source, store)
        assert [db.sql(ask).fetchall() for db in readers] == before
        with md.connect(store) as db:
            assert db.sql(ask).fetchall() == [(report.events, report.subjects)]
        md.prune(store, 2)  # removes a snapshot that nobody of these reads
        assert [db.sql(ask).fetchall() for db in readers] == before
    finally:
        for db in readers:
            db.close()


def test_a_second_writer_is_told_who_writes(store: Path, tmp_path: Path) -> None:
    source = export(tmp_path / "later", {"a.ndjson": [at(observation("o1-7", "p1"), 9)]})
    words = ["run", pipeline_file(tmp_path / "n.toml", **FAST), "--input", source, "--store", store, "--delta",
             "--key-file", key_file(tmp_path), "--workers", "1", "--log", "quiet"]  # fmt: skip
    slow = (
        "import pathlib, time\nimport mayo_data.pipeline.driver as r\nreal = r.map_split\n"
        f"def late(task):\n    pathlib.Path({str(tmp_path / 'began')!r}).touch()\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.02)\n    return real(task)\nr.map_split = late\n"
    )
    first = subprocess.Popen(command_line(*words, before=slow), stdout=subprocess.DEVNULL)
    try:
        waited = time.monotonic() + 60
        while not (tmp_path / "began").exists() and time.monotonic() < waited and first.poll() is None:
            time.sleep(0.02)
        for second in (words, ["snapshots", "rollback", store, "1"], ["snapshots", "prune", store, "--keep", "1"]):
            done = cli(*second)
            assert done.returncode == 3
            assert f"process {first.pid} is writing to this store" in done.stderr
            assert "wait until it is done" in done.stderr
        with md.connect(store) as db:  # a reader does not mind
            assert db.sql("SELECT count(*) FROM event").fetchall()[0][0] > 0
    finally:
        (tmp_path / "go").touch()
    assert first.wait(60) == 0
    assert Store.open(store).snapshots() == ["000001", "000002", "000003"]
