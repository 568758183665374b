"""Measures agree with scikit-learn, intervals cover, and nothing of a few people is told, not even by subtraction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mayo_data.model import evaluation
from mayo_data.model.evaluation import Scored


def scored(n: int, seed: int, people: int | None = None, digits: int = 2) -> Scored:
    rng = np.random.default_rng(seed)
    said = rng.uniform(0.05, 0.95, n).round(digits)
    return Scored(rng.integers(0, people or n, n), (rng.random(n) < said).astype(float), said)


@given(st.integers(2, 200), st.integers(0, 10**6), st.sampled_from([0, 1, 3]))
@settings(deadline=None)
def test_metrics_are_those_of_scikit_learn(n: int, seed: int, digits: int) -> None:
    one = scored(n, seed, digits=digits)
    if not 0 < one.truth.sum() < n:
        return
    found = evaluation.measured(one, 0, 1)
    assert found["auroc"]["value"] == pytest.approx(reference.roc_auc_score(one.truth, one.probability), abs=1e-6)
    expected = reference.average_precision_score(one.truth, one.probability)
    assert found["average_precision"]["value"] == pytest.approx(expected, abs=1e-6)


def test_an_interval_is_wider_where_samples_are_of_few_people() -> None:
    one = scored(400, 3)
    few = one._replace(subjects=np.arange(400) // 20)

    def width(found: dict[str, float]) -> float:
        return found["high"] - found["low"]

    # the same samples, sorted so that a subject's are alike
    order = np.argsort(one.probability + one.truth)
    alike = Scored(few.subjects, one.truth[order], one.probability[order])
    assert width(evaluation.measured(alike, 200, 1)["auroc"]) > 1.5 * width(evaluation.measured(one, 200, 1)["auroc"])


@pytest.mark.parametrize(("stretch", "shift"), [(1.0, 0.0), (2.0, 0.0), (0.5, 0.0), (1.0, 0.7)])
def test_calibration_finds_what_was_done_to_it(stretch: float, shift: float) -> None:
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 1.2, 20_000)
    truth = (rng.random(20_000) < 1 / (1 + np.exp(-odds))).astype(float)
    said = 1 / (1 + np.exp(-(odds * stretch + shift)))
    found = evaluation.calibration(Scored(np.arange(20_000), truth, said), 11)
    assert found["slope"] == pytest.approx(1 / stretch, abs=0.06)
    if stretch == 1:
        assert found["intercept"] == pytest.approx(-shift, abs=0.06)
    assert (found["ece"] > 0.03) == ((stretch, shift) != (1.0, 0.0))


@pytest.mark.parametrize("truth", [np.zeros(40), np.ones(40)])
def test_one_outcome_only_is_withheld_and_no_error(truth: np.ndarray) -> None:
    one = Scored(np.arange(40), truth, np.linspace(0, 1, 40))
    assert evaluation.calibration(one, 11)["slope"] is None
    assert evaluation.summary(one, 50, 1, 11)["auroc"]["value"] is None


def test_separated_and_constant_predictions_have_no_slope() -> None:
    truth = np.array([0.0, 1.0] * 30)
    assert evaluation.calibration(Scored(np.arange(60), truth, truth), 11)["slope"] is None
    constant = evaluation.calibration(Scored(np.arange(60), truth, np.full(60, 0.5)), 11)
    assert constant["slope"] is None
    assert constant["intercept"] == pytest.approx(0)


@given(st.integers(30, 300), st.integers(0, 10**6), st.integers(2, 15))
@settings(deadline=None, max_examples=40)
def test_no_point_of_the_curve_stands_for_a_few(n: int, seed: int, smallest: int) -> None:
    one = scored(n, seed, people=n // 2)
    curve = evaluation.calibration(one, smallest)["curve"]
    assert sum(point["samples"] for point in curve) in (0, n)
    for point in curve:
        outcomes = round(point["observed"] * point["samples"])
        assert not 0 < outcomes < smallest
        assert not 0 < point["samples"] - outcomes < smallest
        assert point["samples"] >= smallest


@given(st.lists(st.sampled_from("abcdef"), min_size=20, max_size=200), st.integers(0, 10**6), st.integers(2, 15))
@settings(deadline=None, max_examples=60)
def test_no_group_can_be_found_out(labels: list[str], seed: int, smallest: int) -> None:
    one = scored(len(labels), seed)._replace(subjects=np.arange(len(labels)))
    rows = evaluation.subgroups(one, {"group": labels}, 5, 1, smallest)["group"]
    shown = [row for row in rows if row["subjects"] is not None]
    assert all(row["subjects"] >= smallest for row in shown)
    hidden = [row for row in rows if row["subjects"] is None]
    rest = len(labels) - sum(row["subjects"] for row in shown)
    if hidden and shown:
        assert len(hidden) >= 2
        assert rest >= smallest
    assert all(value is None for row in hidden for key, value in row.items() if key != "group")
    for row in shown:
        if row["outcomes"] is not None:
            assert not 0 < row["outcomes"] < smallest
            assert not 0 < row["samples"] - row["outcomes"] < smallest
    unsaid = [row for row in shown if row["outcomes"] is None]
    said = [row for row in shown if row["outcomes"] is not None]
    if unsaid and said and not hidden:
        assert len(unsaid) >= 2
