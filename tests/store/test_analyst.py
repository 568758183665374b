"""The analyst's views and macros: what they show, and that they are right beside a plain way to the same answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data import schema
from mayo_data.store import analyst, catalog, write

DAY = datetime(2020, 3, 1, 8)
ONE, OTHER, THIRD = 8, 13, 2**62 + 12  # in the files 0, 1 and 0


def store(folder: Path, made: Any, rows: list[dict[str, Any]], sources: int = 1, same: Any = ()) -> Path:
    """Seal a draft with these events, a file for the even subjects and one for the odd ones."""
    rows = [{"source_table": 0, "source_item": 0, "scrub_ref": 1, **row} for row in rows]
    for number, row in enumerate(rows):
        row.setdefault("source_row", number + 1)
    formats = ["ndjson", "omop.parquet"][:sources]
    about = {"name_key": "k", "sha256": "s", "bytes": 1, "rows": 9, "run_id": "r1"}
    codes = [{"code": code, "description": f"What {code} is"} for code in sorted({row["code"] for row in rows})]
    tables = {
        "metadata/codes": ("codes", codes),
        "metadata/subject_splits": (
            "subject_splits", [{"subject_id": one, "split": "train"} for one in sorted({row["subject_id"] for row in rows})],
        ),
        "lineage/sources": ("sources", [{"source_table": n, "format": form, **about} for n, form in enumerate(formats)]),
        "lineage/same_facts/0000": ("same_facts", list(same)),
    }  # fmt: skip
    for number in (0, 1):
        mine = [row for row in rows if row["subject_id"] % 2 == number]
        mine.sort(key=lambda row: (row["subject_id"], row.get("time") or datetime.min, row["source_row"]))
        tables[f"data/{number:04d}"] = ("events", mine)
    for path, (name, body) in tables.items():
        write.write_table(made.table(name, body), folder / f"{path}.parquet", schema_name=name)
    made.seal(folder)
    return folder


def opened(folder: Path) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect(str(folder / catalog.NAME), read_only=True)
    db.execute(f"SET file_search_path = '{folder}'")
    return db


def event(subject: int, code: str, day: float | None = 0, **more: Any) -> dict[str, Any]:
    return {"subject_id": subject, "code": code, "time": None if day is None else DAY + timedelta(days=day), **more}


HISTORY = [
    event(ONE, "SEX//female", None),
    event(ONE, "MEDS_BIRTH", -20_000),
    event(ONE, "ENCOUNTER//ACT//IMP", 0, encounter_id=5, end_time=DAY + timedelta(days=3), status="finished"),
    event(ONE, "ENCOUNTER_TYPE//SNOMED//1", 0, encounter_id=5),
    event(ONE, "DISCHARGE_DISPOSITION//HL7//home", 3, encounter_id=5),
    event(ONE, "ENCOUNTER_CANCELLED//ACT//AMB", 9, encounter_id=6),
    event(ONE, "CONDITION//SNOMED//44054006", 1, status="active"),
    event(ONE, "CONDITION_REFUTED//SNOMED//22298006", 1),
    event(ONE, "CONDITION//MASKED//a//b", 400),
    event(ONE, "MEDICATION_REQUEST//RXNORM//860975", 2, numeric_value=500.0, unit="mg", text_value="twice daily"),
    event(ONE, "MEDICATION_REQUEST_NOTE//RXNORM//860975", 2, text_value="words"),
    event(ONE, "MEDICATION_DISPENSE//RXNORM//860975", 4, numeric_value=60.0, source_row=77),
    event(ONE, "MEDICATION_DISPENSE_DAYS_SUPPLY//RXNORM//860975", 4, numeric_value=30.0, source_row=77, source_item=1),
    event(ONE, "IMMUNIZATION//CVX//140", 5),
    event(ONE, "IMMUNIZATION_NOT_DONE//CVX//140", 6),
    event(ONE, "OBSERVATION//LOINC//4548-4", 2, numeric_value=7.5, unit="%", value_text="7.50"),
    event(ONE, "OBSERVATION//LOINC//72166-2", 2, text_value="SNOMED//77176002//Smoker"),
    event(ONE, "OBSERVATION_INTERPRETATION//LOINC//4548-4", 2, text_value="H"),
    event(ONE, "PROCEDURE//SNOMED//73761001", 3),
    event(ONE, "NOTE//LOINC//11506-3", 3, text_value="Seen in clinic."),
    event(ONE, "NOTE//LOINC//11506-3", 3),
    event(ONE, "DIAGNOSTIC_REPORT_NOTE//LOINC//58410-2", 3, text_value="Normal."),
    event(OTHER, "CONDITION//SNOMED//44054006", 10),
    event(OTHER, "OBSERVATION//LOINC//4548-4", 50, numeric_value=8.0),
    event(THIRD, "OBSERVATION//LOINC//4548-4", -5, numeric_value=5.0),
]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory, made: Any) -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(store(tmp_path_factory.mktemp("analyst"), made, HISTORY)) as found:
        yield found


def rows(db: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = db.sql(query).fetchall()
    return found


# ── views ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_typed_view_has_what_happened_and_nothing_else(db: duckdb.DuckDBPyConnection) -> None:
    assert rows(db, "SELECT subject_id, vocabulary, concept_code, status FROM condition ORDER BY start_time") == [
        (ONE, "SNOMED", "44054006", "active"),
        (OTHER, "SNOMED", "44054006", None),
        (ONE, "MASKED", "a//b", None),
    ]
    assert rows(db, "SELECT kind, value, unit, days_supply, instruction FROM medication ORDER BY start_time") == [
        ("MEDICATION_REQUEST", 500.0, "mg", None, "twice daily"),
        ("MEDICATION_DISPENSE", 60.0, None, 30.0, None),
        ("IMMUNIZATION", None, None, None, None),
    ]
    assert rows(
        db, f"SELECT concept_code, value, value_text, text FROM measurement WHERE subject_id = {ONE} ORDER BY code"
    ) == [
        ("4548-4", 7.5, "7.50", None),
        ("72166-2", None, None, "SNOMED//77176002//Smoker"),
    ]
    assert rows(db, "SELECT description FROM procedure") == [("What PROCEDURE//SNOMED//73761001 is",)]
    assert rows(db, "SELECT text FROM note ORDER BY text") == [("Normal.",), ("Seen in clinic.",)]
    assert rows(db, "SELECT encounter_id, class, types, discharged_to, end_time - start_time, status FROM encounter") == [
        (5, "IMP", ["What ENCOUNTER_TYPE//SNOMED//1 is"], "What DISCHARGE_DISPOSITION//HL7//home is", timedelta(days=3), "finished")
    ]  # fmt: skip


def test_a_code_is_taken_apart_and_counted(db: duckdb.DuckDBPyConnection) -> None:
    wanted = "('SEX//female', 'MEDS_BIRTH', 'CONDITION//MASKED//a//b', 'OBSERVATION//LOINC//4548-4')"
    found = rows(
        db,
        f"SELECT kind, vocabulary, concept_code, n_events, n_subjects FROM code WHERE code IN {wanted} ORDER BY code",
    )
    assert found == [
        ("CONDITION", "MASKED", "a//b", 1, 1),
        ("MEDS_BIRTH", None, None, 1, 1),
        ("OBSERVATION", "LOINC", "4548-4", 3, 3),
        ("SEX", None, "female", 1, 1),
    ]
    assert rows(db, "SELECT sum(n_events) FROM code") == rows(db, "SELECT count(*) FROM event")


def test_every_event_has_a_lineage(db: duckdb.DuckDBPyConnection) -> None:
    assert rows(db, "SELECT count(*), count(DISTINCT event_id), min(format) FROM lineage") == [(25, 25, "ndjson")]


def test_what_two_exports_state_is_shown_once_and_names_both(tmp_path: Path, made: Any) -> None:
    twice = [event(ONE, "CONDITION//SNOMED//1", 1, source_table=n, source_row=n + 1) for n in (0, 1)]
    alone = event(ONE, "CONDITION//SNOMED//2", 2, source_table=1, source_row=9)
    same = [{"source_table": n, "source_row": n + 1, "source_item": 0, "same_as": "0.1.0"} for n in (0, 1)]
    with opened(store(tmp_path, made, [*twice, alone, event(OTHER, "X", 0)], sources=2, same=same)) as db:
        once = [("0.1.0", "fhir, omop"), ("1.9.0", "omop")]
        assert rows(db, "SELECT event_id, stated_by FROM condition ORDER BY event_id") == once
        assert rows(db, f"SELECT event_id, stated_by FROM timeline({ONE}) ORDER BY event_id") == once
        assert rows(db, "SELECT source, same_as, stated_first FROM fact WHERE code LIKE 'C%' ORDER BY event_id") == [
            ("fhir", "0.1.0", True), ("omop", "0.1.0", False), ("omop", "1.9.0", True),
        ]  # fmt: skip


def test_the_columns_of_an_event_say_the_same_in_every_view(db: duckdb.DuckDBPyConnection) -> None:
    said = dict(rows(db, "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'measurement'"))
    assert said["encounter_id"] == schema.doc(schema.table("events").field("encounter_id"))


# ── macros ────────────────────────────────────────────────────────────────────────────────────────


def test_every_macro_is_explained_and_its_example_runs(synthetic_store: Path) -> None:
    with catalog.connect(synthetic_store) as db:
        said = dict(rows(db, "SELECT function_name, comment FROM duckdb_functions() WHERE NOT internal"))
        assert said == {macro.name: macro.doc for macro in analyst.macros()}
        assert rows(db, "FROM macro") == [tuple(macro) for macro in analyst.macros()]
        for macro in analyst.macros():
            assert macro.name in macro.example
            assert rows(db, macro.example), macro.example


def test_a_timeline_reads_one_file_where_the_files_are_shards(synthetic_store: Path) -> None:
    with catalog.connect(synthetic_store) as db:
        for (subject,) in rows(db, "SELECT subject_id FROM subject"):
            plan = str(rows(db, f"EXPLAIN ANALYZE FROM timeline({subject})"))
            assert "Scanning Files: 1/4" in plan
            asked = f"SELECT list(event_id ORDER BY event_id) FROM event WHERE subject_id = {subject}"
            assert rows(db, f"SELECT list(event_id ORDER BY event_id) FROM timeline({subject})") == rows(db, asked)


def test_a_timeline_takes_any_subject_that_sql_can_name(db: duckdb.DuckDBPyConnection) -> None:
    mine = [(3,)]
    counted = "SELECT count(*) FROM timeline({})"
    assert rows(db, counted.format(f"(SELECT {OTHER} + 0)")) == [(2,)]
    assert db.execute(counted.format("?"), [OTHER]).fetchall() == [(2,)]
    assert rows(db, counted.format(f"'{OTHER}'")) == [(2,)]
    for nobody in ("NULL", "-1", "0", 2**63 - 1):
        assert rows(db, counted.format(nobody)) == [(0,)]
    lateral = "SELECT count(DISTINCT s.subject_id) FROM subject s, timeline(s.subject_id) t WHERE t.code LIKE 'OBS%'"
    assert rows(db, lateral) == mine


def test_files_that_are_no_shards_are_all_read(tmp_path: Path, made: Any) -> None:
    made.draft(tmp_path)  # an even subject lies in the odd file
    made.seal(tmp_path)
    with opened(tmp_path) as db:
        assert [rows(db, f"SELECT count(*) FROM timeline({one})")[0][0] for one in made.subjects] == [8, 8, 8]


def test_first_and_last(db: duckdb.DuckDBPyConnection) -> None:
    assert rows(db, f"SELECT code FROM first_event('CONDITION//.*') WHERE subject_id = {ONE}") == [
        ("CONDITION//SNOMED//44054006",)
    ]
    assert rows(db, f"SELECT code FROM last_event('CONDITION//.*') WHERE subject_id = {ONE}") == [
        ("CONDITION//MASKED//a//b",)
    ]
    assert rows(db, "FROM first_event('CONDITION')") == []  # the whole code must match
    assert rows(db, "FROM first_event('SEX//.*')") == []  # has no time
    assert rows(db, "SELECT count(*) FROM first_event('OBSERVATION//LOINC//(4548-4|72166-2)')") == [(3,)]


def test_a_cohort_is_observed_before_and_after(db: duckdb.DuckDBPyConnection) -> None:
    diabetes = "'CONDITION//SNOMED//44054006'"
    assert len(rows(db, f"FROM cohort({diabetes})")) == 2
    assert rows(db, f"SELECT subject_id FROM cohort({diabetes}, observed_after := 50)") == [(ONE,)]
    assert rows(db, f"SELECT subject_id FROM cohort({diabetes}, observed_before := 1)") == [(ONE,)]
    assert rows(db, f"SELECT subject_id FROM cohort({diabetes}, observed_before := 2)") == []


def test_age_is_counted_in_completed_years(db: duckdb.DuckDBPyConnection) -> None:
    # an unqualified subject_id must mean the outer one
    found = rows(
        db,
        "SELECT subject_id, age_at(subject_id, time) FROM event WHERE starts_with(code, 'CONDITION//') ORDER BY time",
    )
    assert found == [(ONE, 54), (OTHER, None), (ONE, 55)]
    born = DAY - timedelta(days=20_000)
    for days, age in ((-1, 53), (0, 54)):
        birthday = born.replace(year=born.year + 54) + timedelta(days=days)
        assert rows(db, f"SELECT age_at({ONE}, TIMESTAMP '{birthday}')") == [(age,)]


def test_had_before_looks_back_only(db: duckdb.DuckDBPyConnection) -> None:
    asked = "SELECT had_before({}, TIMESTAMP '{}', 'CONDITION//SNOMED//.*'{})"
    for days, more, answer in (
        (0, "", False),
        (1, "", False),
        (2, "", True),
        (9, ", 8", True),
        (10, ", days := 8", False),
    ):
        assert rows(db, asked.format(ONE, DAY + timedelta(days=days), more)) == [(answer,)], (days, more)
    assert rows(db, asked.format(THIRD, DAY + timedelta(days=99), "")) == [(False,)]
    outer = "SELECT subject_id FROM subject WHERE had_before(subject_id, last_time, 'CONDITION//SNOMED//44054006')"
    assert sorted(rows(db, outer)) == [(ONE,), (OTHER,)]


def test_words_find_codes_and_are_no_pattern(db: duckdb.DuckDBPyConnection) -> None:
    assert rows(db, "SELECT code FROM find_code('what condition//snomed')") == [("CONDITION//SNOMED//44054006",)]
    assert rows(db, "FROM find_code('%')") == []


spans = st.lists(
    st.tuples(st.sampled_from([ONE, OTHER, THIRD]), st.integers(0, 60), st.one_of(st.none(), st.integers(-3, 20))),
    max_size=14,
)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=spans, gap=st.integers(0, 12))
def test_eras_and_windows_agree_with_the_plain_way(
    tmp_path_factory: pytest.TempPathFactory, made: Any, found: list[tuple[int, int, int | None]], gap: int
) -> None:
    history = [
        event(who, "MEDICATION//RXNORM//1", day, end_time=None if long is None else DAY + timedelta(days=day + long))
        for who, day, long in found
    ]
    history += [event(ONE, "CONDITION//SNOMED//1", 30), event(ONE, "MEDICATION_NOTE//RXNORM//1", 3)]
    eras: dict[int, list[list[int]]] = defaultdict(list)
    for who, day, long in sorted(found, key=lambda one: (one[0], one[1], max(one[2] or 0, 0))):
        end = day + max(long or 0, 0)
        if eras[who] and day <= eras[who][-1][1] + gap:
            eras[who][-1][1] = max(eras[who][-1][1], end)
            eras[who][-1][2] += 1
        else:
            eras[who].append([day, end, 1])
    with opened(store(tmp_path_factory.mktemp("eras"), made, history)) as db:
        days = [f"date_diff('day', TIMESTAMP '{DAY}', {column})" for column in ("start_time", "end_time")]
        answer = rows(
            db,
            f"SELECT subject_id, {days[0]}, {days[1]}, n_events FROM era('MEDICATION//.*', gap := {gap}) ORDER BY ALL",
        )
        assert answer == sorted((who, *era) for who, mine in eras.items() for era in mine)
        near = rows(
            db,
            "SELECT count(*) FROM cohort('CONDITION//.*') c JOIN medication m USING (subject_id) "
            f"WHERE within(m.start_time, c.index_time, {gap}, 5)",
        )
        assert near == [(sum(who == ONE and 30 - gap <= day <= 35 for who, day, _ in found),)]
