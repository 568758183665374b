"""OMOP in, from every form that an export has, with every fault that it may have; two sources, one timeline."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import mayo_data as md
from mayo_data import config as configs
from mayo_data.config import PipelineConfig
from mayo_data.errors import ConfigError, GateError, LeakError, SourceError
from mayo_data.keys import Secret
from mayo_data.omop.model import tables
from mayo_data.pipeline import RunReport, omop_tasks, run
from mayo_data.store import validate

KEY = Secret(bytes(range(32)))
SYSTEMS = tuple(f"urn:oid:2.25.{site}0001" for site in range(1, 5))
Rows = dict[str, list[dict[str, Any]]]


def omop(**phi: Any) -> PipelineConfig:
    shipped = configs.load(Path("omop.toml"))
    return msgspec.structs.replace(shipped, phi=msgspec.structs.replace(shipped.phi, as_of="2026-12-31", **phi))


def small() -> Rows:
    """Two people, a visit, a measurement, a condition without a known concept."""
    return {
        "person": [
            {"person_id": "1", "gender_concept_id": "8532", "year_of_birth": "1970", "month_of_birth": "3",
             "day_of_birth": "4", "race_concept_id": "8527", "ethnicity_concept_id": "0", "person_source_value": "MRN-88412077",
             "gender_source_value": "F", "race_source_value": "white", "ethnicity_source_value": "polish"},
            {"person_id": "2", "gender_concept_id": "0", "year_of_birth": "1901", "month_of_birth": "", "day_of_birth": "",
             "race_concept_id": "0", "ethnicity_concept_id": "0", "person_source_value": "MRN-11223344",
             "gender_source_value": "", "race_source_value": "", "ethnicity_source_value": ""},
        ],
        "condition_occurrence": [
            {"condition_occurrence_id": "10", "person_id": "1", "condition_concept_id": "0", "condition_start_date": "2020-01-05",
             "condition_type_concept_id": "32817", "condition_source_value": "LOCAL-ASTHMA"},
            {"condition_occurrence_id": "11", "person_id": "1", "condition_concept_id": "201826",
             "condition_start_date": "2020-01-06", "condition_type_concept_id": "32817", "condition_source_value": ""},
        ],
        "measurement": [
            {"measurement_id": "-9223372036854775000", "person_id": "1", "measurement_concept_id": "3000963",
             "measurement_date": "2020-01-05", "measurement_datetime": "2020-01-05 10:11:12", "value_as_number": "13.20",
             "unit_source_value": "g/dL", "measurement_type_concept_id": "32817", "visit_occurrence_id": "7"},
        ],
        "visit_occurrence": [
            {"visit_occurrence_id": "7", "person_id": "1", "visit_concept_id": "9201", "visit_start_date": "2020-01-05",
             "visit_end_date": "2020-01-09", "visit_type_concept_id": "32817", "visit_source_value": "275010896"},
        ],
        "concept": [
            {"concept_id": "3000963", "concept_name": "Hemoglobin", "vocabulary_id": "LOINC", "concept_code": "718-7"},
        ],
    }  # fmt: skip


def write(folder: Path, rows: Rows, *, delimiter: str = ",", upper: bool = False, packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for table, lines in rows.items():
        names = list(dict.fromkeys(name for line in lines for name in line))
        text = [delimiter.join(name.upper() if upper else name for name in names)]
        text += [delimiter.join(str(line.get(name, "")) for name in names) for line in lines]
        body = ("\n".join(text) + "\n").encode()
        name = f"{table.upper() if upper else table}.csv"
        (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(body) if packed else body)
    return folder


def go(source: Any, root: Path, config: PipelineConfig | None = None, **more: Any) -> RunReport:
    return run(config or omop(), source, root / "store", KEY, workers=1, **more)


def events(root: Path) -> list[dict[str, Any]]:
    found = ds.dataset(root / "store" / "snapshots" / "000001" / "data").to_table()
    return sorted(found.to_pylist(), key=lambda row: (row["subject_id"], str(row["time"]), row["code"]))


def said(root: Path) -> list[tuple[Any, ...]]:
    names = (
        "subject_id",
        "time",
        "code",
        "numeric_value",
        "text_value",
        "unit",
        "end_time",
        "encounter_id",
        "time_precision",
    )
    return [tuple(row[name] for name in names) for row in events(root)]


def codes(root: Path) -> Counter[str]:
    return Counter(row["code"] for row in events(root))


def ends(report: RunReport) -> Counter[str]:
    return Counter({reason: count for step in report.steps for reason, count in step.dropped.items()})


def test_a_small_export_becomes_the_events_that_it_states(tmp_path: Path) -> None:
    report = go(write(tmp_path / "in", small()), tmp_path)
    assert report.snapshot is not None
    assert [found for found in validate.validate(report.snapshot) if found.severity == "error"] == []
    assert codes(tmp_path) == {
        "MEDS_BIRTH": 2, "SEX//female": 1, "SEX//UNKNOWN": 1, "RACE//CDCREC//2106-3": 1, "RACE//UNKNOWN": 1,
        "ETHNICITY//OMOP_SOURCE//person//polish": 1, "ETHNICITY//UNKNOWN": 1,
        "CONDITION//OMOP_SOURCE//condition_occurrence//LOCAL-ASTHMA": 1, "CONDITION//OMOP//201826": 1,
        "OBSERVATION//LOINC//718-7": 1, "ENCOUNTER//ACT//IMP": 1,
    }  # fmt: skip
    rows = {row["code"]: row for row in events(tmp_path)}
    measured, visit = rows["OBSERVATION//LOINC//718-7"], rows["ENCOUNTER//ACT//IMP"]
    assert (measured["unit"], measured["value_text"], measured["time_precision"]) == ("g/dL", "13.2", "second")
    assert measured["encounter_id"] == visit["encounter_id"]
    subject = KEY.subject_id("omop:person/1")
    days = KEY.offset_days(subject)
    assert measured["subject_id"] == subject
    shift = (measured["time"].date() - __import__("datetime").date(2020, 1, 5)).days
    assert shift == days
    assert (visit["end_time"] - visit["time"]).days == 4


def test_someone_over_the_top_age_is_one_of_a_group(tmp_path: Path) -> None:
    go(write(tmp_path / "in", small()), tmp_path)
    born = {row["subject_id"]: row for row in events(tmp_path) if row["code"] == "MEDS_BIRTH"}
    old = born[KEY.subject_id("omop:person/2")]
    assert old["time"].year >= 1935
    assert old["time_precision"] == "year"


def floats(rows: Rows) -> Rows:
    """Ids as a data frame writes them: 6.0."""
    return {
        table: [
            {
                name: f"{value}.0" if value.lstrip("-").isdigit() and name.endswith("_id") else value
                for name, value in line.items()
            }
            for line in lines
        ]
        for table, lines in rows.items()
    }


def as_parquet(folder: Path) -> None:
    write(folder, small())
    for path in folder.glob("*.csv"):
        pq.write_table(arrow_csv.read_csv(path), path.with_suffix(".parquet"))
        path.unlink()


def as_duckdb(folder: Path) -> None:
    write(folder, small())
    with duckdb.connect(str(folder / "cdm.duckdb")) as db:
        db.execute("CREATE SCHEMA omop")
        for path in folder.glob("*.csv"):
            db.execute(f"CREATE TABLE omop.{path.stem.upper()} AS SELECT * FROM read_csv('{path}')")
            path.unlink()


FORMS: dict[str, Callable[[Path], Any]] = {
    "gz, upper case": lambda folder: write(folder, small(), upper=True, packed=True) and None,
    "tab": lambda folder: write(folder, small(), delimiter="\t") and None,
    "semicolon, byte order mark": lambda folder: [
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        for path in write(folder, small(), delimiter=";").iterdir()
    ],
    "ids as 6.0": lambda folder: write(folder, floats(small())) and None,
    "parquet": as_parquet,
    "duckdb": as_duckdb,
    "windows lines": lambda folder: [
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n")) for path in write(folder, small()).iterdir()
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_export_says_the_same(form: str, tmp_path: Path) -> None:
    go(write(tmp_path / "plain" / "in", small()), tmp_path / "plain")
    FORMS[form](tmp_path / "in")
    files = list((tmp_path / "in").glob("*.duckdb"))
    go(files[0] if files else tmp_path / "in", tmp_path)
    assert said(tmp_path) == said(tmp_path / "plain")


def test_a_table_may_come_in_parts(tmp_path: Path) -> None:
    rows = small()
    folder = write(tmp_path / "in", {name: rows[name] for name in rows if name != "condition_occurrence"})
    for part, line in enumerate(rows["condition_occurrence"]):
        write(tmp_path / "part", {"condition_occurrence": [line]})
        shutil.move(tmp_path / "part" / "condition_occurrence.csv", folder / f"condition_occurrence_{part:04d}.csv")
    go(folder, tmp_path)
    go(write(tmp_path / "plain" / "in", small()), tmp_path / "plain")
    assert said(tmp_path) == said(tmp_path / "plain")


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────


def changed(table: str, **columns: str) -> Rows:
    rows = small()
    rows[table][0] = rows[table][0] | columns
    return rows


BAD: dict[str, tuple[Rows, str]] = {
    "words in a date": (changed("condition_occurrence", condition_start_date="last week"), "wrong_type"),
    "a fraction as an id": (changed("measurement", visit_occurrence_id="6.5"), "wrong_type"),
    "words in a number": (changed("measurement", value_as_number="high"), "wrong_type"),
    "no such day": (changed("condition_occurrence", condition_start_date="2020-02-30"), "wrong_type"),
    "no key": (changed("condition_occurrence", condition_occurrence_id=""), "missing_id"),
    "no person": (changed("condition_occurrence", person_id=""), "missing_subject"),
    "a person who is not there": (changed("condition_occurrence", person_id="99"), "unknown_subject"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_row_is_set_aside_and_counted(fault: str, tmp_path: Path) -> None:
    rows, reason = BAD[fault]
    report = go(write(tmp_path / "in", rows), tmp_path)
    assert ends(report) == {reason: 1}
    assert all(step.balanced for step in report.steps)
    (aside,) = (tmp_path / "store.phi" / "quarantine" / report.run_id).glob("*.ndjson")
    line = json.loads(aside.read_text())
    assert line["reason"] == reason
    assert line["line"] == 1


def test_a_row_that_stands_twice_counts_once(tmp_path: Path) -> None:
    rows = small()
    rows["condition_occurrence"].append(dict(rows["condition_occurrence"][0]))
    report = go(write(tmp_path / "in", rows), tmp_path)
    assert ends(report) == {"duplicate_row": 1}
    assert codes(tmp_path)["CONDITION//OMOP_SOURCE//condition_occurrence//LOCAL-ASTHMA"] == 1


def test_another_fact_under_a_key_in_use_is_not_lost(tmp_path: Path) -> None:
    rows = small()
    rows["condition_occurrence"].append(rows["condition_occurrence"][0] | {"condition_start_date": "2021-01-01"})
    report = go(write(tmp_path / "in", rows), tmp_path)
    assert ends(report) == {}
    assert report.notes["keys/shared"] == 1
    assert codes(tmp_path)["CONDITION//OMOP_SOURCE//condition_occurrence//LOCAL-ASTHMA"] == 2


def test_a_person_cannot_be_two(tmp_path: Path) -> None:
    rows = small()
    rows["person"].append(rows["person"][0] | {"year_of_birth": "1980"})
    assert ends(go(write(tmp_path / "in", rows), tmp_path)) == {"duplicate_key": 1}


def test_a_broken_line_is_set_aside_and_the_others_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", small())
    with (folder / "condition_occurrence.csv").open("a") as file:
        file.write("12,1\n13,1,0,2020-01-07,32817,LOCAL-2\n")
    report = go(folder, tmp_path)
    assert ends(report) == {"bad_row": 1}
    assert codes(tmp_path)["CONDITION//OMOP_SOURCE//condition_occurrence//LOCAL-2"] == 1


def test_dates_out_of_range_stop_the_run(tmp_path: Path) -> None:
    rows = small()
    rows["condition_occurrence"] = [
        rows["condition_occurrence"][0] | {"condition_occurrence_id": str(n), "condition_start_date": "0019-01-05"}
        for n in range(50)
    ]
    with pytest.raises(GateError, match="time_implausible"):
        go(write(tmp_path / "in", rows), tmp_path)
    assert not (tmp_path / "store" / "snapshots").exists()


def test_without_a_table_person_there_is_no_run(tmp_path: Path) -> None:
    rows = small()
    del rows["person"]
    with pytest.raises(SourceError, match="no table person"):
        go(write(tmp_path / "in", rows), tmp_path)


@pytest.mark.parametrize("column", ["person_id", "measurement_id"])
def test_a_missing_column_is_named(column: str, tmp_path: Path) -> None:
    rows = small()
    for line in rows["measurement"]:
        del line[column]
    with pytest.raises(SourceError, match=f"table measurement has no column {column}"):
        go(write(tmp_path / "in", rows), tmp_path)


def test_a_damaged_archive_is_a_clear_error_without_values(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", small(), packed=True)
    (folder / "measurement.csv.gz").write_bytes(b"\x1f\x8b" + b"Quimbleford" * 9)
    with pytest.raises(SourceError) as caught:
        go(folder, tmp_path)
    assert "Quimbleford" not in str(caught.value)


def test_two_exports_of_one_kind_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", small())
    with pytest.raises(ConfigError, match="one OMOP export"):
        go((folder, folder), tmp_path)


def test_a_person_with_no_events_of_care_has_the_events_of_a_person(tmp_path: Path) -> None:
    rows = {name: lines for name, lines in small().items() if name in ("person", "concept")}
    report = go(write(tmp_path / "in", rows), tmp_path)
    assert ends(report) == {}
    assert {code.partition("//")[0] for code in codes(tmp_path)} == {"MEDS_BIRTH", "SEX", "RACE", "ETHNICITY"}
    assert report.subjects == 2


@pytest.mark.parametrize("table", ["concept", "visit_occurrence", "measurement", "condition_occurrence"])
def test_a_table_that_is_not_there_takes_only_its_own_rows_away(table: str, tmp_path: Path) -> None:
    report = go(write(tmp_path / "in", {name: lines for name, lines in small().items() if name != table}), tmp_path)
    assert ends(report) == {}
    assert all(step.balanced for step in report.steps)
    lost = {"concept": 0, "visit_occurrence": 1, "measurement": 1, "condition_occurrence": 2}[table]
    assert report.events == 12 - lost
    if table == "concept":  # the fact stays, under the number of its concept
        assert codes(tmp_path)["OBSERVATION//OMOP//3000963"] == 1


def test_a_column_that_is_not_there_is_read_as_empty(tmp_path: Path) -> None:
    rows = small()
    for line in rows["measurement"]:
        del line["value_as_number"], line["unit_source_value"]
    report = go(write(tmp_path / "in", rows), tmp_path)
    assert ends(report) == {}
    (measured,) = (row for row in events(tmp_path) if row["code"] == "OBSERVATION//LOINC//718-7")
    assert (measured["numeric_value"], measured["unit"]) == (None, None)


def test_every_fault_at_once_is_counted_and_nothing_else_is_lost(tmp_path: Path) -> None:
    rows = small()
    good = rows["condition_occurrence"][0]
    rows["condition_occurrence"] += [
        good | {"condition_occurrence_id": "20", "condition_start_date": "soon"},
        good | {"condition_occurrence_id": "21", "person_id": ""},
        good | {"condition_occurrence_id": "22", "person_id": "99"},
        good | {"condition_occurrence_id": ""},
        good,
        good | {"condition_start_date": "2021-01-01"},
        good | {"condition_occurrence_id": "23", "condition_source_value": "LOCAL-OTHER"},
    ]
    report = go(write(tmp_path / "in", rows), tmp_path)
    assert ends(report) == {
        "wrong_type": 1, "missing_subject": 1, "unknown_subject": 1, "missing_id": 1, "duplicate_row": 1,
    }  # fmt: skip
    assert all(step.balanced for step in report.steps)
    assert report.notes["keys/shared"] == 1
    conditions = Counter({code: n for code, n in codes(tmp_path).items() if code.startswith("CONDITION")})
    assert conditions == {
        "CONDITION//OMOP_SOURCE//condition_occurrence//LOCAL-ASTHMA": 2, "CONDITION//OMOP//201826": 1,
        "CONDITION//OMOP_SOURCE//condition_occurrence//LOCAL-OTHER": 1,
    }  # fmt: skip
    lines = [
        json.loads(line)
        for path in (tmp_path / "store.phi" / "quarantine" / report.run_id).glob("*.ndjson")
        for line in path.read_text().splitlines()
    ]
    assert {(line["line"], line["reason"]) for line in lines} >= {
        (3, "wrong_type"), (4, "missing_subject"), (5, "unknown_subject"), (6, "missing_id"),
    }  # fmt: skip


# ── the clock ─────────────────────────────────────────────────────────────────────────────────────


def zoned(zone: str) -> PipelineConfig:
    config = omop()
    return msgspec.structs.replace(config, source=msgspec.structs.replace(config.source, time_zone=zone))


def test_a_clock_in_a_zone_gives_moments_in_utc_and_leaves_days_alone(tmp_path: Path) -> None:
    rows = small()
    rows["measurement"].append(
        rows["measurement"][0] | {"measurement_id": "2", "measurement_datetime": "2020-07-05 23:30:00"}
    )
    go(write(tmp_path / "in", rows), tmp_path / "utc")
    go(write(tmp_path / "in", rows), tmp_path / "zone", zoned("America/Chicago"))
    plain = {(row["code"], row["source_row"]): row for row in events(tmp_path / "utc")}
    moved = {(row["code"], row["source_row"]): row for row in events(tmp_path / "zone")}
    winter, summer = (("OBSERVATION//LOINC//718-7", row) for row in (1, 2))
    for key, minutes in ((winter, -360), (summer, -300)):
        apart = (moved[key]["time"] - plain[key]["time"]).total_seconds() / 60
        assert (apart, moved[key]["utc_offset"], plain[key]["utc_offset"]) == (-minutes, minutes, None)
        assert moved[key]["available_time"] == moved[key]["time"]
    days = [key for key, row in plain.items() if row["time_precision"] == "day"]
    assert {"CONDITION", "ENCOUNTER", "MEDS_BIRTH"} <= {code.partition("//")[0] for code, _ in days}
    for key in days:
        assert (moved[key]["time"], moved[key]["end_time"], moved[key]["utc_offset"]) == (
            plain[key]["time"], plain[key]["end_time"], None,
        )  # fmt: skip


def test_an_end_keeps_its_own_offset_over_a_change_of_the_clocks(tmp_path: Path) -> None:
    rows = small()
    rows["visit_occurrence"][0] |= {
        "visit_start_datetime": "2020-03-07 10:00:00", "visit_end_datetime": "2020-03-08 10:00:00",
        "visit_start_date": "2020-03-07", "visit_end_date": "2020-03-08",
    }  # fmt: skip
    go(write(tmp_path / "in", rows), tmp_path, zoned("America/Chicago"))
    (visit,) = (row for row in events(tmp_path) if row["code"].startswith("ENCOUNTER"))
    assert (visit["end_time"] - visit["time"]).total_seconds() == 23 * 3600


def test_a_zone_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('name = "site"\n[source]\nformat = "omop"\ntime_zone = "Middle/Earth"\n')
    with pytest.raises(ConfigError, match=r"source\.time_zone"):
        configs.load(path)


# ── the scrub ─────────────────────────────────────────────────────────────────────────────────────


def test_no_identifier_of_the_tables_is_in_the_store(tmp_path: Path) -> None:
    rows = small()
    rows["location"] = [{"location_id": "5", "address_1": "12 Thistledown Mews", "city": "Quaggleton", "zip": "02139", "state": "MA",
                         "county": "Zorbaxshire", "location_source_value": "loc-998877"}]  # fmt: skip
    rows["person"][0]["location_id"] = "5"
    rows["provider"] = [{"provider_id": "3", "provider_name": "Ottoline Quimbleford, MD", "npi": "1234567893"}]
    rows["note"] = [{"note_id": "1", "person_id": "1", "note_date": "2020-01-05", "note_type_concept_id": "1", "note_class_concept_id": "0",
                     "note_text": "MRN 88412077. Seen by Dr. Ottoline Quimbleford at 12 Thistledown Mews in Quaggleton on 1/5/2020.",
                     "note_source_value": "Dr. Quimbleford letter"}]  # fmt: skip
    rows["condition_occurrence"][0]["condition_source_value"] = "88412077"
    report = go(write(tmp_path / "in", rows), tmp_path)
    assert report.phi["MRN/drop"] == 2
    assert {"ZIP3//021", "STATE//MA"} <= set(codes(tmp_path))
    everything = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    text = json.dumps(events(tmp_path), default=str)
    for token in (
        "88412077",
        "Thistledown",
        "Quaggleton",
        "Quimbleford",
        "Zorbaxshire",
        "998877",
        "275010896",
        "1234567893",
    ):
        assert token not in text
        assert token.encode() not in everything
    (masked,) = [code for code in codes(tmp_path) if code.startswith("CONDITION//MASKED//")]
    assert len(masked.rpartition("//")[2]) == 16
    traced = md.trace(tmp_path / "store", next(
        f"{row['source_table']}.{row['source_row']}.{row['source_item']}" for row in events(tmp_path) if row["code"].startswith("NOTE")
    ))  # fmt: skip
    assert {decision["path"] for decision in traced["decisions"]} >= {"note.note_text"}
    assert traced["resource"]["resource_type"] == "note"


def noted(rows: Rows) -> Rows:
    rows["note"] = [{"note_id": "1", "person_id": "1", "note_date": "2020-01-05", "note_type_concept_id": "1", "note_class_concept_id": "0",
                     "note_text": "Patient: Ottoline Quimbleford. MRN 88412077. Doing well."}]  # fmt: skip
    return rows


@pytest.mark.parametrize("model", ["fast", "none"])
def test_the_audit_says_whose_name_it_does_not_know(model: str, tmp_path: Path) -> None:
    report = go(write(tmp_path / "in", noted(small())), tmp_path, omop(model=model))
    (said,) = (verdict for verdict in report.verdicts if verdict.check == "names_known")
    assert (said.passed, said.action) == (False, "warn")
    assert said.observed.startswith("1 people with notes")
    assert ("the model is off" in said.observed) == (model == "none")
    assert "Quimbleford" not in json.dumps(events(tmp_path), default=str)


def test_what_the_scrub_leaves_the_audit_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omop_tasks, "clean_texts", lambda db, judged, labels: ([], False))
    with pytest.raises(LeakError, match=r"event \d+\.1\.0 \(text_value, MRN\)"):
        go(write(tmp_path / "in", noted(small())), tmp_path, omop(model="none"))
    assert not list((tmp_path / "store").glob("snapshots/*"))


def test_without_a_note_there_is_nothing_to_say_of_names(tmp_path: Path) -> None:
    report = go(write(tmp_path / "in", small()), tmp_path)
    assert "names_known" not in {verdict.check for verdict in report.verdicts}


def test_running_again_does_nothing_and_the_ledger_balances_for_every_table(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", small())
    go(folder, tmp_path)
    assert go(folder, tmp_path).repeated
    records = [json.loads(line) for line in (tmp_path / "store" / "ledger" / "ledger.jsonl").read_text().splitlines()]
    listed = {record["body"]["name"]: record["body"] for record in records if record["kind"] == "table"}
    assert set(listed) == {"person", "condition_occurrence", "measurement", "visit_occurrence"}
    for table in listed.values():
        assert table["rows_in"] == table["rows_out"] + sum(table["dropped"].values())


# ── every table ───────────────────────────────────────────────────────────────────────────────────


def filled() -> Rows:
    """One row of every table of subjects, every field filled."""
    made: Rows = {}
    domains = {"domain_concept_id_1": "19", "domain_concept_id_2": "19", "cost_domain_id": "Condition"}
    for table in tables().values():
        if table.of != "subject":
            continue
        row: dict[str, Any] = {}
        for one in table.fields.values():
            plain = {
                "date": "2020-02-03",
                "datetime": "2020-02-03 04:05:06",
                "float": "2.5",
                "int": "3",
                "text": "word",
            }
            row[one.name] = domains.get(one.name) or plain.get(one.kind) or ("1" if one.kind != "concept" else "0")
        row |= {"year_of_birth": "1980", "month_of_birth": "2", "day_of_birth": "3"} if table.name == "person" else {}
        made[table.name] = [row]
    return made


def test_every_table_is_read_and_becomes_events_or_says_why(tmp_path: Path) -> None:
    report = go(write(tmp_path / "in", filled()), tmp_path)
    assert ends(report) == {"type_not_mapped": 1}  # episode_event ties rows together
    kinds = {code.partition("//")[0] for code in codes(tmp_path)}
    assert kinds >= {
        "SEX", "MEDS_BIRTH", "OBSERVATION_PERIOD", "ENCOUNTER", "VISIT_DETAIL", "CONDITION", "MEDICATION", "PROCEDURE", "DEVICE",
        "OBSERVATION", "MEDS_DEATH", "CAUSE_OF_DEATH", "NOTE", "NOTE_NLP", "SPECIMEN", "FACT_RELATIONSHIP", "PAYER_PLAN_PERIOD",
        "COST", "DRUG_ERA", "DOSE_ERA", "CONDITION_ERA", "EPISODE",
    }  # fmt: skip


# ── two sources, one timeline ─────────────────────────────────────────────────────────────────────

# What only one of the two exports says, or says under another kind: the rest must meet.
ALONE = (
    "COST", "PAYER_PLAN", "OBSERVATION_PERIOD", "VISIT_DETAIL", "MEDICATION_ROUTE", "ADMIT_SOURCE", "DISCHARGE_DISPOSITION",
    "CAUSE_OF_DEATH",
)  # fmt: skip


@pytest.fixture(scope="module")
def both(synthetic_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("both")
    config = msgspec.structs.replace(omop(join=SYSTEMS), validate="off")
    run(config, (synthetic_export / "fhir", synthetic_export / "omop_parquet"), root / "store", KEY, workers=1)
    return root


def test_the_same_people_lie_on_one_timeline_with_one_offset(both: Path, synthetic_export: Path) -> None:
    people = pq.read_table(synthetic_export / "omop_parquet" / "person.parquet").num_rows
    with md.connect(both / "store") as db:
        sources = "SELECT subject_id, count(DISTINCT source) AS n FROM fact GROUP BY subject_id"
        assert db.sql(f"SELECT count(*), min(n) FROM ({sources})").fetchall() == [(people, 2)]
        apart = (
            "SELECT subject_id FROM event WHERE code = 'MEDS_BIRTH' GROUP BY subject_id HAVING count(DISTINCT time) > 1"
        )
        assert db.sql(apart).fetchall() == []


def test_equal_facts_meet_event_by_event(both: Path) -> None:
    with md.connect(both / "store") as db:
        rows = db.sql(
            "SELECT split_part(code, '//', 1), split_part(code, '//', 2), same_as <> event_id FROM fact WHERE source = 'omop'"
        ).fetchall()
    alone = Counter(
        (kind, vocabulary) for kind, vocabulary, met in rows
        if not met and vocabulary not in ("OMOP_SOURCE", "MASKED", "UNKNOWN") and not kind.startswith(ALONE)
    )  # fmt: skip
    met = Counter(kind for kind, _, met in rows if met)
    # FHIR states these under another kind: allergies, family history, report texts, answers, supplies of an order.
    other = {("OBSERVATION", "SNOMED"), ("OBSERVATION", "LOINC"), ("NOTE", "LOINC")}
    assert {
        pair for pair in alone if not pair[0].endswith(("_DAYS_SUPPLY", "_REFILLS", "_DOSE_UNIT", "_NOTE"))
    } <= other
    assert alone[("OBSERVATION", "LOINC")] < 0.05 * met["OBSERVATION"]
    for kind in (
        "SEX",
        "RACE",
        "ETHNICITY",
        "MEDS_BIRTH",
        "ENCOUNTER",
        "CONDITION",
        "PROCEDURE",
        "MEDICATION_REQUEST",
        "NOTE",
    ):
        assert met[kind] > 0, kind


def test_a_fact_that_both_state_is_shown_once_and_traced_to_both(both: Path) -> None:
    with md.connect(both / "store") as db:
        total = db.sql("SELECT count(*) FROM fact").fetchall()[0][0]
        once = db.sql("SELECT count(*) FROM fact WHERE stated_first").fetchall()[0][0]
        pairs = db.sql(
            "SELECT same_as, count(*), count(DISTINCT source) FROM fact GROUP BY same_as HAVING count(*) > 1"
        ).fetchall()
        assert total - once == len(pairs)
        assert {(count, sources) for _, count, sources in pairs} == {(2, 2)}
        name = pairs[0][0]
        events = [
            row[0] for row in db.sql(f"SELECT event_id FROM fact WHERE same_as = '{name}' ORDER BY source").fetchall()
        ]
    formats = [md.trace(both / "store", event)["source"]["format"] for event in events]
    assert formats == ["ndjson", "omop.parquet"]


def test_an_mrn_that_two_people_share_joins_nobody(tmp_path: Path, synthetic_export: Path) -> None:
    people = [json.loads(line) for line in (synthetic_export / "fhir" / "Patient.ndjson").read_text().splitlines()[:2]]
    for system, person in zip(SYSTEMS, people, strict=False):
        person["identifier"] = [{"system": system, "value": "55512345"}]
    folder = tmp_path / "fhir"
    folder.mkdir()
    (folder / "Patient.ndjson").write_text("".join(json.dumps(person) + "\n" for person in people))
    rows = changed("person", person_source_value="55512345")
    config = msgspec.structs.replace(omop(join=SYSTEMS), validate="off")
    run(config, (folder, write(tmp_path / "in", rows)), tmp_path / "store", KEY, workers=1)
    assert len({row["subject_id"] for row in events(tmp_path)}) == 4


# ── real data ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_public_sample_of_ohdsi_is_read_whole(shared: Path, tmp_path: Path) -> None:
    report = run(omop(), shared / "data" / "omop" / "gibleed", tmp_path / "store", KEY, workers=2)
    assert report.snapshot is not None
    assert all(verdict.passed for verdict in report.verdicts if verdict.action == "stop")
    assert ends(report) == {"unknown_subject": 2649}  # observation periods of people who are not in person
    assert (report.subjects, report.steps[0].rows_in) == (2694, 343_279)
    with md.connect(tmp_path / "store") as db:
        assert db.sql(
            "SELECT count(sex), count(race), count(ethnicity), count(birth_time) FROM subject"
        ).fetchall() == [(2694,) * 4]
    assert [found for found in validate.validate(report.snapshot) if found.severity == "error"] == []


def test_csv_reader_knows_what_csv_is() -> None:
    """The helper of these tests writes no quotes, so nothing in it may need them."""
    for lines in small().values():
        for line in lines:
            assert next(csv.reader([",".join(line.values())])) == list(line.values())


_ = pa  # pyarrow registers its readers when it is imported


def test_a_view_of_a_database_reads_no_file_of_this_machine(tmp_path: Path) -> None:
    """A hostile database could bring the site's key as the text of a note."""
    as_duckdb(tmp_path / "in")
    (tmp_path / "secret").write_text("Quimbleford")
    with duckdb.connect(str(tmp_path / "in" / "cdm.duckdb")) as db:
        db.execute(
            "CREATE VIEW omop.note AS SELECT 1 AS note_id, 1 AS person_id, DATE '2020-01-01' AS note_date, "
            f"content AS note_text FROM read_text('{tmp_path / 'secret'}')"
        )
        db.execute("CREATE VIEW omop.mine AS SELECT 1 AS one")  # of no concern: it is no table of the CDM
    with pytest.raises(SourceError, match="note is a view") as caught:
        go(tmp_path / "in" / "cdm.duckdb", tmp_path)
    assert "uimbleford" not in str(caught.value)
