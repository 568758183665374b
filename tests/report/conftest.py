"""A store whose ledger says everything that a report can say, with hostile words wherever somebody may write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hostile_words import HOSTILE

import mayo_data as md
from mayo_data.lineage.ledger import Ledger
from mayo_data.report.audit import Leak
from mayo_data.store.layout import Store


@pytest.fixture(scope="session")
def told_store(synthetic_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the synthetic store with readers, a model, predictions and a labelled sample. Read only."""
    folder = tmp_path_factory.mktemp("told")
    shutil.copytree(synthetic_run / "store", folder / "store")
    store = folder / "store"
    ledger = Ledger(Store.open(store).ledger)
    run_id = next(ledger.records("run"))["body"]["run_id"]
    verdict = {"gate": "G3", "check": "hostile", "passed": False, "observed": HOSTILE, "action": "warn"}
    ledger.append("gate", {"run_id": run_id, **verdict})
    for number in range(3):
        read = {"consumer": HOSTILE, "purpose": HOSTILE, "split": "train", "subjects": 5}
        ledger.append("read", {"lineage_id": f"L-{number:032x}", "snapshot": "000001", **read})
    model = {"training_id": "T-0123456789abcdef", "name": HOSTILE, "model_digest": "ab" * 32}
    ledger.append("training", {**model, "snapshot": "000001", "lineage_ids": [f"L-{1:032x}"]})
    ledger.append("context", {"lineage_id": "L-" + "f" * 32, "snapshot": "000001", "consumer": HOSTILE})
    ledger.append("inference", {"prediction_id": "P-" + "f" * 32, "snapshot": "000001"})
    sample = md.audit(store, notes=12, seed=3)
    for number, note in enumerate(sample.pending()):
        if number == 4:
            sample.record(note.event_id, "leak", [Leak("PATIENT", 0, 3)])
        else:
            sample.record(note.event_id, "clean")
    sample.commit()
    return store
