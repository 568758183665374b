from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi import fhir_dates

days = st.dates(date(1000, 1, 1), date(9000, 1, 1))
offsets = st.integers(-365, 365)
tails = st.sampled_from(
    ["", "T10:11", "T23:59:60Z", "T10:11:12", "T10:11:12.5Z", "T00:00:00+14:00", "T10:11:12.123456-05:30"]
)


@given(days, tails, offsets)
def test_a_date_moves_by_whole_days_and_keeps_its_form(day: date, tail: str, offset: int) -> None:
    moved = fhir_dates.shift(day.isoformat() + tail, offset)
    assert moved == (day + timedelta(days=offset)).isoformat() + tail
    assert fhir_dates.shift(moved, -offset) == day.isoformat() + tail
    assert fhir_dates.year(day.isoformat() + tail) == f"{day.year:04d}"
    assert fhir_dates.keep(day.isoformat() + tail, offset) == day.isoformat() + tail


@given(
    st.datetimes(datetime(1100, 1, 1), datetime(8000, 1, 1)),
    st.datetimes(datetime(1100, 1, 1), datetime(8000, 1, 1)),
    offsets,
)
def test_intervals_are_kept_exactly(one: datetime, other: datetime, offset: int) -> None:
    moved = [fhir_dates.shift(moment.isoformat(), offset) for moment in (one, other)]
    assert datetime.fromisoformat(moved[1] or "") - datetime.fromisoformat(moved[0] or "") == other - one


@given(days, offsets)
def test_partial_dates_keep_their_precision(day: date, offset: int) -> None:
    month = fhir_dates.shift(day.isoformat()[:7], offset)
    assert month == (day.replace(day=1) + timedelta(days=offset)).isoformat()[:7]
    assert (
        fhir_dates.shift(day.isoformat()[:4], offset) == (date(day.year, 1, 1) + timedelta(days=offset)).isoformat()[:4]
    )


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2019-02-30", "2019-13", "2019-1-1", "0000", "0000-01-01", "10000-01-01", "20190101", "2019-01-01 10:00",
     "2019-01-01T25:00:00Z", "2019-01-01T10", "2019-01-01T10:00:00+15:00", "2019-01-01T10:00:00Zx", "2019-01-01\n", "19²0",
     "2019T10:00:00", "2019-01T10:00", " 2019-01-01", "2019-01-01T10:00:00Z Jane"],
)  # fmt: skip
def test_what_is_no_date_is_no_date(text: str) -> None:
    assert fhir_dates.shift(text, 1) is None
    assert fhir_dates.year(text) is None
    assert fhir_dates.keep(text) is None


def test_a_date_that_would_leave_the_calendar_is_none() -> None:
    assert fhir_dates.shift("9999-12-31", 1) is None
    assert fhir_dates.shift("0001-01-01", -1) is None
    assert fhir_dates.shift("9999", 366) is None


@given(st.text(max_size=30) | st.from_regex(r"\d{4}-\d\d-\d\d(T.*)?", fullmatch=True), offsets)
def test_nothing_else_ever_passes(text: str, offset: int) -> None:
    for method in ("shift", "year", "keep"):
        moved = fhir_dates.method(method)(text, offset)
        assert moved is None or moved[:4].isdigit()
    assert fhir_dates.age_at(text, "2020-01-01") is None or text[:4].isdecimal()


@given(days, days)
def test_age_is_that_of_the_calendar(birth: date, at: date) -> None:
    wanted = at.year - birth.year - ((at.month, at.day) < (birth.month, birth.day))
    assert fhir_dates.age_at(birth.isoformat(), at.isoformat() + "T10:00:00Z") == wanted
    assert fhir_dates.age_at(birth.isoformat()[:4], at.isoformat()) == at.year - birth.year


@pytest.mark.parametrize("birth", ["", "soon", "19²0-01-01", "1x", "⑲⑳"])
def test_an_age_that_is_unknown_is_none(birth: str) -> None:
    assert fhir_dates.age_at(birth, "2020-01-01") is None


def test_the_caches_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fhir_dates, "_MOST", 10)
    for number in range(200):
        assert fhir_dates.shift(f"{1500 + number}-01-01T00:00:00.{number:03d}Z", 3)
    assert max(len(fhir_dates._ordinal), len(fhir_dates._iso), len(fhir_dates._tails)) <= 12
