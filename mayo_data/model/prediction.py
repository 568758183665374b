"""Predicts for one subject at one time, from what was knowable then, and leaves a record that leads back.

The history comes through `Dataset.context`, so it is cut by the code that cut the training data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mayo_data import dataset
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import standing, withdrawals
from mayo_data.lineage.ledger import Ledger
from mayo_data.model import features, folder
from mayo_data.model.features import Reading
from mayo_data.store.layout import Store


@dataclass(frozen=True)
class Prediction:
    """What a model said, and how to find out why.

    Attributes:
        probability: Of the outcome, 0 to 1.
        prediction_id: `md.trace` leads from it to the lines of the source.
        lineage_id: Of the history that it rests on.
        subject_id: Whose.
        at: The time up to which the history was known, UTC.
        events: How many events were known.
        snapshot: Of which snapshot.

    >>> Prediction(0.2, "P-1", "L-1", 7, datetime(2024, 1, 1), 12, "000001").probability
    0.2
    """

    probability: float
    prediction_id: str
    lineage_id: str
    subject_id: int
    at: datetime
    events: int
    snapshot: str


class Predictor:
    """A model over a store: `md.predictor`, and what `mayo-data serve` asks.

    It reads the newest snapshot at each call, and records every call in the ledger.

    Args:
        model: Folder of the model.
        store: Folder of the store that it was trained on.
        override: Why a model that was trained on somebody who withdrew is used all the same; goes into the ledger.
        keep_output: Whether the probability stands in the ledger, or only its digest. `drift` needs it.

    Raises:
        ConfigError: There is no model, or it cannot be read.
        StoreError: Its files are not those of its training record, or it was trained on withdrawn data.
    """

    def __init__(
        self, model: Path | str, store: Path | str, *, override: str | None = None, keep_output: bool = True
    ) -> None:
        self.store = Store.open(Path(store))
        self.loaded = folder.load(Path(model), self.store.ledger)
        self.keep_output = keep_output
        self._override = _reason(override)
        self._withdrawn: frozenset[int] | None = None
        self._noted = False
        self.check()

    def __repr__(self) -> str:
        return f"Predictor({self.loaded.name!r})"

    def check(self) -> None:
        """Refuse a model that was trained on data of somebody who has withdrawn since.

        Raises:
            StoreError: It was, and there is no override.
        """
        now = standing.standing(self.store.ledger).withdrawn
        if now == self._withdrawn:
            return
        if self.loaded.record["training_id"] in withdrawals.tainted(self.store.ledger):
            if self._override is None:
                raise StoreError(
                    "the model was trained on a subject who has withdrawn since",
                    hint="train it again on the newest snapshot; an override needs a reason and is recorded",
                )
            if not self._noted:
                body = {
                    "reason": self._override, "snapshot": self.loaded.record["snapshot"], "consumer": self.loaded.name
                }  # fmt: skip
                Ledger(self.store.ledger).append("override", body)
                self._noted = True
        self._withdrawn = now

    def predict(self, subject_id: int, at: datetime | str) -> Prediction:
        """Return the probability of the outcome for a subject, by what was knowable at a time.

        Args:
            subject_id: Whose.
            at: When; without a zone it is UTC. It must lie in the time of the store, whose dates may have been moved.

        Raises:
            ConfigError: `at` is no time.
            StoreError: There is no such subject, or a check of the snapshot or the model fails.
        """
        self.check()
        begun = time.perf_counter()
        data = dataset.open_store(self.store.root)
        context = data.context(subject_id, at, consumer=self.loaded.name, columns=list(features.COLUMNS))
        reading = Reading()
        history = reading.history(subject_id, context.at, context.events)
        probability = float(self.loaded.model.predict([history], reading)[0])
        prediction_id = dataset.InferenceLog(self.store.root).record(
            context, self.loaded.digest, output=probability, keep_output=self.keep_output,
            latency_ms=round((time.perf_counter() - begun) * 1000, 3),
        )  # fmt: skip
        return Prediction(
            probability, prediction_id, context.lineage_id, subject_id, context.at, context.events.num_rows,
            data.path.name,
        )  # fmt: skip

    def feedback(self, prediction_id: str, kind: str, value: float | bool | None = None) -> None:
        """Record what became of a prediction.

        Args:
            prediction_id: Which.
            kind: `accepted`, `overridden` or `outcome`.
            value: A number or a flag; for an outcome, whether it came (1 or 0).

        Raises:
            ConfigError: There is no such kind, or no such prediction.
        """
        dataset.InferenceLog(self.store.root).feedback(prediction_id, kind, value)


def _reason(text: str | None) -> str | None:
    if text is None:
        return None
    if not 3 <= len(text.strip()) <= 200:
        raise ConfigError("an override needs a reason", hint="say in some words why; never name a person in it")
    return text.strip()
