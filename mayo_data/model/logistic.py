"""Logistic regression with a ridge penalty: scikit-learn (extra `train`) fits it, NumPy alone predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mayo_data.errors import ConfigError
from mayo_data.model.features import Floats, History, Matrix, Reading, Vocabulary, matrix

KIND = "logistic"


@dataclass(frozen=True)
class Logistic:
    """A fitted model: one weight a column.

    Attributes:
        vocabulary: What the columns are.
        weights: One a column, for values as `matrix` gives them.
        intercept: Log odds of a history without anything.

    >>> model = Logistic(Vocabulary((0,), (), ()), np.zeros(2), 0.0)
    >>> from datetime import datetime
    >>> nobody = History(1, datetime(2024, 1, 1), 0.0, 50.0, *[np.zeros(0, np.int64)] * 2, np.zeros(0))
    >>> model.predict([nobody], Reading()).tolist()
    [0.5]
    """

    vocabulary: Vocabulary
    weights: Floats
    intercept: float

    def predict(self, histories: Sequence[History], reading: Reading) -> Floats:
        """Return the probability of the outcome for each history."""
        return _sigmoid(matrix(histories, reading, self.vocabulary).dot(self.weights) + self.intercept)

    def write(self, path: Path) -> None:
        """Write the weights as plain arrays (`.npz`)."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, weights=self.weights, intercept=np.float64(self.intercept))

    @classmethod
    def restore(cls, vocabulary: Vocabulary, arrays: Mapping[str, Any]) -> Logistic:
        """Return the model of stored arrays.

        Raises:
            ConfigError: They do not fit the vocabulary.
        """
        weights = np.asarray(arrays.get("weights"), np.float64)
        intercept = np.asarray(arrays.get("intercept"), np.float64)
        fits = weights.shape == (len(vocabulary.columns),) and intercept.shape == ()
        if not (fits and np.isfinite(weights).all() and np.isfinite(intercept)):
            raise ConfigError("the weights do not fit the vocabulary of the model", hint="train it again")
        return cls(vocabulary, weights, float(intercept))


def fit(rows: Matrix, truth: Floats, vocabulary: Vocabulary, penalty: float, seed: int) -> Logistic:
    """Fit the weights; columns are scaled by their largest value, so that the penalty treats them alike.

    Args:
        rows: Training rows.
        truth: 0 or 1 for each.
        vocabulary: What the columns are.
        penalty: Inverse strength of the ridge penalty.
        seed: For the solver.

    Raises:
        ConfigError: scikit-learn is not installed, or all samples have the same outcome.
    """
    try:
        from scipy.sparse import csr_matrix
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ConfigError("training needs scikit-learn", hint='pip install "mayo-data[train]"') from error
    if len(np.unique(truth)) < 2:
        raise ConfigError(
            "all training samples have the same outcome", hint="a task with more of both, or a larger store"
        )
    scale = np.zeros(rows.width)
    np.maximum.at(scale, rows.indices, np.abs(rows.data))
    scale[scale == 0] = 1
    scaled = csr_matrix((rows.data / scale[rows.indices], rows.indices, rows.starts), (len(truth), rows.width))
    model = LogisticRegression(C=penalty, max_iter=2000, random_state=seed).fit(scaled, truth)
    return Logistic(vocabulary, model.coef_[0] / scale, float(model.intercept_[0]))


Exam = tuple[Matrix, Floats, Matrix, Floats]  # rows and truth to learn from, rows and truth to be measured on


def choose(exams: Sequence[Exam], vocabulary: Vocabulary, penalties: Sequence[float], seed: int) -> float:
    """Return the penalty of the smallest log loss over exams; the middle one where there is none that can tell.

    Args:
        exams: Samples to learn from and samples to be measured on.
        vocabulary: What the columns are.
        penalties: To choose from.
        seed: For the solver.

    Raises:
        ConfigError: As for `fit`.

    >>> choose([], Vocabulary((0,), (), ()), [1.0, 0.1, 0.01], 1)
    0.1
    """
    able = [one for one in exams if len(np.unique(one[1])) > 1 and len(np.unique(one[3])) > 1]
    if len(penalties) == 1 or not able:
        return sorted(penalties)[len(penalties) // 2]

    def loss(penalty: float) -> float:
        total = 0.0
        for rows, truth, others, answers in able:
            model = fit(rows, truth, vocabulary, penalty, seed)
            said = np.clip(_sigmoid(others.dot(model.weights) + model.intercept), 1e-9, 1 - 1e-9)
            total -= float((answers * np.log(said) + (1 - answers) * np.log(1 - said)).sum())
        return total

    return min(penalties, key=loss)


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -500, 500))))
