"""The whole way: an export in, CDM tables out, on which the rules of the CDM hold and the Dashboard's checks run."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import duckdb
import orjson
import pytest
from typer.testing import CliRunner

from mayo_data.cli.commands import app
from mayo_data.errors import ConfigError, GateError, LeakError, SourceError, StoreError
from mayo_data.mapping import cdm
from mayo_data.pipeline import omop_out

HEAD = "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\tvalid_start_date\tvalid_end_date\tinvalid_reason\n"  # fmt: skip
LINKS = "concept_id_1\tconcept_id_2\trelationship_id\tvalid_start_date\tvalid_end_date\tinvalid_reason\n"


def lines(*rows: tuple[object, ...]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    concepts = lines(
        (8507, "MALE", "Gender", "Gender", "Gender", "S", "M", "", "", ""),
        (9202, 'Out"patient', "Visit", "Visit", "Visit", "S", "OP", "", "", ""),
        (32817, "EHR", "Type Concept", "Type Concept", "Type Concept", "S", "O1", "", "", ""),
        (437663, "Fever", "Condition", "SNOMED", "Clinical Finding", "S", "386661006", "", "", ""),
        (5, "Old fever", "Condition", "SNOMED", "Clinical Finding", "", "111", "", "", "U"),
        (6, "Gone", "Condition", "SNOMED", "Clinical Finding", "S", "222", "", "", "D"),
    )
    (folder / "CONCEPT.csv").write_text(HEAD + concepts, encoding="utf-8")
    links = lines(
        (5, 437663, "Maps to", "", "", ""), (5, 6, "Maps to", "", "", ""), (6, 437663, "Maps to", "", "", "D")
    )
    (folder / "CONCEPT_RELATIONSHIP.csv").write_text(LINKS + links, encoding="utf-8")
    return folder


def export(folder: Path, *resources: dict[str, object]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "all.ndjson").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in resources))
    return folder


PATIENT = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1970-01-02"}
VISIT = {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"},
         "subject": {"reference": "Patient/p"}, "period": {"start": "2020-01-01T08:00:00Z", "end": "2020-01-03T08:00:00Z"}}  # fmt: skip


def fever(name: str, **more: object) -> dict[str, object]:
    code = {"coding": [{"system": "http://snomed.info/sct", "code": "111"}]}
    return {"resourceType": "Condition", "id": name, "code": code, "subject": {"reference": "Patient/p"}, **more}


def read(folder: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as db:
        return db.sql(query.replace("{}", str(folder))).fetchall()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_are_numbered_linked_and_dated(tmp_path: Path, vocabulary: Path, form: str) -> None:
    here = {"encounter": {"reference": "Encounter/e"}}
    source = export(
        tmp_path / "in", fever("undated", **here), fever("dated", onsetDateTime="2020-01-02", **here), PATIENT, VISIT,
        fever("nowhere", onsetDateTime="2020-01-02", encounter={"reference": "Encounter/lost"}), PATIENT,
        fever("never"), fever("whose", onsetDateTime="2020", subject={"reference": "Patient/q"}),
    )  # fmt: skip
    out = tmp_path / "cdm"
    made = omop_out.to_omop(source, vocabulary, out, form=form)  # type: ignore[arg-type]
    found = read(out, f"select condition_start_date::varchar, visit_occurrence_id, condition_concept_id, person_id from '{{}}/condition_occurrence.{form}' order by all")  # fmt: skip
    assert found == [("2020-01-02", 1, 437663, 1), ("2020-01-02", None, 437663, 1), ("2020-01-03", 1, 437663, 1)]
    period = f"select observation_period_start_date::varchar, observation_period_end_date::varchar from '{{}}/observation_period.{form}'"
    assert read(out, period) == [("2020-01-01", "2020-01-03")]
    assert made.rows["person"] == 1
    told = json.loads((out / "counts.json").read_text())
    assert told["dropped"] == {
        "Condition": {"no_date": 1}, "condition_occurrence": {"orphan": 1}, "person": {"same_key": 1},
    }  # fmt: skip
    assert told["dated"] == {"condition_occurrence": 1}
    assert told["orphans"] == {"condition_occurrence.visit_occurrence_id": 1}
    assert told["unmapped"] == {}


def test_a_visit_without_a_period_takes_its_days_from_its_events(tmp_path: Path, vocabulary: Path) -> None:
    bare = {name: value for name, value in VISIT.items() if name != "period"}
    source = export(tmp_path / "in", PATIENT, bare, {**bare, "id": "empty"},
                    fever("a", onsetDateTime="2020-01-02", encounter={"reference": "Encounter/e"}))  # fmt: skip
    made = omop_out.to_omop(source, vocabulary, tmp_path / "cdm")
    found = read(
        tmp_path / "cdm", "select visit_start_date::varchar, visit_end_date::varchar from '{}/visit_occurrence.csv'"
    )
    assert found == [("2020-01-02", "2020-01-02")]
    assert made.tally.dropped == {("visit_occurrence", "no_visit_date"): 1}


def test_the_same_export_gives_the_same_bytes(tmp_path: Path, vocabulary: Path) -> None:
    one = export(tmp_path / "one", PATIENT, VISIT, fever("a", onsetDateTime="2020"), fever("b", onsetDateTime="2021"))
    two = export(tmp_path / "two", fever("b", onsetDateTime="2021"), VISIT, fever("a", onsetDateTime="2020"), PATIENT)
    for name, source in (("x", one), ("y", two)):
        omop_out.to_omop(source, vocabulary, tmp_path / name)
    for path in sorted((tmp_path / "x").glob("*.csv")):
        assert path.read_bytes() == (tmp_path / "y" / path.name).read_bytes(), path.name


def test_an_identified_export_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    source = export(tmp_path / "in", {**PATIENT, "name": [{"family": "Zyxwv"}]})
    with pytest.raises(LeakError) as caught:
        omop_out.to_omop(source, vocabulary, tmp_path / "cdm")
    assert "Zyxwv" not in str(caught.value)
    assert list((tmp_path / "cdm").iterdir()) == []


def test_bad_vocabularies_and_folders_are_told_apart(tmp_path: Path, vocabulary: Path) -> None:
    source = export(tmp_path / "in", PATIENT)
    with pytest.raises(StoreError, match="not empty"):
        omop_out.to_omop(source, vocabulary, source)
    (vocabulary / "concept.csv.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="two files"):
        omop_out.to_omop(source, vocabulary, tmp_path / "a")
    (vocabulary / "concept.csv.gz").unlink()
    (vocabulary / "CONCEPT.csv").write_text("concept_id\tname\n1\tx\n")
    with pytest.raises(SourceError, match="no column domain_id"):
        omop_out.to_omop(source, vocabulary, tmp_path / "b")
    (vocabulary / "CONCEPT.csv").unlink()
    with pytest.raises(SourceError, match="no table concept"):
        omop_out.to_omop(source, vocabulary, tmp_path / "c")


@pytest.fixture(scope="module")
def made(synthetic_export: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    out = tmp_path_factory.mktemp("omop") / "cdm"
    known = synthetic_export / "omop_csv"
    arguments = ["to-omop", "--fhir", str(synthetic_export / "fhir"), "--vocabulary", str(known), "--out", str(out)]
    assert isinstance(CliRunner().invoke(app, arguments).exception, LeakError)
    done = CliRunner().invoke(app, [*arguments, "--allow-identified"])
    assert done.exit_code == 0, done.output
    return out, known


def test_the_rules_of_the_cdm_hold(made: tuple[Path, Path]) -> None:
    found = omop_out.dqd(*made)
    names = {"cdmTable", "cdmField", "isRequired", "cdmDatatype", "isPrimaryKey", "isForeignKey", "fkDomain",
             "isStandardValidConcept", "plausibleStartBeforeEnd", "measureObservationPeriodOverlap"}  # fmt: skip
    assert [one for one in found if one.check in names and one.status == "failed"] == []
    assert sum(one.check == "isForeignKey" and one.status == "passed" for one in found) > 50
    tables = {one.table for one in found if one.check == "isPrimaryKey" and one.status == "passed"}
    assert tables >= {"person", "visit_occurrence", "condition_occurrence", "drug_exposure", "measurement", "note"}


def test_every_check_of_the_dashboard_runs(made: tuple[Path, Path], shared: Path) -> None:
    folder = shared / "suites" / "dqd"
    if not folder.exists():
        pytest.skip("../shared/suites/dqd is not there")
    found = omop_out.dqd(*made, thresholds=folder)
    with (folder / "OMOP_CDMv5.4_Check_Descriptions.csv").open(encoding="utf-8-sig", newline="") as file:
        described = {row["checkName"]: row for row in csv.DictReader(file)}
    assert {one.check for one in found} == set(described)
    for one in found:
        rule = described[one.check]
        said = (rule["checkLevel"].lower(), rule["kahnCategory"], rule["kahnContext"])
        assert (one.level, one.category, one.context) == said
    assert [
        one for one in found if one.check in ("isRequired", "isForeignKey", "cdmDatatype") and one.status == "failed"
    ] == []


def test_the_command_says_what_failed(made: tuple[Path, Path]) -> None:
    out, known = made
    shown = CliRunner().invoke(app, ["dqd", str(out), "--vocabulary", str(known)])
    assert shown.exit_code == 0
    for word in ("Conformance", "Completeness", "Plausibility", "Verification"):
        assert word in shown.output
    told = json.loads(CliRunner().invoke(app, ["dqd", str(out), "--vocabulary", str(known), "--json"]).stdout)
    assert {one["status"] for one in told} == {"passed", "failed", "not applicable"}
    assert isinstance(CliRunner().invoke(app, ["dqd", str(out), "--strict"]).exception, GateError)
    assert isinstance(CliRunner().invoke(app, ["dqd", str(out), "--cdm", "6.0"]).exception, ConfigError)


BROKEN = {
    "person": "person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth,birth_datetime,race_concept_id,ethnicity_concept_id\n1,8507,1970,5,,,0,0\n1,8532,1980,13,,,0,0\n2.5,,1990,1,,,0,0\n",
    "death": "person_id,death_date,death_type_concept_id\n1,2020-01-01,0\n9,2020-01-01,0\n",
    "condition_occurrence": "condition_occurrence_id,person_id,condition_concept_id,condition_start_date,condition_end_date,condition_type_concept_id\n1,1,0,1960-01-01,,0\n2,1,437663,2021-01-01,2020-01-01,0\n",
    "concept": "concept_id,concept_name,domain_id,vocabulary_id,concept_class_id,standard_concept,concept_code,valid_start_date,valid_end_date,invalid_reason\n437663,Fever,Observation,SNOMED,x,C,1,,,D\n8507,M,Gender,Gender,x,S,M,,,\n",
}  # fmt: skip


def test_each_check_finds_what_is_broken(tmp_path: Path) -> None:
    for name, body in BROKEN.items():
        (tmp_path / f"{name}.csv").write_text(body)
    found = {(one.check, one.table, one.field): (one.violated, one.rows) for one in omop_out.dqd(tmp_path)}
    assert found["isPrimaryKey", "person", "person_id"] == (2, 3)
    assert found["cdmDatatype", "person", "person_id"] == (1, 3)
    assert found["isRequired", "person", "gender_concept_id"] == (1, 3)
    assert found["isForeignKey", "person", "gender_concept_id"] == (1, 3)
    assert found["isForeignKey", "death", "person_id"] == (1, 2)
    assert found["cdmTable", "measurement", ""] == (1, 1)
    assert found["cdmField", "death", "cause_concept_id"] == (1, 1)
    assert found["plausibleStartBeforeEnd", "condition_occurrence", "condition_start_date"] == (1, 1)
    assert found["plausibleBeforeDeath", "condition_occurrence", "condition_start_date"] == (1, 2)
    assert found["plausibleAfterBirth", "condition_occurrence", "condition_start_date"][0] == 1
    assert found["fkDomain", "condition_occurrence", "condition_concept_id"] == (1, 2)
    assert found["isStandardValidConcept", "condition_occurrence", "condition_concept_id"] == (1, 2)
    assert found["standardConceptRecordCompleteness", "condition_occurrence", "condition_concept_id"] == (1, 2)


def test_thresholds_of_a_site_decide(tmp_path: Path) -> None:
    (tmp_path / "cdm").mkdir()
    for name, body in BROKEN.items():
        (tmp_path / "cdm" / f"{name}.csv").write_text(body)
    for level, body in {
        "Table": "cdmTableName,measurePersonCompleteness,measurePersonCompletenessThreshold\nDEATH,Yes,50\n",
        "Field": "cdmTableName,cdmFieldName,isRequired,isRequiredThreshold,plausibleValueHigh,plausibleValueHighThreshold\n"
        "PERSON,gender_concept_id,Yes,30,,\nPERSON,month_of_birth,No,,12,40\nPERSON,x; DROP TABLE person,Yes,0,,\n",
        "Concept": "cdmTableName,cdmFieldName,conceptId,plausibleGender,plausibleGenderThreshold\n"
        "CONDITION_OCCURRENCE,CONDITION_CONCEPT_ID,437663,Female,5\n",
    }.items():
        (tmp_path / f"OMOP_CDMv5.4_{level}_Level.csv").write_text(body)
    found = omop_out.dqd(tmp_path / "cdm", thresholds=tmp_path)
    told = {(one.check, one.field): (one.violated, one.rows, one.threshold, one.status) for one in found}
    assert told["measurePersonCompleteness", ""] == (1, 3, 50.0, "passed")
    assert told["isRequired", "gender_concept_id"] == (1, 3, 30.0, "failed")
    assert told["plausibleValueHigh", "month_of_birth"] == (1, 3, 40.0, "passed")
    assert told["plausibleGender", "condition_concept_id"] == (1, 2, 5.0, "failed")
    with pytest.raises(SourceError, match="cannot be read"):
        omop_out.dqd(tmp_path / "cdm", thresholds=tmp_path / "cdm")


def test_the_field_list_is_the_standard_s(shared: Path) -> None:
    path = shared / "suites" / "omop_cdm" / "OMOP_CDMv5.4_Field_Level.csv"
    if not path.exists():
        pytest.skip("../shared/suites/omop_cdm is not there")
    listed: dict[str, dict[str, tuple[bool, int]]] = {}
    for rule in omop_out.rules(path):
        kind = rule["cdmDatatype"].lower()
        width = int(kind[8:-1]) if kind.startswith("varchar(") and kind[8:-1].isdigit() else 0
        listed.setdefault(rule["cdmTableName"], {})[rule["cdmFieldName"]] = (rule["isRequired"] == "Yes", width)
    for table in cdm.MADE:
        ours = {one.name: (one.required, one.width) for one in cdm.fields(table)}
        assert ours == listed[table], table


def test_what_is_made_of_identified_data_is_for_its_owner(made: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(made[0].stat().st_mode) == 0o700
