"""Drift: nothing moved is stable, what was moved is found, and few people are not shown."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mayo_data as md
from mayo_data.model import drift, profile

COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=8)


@given(COUNTS, COUNTS)
def test_psi_is_never_negative_and_zero_for_the_same_shares(then: list[int], now: list[int]) -> None:
    size = min(len(then), len(now))
    assert drift.psi(then[:size], now[:size]) >= 0
    assert drift.psi(then, [7 * one for one in then]) == pytest.approx(0, abs=1e-9)


def test_chance_is_what_one_comparison_in_twenty_exceeds() -> None:
    rng = np.random.default_rng(1)
    shares = np.full(8, 1 / 8)
    found = [drift.psi(rng.multinomial(400, shares), rng.multinomial(200, shares)) for _ in range(2000)]
    assert 0.03 < np.mean(np.array(found) > drift.chance(8, 400, 200)) < 0.08


@pytest.fixture
def db(synthetic_store: Path):  # type: ignore[no-untyped-def]
    """A connection whose tables `seen` and `subject` a test makes."""
    with md.connect(synthetic_store) as found:
        yield found


def put(db, rows: list[tuple[int, str, str, float]]) -> None:  # type: ignore[no-untyped-def]
    columns = list(zip(*rows, strict=True))
    fetched = pa.table(
        [pa.array(columns[0], pa.int64()), columns[1], columns[2], pa.array(columns[3], pa.float32())],
        names=["subject_id", "code", "unit", "numeric_value"],
    )
    db.register("fetched", fetched)
    db.execute("CREATE OR REPLACE TEMP TABLE seen AS SELECT * FROM fetched")
    db.execute(
        "CREATE OR REPLACE TEMP TABLE subject AS SELECT DISTINCT subject_id, 'F' AS sex, 'X' AS race, NULL AS ethnicity,"
        " TIMESTAMP '1980-01-01' AS birth_time, TIMESTAMP '2020-01-01' AS last_time FROM seen"
    )


def test_a_profile_holds_no_small_cell(db) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    rows = [(n, "A", "mg", float(value)) for n, value in enumerate(rng.normal(100, 9, 300))]
    rows += [(n, "RARE", "", math.nan) for n in range(10)]
    put(db, rows)
    found = profile.measure(db, 11)
    assert found["codes"] == {"A": 300, "others": 10}
    counts = found["values"]["A|mg"]["counts"]
    assert len(counts) == 10
    assert min(counts) >= 11
    assert sum(counts) == 300
    assert found["groups"]["age"] == {"40-64": 300} or found["groups"]["age"] == {"18-39": 300}


def test_a_value_of_another_scale_is_found_by_code_and_unit(db) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    values = rng.normal(100, 9, 300)
    put(db, [(n, code, "mg", float(value)) for code in "AB" for n, value in enumerate(values)])
    then = profile.measure(db, 11)
    moved = [(n, "A", "mg", float(value) * 1.3) for n, value in enumerate(values)]
    moved += [(n, "B", "mg", float(value)) for n, value in enumerate(values)]
    moved += [(n, "NEW", "", math.nan) for n in range(20)]
    put(db, moved)
    now = profile.measure(db, 11, then["values"])
    rows = drift._values(then, now)
    assert [(row["code"], row["verdict"]) for row in rows] == [("A", "moved"), ("B", "stable")]
    codes = drift._codes(then, now)
    assert codes["new"] == ["NEW"]
    assert codes["lost"] == []
    assert codes["psi"] > 0


def test_a_few_people_have_no_profile(db) -> None:  # type: ignore[no-untyped-def]
    put(db, [(n, "A", "mg", 1.0) for n in range(10)])
    found = profile.measure(db, 11)
    assert (found["subjects"], found["codes"], found["groups"]) == (None, {}, {})
    assert drift._codes(found, found)["psi"] is None


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(2, 20))
def test_pooled_groups_are_not_small_unless_all_are(counts: list[int], smallest: int) -> None:
    sizes = {f"group {number}": count for number, count in enumerate(counts)}
    found = profile._pooled(sizes, smallest)
    assert sum(found.values()) == sum(sizes.values())
    if len(found) > 1:
        assert min(found.values()) >= smallest


def test_the_training_snapshot_has_not_moved(trained: Path) -> None:
    found = md.drift(trained / "model", trained / "store")
    assert (found["codes"]["psi"], found["codes"]["new"], found["codes"]["lost"]) == (0, [], [])
    assert {row["psi"] for row in [*found["values"], *found["groups"].values()]} <= {0, None}
    assert found["subjects"]["now"] == found["subjects"]["then"]
    assert json.loads(json.dumps(found)) == found
    page = drift.page(found)
    assert "<script" not in page
    assert "http" not in page


def test_since_takes_only_what_came_later(trained: Path) -> None:
    found = md.drift(trained / "model", trained / "store", since="2100-01-01")
    assert found["subjects"]["now"] is None
    assert found["codes"]["psi"] is None
    with pytest.raises(md.ConfigError):
        md.drift(trained / "model", trained / "store", since="yesterday")


def test_the_inference_log_and_its_feedback_are_measured(own: Path) -> None:
    predictor = md.predictor(own / "model", own / "store")
    nobody = md.drift(own / "model", own / "store", against="inferences")
    assert nobody["feedback"]["calls"] == 0
    assert nobody["codes"]["psi"] is None
    for number, subject in enumerate(md.open(own / "store").subjects()[:14]):
        said = predictor.predict(subject, "2025-06-01")
        predictor.feedback(said.prediction_id, "outcome", 1 if number % 2 else 0)
        predictor.feedback(said.prediction_id, "accepted")
    found = md.drift(own / "model", own / "store", against="inferences")
    assert found["subjects"]["now"] == 14
    assert found["codes"]["psi"] is not None
    told = found["feedback"]
    assert (told["calls"], told["subjects"]) == (14, 14)
    assert told["told"] == {"accepted": 14, "overridden": 0, "outcome": 14}
    assert told["auroc"]["value"] is not None
    later = md.drift(own / "model", own / "store", against="inferences", since="2100-01-01")
    assert later["feedback"]["calls"] == 0
