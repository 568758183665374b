"""Trains the reference model: read, learn, measure, seal.

Every row that it sees comes through a reader with a lineage id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mayo_data import dataset
from mayo_data.errors import ConfigError
from mayo_data.model import evaluation, features, folder, groups, logistic, paper, plan, profile
from mayo_data.model.evaluation import Floats, Scored
from mayo_data.model.features import History, Reading, Vocabulary
from mayo_data.types import Json

if TYPE_CHECKING:
    from mayo_data.dataset import Dataset, Labels

CONSUMER = "mayo-data-train"
_VERSION = metadata.version("mayo-data")
_USUAL = {"train", "tuning", "held_out"}


@dataclass(frozen=True)
class Trained:
    """A model that was trained, measured and sealed.

    Attributes:
        folder: Where it lies.
        training_id: Its record in the ledger.
        model_digest: Digest of its files.
        lineage_ids: What it read: one id a split.
        report: `report.json`.
    """

    folder: Path
    training_id: str
    model_digest: str
    lineage_ids: tuple[str, ...]
    report: Json


class _Part(NamedTuple):
    """The samples of one split."""

    histories: list[History]
    lineage_id: str

    @property
    def truth(self) -> Floats:
        return _truth(self.histories)

    @property
    def people(self) -> int:
        return len({one.subject_id for one in self.histories})

    def scored(self, probability: Floats) -> Scored:
        return Scored(np.array([one.subject_id for one in self.histories], np.int64), self.truth, probability)


def train(plan_file: Path | str, store: Path | str | None = None, out: Path | str = "model") -> Trained:
    """Train, measure and seal a model: `md.train`, and what `mayo-data train` calls.

    It shows how a model keeps its lineage; on invented patients its figures measure the plumbing, not medicine.

    Args:
        plan_file: Training file, for example `pipelines/train.toml`.
        store: Folder of the store; else the one in the training file.
        out: Folder of the model; must be new or empty.

    Raises:
        ConfigError: The training file is wrong, an extra is missing, the folder is taken, or the samples are too few.
        StoreError: There is no such store, or it hands out nothing.
    """
    asked = plan.load(Path(plan_file))
    place = Path(store) if store is not None else Path(asked.store)
    if store is None and not asked.store:
        raise ConfigError("there is no store to train on", hint="give --store, or a line `store` in the training file")
    target = _new_folder(Path(out))
    data = dataset.open_store(place)
    labels = dataset.label(place, asked.task)
    reading = Reading()
    fit = _read(data, labels, reading, asked.splits.fit, asked)
    if fit.people < asked.features.min_subjects:
        raise ConfigError(
            f"the training split has samples of fewer than {asked.features.min_subjects} subjects",
            hint="a larger store, another task, or other splits",
        )
    there = set(data.splits()["split"])
    tune, test = (
        # a small store may have nobody in a split that it was meant to have
        _Part([], "") if split in _USUAL - there else _read(data, labels, reading, split, asked)
        for split in (asked.splits.tune, asked.splits.test)
    )
    vocabulary = features.learn(fit.histories, reading, asked.features)
    maker, chosen = _maker(asked, fit, tune, reading, vocabulary)
    learner = maker(fit.histories, vocabulary)
    model = learner(fit.truth, asked.seed)
    about: Json = {
        "format": folder.FORMAT, "name": asked.name, "kind": asked.model.kind, "code_version": _VERSION,
        "task": {"name": labels.name, "digest": labels.digest}, "snapshot": data.path.name,
        "plan": {**msgspec.to_builtins(asked), "task": labels.name, "store": ""},  # paths stay on this machine
        "lineage_ids": [part.lineage_id for part in (fit, tune, test) if part.lineage_id],
        "vocabulary": {"windows": vocabulary.windows, "facts": vocabulary.facts, "codes": vocabulary.codes},
        **chosen,
    }  # fmt: skip
    parts = dict(zip(("fit", "tune", "test"), (fit, tune, test), strict=True))
    trial = _on_test(fit, test, learner, reading)
    enough = fit.people >= asked.report.smallest_cell
    if asked.report.folds and enough and evaluation.withheld(trial.scored(asked.seed), asked.report.smallest_cell):
        trial = _on_folds(asked, fit, maker, reading)
    report = _report(data, asked, about, parts, trial)
    folder.write_json(target / folder.ABOUT, about)
    folder.write_json(target / folder.PROFILE, profile.of_snapshot(data, asked.report.smallest_cell))
    folder.write_json(target / folder.REPORT, report)
    model.write(target / folder.WEIGHTS[asked.model.kind])
    sealed = dataset.training_run(
        place, name=asked.name, reads=about["lineage_ids"], files=folder.sealed_files(target, asked.model.kind),
        config=about["plan"], labels=labels, metrics=_headline(report),
    )  # fmt: skip
    seal = {"training_id": sealed.training_id, "model_digest": sealed.model_digest}
    folder.write_json(target / folder.TRAINING, seal)
    paper.write(target, about, report, seal)
    return Trained(target, sealed.training_id, sealed.model_digest, tuple(about["lineage_ids"]), report)


def _read(data: Dataset, labels: Labels, reading: Reading, split: str, asked: plan.TrainPlan) -> _Part:
    reader = data.reader(
        split, labels=labels, consumer=CONSUMER, purpose=asked.purpose, columns=list(features.COLUMNS), seed=asked.seed
    )
    histories = []
    for sample in reader.samples():
        if sample.prediction_time is None or not isinstance(sample.value, bool):
            raise ConfigError("the task does not ask for yes or no", hint='outcome.value = "occurs" in the task file')
        events, value = sample.events, float(sample.value)
        histories.append(reading.history(sample.subject_id, sample.prediction_time, events, value))
    # in the order of subjects and times, whatever the order of the reader: the same data give the same model
    return _Part(sorted(histories, key=lambda one: (one.subject_id, one.at)), reader.lineage_id)


Learner = Callable[[Floats, int], folder.Model]  # truth of its samples and a seed to a model
Maker = Callable[[list[History], Vocabulary], Learner]


def _maker(
    asked: plan.TrainPlan, fit: _Part, tune: _Part, reading: Reading, vocabulary: Vocabulary
) -> tuple[Maker, Json]:
    """How a model is made of any samples, and what `model.json` says of it beside the vocabulary."""
    if asked.model.kind == "transformer":
        from mayo_data.model import transformer

        def network(histories: list[History], words: Vocabulary) -> Learner:
            shape = transformer.shape(words, asked.model.events)
            return lambda truth, seed: transformer.fit(
                histories, reading, truth, words, shape, asked.model.epochs, seed
            )

        shape = transformer.shape(vocabulary, asked.model.events)
        return network, {"shape": shape, "parameters": transformer.parameters(shape)}

    def penalty(histories: list[History], words: Vocabulary) -> float:
        pairs = [(histories, tune.histories)]
        if len(np.unique(tune.truth)) < 2:
            pairs = list(_thirds(histories, asked.seed))
        exams = [
            (features.matrix(some, reading, words), _truth(some), features.matrix(rest, reading, words), _truth(rest))
            for some, rest in pairs
        ]
        return logistic.choose(exams, words, asked.model.penalties, asked.seed)

    def regression(histories: list[History], words: Vocabulary) -> Learner:
        rows, strength = features.matrix(histories, reading, words), penalty(histories, words)
        return lambda truth, seed: logistic.fit(rows, truth, words, strength, seed)

    return regression, {"parameters": len(vocabulary.columns) + 1}


def _truth(histories: list[History]) -> Floats:
    return np.array([one.value for one in histories], np.float64)


def _parted(histories: list[History], parts: int, seed: int) -> list[npt.NDArray[np.bool_]]:
    """One mask a part of the subjects: whose samples are in it."""
    people = np.array([one.subject_id for one in histories], np.int64)
    subjects = np.random.default_rng(seed).permutation(np.unique(people))
    return [np.isin(people, part) for part in np.array_split(subjects, min(parts, len(subjects)))]


def _thirds(histories: list[History], seed: int) -> Iterator[tuple[list[History], list[History]]]:
    for held in _parted(histories, 3, seed):
        rest = [one for one, out in zip(histories, held, strict=True) if not out]
        yield rest, [one for one, out in zip(histories, held, strict=True) if out]


class _Trial(NamedTuple):
    """Samples that a model has not learned from, and what models say of them.

    Attributes:
        where: Which samples.
        part: The samples.
        fit_truth: The labels that models learn from.
        predict: Labels to learn from and a seed to probabilities of the samples.
    """

    where: str
    part: _Part
    fit_truth: Floats
    predict: Callable[[Floats, int], Floats]

    def scored(self, seed: int) -> Scored:
        return self.part.scored(self.predict(self.fit_truth, seed))


def _on_test(fit: _Part, test: _Part, learner: Learner, reading: Reading) -> _Trial:
    def predict(truth: Floats, seed: int) -> Floats:
        return learner(truth, seed).predict(test.histories, reading) if test.histories else np.zeros(0)

    return _Trial("test split", test, fit.truth, predict)


def _on_folds(asked: plan.TrainPlan, fit: _Part, maker: Maker, reading: Reading) -> _Trial:
    """Hold out every subject once; vocabulary and weights come from the others alone."""
    folds = _parted(fit.histories, asked.report.folds, asked.seed)
    made = []
    for fold in folds:
        rest = [one for one, out in zip(fit.histories, fold, strict=True) if not out]
        made.append(maker(rest, features.learn(rest, reading, asked.features)))

    def predict(truth: Floats, seed: int) -> Floats:
        found = np.zeros(len(truth))
        for fold, learner in zip(folds, made, strict=True):
            held = [one for one, out in zip(fit.histories, fold, strict=True) if out]
            found[fold] = learner(truth[~fold], seed).predict(held, reading)
        return found

    return _Trial(f"{len(folds)} folds of the training subjects, each held out once", fit, fit.truth, predict)


def _report(data: Dataset, asked: plan.TrainPlan, about: Json, parts: dict[str, _Part], trial: _Trial) -> Json:
    smallest, resamples = asked.report.smallest_cell, asked.report.resamples
    scored = trial.scored(asked.seed)
    sizes = {}
    for name, part in parts.items():
        whole = evaluation.summary(part.scored(part.truth), 0, asked.seed, smallest)
        sizes[name] = {key: whole[key] for key in ("subjects", "samples", "outcomes", "rate")}
    return {
        "name": asked.name, "kind": asked.model.kind, "task": about["task"], "snapshot": about["snapshot"],
        "code_version": _VERSION, "lineage_ids": about["lineage_ids"], "smallest_cell": smallest, "splits": sizes,
        "seed": asked.seed, "parameters": about["parameters"], "measured_on": trial.where,
        "test": evaluation.summary(scored, resamples, asked.seed, smallest),
        "calibration": evaluation.calibration(scored, smallest),
        "groups": evaluation.subgroups(
            scored, groups.of_samples(data, trial.part.histories), resamples, asked.seed, smallest
        ),
        "control": _control(asked, trial, scored),
    }  # fmt: skip


def _control(asked: plan.TrainPlan, trial: _Trial, scored: Scored) -> Json:
    """Train on shuffled labels: whatever scores above chance then is a leak, or luck that the interval must show."""
    if evaluation.withheld(scored, asked.report.smallest_cell):
        return {"auroc": None, "low": None, "high": None, "holds": None, "models": 0}
    rng = np.random.default_rng(asked.seed)
    found = []
    for number in range(asked.report.controls):
        blind = scored._replace(probability=trial.predict(rng.permutation(trial.fit_truth), asked.seed + number))
        found.append(evaluation.measured(blind, 0, asked.seed)["auroc"]["value"])
    low, high = np.percentile(found, [2.5, 97.5])
    return {
        "auroc": evaluation.plain(np.mean(found)), "low": evaluation.plain(low), "high": evaluation.plain(high),
        "holds": bool(low <= 0.5 <= high), "models": len(found),
    }  # fmt: skip


def _headline(report: Json) -> Json:
    """The figures that stand in the ledger; nothing of a small cell."""
    auroc, precision = report["test"]["auroc"] or {}, report["test"]["average_precision"] or {}
    found = {
        "auroc": auroc.get("value"), "auroc_low": auroc.get("low"), "auroc_high": auroc.get("high"),
        "average_precision": precision.get("value"), "ece": report["calibration"]["ece"],
        "control_auroc": report["control"]["auroc"],
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _new_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ConfigError("the folder of the model is not empty", hint="choose another --out")
    except OSError as error:
        raise ConfigError(f"the model cannot be written: {error.strerror}", hint="choose another --out") from error
    return path
