"""A store with a history: two reads, a training, contexts, inferences, feedback, a withdrawal, and hostile names."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from mayo_data.dataset import standards
from mayo_data.lineage.ledger import Ledger
from mayo_data.lineage.standards.account import Account

HOSTILE = '<script>alert("x")</script>\r\n# Owned\n[a](https://evil.example) ![b](x) | `c` \u202e\x00 **d**'
MODEL, OTHER = "ab" * 32, "cd" * 32
READ, CONTEXT, TRAINING = "L-" + "1" * 32, "L-" + "2" * 32, "T-" + "3" * 16
PREDICTIONS = ("P-" + "4" * 32, "P-" + "5" * 32)


class Story(NamedTuple):
    store: Path
    account: Account
    training: str = TRAINING
    read: str = READ
    context: str = CONTEXT
    predictions: tuple[str, str] = PREDICTIONS
    models: tuple[str, str] = (MODEL, OTHER)
    hostile: str = HOSTILE


@pytest.fixture(scope="session")
def story(synthetic_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story") / "store"
    shutil.copytree(synthetic_store, folder)
    tell(folder)
    return Story(folder, standards.account(folder))


def tell(folder: Path) -> None:
    """Append what readers, trainings and models note: the kinds of records that the ledger knows."""
    from mayo_data.dataset import manifest

    found = manifest(folder)
    ledger = Ledger(folder / "ledger" / "ledger.jsonl")
    where = {"snapshot": "000001", "manifest_sha256": found.sha256}
    read = {
        **where, "logical_digest": found.logical_digest, "split": "train", "consumer": HOSTILE, "purpose": HOSTILE,
        "labels": {"name": "readmission", "digest": "ef" * 32, "rows": 7}, "columns": None, "seed": 1, "rank": 0,
        "world": 1, "subjects": 6, "subjects_sha256": "aa" * 32, "override": None,
    }  # fmt: skip
    ledger.append("read", {**read, "lineage_id": READ}, at="2026-02-01T10:00:00+00:00")
    ledger.append(
        "training",
        {
            "training_id": TRAINING, "name": HOSTILE, "lineage_ids": [READ], "snapshot": "000001",
            "code_version": "0.1.0", "config_sha256": "bb" * 32, "split": "train", "labels": read["labels"],
            "metrics": {"auroc": 0.81, "subgroup_auroc": {"female": 0.8, "male": 0.82}, HOSTILE: 1},
            "files": [{"name": HOSTILE, "sha256": "cc" * 32, "bytes": 10}], "model_digest": MODEL,
        },
        at="2026-02-01T11:00:00+00:00",
    )  # fmt: skip
    context = {**where, "subject_id": 42, "at": "2026-01-01T00:00:00", "consumer": HOSTILE, "events": 9}
    ledger.append("context", {**context, "lineage_id": CONTEXT, "inputs": "dd" * 32}, at="2026-03-01T00:00:00+00:00")
    said = {
        "lineage_id": CONTEXT, "snapshot": "000001", "subject_id": 42, "at": "2026-01-01T00:00:00", "events": 9,
        "inputs": "dd" * 32, "output_sha256": hashlib.sha256(b"0.7").hexdigest(), "latency_ms": 3.5,
    }  # fmt: skip
    for prediction, model, output in zip(PREDICTIONS, (MODEL, OTHER), (0.7, None), strict=True):
        body = {**said, "prediction_id": prediction, "model_digest": model, "output": output}
        ledger.append("inference", body, at="2026-03-01T00:00:01+00:00")
    ledger.append("feedback", {"prediction_id": PREDICTIONS[0], "feedback": "accepted", "value": HOSTILE})
    ledger.append(
        "withdrawal",
        {
            "subject_id": 42, "reason": HOSTILE, "snapshot": "000002", "snapshots_blocked": ["000001"],
            "models": [TRAINING],
        },
    )  # fmt: skip
    ledger.append("erasure", {"subject_id": 43, "snapshots": {"000001": {"before": "a", "after": "b", "rows": 3}}})
    ledger.append("reidentification", {"reason": "safety", "by": HOSTILE, "subject_id": 44})
