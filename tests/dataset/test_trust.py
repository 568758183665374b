"""What a reader refuses: another manifest, changed files, subjects who withdrew. And what an override lets through."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clinic import DAY, commit, hospital
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mayo_data as md
from mayo_data.errors import StoreError
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store

AT = DAY + timedelta(days=300)
Door = Callable[[Path], Any]
DOORS: dict[str, Door] = {
    "reader": lambda store: md.open(store).reader(consumer="test"),
    "context": lambda store: md.open(store).context(4, AT, consumer="test"),
    "label": lambda store: md.label(store, "readmission_30d"),
}
OPEN_DOORS: dict[str, Door] = {
    "connect": lambda store: md.connect(store).close(),
    "batches": lambda store: list(md.open(store).batches()),
    "table": lambda store: md.open(store).table("event").df(),
    "timeline": lambda store: md.open(store).timeline(4),
    "meds": lambda store: md.open(store).meds(store.parent / "meds"),
}


def newest(store: Path) -> Path:
    return Store.open(store).current()


def flip(path: Path, place: int) -> None:
    """Change one bit of a file of a snapshot."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(content)


def ledger(store: Path) -> Ledger:
    return Ledger(store / "ledger" / "ledger.jsonl")


def withdraw(store: Path, subject: int, **more: Any) -> None:
    ledger(store).append("withdrawal", {"subject_id": subject, "reason": "asked", "models": [], **more})


@pytest.mark.parametrize("door", DOORS)
def test_a_sound_snapshot_is_read(clinic: Path, door: str) -> None:
    DOORS[door](clinic)


@pytest.mark.parametrize("door", DOORS)
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6))
def test_a_flipped_bit_of_the_manifest_is_refused(clinic: Path, door: str, place: int) -> None:
    path = newest(clinic) / "manifest.json"
    flip(path, place)
    with pytest.raises(StoreError) as caught:
        DOORS[door](clinic)
    assert caught.value.hint
    flip(path, place)
    DOORS[door](clinic)


@pytest.mark.parametrize("door", DOORS)
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6))
def test_a_flipped_bit_of_the_events_is_refused(clinic: Path, door: str, place: int) -> None:
    path = newest(clinic) / "data" / "0001.parquet"  # subject 4 lies there
    flip(path, place)
    with pytest.raises(StoreError) as caught:
        DOORS[door](clinic)
    assert caught.value.hint
    flip(path, place)
    DOORS[door](clinic)


def test_a_flipped_bit_of_the_splits_is_refused(clinic: Path) -> None:
    flip(newest(clinic) / "metadata" / "subject_splits.parquet", 200)
    for door in DOORS.values():
        with pytest.raises(StoreError):
            door(clinic)


def test_a_file_that_was_put_in_is_refused(clinic: Path) -> None:
    folder = newest(clinic) / "data"
    (folder / "0009.parquet").write_bytes((folder / "0000.parquet").read_bytes())
    with pytest.raises(StoreError, match="does not list"):
        DOORS["reader"](clinic)


def test_a_file_that_is_gone_is_refused(clinic: Path) -> None:
    (newest(clinic) / "data" / "0001.parquet").unlink()
    for door in DOORS.values():
        with pytest.raises(StoreError):
            door(clinic)


def test_files_are_digested_once_a_process_and_again_where_they_look_different(
    clinic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mayo_data.store import write

    digested: list[str] = []
    real = write.sha256
    monkeypatch.setattr(write, "sha256", lambda path: digested.append(path.name) or real(path))
    dataset = md.open(clinic)
    dataset.reader(consumer="test")
    events = [f"{number:04d}.parquet" for number in range(3)]
    assert sorted(digested) == sorted([*events, "subject_splits.parquet"])
    digested.clear()
    dataset.reader(consumer="test")
    assert not digested
    os.utime(newest(clinic) / "data" / "0002.parquet")
    dataset.reader(consumer="test")
    assert digested == ["0002.parquet"]
    digested.clear()
    dataset.reader(consumer="test", verify="full")
    assert {*events, "catalog.duckdb", "codes.parquet"} <= set(digested)


def test_a_full_check_sees_files_that_are_not_read(clinic: Path) -> None:
    flip(newest(clinic) / "catalog.duckdb", 5000)
    md.open(clinic).reader(consumer="test")
    with pytest.raises(StoreError, match="not the one of its manifest"):
        md.open(clinic).reader(consumer="test", verify="full")


def test_a_snapshot_that_the_ledger_does_not_know_is_refused(clinic: Path) -> None:
    (clinic / "ledger" / "ledger.jsonl").unlink()
    (clinic / "ledger" / "ledger.jsonl.head").unlink()
    with pytest.raises(StoreError, match="not the one in the ledger"):
        DOORS["reader"](clinic)


def test_an_override_reads_on_and_is_recorded(clinic: Path) -> None:
    path = newest(clinic) / "manifest.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"\n")
    reader = md.open(clinic).reader(consumer="test", override="the backup was restored by hand")
    assert len(list(reader.samples())) == 23
    (body,) = [record["body"] for record in ledger(clinic).records("override")]
    assert body == {"reason": "the backup was restored by hand", "snapshot": "000001", "consumer": "test"}
    (read,) = [record["body"] for record in ledger(clinic).records("read")]
    assert read["override"] == "the backup was restored by hand"


def test_an_override_that_nothing_needs_is_not_noted(clinic: Path) -> None:
    md.open(clinic).reader(consumer="test", override="just in case")
    assert not list(ledger(clinic).records("override"))


@pytest.mark.parametrize("door", [*DOORS, *OPEN_DOORS])
def test_a_snapshot_with_somebody_who_withdrew_is_refused(clinic: Path, door: str) -> None:
    withdraw(clinic, 4)
    with pytest.raises(StoreError, match="withdrawn"):
        {**DOORS, **OPEN_DOORS}[door](clinic)


@pytest.mark.parametrize("door", [*DOORS, *OPEN_DOORS])
def test_a_snapshot_that_a_withdrawal_names_is_refused(clinic: Path, door: str) -> None:
    withdraw(clinic, 10**9, snapshots_blocked=["000001"])
    with pytest.raises(StoreError, match="withdrawn"):
        {**DOORS, **OPEN_DOORS}[door](clinic)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gone=st.sets(st.integers(1, 23), min_size=1, max_size=6), labelled=st.booleans())
def test_no_reader_gives_a_row_of_somebody_who_withdrew(clinic: Path, gone: set[int], labelled: bool) -> None:
    labels = md.label(clinic, "readmission_30d", override="made before they withdrew")
    for subject in gone:
        withdraw(clinic, subject)
    everybody = {record["body"]["subject_id"] for record in ledger(clinic).records("withdrawal")}
    dataset = md.open(clinic)
    reader = dataset.reader(consumer="test", labels=labels if labelled else None, override="to see who is left")
    assert not {one.subject_id for one in reader.samples()} & everybody
    assert not set(reader.pandas()["subject_id"]) & everybody
    assert not set(md.label(clinic, "readmission_30d", override="to see").table["subject_id"].to_pylist()) & everybody
    for subject in gone:
        with pytest.raises(StoreError, match="withdrawn"):
            dataset.context(subject, AT, consumer="test", override="no reason opens it")


def test_who_withdraws_later_is_left_out_of_a_new_snapshot_only(clinic: Path) -> None:
    store = Store.open(clinic)
    withdraw(clinic, 4, snapshots_blocked=["000001"])
    commit(store, [it for it in hospital() if it["subject_id"] != 4])
    assert 4 not in md.open(clinic).reader(consumer="test").subjects
    with pytest.raises(StoreError, match="withdrawn"):
        md.open(clinic, "000001").reader(consumer="test")


def test_a_reader_stops_where_one_of_its_subjects_withdraws(clinic: Path) -> None:
    dataset = md.open(clinic)
    reader, other = dataset.reader(consumer="test"), dataset.reader(consumer="test", rank=0, world=24)
    subject = next(one for one in reader.subjects.tolist() if one not in other.subjects)
    running = reader.samples()
    next(running)
    withdraw(clinic, subject, snapshots_blocked=["000001"])
    for rows in (running, reader.samples(), reader.batches(), reader.part(0, 1)):
        with pytest.raises(StoreError, match="withdrawn since"):
            list(rows)
    assert subject not in {one.subject_id for one in other.samples()}


def test_a_reader_stops_where_an_erasure_changes_its_snapshot(clinic: Path) -> None:
    reader = md.open(clinic).reader(consumer="test")
    change = {"before": "00", "after": "11" * 32, "rows": {}}
    ledger(clinic).append("erasure", {"subject_id": 10**9, "snapshots": {"000001": change}})
    with pytest.raises(StoreError, match="withdrawn since"):
        list(reader.samples())


def test_an_open_dataset_sees_a_withdrawal_at_once(clinic: Path) -> None:
    dataset = md.open(clinic)
    dataset.timeline(4)
    dataset.context(4, AT, consumer="test")
    withdraw(clinic, 4)
    with pytest.raises(StoreError, match="withdrawn"):
        dataset.timeline(4)
    with pytest.raises(StoreError, match="withdrawn"):
        dataset.context(4, AT, consumer="test")


def test_an_erasure_gives_a_snapshot_its_new_manifest(clinic: Path) -> None:
    path = newest(clinic) / "manifest.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(StoreError):
        DOORS["reader"](clinic)
    import hashlib

    after = hashlib.sha256(path.read_bytes()).hexdigest()
    change = {"before": "00", "after": after, "rows": {}}
    ledger(clinic).append("erasure", {"subject_id": 10**9, "snapshots": {"000001": change}})
    DOORS["reader"](clinic)


def test_a_context_of_nobody_is_refused_and_not_recorded(clinic: Path) -> None:
    for nobody in (0, 24, -5, 2**62):
        with pytest.raises(StoreError, match="no such subject"):
            md.open(clinic).context(nobody, AT, consumer="test")
    assert not list(ledger(clinic).records("context"))


def test_errors_name_no_subject(clinic: Path) -> None:
    withdraw(clinic, 4)
    for door in {**DOORS, **OPEN_DOORS}.values():
        with pytest.raises(StoreError) as caught:
            door(clinic)
        assert not any(character.isdigit() for character in f"{caught.value}")


def test_a_context_opens_one_file(clinic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mayo_data.store import single

    asked: list[str] = []
    real = single.events
    monkeypatch.setattr(single, "events", lambda path, *rest: asked.append(path.name) or real(path, *rest))
    for subject in (3, 4, 5):
        md.open(clinic).context(subject, datetime(2021, 1, 1), consumer="test")
    assert asked == ["0000.parquet", "0001.parquet", "0002.parquet"]
