"""Facts that two sources state: found, one to one, whatever the order."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data import schema
from mayo_data.timeline.same import same

NOON = datetime(2020, 5, 6, 12)
EVENTS = schema.table("events")


def event(table: int, row: int, **more: Any) -> dict[str, Any]:
    plain = {
        "subject_id": 1, "time": NOON, "code": "OBSERVATION//LOINC//718-7", "numeric_value": 1.5, "time_precision": "second",
        "source_table": table, "source_row": row, "source_item": 0, "scrub_ref": 0,
    }  # fmt: skip
    return dict.fromkeys(EVENTS.names) | plain | more


def pairs(*events: dict[str, Any]) -> list[tuple[str, str]]:
    found = same(pa.Table.from_pylist(list(events), schema=EVENTS), {9}).to_pylist()
    return sorted((f"{row['source_table']}.{row['source_row']}", row["same_as"]) for row in found)


def test_the_same_clock_and_number_is_the_same_fact() -> None:
    assert pairs(event(0, 1), event(9, 1)) == [("0.1", "0.1.0"), ("9.1", "0.1.0")]


def test_the_clock_on_the_wall_counts_not_the_zone() -> None:
    there = event(0, 1, time=NOON + timedelta(hours=5), utc_offset=-300)
    assert len(pairs(there, event(9, 1))) == 2


def test_another_subject_number_code_or_day_is_another_fact() -> None:
    for other in (
        {"subject_id": 2}, {"numeric_value": 1.6}, {"code": "OBSERVATION//LOINC//718-8"}, {"time": NOON + timedelta(days=2)}
    ):  # fmt: skip
        assert pairs(event(0, 1), event(9, 1, **other)) == []


def test_the_number_of_what_is_no_observation_does_not_count() -> None:
    code = {"code": "MEDICATION_REQUEST//RXNORM//1"}
    assert len(pairs(event(0, 1, **code), event(9, 1, numeric_value=30.0, **code))) == 2


def test_a_coarse_date_agrees_with_any_time_in_it() -> None:
    year = event(0, 1, time=datetime(2020, 1, 1), time_precision="year")
    assert len(pairs(year, event(9, 1, time=datetime(2020, 11, 5), time_precision="day"))) == 2
    assert pairs(year, event(9, 1, time=datetime(2021, 1, 1), time_precision="day")) == []


def test_two_of_one_source_never_meet() -> None:
    assert pairs(event(0, 1), event(0, 2)) == []
    assert pairs(event(9, 1), event(9, 2)) == []


def test_static_facts_meet() -> None:
    sex = {"code": "SEX//female", "time": None, "time_precision": None, "numeric_value": None}
    assert len(pairs(event(0, 1, **sex), event(9, 1, **sex))) == 2


FACTS = st.lists(
    st.tuples(
        st.sampled_from([0, 9]), st.integers(1, 2), st.integers(0, 3), st.sampled_from([None, 1.0, 2.0]), st.booleans()
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(FACTS, st.randoms())
def test_a_fact_meets_one_of_the_other_source_in_any_order(facts: list[Any], dice: Any) -> None:
    made = [
        event(table, row, subject_id=subject, time=NOON + timedelta(hours=hour), numeric_value=value,
              time_precision="day" if day else "second")
        for row, (table, subject, hour, value, day) in enumerate(facts, 1)
    ]  # fmt: skip
    found = pairs(*made)
    rows = {f"{one['source_table']}.{one['source_row']}": one for one in made}
    groups: dict[str, list[str]] = {}
    for row, name in found:
        groups.setdefault(name, []).append(row)
    for members in groups.values():
        assert sorted(rows[member]["source_table"] for member in members) == [0, 9]
        assert len({rows[member]["subject_id"] for member in members}) == 1
    assert len({row for row, _ in found}) == len(found)
    shuffled = made[:]
    dice.shuffle(shuffled)
    assert len(pairs(*shuffled)) == len(found)
