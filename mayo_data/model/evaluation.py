"""How good a model is, for whom, and whether that can be chance. NumPy only; no number of a few people leaves it.

Intervals are percentiles over resampled subjects, because the samples of one subject are not independent. A group of
fewer than `smallest` subjects is withheld, and with it whatever total or neighbour would give it away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mayo_data.types import Json

Floats = npt.NDArray[np.float64]
Counts = tuple[Floats, Floats]  # outcomes and others at each different score, scores ascending
_BINS = 10
_CLIP = 1e-6


class Scored(NamedTuple):
    """Predictions beside what came of them.

    Attributes:
        subjects: Whose; a subject may have several samples.
        truth: 0 or 1.
        probability: What the model said.
    """

    subjects: npt.NDArray[np.int64]
    truth: Floats
    probability: Floats

    def only(self, where: npt.NDArray[np.bool_]) -> Scored:
        """Return the samples of a mask."""
        return Scored(self.subjects[where], self.truth[where], self.probability[where])

    @property
    def people(self) -> int:
        """How many different subjects."""
        return len(np.unique(self.subjects))


def auroc(counts: Counts) -> float:
    """Return the chance that an outcome scores above another sample; NaN where there are not both.

    >>> auroc((np.array([0.0, 1.0]), np.array([1.0, 0.0])))
    1.0
    """
    outcomes, others = counts
    pairs = outcomes.sum() * others.sum()
    if not pairs:
        return float("nan")
    return float((outcomes * (np.cumsum(others) - others / 2)).sum() / pairs)


def average_precision(counts: Counts) -> float:
    """Return the mean precision over the recall that each score adds; NaN without an outcome.

    >>> average_precision((np.array([0.0, 1.0]), np.array([1.0, 0.0])))
    1.0
    """
    outcomes, others = counts[0][::-1], counts[1][::-1]
    found, all_of = np.cumsum(outcomes), outcomes.sum()
    if not all_of:
        return float("nan")
    flagged = found + np.cumsum(others)
    precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
    return float((outcomes * precision).sum() / all_of)


def withheld(scored: Scored, smallest: int) -> bool:
    """Return whether samples are too few to be measured: few subjects, or one outcome only.

    >>> withheld(Scored(np.arange(20), np.zeros(20), np.zeros(20)), 11)
    True
    """
    return scored.people < smallest or not 0 < scored.truth.sum() < len(scored.truth)


METRICS: Mapping[str, Callable[[Counts], float]] = {"auroc": auroc, "average_precision": average_precision}


def measured(scored: Scored, resamples: int, seed: int) -> Json:
    """Return each metric with its 95 % interval over resampled subjects.

    Args:
        scored: The samples.
        resamples: How many resamples.
        seed: For the resampling.

    Returns:
        Metric to `value`, `low`, `high`; None where it is not defined.

    >>> truth = np.array([0.0, 1.0] * 20)
    >>> measured(Scored(np.arange(40), truth, truth), 50, 1)["auroc"]
    {'value': 1.0, 'low': 1.0, 'high': 1.0}
    """
    rng = np.random.default_rng(seed)
    _, places = np.unique(scored.probability, return_inverse=True)
    _, people = np.unique(scored.subjects, return_inverse=True)
    size, n_people = (int(places.max()) + 1, int(people.max()) + 1) if len(places) else (0, 0)

    def counts(weights: Floats) -> Counts:
        outcomes = np.bincount(places, weights * scored.truth, size).astype(np.float64)
        return outcomes, np.bincount(places, weights, size).astype(np.float64) - outcomes

    whole = counts(np.ones(len(places)))
    drawn: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(resamples if n_people else 0):
        times = np.bincount(rng.integers(0, n_people, n_people), minlength=n_people)
        again = counts(times[people].astype(np.float64))
        for name, metric in METRICS.items():
            drawn[name].append(metric(again))
    found: Json = {}
    for name, metric in METRICS.items():
        defined = np.array([value for value in drawn[name] if value == value])
        low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (float("nan"), float("nan"))
        found[name] = {"value": plain(metric(whole)), "low": plain(low), "high": plain(high)}
    return found


def calibration(scored: Scored, smallest: int) -> Json:
    """Return how far probabilities can be taken at their word.

    Slope and intercept are those of Van Calster et al., BMC Medicine 2019;17:230: the slope of a logistic regression on
    the log odds (1 is right, below 1 is too sure), and the intercept at slope 1 (0 is right, below 0 is too high).

    Args:
        scored: The samples.
        smallest: Subjects, and outcomes or others, in the smallest cell that is shown.

    Returns:
        `slope`, `intercept`, `ece` (mean distance over ten groups of equal size), and `curve`: groups with mean
        probability, share of outcomes and number of samples, joined until none is small.

    >>> rng = np.random.default_rng(1)
    >>> said = rng.uniform(0.1, 0.9, 4000)
    >>> right = Scored(np.arange(4000), (rng.random(4000) < said).astype(float), said)
    >>> found = calibration(right, 11)
    >>> 0.9 < found["slope"] < 1.1, abs(found["intercept"]) < 0.1, found["ece"] < 0.05, len(found["curve"])
    (True, True, True, 10)
    """
    if withheld(scored, smallest):
        return {"slope": None, "intercept": None, "ece": None, "curve": []}
    clipped = np.clip(scored.probability, _CLIP, 1 - _CLIP)
    odds = np.log(clipped / (1 - clipped))
    slope = _newton(scored.truth, np.stack([np.ones_like(odds), odds], axis=1), np.zeros_like(odds))
    intercept = _newton(scored.truth, np.ones((len(odds), 1)), odds)
    order = np.argsort(scored.probability, kind="stable")
    groups = [group for group in np.array_split(order, min(_BINS, len(order))) if len(group)]
    gaps = [len(g) * abs(scored.truth[g].mean() - scored.probability[g].mean()) for g in groups]
    return {
        "slope": plain(slope[1]) if slope is not None else None,
        "intercept": plain(intercept[0]) if intercept is not None else None,
        "ece": plain(sum(gaps) / len(order)),
        "curve": [
            {
                "predicted": plain(scored.probability[group].mean()),
                "observed": plain(scored.truth[group].mean()),
                "samples": len(group),
            }
            for group in _joined(scored, groups, smallest)
        ],
    }


def _newton(truth: Floats, design: Floats, offset: Floats) -> Floats | None:
    """Return the coefficients of a logistic regression, or None where there is no maximum (separated, constant)."""
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights + offset, -30, 30)))
        curvature = design.T @ (design * (chance * (1 - chance))[:, None])
        try:
            step = np.linalg.solve(curvature, design.T @ (truth - chance))
        except np.linalg.LinAlgError:
            return None
        weights = weights + step
        if not np.isfinite(weights).all() or np.abs(weights).max() > 1e3:
            return None
        if np.abs(step).max() < 1e-9:
            return weights
    return None


def _small(number: float, smallest: int) -> bool:
    return 0 < number < smallest


def _joined(scored: Scored, groups: Sequence[npt.NDArray[Any]], smallest: int) -> list[npt.NDArray[Any]]:
    """Join neighbours until no group has few subjects, outcomes or others."""

    def safe(group: npt.NDArray[Any]) -> bool:
        part = scored.only(group)
        outcomes = part.truth.sum()
        enough = part.people >= smallest
        return enough and not _small(outcomes, smallest) and not _small(len(group) - outcomes, smallest)

    found: list[npt.NDArray[Any]] = []
    waiting: npt.NDArray[Any] = np.zeros(0, np.int64)
    for group in groups:
        waiting = np.concatenate([waiting, group])
        if safe(waiting):
            found.append(waiting)
            waiting = np.zeros(0, np.int64)
    while len(waiting) and found and not safe(waiting):
        waiting = np.concatenate([found.pop(), waiting])
    return [*found, waiting] if len(waiting) and safe(waiting) else found


def summary(scored: Scored, resamples: int, seed: int, smallest: int) -> Json:
    """Return the whole of a set of samples: how many, how often, metrics with intervals; None for what is withheld.

    >>> few = Scored(np.arange(4), np.array([0.0, 1, 0, 1]), np.array([0.1, 0.9, 0.2, 0.8]))
    >>> summary(few, 50, 1, 11)["auroc"] is None
    True
    """
    row = _row("all", scored, resamples, seed, smallest)
    _withhold_outcomes(row, scored, smallest)
    return {key: value for key, value in row.items() if key != "group"}


def subgroups(
    scored: Scored, groups: Mapping[str, Sequence[str]], resamples: int, seed: int, smallest: int
) -> dict[str, list[Json]]:
    """Return the summary of every group of every attribute, without small cells.

    Args:
        scored: The samples.
        groups: Attribute (`sex`, ...) to the group of each sample.
        resamples: How many resamples.
        seed: For the resampling.
        smallest: Subjects in the smallest group that is shown, outcomes in the smallest that are counted.

    Returns:
        Attribute to rows: `group`, `subjects`, `samples`, `outcomes`, `rate`, `predicted`, the metrics; None for what
        is withheld.

    >>> people = Scored(np.arange(40), np.array([0.0, 1.0] * 20), np.linspace(0.1, 0.9, 40))
    >>> rows = subgroups(people, {"sex": ["F"] * 18 + ["M"] * 18 + ["X"] * 4}, 50, 1, 11)["sex"]
    >>> [(row["group"], row["subjects"]) for row in rows]  # F is withheld too: M and the total would tell X
    [('F', None), ('M', 18), ('X', None)]
    """
    found: dict[str, list[Json]] = {}
    for attribute, labels in groups.items():
        each = np.asarray(labels, dtype=object)
        parts = {str(name): scored.only(each == name) for name in sorted(set(labels))}
        sizes = {name: part.people for name, part in parts.items()}
        hidden = _with_neighbour({name for name, size in sizes.items() if size < smallest}, sizes, smallest)
        few = {name: part.truth.sum() for name, part in parts.items() if name not in hidden}
        vague = {
            name
            for name, outcomes in few.items()
            if _small(outcomes, smallest) or _small(len(parts[name].truth) - outcomes, smallest)
        }
        vague = (
            vague if hidden else _with_neighbour(vague, few, smallest)
        )  # a hidden group already spoils the subtraction
        rows = []
        for name, part in parts.items():
            row = _row(name, part, resamples, seed, smallest)
            if name in hidden:
                row = {**dict.fromkeys(row), "group": name}
            elif name in vague:
                row.update(outcomes=None, rate=None)
            rows.append(row)
        found[attribute] = rows
    return found


def _with_neighbour(hidden: set[str], sizes: Mapping[str, float], smallest: int) -> set[str]:
    """Hide the next smallest too, until the total less what is shown is neither one group nor a small number."""
    hidden = set(hidden)
    others = sorted((size, name) for name, size in sizes.items() if name not in hidden)
    while hidden and others and (len(hidden) == 1 or sum(sizes[name] for name in hidden) < smallest):
        hidden.add(others.pop(0)[1])
    return hidden


def _row(name: str, scored: Scored, resamples: int, seed: int, smallest: int) -> Json:
    shown = scored.people >= smallest
    row: Json = {"group": name, "subjects": scored.people, "samples": len(scored.truth)}
    row |= {"outcomes": int(scored.truth.sum())}
    row |= {"rate": plain(scored.truth.mean()), "predicted": plain(scored.probability.mean())} if shown else {}
    row |= measured(scored, resamples, seed) if shown else {}
    keys = ("group", "subjects", "samples", "outcomes", "rate", "predicted", *METRICS)
    return {key: row.get(key) if shown or key == "group" else None for key in keys}


def _withhold_outcomes(row: Json, scored: Scored, smallest: int) -> None:
    outcomes = scored.truth.sum()
    if _small(outcomes, smallest) or _small(len(scored.truth) - outcomes, smallest):
        row.update(outcomes=None, rate=None)


def plain(value: float) -> float | None:
    """Return a number as JSON has it: rounded to six digits, None for NaN.

    >>> plain(np.float64("nan")) is None, plain(1 / 3)
    (True, 0.333333)
    """
    return round(float(value), 6) if np.isfinite(value) else None
