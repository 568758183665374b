"""Readers and contexts on a store that a run has made, before and after a real withdrawal and a real erasure."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mayo_data as md
from mayo_data.dataset.cutting import known
from mayo_data.errors import StoreError


@pytest.fixture(scope="module")
def place(synthetic_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(synthetic_run, folder)
    return folder


@settings(deadline=None, max_examples=25)
@given(number=st.integers(0, 7), share=st.floats(-0.1, 1.1))
def test_the_past_of_invented_patients_holds_no_future(place: Path, number: int, share: float) -> None:
    dataset = md.open(place / "store")
    subject = dataset.subjects()[number]
    times = dataset.timeline(subject)["time"].dropna()
    at: datetime = (times.min() + (times.max() - times.min()) * share).to_pydatetime()
    seen = dataset.context(subject, at, consumer="test")
    for row, when in zip(seen.events.to_pylist(), known(seen.events).to_pylist(), strict=True):
        assert when is None or when <= at
        for name in ("time", "end_time", "available_time"):
            assert row[name] is None or row[name] <= at
    labels = pa.table(
        {"subject_id": [subject], "prediction_time": pa.array([at], pa.timestamp("us")), "float_value": [0.5]}
    )
    (sample,) = dataset.reader(consumer="test", labels=labels).samples()
    assert sample.events.equals(seen.events)


def test_shipped_tasks_give_labels(place: Path) -> None:
    for task in ("readmission_30d", "seen_again_90d"):
        labels = md.label(place / "store", task)
        assert labels.table.num_rows, task
        assert len(md.open(place / "store").reader(consumer="test", labels=labels)) == labels.table.num_rows


def test_withdrawn_and_erased_subjects_are_read_by_nobody(synthetic_run: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic_run, tmp_path / "run")
    store, key = tmp_path / "run" / "store", tmp_path / "run" / "site.key"
    opened = md.open(store)
    one, two, *others = opened.subjects()
    at = datetime(2024, 1, 1) + timedelta(days=3650)
    md.withdraw(store, one, "asked to", key_file=key)
    with pytest.raises(StoreError, match="withdrawn"):
        opened.reader(consumer="test")
    for dataset, override in ((md.open(store), None), (opened, "an audit of the old snapshot")):
        reader = dataset.reader(consumer="test", override=override)
        assert {sample.subject_id for sample in reader.samples()} == {two, *others}
        with pytest.raises(StoreError, match="withdrawn"):
            dataset.context(one, at, consumer="test", override="an audit")
    md.erase(store, two, "asked to", key_file=key)
    reader = md.open(store).reader(consumer="test", verify="full")
    assert {sample.subject_id for sample in reader.samples()} == set(others)
    with pytest.raises(StoreError, match="withdrawn"):
        md.open(store).context(two, at, consumer="test")
