"""Who is covered: counts that add up, and small groups that nobody can work out."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import mayo_data as md
from mayo_data.errors import StoreError
from mayo_data.quality import coverage


@pytest.fixture(scope="module")
def found(synthetic_store: Path):
    return md.coverage(synthetic_store, smallest=1)


def test_every_dimension_has_everybody_once(found, synthetic_store: Path) -> None:
    whole = found["whole"]
    with md.connect(synthetic_store) as db:
        subjects, events, notes = db.sql(
            "select (select count(*) from subject), (select count(*) from event), (select count(*) from note)"
        ).fetchall()[0]
    assert (whole["subjects"], whole["events"], whole["notes"]) == (subjects, events, notes)
    assert list(found["dimensions"]) == list(coverage.DIMENSIONS)
    for groups in found["dimensions"].values():
        for name in ("subjects", "events", "notes"):
            assert sum(group[name] for group in groups) == whole[name]
        for what in coverage.MISSING:
            assert sum(group["missing"][what] for group in groups) == whole["missing"][what]


def test_what_is_missing_is_what_the_views_lack(found, synthetic_store: Path) -> None:
    with md.connect(synthetic_store) as db:
        for what, view in (("encounter", "encounter"), ("medication", "medication"), ("note", "note")):
            without = db.sql(
                f"select count(*) from subject where subject_id not in (select subject_id from {view})"
            ).fetchall()[0][0]
            assert found["whole"]["missing"][what] == without


def test_a_small_store_says_nothing(synthetic_store: Path) -> None:
    found = md.coverage(synthetic_store)  # 8 subjects are a small cell themselves
    assert found["whole"]["subjects"] is None
    for groups in found["dimensions"].values():
        for group in groups:
            assert {group[name] for name in ("subjects", "events", "notes", "years")} == {None}
            assert set(group["missing"].values()) <= {None, 0}


def test_no_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        md.coverage(tmp_path)


def store_of(groups: dict[str, int]) -> duckdb.DuckDBPyConnection:
    """The views that are asked, with so many subjects of each language; every fifth has an encounter."""
    db = duckdb.connect()
    db.execute("""
        CREATE TABLE subject (subject_id BIGINT, birth_time TIMESTAMP, first_time TIMESTAMP, last_time TIMESTAMP,
            sex VARCHAR, race VARCHAR, ethnicity VARCHAR, zip3 VARCHAR, n_events BIGINT);
        CREATE TABLE code (code VARCHAR, kind VARCHAR, vocabulary VARCHAR, concept_code VARCHAR, description VARCHAR);
        CREATE TABLE event (subject_id BIGINT, code VARCHAR, text_value VARCHAR);
        CREATE TABLE measurement (subject_id BIGINT, code VARCHAR, value FLOAT);
        CREATE TABLE encounter (subject_id BIGINT); CREATE TABLE medication (subject_id BIGINT);
        CREATE TABLE condition (subject_id BIGINT); CREATE TABLE note (subject_id BIGINT);
        INSERT INTO code VALUES ('OBS//HR', 'OBSERVATION', 'LOINC', '8867-4', 'heart rate'),
            ('OBS//NA', 'OBSERVATION', 'LOINC', '2951-2', 'sodium'),
            ('RACE//W', 'RACE', 'CDCREC', '2106-3', 'somebody else''s word');
    """)
    number = 0
    for language, many in groups.items():
        db.execute("INSERT INTO code VALUES (?, 'LANGUAGE', NULL, ?, ?)", [language, language, language])
        for _ in range(many):
            number += 1
            db.execute("INSERT INTO subject VALUES (?, '1980-01-01', '2000-01-01', '2010-01-01', 'female', 'x', NULL, "
                       "'559', 4)", [number])  # fmt: skip
            db.execute("INSERT INTO event VALUES (?, ?, NULL), (?, 'RACE//W', NULL)", [number, language, number])
            db.execute("INSERT INTO measurement VALUES (?, 'OBS//HR', 61)", [number])
            if number % 5 == 0:
                db.execute("INSERT INTO encounter VALUES (?)", [number])
    return db


def test_a_lone_small_group_takes_another_along() -> None:
    with store_of({"en": 60, "es": 20, "so": 4}) as db:
        found = coverage.measure(db)
    languages = {group["name"]: group["subjects"] for group in found["dimensions"]["language"]}
    assert languages == {"en": 60, "es": None, "so": None}
    assert found["whole"]["subjects"] == 84
    assert [group["name"] for group in found["dimensions"]["language"]] == ["en", "es", "so"]


def test_vital_signs_are_no_labs_and_race_is_named_by_its_code() -> None:
    with store_of({"en": 30}) as db:
        found = coverage.measure(db)
    assert found["whole"]["missing"]["vital"] == 0
    assert found["whole"]["missing"]["lab"] == 30
    assert found["whole"]["missing"]["encounter"] is None  # 24 of 30 say that 6 have one
    assert [group["name"] for group in found["dimensions"]["race"]] == ["White"]
    assert found["dimensions"]["ethnicity"][0]["name"] == coverage.UNKNOWN
    assert found["dimensions"]["age_band"][0]["name"] == "30–39"
    assert found["dimensions"]["sex"][0]["years"][1] == pytest.approx(10, abs=0.02)
