from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data import schema
from mayo_data.dataset import cut
from mayo_data.dataset.cutting import known, known_sql, moment
from mayo_data.errors import ConfigError

EPOCH = datetime(2020, 1, 1)
SCHEMA = schema.table("events")


def table(*rows: dict[str, Any]) -> pa.Table:
    filled = {"subject_id": 1, "source_table": 0, "source_row": 1, "source_item": 0, "scrub_ref": 0, "code": "A"}
    return pa.Table.from_pylist([{**filled, **row} for row in rows], schema=SCHEMA)


hours = st.integers(-2000, 2000).map(lambda hour: EPOCH + timedelta(hours=hour))
events = st.fixed_dictionaries(
    {
        "time": st.none() | hours,
        "available_time": st.none() | hours,
        "end_time": st.none() | hours,
        "code": st.sampled_from(["A", "B", "MEDS_BIRTH"]),
        "numeric_value": st.none() | st.sampled_from([0.5, 2.0]),
        "text_value": st.none() | st.just("text"),
        "value_text": st.none() | st.just("0.50"),
        "status": st.none() | st.sampled_from(["active", "stopped"]),
        "encounter_id": st.none() | st.just(5),
        "time_precision": st.none() | st.sampled_from(["year", "month", "day", "second", "encounter"]),
    }
)
tables = st.lists(events, max_size=12).map(lambda rows: table(*rows))


@settings(deadline=None)
@given(tables, hours)
def test_nothing_of_the_future_is_in_it(found: pa.Table, at: datetime) -> None:
    past = cut(found, at)
    assert past.schema.equals(found.schema)
    for row, when in zip(past.to_pylist(), known(past).to_pylist(), strict=True):
        assert when is None or when <= at
        assert row["time"] is None or row["time"] <= at
        assert row["available_time"] is None or row["available_time"] <= at
        assert row["end_time"] is None or row["end_time"] <= at
        assert row["status"] is None or row["end_time"] is not None


@settings(deadline=None)
@given(tables, hours, hours)
def test_what_is_cut_later_can_be_cut_earlier_with_the_same_result(
    found: pa.Table, one: datetime, two: datetime
) -> None:
    early, late = min(one, two), max(one, two)
    assert cut(cut(found, late), early).equals(cut(found, early))


@settings(deadline=None)
@given(tables, hours, st.timedeltas(timedelta(seconds=1), timedelta(days=900)))
def test_what_happens_later_changes_nothing_of_it(found: pa.Table, at: datetime, later: timedelta) -> None:
    """Two worlds that are the same up to a time look the same at that time."""

    def other(row: dict[str, Any]) -> dict[str, Any] | None:
        going_on = row["end_time"] is not None and row["end_time"] > at
        if going_on:
            row["end_time"] += later
            if row["available_time"] is None or (row["time"] is not None and row["available_time"] <= row["time"]):
                row["numeric_value"], row["text_value"], row["value_text"] = 9.0, "another", "9"
        if row["end_time"] is None or going_on:
            row["status"] = "resolved" if row["time"] is not None else row["status"]
        return row

    dated = [row for row in found.to_pylist() if row["time"] is not None or row["available_time"] is None]
    # What repeats its own inexact end is known by that end: moving the end moves the fact.
    stable = [row for row in dated if row["end_time"] is None or row["available_time"] != row["end_time"]]
    happens = table({"time": at + later, "numeric_value": 1.0}, {"time": at, "available_time": at + later})
    here = table(*stable)
    there = table(*[row for row in map(other, here.to_pylist()) if row is not None])
    assert cut(pa.concat_tables([there, happens]), at).equals(cut(here, at))


@settings(max_examples=40, deadline=None)
@given(tables)
def test_sql_and_arrow_say_the_same_of_when_a_fact_was_known(found: pa.Table) -> None:
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("facts", found)
        said = [row[0] for row in db.execute(f"SELECT {known_sql()} FROM facts").fetchall()]
    assert said == known(found).to_pylist()


def test_a_result_is_seen_when_it_is_issued_not_when_the_blood_is_drawn() -> None:
    drawn, issued = EPOCH, EPOCH + timedelta(days=2)
    result = table({"time": drawn, "available_time": issued, "numeric_value": 4.0})
    assert cut(result, drawn + timedelta(days=1)).num_rows == 0
    assert cut(result, issued - timedelta(microseconds=1)).num_rows == 0
    assert cut(result, issued).column("numeric_value").to_pylist() == [4.0]


def test_a_stay_that_goes_on_has_no_end_and_no_status() -> None:
    stay = table({"time": EPOCH, "available_time": EPOCH, "end_time": EPOCH + timedelta(days=9), "status": "finished"})
    during = cut(stay, EPOCH + timedelta(days=3)).to_pylist()
    assert [(row["end_time"], row["status"]) for row in during] == [(None, None)]
    assert cut(stay, EPOCH + timedelta(days=9)).equals(stay)


def test_a_volume_over_a_day_is_known_when_the_day_is_over_unless_it_was_reported_before() -> None:
    over = {"time": EPOCH, "end_time": EPOCH + timedelta(days=1), "numeric_value": 1800.0, "value_text": "1800"}
    silent = table({**over, "available_time": EPOCH})
    reported = table({**over, "available_time": EPOCH + timedelta(hours=1)})
    noon = EPOCH + timedelta(hours=12)
    assert cut(silent, noon).column("numeric_value").to_pylist() == [None]
    assert cut(silent, noon).column("value_text").to_pylist() == [None]
    assert cut(reported, noon).column("numeric_value").to_pylist() == [1800.0]
    assert cut(silent, EPOCH + timedelta(days=1)).column("numeric_value").to_pylist() == [1800.0]


def test_a_prescription_that_was_stopped_later_does_not_show_it() -> None:
    order = table({"time": EPOCH, "available_time": EPOCH, "status": "stopped"})
    assert cut(order, EPOCH + timedelta(days=1)).column("status").to_pylist() == [None]


def test_a_plan_for_later_is_no_past_even_where_it_is_known() -> None:
    plan = table({"time": EPOCH + timedelta(days=30), "available_time": EPOCH, "code": "APPOINTMENT//X//y"})
    assert cut(plan, EPOCH + timedelta(days=1)).num_rows == 0


def test_attributes_of_the_subject_stay_and_undated_facts_do_not() -> None:
    rows = table(
        {"time": None, "code": "SEX//female"},
        {"time": None, "code": "GOAL_ACHIEVEMENT//X//achieved", "status": "completed"},
        {"time": None, "code": "NOTE//X//y", "encounter_id": 4},
        {"time": None, "code": "STATE//MN", "available_time": EPOCH},
    )
    assert cut(rows, EPOCH - timedelta(days=1)).column("code").to_pylist() == ["SEX//female"]
    assert cut(rows, EPOCH).column("code").to_pylist() == ["SEX//female", "STATE//MN"]


@pytest.mark.parametrize(("precision", "days"), [("day", 1), ("month", 31), ("year", 366)])
def test_an_inexact_fact_is_known_when_its_day_month_or_year_is_over(precision: str, days: int) -> None:
    fact = table({"time": EPOCH, "available_time": EPOCH, "time_precision": precision})
    end = EPOCH + timedelta(days=days) - timedelta(microseconds=1)
    assert cut(fact, end - timedelta(microseconds=1)).num_rows == 0
    assert cut(fact, end).num_rows == 1


def test_an_inexact_fact_that_was_recorded_exactly_is_known_then() -> None:
    fact = table({"time": EPOCH, "available_time": EPOCH + timedelta(days=40), "time_precision": "year"})
    assert cut(fact, EPOCH + timedelta(days=40)).num_rows == 1


def test_a_birth_is_known_at_once() -> None:
    birth = table({"time": EPOCH, "available_time": EPOCH, "time_precision": "year", "code": "MEDS_BIRTH"})
    assert cut(birth, EPOCH).num_rows == 1


def test_five_columns_of_meds_are_enough() -> None:
    rows = table({"time": EPOCH}, {"time": EPOCH + timedelta(days=2)}, {"time": None})
    plain = rows.select(["subject_id", "time", "code", "numeric_value", "text_value"])
    assert pc.is_null(cut(plain, EPOCH).column("time")).to_pylist() == [False, True]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2020-01-01", datetime(2020, 1, 1)),
        ("2020-01-01T01:00:00+01:00", datetime(2020, 1, 1)),
        (datetime(2020, 1, 1).date(), datetime(2020, 1, 1)),
    ],
)
def test_times_are_utc(given: Any, meant: datetime) -> None:
    assert moment(given) == meant


@pytest.mark.parametrize("given", ["tomorrow", "", 5, None, "2020-13-01", "9999-12-31T23:59:59-10:00", pd.NaT])
def test_what_is_no_time_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="this is no time"):
        moment(given)
