"""Records predictions: which model, which history, which answer, and what became of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np

from mayo_data.dataset.context import Context
from mayo_data.dataset.cutting import moment
from mayo_data.dataset.training import records
from mayo_data.errors import ConfigError
from mayo_data.lineage import consumption
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store


class InferenceLog:
    """The predictions of a store, in its ledger: `md.inference_log(store)`.

    Args:
        store: Folder of the store.

    Raises:
        StoreError: There is no such store.
    """

    def __init__(self, store: Path | str) -> None:
        self._ledger = Store.open(Path(store)).ledger

    def record(
        self,
        context: Context,
        model_digest: str,
        *,
        output: object = None,
        keep_output: bool = False,
        latency_ms: float,
        at: datetime | str | None = None,
    ) -> str:
        """Record a prediction.

        Args:
            context: What the model was given (`Dataset.context`).
            model_digest: Digest of the model (`Training.model_digest`).
            output: What it answered: JSON-able, or bytes. Its digest is kept.
            keep_output: Keep the answer itself too: numbers, flags and codes only, for the ledger holds no free text.
            latency_ms: How long the answer took, in milliseconds.
            at: Time of the prediction; by default that of the context, and never before it.

        Returns:
            The `prediction_id`, for `feedback`.

        Raises:
            ConfigError: The digest is none, the output cannot be kept, the latency is no time, or `at` is earlier
                than the context.
        """
        predicted = context.at if at is None else moment(at)
        if predicted < context.at:
            raise ConfigError(
                "a prediction cannot be earlier than its context", hint="ask for the context at that time"
            )
        number = isinstance(latency_ms, int | float | np.number) and not isinstance(latency_ms, bool)
        if not number or not np.isfinite(latency_ms) or latency_ms < 0:
            raise ConfigError("latency_ms is no time", hint="give milliseconds")
        value = output.item() if isinstance(output, np.generic) else output
        prediction_id = consumption.prediction_id()
        body = {
            "prediction_id": prediction_id,
            "lineage_id": context.lineage_id,
            "model_digest": consumption.checked_digest(model_digest),
            "snapshot": context.snapshot,
            "subject_id": context.subject_id,
            "at": predicted.isoformat(),
            "events": context.events.num_rows,
            "inputs": context.inputs,
            "output_sha256": consumption.sha256(value),
            "output": consumption.harmless(value) if keep_output else None,
            "latency_ms": round(float(latency_ms), 3),
        }
        Ledger(self._ledger).append("inference", body)
        return prediction_id

    def feedback(self, prediction_id: str, kind: str, value: object = None) -> None:
        """Record what became of a prediction; there may be several in time.

        Args:
            prediction_id: What `record` returned.
            kind: `accepted`, `overridden` or `outcome`.
            value: A number, a flag or a code: what was done instead, or what came to be.

        Raises:
            ConfigError: There is no such prediction or kind, or the value is a free text.
        """
        body = consumption.feedback(prediction_id, kind, value)
        if prediction_id not in records(self._ledger, "inference", "prediction_id", [prediction_id]):
            raise ConfigError("no such prediction in the ledger", hint="give what InferenceLog.record returned")
        Ledger(self._ledger).append("feedback", body)


def inference_log(store: Path | str) -> InferenceLog:
    """Open the log of predictions of a store: `md.inference_log`.

    Raises:
        StoreError: There is no such store.
    """
    return InferenceLog(store)
