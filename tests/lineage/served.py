"""A store that was read, trained on and served: what the tests of lineage walk along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mayo_data as md


@dataclass(frozen=True)
class Served:
    """A store with a read of split train, a model, a context and a prediction on one subject of that split."""

    store: Path
    model: Path
    subject: int
    read: str
    training: str
    context: str
    prediction: str


def serve(store: Path, folder: Path) -> Served:
    reader = md.open(store).reader("train", consumer="trial", purpose="tests")
    model = folder / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(bytes(range(256)) * 4)
    (model / "config.json").write_bytes(b'{"layers": 2}')
    files = [model / "weights.bin", model / "config.json"]
    trained = md.training_run(store, name="mortality", reads=[reader.lineage_id], files=files, config={"layers": 2})
    subject = int(sorted(reader.subjects)[0])
    context = md.open(store).context(subject, "2090-01-01", consumer="ward")
    prediction = md.inference_log(store).record(context, trained.model_digest, output=0.25, latency_ms=2.0)
    return Served(store, model, subject, reader.lineage_id, trained.training_id, context.lineage_id, prediction)
