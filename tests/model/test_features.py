"""Features: the same history gives the same row, whoever else is in the batch; the vocabulary is that of training."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.model import features
from mayo_data.model.features import History, Reading, Vocabulary
from mayo_data.model.plan import FeaturesPlan

AT = datetime(2024, 6, 1)
CODES = st.sampled_from(["A", "B", "SEX//F", "RACE//X", "Ä//ß"])
EVENTS = st.lists(st.tuples(CODES, st.integers(0, 4000)), max_size=30)


def table(events: list[tuple[str, int]], birth: int | None = None) -> pa.Table:
    rows = [(None if code.startswith(("SEX", "RACE")) else AT - timedelta(days=days), code) for code, days in events]
    rows += [(AT - timedelta(days=birth), "MEDS_BIRTH")] if birth is not None else []
    return pa.table(
        {"time": pa.array([time for time, _ in rows], pa.timestamp("us")), "code": [code for _, code in rows]},
        schema=pa.schema([("time", pa.timestamp("us")), ("code", pa.string())]),
    )


@given(st.lists(EVENTS, min_size=1, max_size=6))
def test_a_row_is_the_same_alone_and_among_others(all_events: list[list[tuple[str, int]]]) -> None:
    words = Vocabulary((30, 0), ("SEX//F",), ("A", "B", "Ä//ß"))
    weights = np.linspace(-1, 1, len(words.columns)) * math.pi
    reading = Reading()
    histories = [reading.history(n, AT, table(events, birth=9000)) for n, events in enumerate(all_events)]
    together = features.matrix(histories, reading, words).dot(weights)
    for events, found in zip(all_events, together, strict=True):
        fresh = Reading()  # as at a prediction: other numbers for the codes
        alone = features.matrix([fresh.history(0, AT, table(events, birth=9000))], fresh, words)
        assert alone.dot(weights)[0] == found  # to the last bit


@given(EVENTS)
def test_counts_are_those_of_the_window(events: list[tuple[str, int]]) -> None:
    reading = Reading()
    words = Vocabulary((30, 0), (), ("A",))
    rows = features.matrix([reading.history(1, AT, table(events))], reading, words)
    row = dict(zip([words.columns[place] for place in rows.indices], rows.data, strict=True))
    for name, most in (("A, 30 days", 30), ("A, ever", 10**9)):
        count = sum(code == "A" and days <= most for code, days in events)
        assert math.isclose(row.get(name, 0.0), math.log1p(count))
    assert row["age unknown"] == 1


def test_the_birth_is_an_age_and_no_code() -> None:
    reading = Reading()
    history = reading.history(1, AT, table([("A", 3)], birth=18263))
    assert round(history.age) == 50
    assert [reading.names[code] for code in history.codes] == ["A"]


def test_a_history_without_events_is_a_row() -> None:
    reading = Reading()
    rows = features.matrix([reading.history(1, AT, table([]))], reading, Vocabulary((0,), ("SEX//F",), ("A",)))
    assert rows.dot(np.ones(rows.width)).tolist() == [1.0]  # age unknown
    assert features.matrix([], reading, Vocabulary((0,), (), ())).dot(np.zeros(2)).tolist() == []


def test_rare_and_unwanted_codes_are_not_learned() -> None:
    reading = Reading()
    histories = [
        reading.history(subject, AT, table([("A", 1), ("RACE//X", 0), ("SEX//F", 0), *([("B", 2)] * 9)][: 4 + subject]))
        for subject in range(3)
    ]
    words = features.learn(histories, reading, FeaturesPlan(min_subjects=3, leave_out=("RACE",)))
    assert (words.facts, words.codes) == (("SEX//F",), ("A", "B"))
    words = features.learn(histories, reading, FeaturesPlan(min_subjects=3, max_codes=1))
    assert words.codes == ("A",)
    # nine events of one subject are one subject
    assert features.learn(histories[:1] * 9, reading, FeaturesPlan(min_subjects=2)).codes == ()


def test_events_after_the_prediction_count_as_now() -> None:
    """`cut` lets none through but what was already planned; a negative age of an event would be in no window."""
    reading = Reading()
    assert isinstance(history := reading.history(1, AT, table([("A", -3)])), History)
    assert history.days.tolist() == [0.0]
