"""PyTorch and Hugging Face themselves, where they are installed (extras torch, huggingface)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from clinic import hospital

import mayo_data as md


def labels() -> pa.Table:
    starts = [it for it in hospital() if it["code"] == "ENCOUNTER//ACT//IMP"]
    columns = {
        "subject_id": [it["subject_id"] for it in starts],
        "prediction_time": pa.array([it["time"] + timedelta(days=1) for it in starts], pa.timestamp("us")),
        "integer_value": list(range(len(starts))),
    }
    return pa.table(columns)


def seen(samples: Any) -> list[tuple[int, Any, Any, int]]:
    return [(one.subject_id, one.prediction_time, one.value, one.events.num_rows) for one in samples]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_gives_every_sample_once(ward: Path, workers: int) -> None:
    data = pytest.importorskip("torch.utils.data", reason="PyTorch is not installed")
    reader = md.open(ward).reader(consumer="test", labels=labels())
    loader = data.DataLoader(
        reader.torch(),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,  # the stream travels to another process
    )
    found = seen(loader)
    whole = seen(reader.samples())
    assert sorted(found) == sorted(whole)
    assert found == whole or workers


def test_a_stream_has_a_state(ward: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    reader = md.open(ward).reader(consumer="test", labels=labels())
    stream = reader.torch()
    whole = seen(reader.samples())
    walk = iter(stream)
    first = seen([next(walk) for _ in range(7)])
    other = md.open(ward).reader(consumer="test", labels=labels()).torch()
    other.load_state_dict(stream.state_dict())
    assert first + seen(other) == whole


def test_hugging_face_sees_the_same_rows(ward: Path) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    reader = md.open(ward).reader(consumer="test", labels=labels(), columns=["subject_id", "code", "time"])
    rows = list(reader.huggingface())
    samples = list(reader.samples())
    assert [(row["subject_id"], row["value"]) for row in rows] == [(one.subject_id, one.value) for one in samples]
    assert [row["code"] for row in rows] == [one.events.column("code").to_pylist() for one in samples]
