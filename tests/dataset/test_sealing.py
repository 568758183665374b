"""Trainings and predictions in the ledger."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clinic import DAY

import mayo_data as md
from mayo_data.dataset import Context, Training
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import inputs
from mayo_data.lineage.ledger import Ledger, verify

AT = DAY + timedelta(days=100)


def records(store: Path, kind: str) -> list[dict[str, Any]]:
    return [record["body"] for record in Ledger(store / "ledger" / "ledger.jsonl").records(kind)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "parts" / "codes.json").write_bytes(b"{}")
    return folder


def train(store: Path, model: Path, **more: Any) -> Training:
    labels = md.label(store, "readmission_30d")
    reads = [md.open(store).reader(split, labels=labels, consumer="train").lineage_id for split in ("train", "tuning")]
    given = {"name": "readmission", "reads": reads, "files": [model], "config": {"trees": 5}, "metrics": {"auroc": 0.7}}
    return md.training_run(store, **{**given, **more})


def context(store: Path) -> Context:
    return md.open(store).context(4, AT, consumer="serve")


def test_a_training_is_sealed(clinic: Path, model: Path) -> None:
    sealed = train(clinic, model)
    (body,) = records(clinic, "training")
    files = {"weights.bin": b"weights", "parts/codes.json": b"{}"}
    lines = "".join(f"{name} {hashlib.sha256(files[name]).hexdigest()}\n" for name in sorted(files))
    assert sealed.model_digest == body["model_digest"] == hashlib.sha256(lines.encode()).hexdigest()
    assert body["training_id"] == sealed.training_id
    assert body["lineage_ids"] == [read["lineage_id"] for read in records(clinic, "read")]
    assert (body["split"], body["snapshot"], body["metrics"]) == ("train+tuning", "000001", {"auroc": 0.7})
    assert body["labels"]["name"] == "readmission_30d"
    assert body["config_sha256"] == hashlib.sha256(b'{"trees":5}').hexdigest()
    assert body["code_version"]
    assert [file["bytes"] for file in body["files"]] == [2, 7]
    assert verify(clinic / "ledger" / "ledger.jsonl") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"reads": []},
        {"reads": ["L-" + "0" * 32]},
        {"reads": "L-0"},
        {"files": []},
        {"files": "model"},
        {"files": [Path("absent.bin")]},
        {"name": "a model of Jane Doe"},
        {"metrics": {"note": "Jane Doe was hard to predict"}},
        {"metrics": {"auroc": float("nan")}},
        {"config": {"a": object}, "metrics": {"a b": 1}},
    ],
)
def test_what_is_no_training_is_refused(clinic: Path, model: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        train(clinic, model, **wrong)
    assert not records(clinic, "training")


def test_files_of_one_name_are_refused(clinic: Path, model: Path) -> None:
    with pytest.raises(ConfigError, match="one name"):
        train(clinic, model, files=[model / "weights.bin", model / "weights.bin"])


def test_nobody_who_withdrew_meanwhile_is_sealed_in(clinic: Path, model: Path) -> None:
    reader = md.open(clinic).reader(consumer="train")
    body = {"subject_id": 4, "reason": "asked", "snapshots_blocked": ["000001"], "models": []}
    Ledger(clinic / "ledger" / "ledger.jsonl").append("withdrawal", body)
    with pytest.raises(StoreError, match="withdrawn since it was read"):
        md.training_run(clinic, name="late", reads=[reader.lineage_id], files=[model], config={})


def test_nobody_who_was_erased_meanwhile_is_sealed_in(clinic: Path, model: Path) -> None:
    book = Ledger(clinic / "ledger" / "ledger.jsonl")
    gone = {"subject_id": 10**9, "reason": "asked", "snapshots": {}, "models": []}
    reader = md.open(clinic).reader(consumer="train")
    book.append("erasure", gone)  # of somebody who was in no kept snapshot
    md.training_run(clinic, name="still", reads=[reader.lineage_id], files=[model], config={})
    manifest = next(book.records("snapshot"))["body"]["manifest_sha256"]
    change = {"before": "00", "after": manifest, "rows": {}}
    book.append("erasure", {**gone, "subject_id": 4, "snapshots": {"000001": change}})
    with pytest.raises(StoreError, match="withdrawn since it was read"):
        md.training_run(clinic, name="late", reads=[reader.lineage_id], files=[model], config={})


def test_who_was_left_out_of_an_overridden_read_does_not_stop_its_training(clinic: Path, model: Path) -> None:
    book = Ledger(clinic / "ledger" / "ledger.jsonl")
    body = {"subject_id": 4, "reason": "asked", "snapshots_blocked": ["000001"], "models": []}
    book.append("withdrawal", body)
    reader = md.open(clinic).reader(consumer="train", override="the old cohort is compared")
    md.training_run(clinic, name="old", reads=[reader.lineage_id], files=[model], config={})
    book.append("withdrawal", {**body, "subject_id": 5})
    with pytest.raises(StoreError, match="withdrawn since it was read"):
        md.training_run(clinic, name="late", reads=[reader.lineage_id], files=[model], config={})


def test_a_context_is_recorded_with_what_was_in_it(clinic: Path) -> None:
    seen = context(clinic)
    (body,) = records(clinic, "context")
    assert body["lineage_id"] == seen.lineage_id
    assert (body["subject_id"], body["at"], body["consumer"]) == (4, AT.isoformat(), "serve")
    assert (body["events"], body["inputs"]) == (seen.events.num_rows, seen.inputs)
    assert inputs.read(clinic / "ledger", seen.inputs).equals(
        seen.events.select(inputs.SCHEMA.names).cast(inputs.SCHEMA)
    )
    few = md.open(clinic).context(4, AT, consumer="serve", columns=["code"])
    assert few.inputs == seen.inputs, "what was read is what it was cut from"


def test_a_prediction_is_recorded_without_its_answer(clinic: Path, model: Path) -> None:
    log, sealed, seen = md.inference_log(clinic), train(clinic, model), context(clinic)
    prediction = log.record(seen, sealed.model_digest, output={"risk": 0.25}, latency_ms=3.25)
    (body,) = records(clinic, "inference")
    assert body == {
        "prediction_id": prediction,
        "lineage_id": seen.lineage_id,
        "model_digest": sealed.model_digest,
        "snapshot": "000001",
        "subject_id": 4,
        "at": AT.isoformat(),
        "events": seen.events.num_rows,
        "inputs": seen.inputs,
        "output_sha256": hashlib.sha256(b'{"risk":0.25}').hexdigest(),
        "output": None,
        "latency_ms": 3.25,
    }


def test_an_answer_is_kept_where_it_is_wanted_and_no_text(clinic: Path) -> None:
    log, seen, digest = md.inference_log(clinic), context(clinic), "ab" * 32
    for kept in (0.5, True, None, "high", {"risk": [0.1, 0.9]}, np.float64(0.5)):
        log.record(seen, digest, output=kept, keep_output=True, latency_ms=1)
    assert [body["output"] for body in records(clinic, "inference")] == [
        0.5,
        True,
        None,
        "high",
        {"risk": [0.1, 0.9]},
        0.5,
    ]
    with pytest.raises(ConfigError, match="numbers, flags and codes"):
        log.record(seen, digest, output="Jane Doe will come back", keep_output=True, latency_ms=1)
    log.record(seen, digest, output="Jane Doe will come back", latency_ms=1)
    assert "Jane" not in (clinic / "ledger" / "ledger.jsonl").read_text()


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_digest": "model"},
        {"latency_ms": -1},
        {"latency_ms": float("nan")},
        {"latency_ms": True},
        {"at": AT - timedelta(seconds=1)},
        {"at": "soon"},
    ],
)
def test_what_is_no_prediction_is_refused(clinic: Path, wrong: dict[str, Any]) -> None:
    given = {"model_digest": "ab" * 32, "latency_ms": 1.0, **wrong}
    with pytest.raises(ConfigError):
        md.inference_log(clinic).record(context(clinic), **given)
    assert not records(clinic, "inference")


def test_feedback_follows_its_prediction(clinic: Path) -> None:
    log = md.inference_log(clinic)
    prediction = log.record(context(clinic), "ab" * 32, output=0.5, latency_ms=1)
    log.feedback(prediction, "overridden", "admit")
    log.feedback(prediction, "outcome", True)
    assert records(clinic, "feedback") == [
        {"prediction_id": prediction, "feedback": "overridden", "value": "admit"},
        {"prediction_id": prediction, "feedback": "outcome", "value": True},
    ]
    for wrong in (
        ("P-" + "0" * 32, "accepted", None),
        (prediction, "liked", None),
        (prediction, "outcome", "Jane Doe died"),
    ):
        with pytest.raises(ConfigError):
            log.feedback(*wrong)
    assert len(records(clinic, "feedback")) == 2
