"""The read side: what analysts and models open.

`connect` gives one DuckDB connection with documented views; `open_store` gives a `Dataset` that hands out Arrow,
pandas and Polars, a `Reader` for trainings and a `Context` for predictions. All see one immutable snapshot, the newest
unless another is named. What consumes it is recorded.
"""

from mayo_data.dataset.context import Context
from mayo_data.dataset.cutting import cut
from mayo_data.dataset.disclosure import risk
from mayo_data.dataset.fhir_views import view
from mayo_data.dataset.inference import InferenceLog, inference_log
from mayo_data.dataset.label_tables import Labels
from mayo_data.dataset.labels import label
from mayo_data.dataset.lookups import completeness, manifest, validate
from mayo_data.dataset.opening import Dataset, connect, open_store
from mayo_data.dataset.provenance import impact, trace, verify
from mayo_data.dataset.reader import Reader, Sample
from mayo_data.dataset.subgroups import coverage
from mayo_data.dataset.training import Training, training_run

__all__ = [
    "Context",
    "Dataset",
    "InferenceLog",
    "Labels",
    "Reader",
    "Sample",
    "Training",
    "completeness",
    "connect",
    "coverage",
    "cut",
    "impact",
    "inference_log",
    "label",
    "manifest",
    "open_store",
    "risk",
    "trace",
    "training_run",
    "validate",
    "verify",
    "view",
]
