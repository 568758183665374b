"""The training file: parameters, not programs. Its JSON Schema is `schemas/train.schema.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mayo_data import config

Positive = Annotated[int, Meta(ge=1)]


class FeaturesPlan(Struct, forbid_unknown_fields=True, frozen=True):
    """What the model sees of a history.

    Attributes:
        windows: Days before the prediction in which a code is counted; 0 counts the whole history.
        min_subjects: A code of fewer training subjects is not in the vocabulary: neither learnable nor safe to name.
        max_codes: Largest vocabulary; the codes of most subjects stay.
        leave_out: First parts of codes that are no features, for example `RACE`.
    """

    windows: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=1, max_length=8)] = (30, 365, 0)
    min_subjects: Positive = 11
    max_codes: Annotated[int, Meta(ge=1, le=100_000)] = 2000
    leave_out: tuple[str, ...] = ("RACE", "ETHNICITY", "LANGUAGE", "MARITAL_STATUS", "STATE", "ZIP3")


class ModelPlan(Struct, forbid_unknown_fields=True, frozen=True):
    """Which model, and how it learns.

    Attributes:
        kind: `logistic` (extra `train`), or `transformer` over the last events (extra `torch`).
        penalties: Inverse strengths of the ridge penalty to choose from on the tuning split, or, where that has one
            outcome only, on thirds of the training subjects (logistic).
        epochs: Passes over the training samples (transformer).
        events: How many of the last events are read (transformer).
    """

    kind: Literal["logistic", "transformer"] = "logistic"
    penalties: Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(min_length=1)] = (0.01, 0.1, 1.0)
    epochs: Positive = 4
    events: Annotated[int, Meta(ge=8, le=4096)] = 256


class SplitsPlan(Struct, forbid_unknown_fields=True, frozen=True):
    """Which split of the store does what.

    Attributes:
        fit: The model learns from it.
        tune: The penalty is chosen on it.
        test: It is measured on it, and looked at once.
    """

    fit: str = "train"
    tune: str = "tuning"
    test: str = "held_out"


class ReportPlan(Struct, forbid_unknown_fields=True, frozen=True):
    """How the model is measured.

    Attributes:
        resamples: Resamples of subjects behind an interval.
        controls: Models trained on shuffled labels.
        folds: Parts of the subjects of `fit` that are held out in turn, where `test` is too small to be measured on;
            0 for never.
        smallest_cell: A number of people below it is not shown, nor what would tell it. The value of CMS for its
            own data is 11 (https://resdac.org/articles/cms-cell-size-suppression-policy).
    """

    resamples: Annotated[int, Meta(ge=50, le=10_000)] = 500
    controls: Annotated[int, Meta(ge=5, le=200)] = 20
    folds: Annotated[int, Meta(ge=0, le=20)] = 5
    smallest_cell: Annotated[int, Meta(ge=2)] = 11


class TrainPlan(Struct, forbid_unknown_fields=True, frozen=True):
    """A training: a store, a task, features, a model; only parameters differ.

    Attributes:
        name: What the ledger and the routes call the model.
        task: Name of a shipped task of `schemas/tasks`, or the path of a site's own, beside this file.
        store: Folder of the store; the command line may say another.
        purpose: Why the data is read: it stands in the ledger.
        seed: For everything random.
        features: What the model sees.
        model: Which model.
        splits: Which split does what.
        report: How it is measured.

    >>> TrainPlan(name="readmission").features.windows
    (30, 365, 0)
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    task: str = "readmission_30d"
    store: str = ""
    purpose: str = "reference model"
    seed: int = 1
    features: FeaturesPlan = FeaturesPlan()
    model: ModelPlan = ModelPlan()
    splits: SplitsPlan = SplitsPlan()
    report: ReportPlan = ReportPlan()


def load(path: Path) -> TrainPlan:
    """Read a training file: a path, or the name of the shipped `train.toml`.

    Raises:
        ConfigError: The file is missing, is not TOML, or has a wrong or unknown line.

    >>> load(Path("train.toml")).task
    'readmission_30d'
    """
    plan, found = config.read(path, TrainPlan, "train", "train.toml")
    beside = found.parent / plan.task
    if plan.task.endswith(".toml") and beside.exists():
        return msgspec.structs.replace(plan, task=str(beside))
    return plan


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a training file, as shipped in `schemas/train.schema.json`."""
    return msgspec.json.schema(TrainPlan)
