from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.synth import export, generate, template
from mayo_data.synth.codes import book, site_id
from mayo_data.synth.dice import Dice
from mayo_data.synth.facts import Note
from mayo_data.synth.notes import wrap
from mayo_data.synth.scene import ChartScene

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PATIENTS = 60


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth")
    generate(folder, patients=PATIENTS)
    return folder


@pytest.fixture(scope="module")
def resources(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted((out / "fhir").iterdir()) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def tables(out: Path) -> dict[str, list[dict[str, str]]]:
    found = {}
    for path in sorted((out / "omop_csv").iterdir()):
        with path.open(encoding="utf-8", newline="") as file:
            found[path.stem] = list(csv.DictReader(file))
    return found


@pytest.fixture(scope="module")
def gold(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "gold" / "notes.jsonl").read_bytes().splitlines()]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("compress", [False, True])
def test_same_seed_same_bytes_under_any_hash_seed(tmp_path: Path, compress: bool) -> None:
    generate(tmp_path / "here", patients=4, compress=compress)
    program = (
        "import sys; from pathlib import Path; from mayo_data.synth import generate; "
        f"generate(Path(sys.argv[1]), patients=4, compress={compress})"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "there")],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "4242", "TZ": "Asia/Kathmandu", "LC_ALL": "C"},
    )
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_other_seed_other_people(tmp_path: Path) -> None:
    one = [chart.person.mrn for chart in export.charts(1, 5)]
    two = [chart.person.mrn for chart in export.charts(2, 5)]
    assert not set(one) & set(two)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**9), few=st.integers(1, 3))
def test_fewer_patients_are_a_prefix(seed: int, few: int) -> None:
    some = [repr(chart) for chart in export.charts(seed, few)]
    more = [repr(chart) for chart in export.charts(seed, few + 2)]
    assert more[:few] == some


def test_files_of_fewer_patients_are_prefixes(out: Path, tmp_path: Path) -> None:
    generate(tmp_path, patients=10, formats=["fhir", "omop-csv"])
    for path in [
        *(tmp_path / "fhir").iterdir(),
        *(tmp_path / "omop_csv").iterdir(),
        tmp_path / "gold" / "notes.jsonl",
    ]:
        whole = (out / path.relative_to(tmp_path)).read_bytes()
        assert whole.startswith(path.read_bytes()), path.name


def test_gzip_holds_the_same_lines(tmp_path: Path) -> None:
    generate(tmp_path / "plain", patients=2, formats=["fhir"])
    generate(tmp_path / "zipped", patients=2, formats=["fhir"], compress=True)
    for path in (tmp_path / "plain" / "fhir").iterdir():
        raw = (tmp_path / "zipped" / "fhir" / f"{path.name}.gz").read_bytes()
        assert raw[4:8] == bytes(4), "the header must carry no time"
        assert gzip.decompress(raw) == path.read_bytes()


def test_an_export_replaces_the_one_before(tmp_path: Path) -> None:
    generate(tmp_path, patients=2, formats=["fhir"], compress=True)
    generate(tmp_path, patients=2, formats=["fhir"])
    assert not list((tmp_path / "fhir").glob("*.gz"))


@pytest.mark.parametrize(("patients", "formats"), [(0, ["fhir"]), (3, ["hl7v2"]), (3, [])])
def test_nonsense_is_refused(tmp_path: Path, patients: int, formats: list[str]) -> None:
    with pytest.raises(ConfigError):
        generate(tmp_path, patients=patients, formats=formats)


def test_importing_the_room_is_light() -> None:
    heavy = {"pyarrow", "msgspec", "duckdb", "spacy"}
    program = f"import sys, mayo_data.synth; print(sorted(set(sys.modules) & {heavy}))"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_hundred_patients_in_six_seconds(tmp_path: Path) -> None:
    start = time.process_time()
    generate(tmp_path, patients=100)
    assert time.process_time() - start < 6


# FHIR

TYPES = [
    *(
        "Patient",
        "RelatedPerson",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "Location",
        "Encounter",
    ),
    *("Condition", "Observation", "MedicationRequest", "Medication", "MedicationAdministration"),
    *("MedicationStatement", "MedicationDispense", "Procedure", "Immunization", "AllergyIntolerance"),
    *(
        "DiagnosticReport",
        "DocumentReference",
        "CarePlan",
        "Goal",
        "ImagingStudy",
        "Specimen",
        "ServiceRequest",
    ),
    *("Device", "FamilyMemberHistory", "QuestionnaireResponse", "Claim", "ExplanationOfBenefit", "Coverage"),
    "Provenance",
]


def test_every_type_is_there(resources: list[dict[str, Any]]) -> None:
    assert set(TYPES) == {resource["resourceType"] for resource in resources}


def test_a_sample_is_valid_r4(out: Path) -> None:
    for path in sorted((out / "fhir").iterdir()):
        lines = path.read_bytes().splitlines()
        model = get_fhir_model_class(path.name.split(".")[0])
        for line in lines[:: max(1, len(lines) // 40)]:
            model.model_validate_json(line)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("reference"), str):
            yield node["reference"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_resolves(resources: list[dict[str, Any]]) -> None:
    ids = [f"{resource['resourceType']}/{resource['id']}" for resource in resources]
    known = set(ids)
    assert len(known) == len(ids)
    for resource in resources:
        own = {f"#{inner['id']}" for inner in resource.get("contained", [])}
        assert set(references(resource)) <= known | own


def test_observations_have_values_of_every_kind(resources: list[dict[str, Any]]) -> None:
    seen: Counter[str] = Counter()
    for resource in resources:
        if resource["resourceType"] == "Observation":
            seen.update(key for key in resource if key.startswith("value") or key in ("component", "dataAbsentReason"))
            seen.update(["note"] if "note" in resource else [])
    kinds = [
        "Quantity",
        "CodeableConcept",
        "String",
        "Boolean",
        "Integer",
        "Range",
        "Ratio",
        "Period",
        "Time",
        "DateTime",
        "SampledData",
    ]
    assert {f"value{kind}" for kind in kinds} | {"component", "dataAbsentReason", "note"} <= set(seen)


def test_facts_are_known_after_they_happen(resources: list[dict[str, Any]]) -> None:
    for resource in resources:
        if resource["resourceType"] == "Observation":
            happened = datetime.fromisoformat(resource["effectiveDateTime"])
            assert datetime.fromisoformat(resource["issued"]) > happened
            assert datetime.fromisoformat(resource["meta"]["lastUpdated"]) > happened
        if resource["resourceType"] == "Condition":
            assert resource["recordedDate"][:4] >= resource["onsetDateTime"][:4]


def test_digits_and_precisions_vary(out: Path, resources: list[dict[str, Any]]) -> None:
    text = (out / "fhir" / "Observation.ndjson").read_text(encoding="utf-8")
    assert '0,"unit":"mg/dL"' in text
    assert any(f'"value":{number}' in text for number in ("1.10", "0.90", "0.80", "1.00"))
    onsets = {len(one["onsetDateTime"]) for one in resources if one["resourceType"] == "Condition"}
    assert {4, 7, 10} <= onsets
    shapes = {one["effectiveDateTime"][19:] for one in resources if one["resourceType"] == "Observation"}
    assert "Z" in shapes
    assert any(shape.startswith(".") for shape in shapes)
    assert len({shape[-6:] for shape in shapes}) > 3


def test_patients_carry_what_identifies_people(resources: list[dict[str, Any]]) -> None:
    people = [resource for resource in resources if resource["resourceType"] == "Patient"]
    kinds = {code["type"]["coding"][0]["code"] for person in people for code in person["identifier"]}
    assert kinds == {"MR", "SS", "MB", "AN", "DL"}
    assert {name["use"] for person in people for name in person["name"]} == {"official", "maiden", "nickname"}
    assert {"phone", "fax", "email", "url"} == {one["system"] for person in people for one in person["telecom"]}
    assert any("deceasedDateTime" in person for person in people)
    assert any(int(person["birthDate"][:4]) < 1935 for person in people)
    assert all(person["contact"] and person["address"][0]["district"] for person in people)


# OMOP


def test_columns_are_those_of_the_standard() -> None:
    path = SHARED / "suites" / "omop_cdm" / "OMOP_CDMv5.4_Field_Level.csv"
    if not path.exists():
        pytest.skip("../shared/suites/omop_cdm is absent")
    standard: dict[str, list[tuple[str, bool]]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            fields = standard.setdefault(row["cdmTableName"].lower(), [])
            fields.append((row["cdmFieldName"], row["isRequired"] == "Yes"))
    for table, spec in assets.toml("schemas", "synth", "omop.toml").items():
        ours = [(entry.split(":")[0], entry.endswith("!")) for entry in spec["columns"]]
        assert ours == standard[table], table


def test_csv_and_parquet_say_the_same(out: Path, tables: dict[str, list[dict[str, str]]]) -> None:
    for name, rows in tables.items():
        parquet = pq.read_table(out / "omop_parquet" / f"{name}.parquet")
        assert parquet.column_names == list(export.columns(name))
        assert parquet.num_rows == len(rows)
        text = [column for column, kind in export.columns(name).items() if kind in "si"]
        got = [{key: "" if row[key] is None else str(row[key]) for key in text} for row in parquet.to_pylist()]
        assert got == [{key: row[key] for key in text} for row in rows]


KEYS = {
    "person_id": "person",
    "visit_occurrence_id": "visit_occurrence",
    "provider_id": "provider",
    "care_site_id": "care_site",
    "location_id": "location",
    "preceding_visit_detail_id": "visit_detail",
    "payer_plan_period_id": "payer_plan_period",
    "cost_event_id": "visit_occurrence",
    "measurement_event_id": "specimen",
    "vocabulary_id": "vocabulary",
}
PRIMARY = {"visit_detail": "visit_detail_id"}


def test_every_key_resolves(tables: dict[str, list[dict[str, str]]]) -> None:
    known = {}
    for table in set(KEYS.values()):
        own = [row[f"{table}_id"] for row in tables[table]]
        assert len(own) == len(set(own)), table
        known[table] = set(own)
    concepts = {row["concept_id"] for row in tables["concept"]}
    assert len(concepts) == len(tables["concept"])
    for table, rows in tables.items():
        for row in rows:
            for column, value in row.items():
                if column in KEYS and value:
                    assert value in known[KEYS[column]], (table, column)
                if "concept_id" in column and value and table != "cdm_source":
                    assert value in concepts, (table, column, value)


def test_required_columns_are_filled(tables: dict[str, list[dict[str, str]]]) -> None:
    for table, rows in tables.items():
        columns = assets.toml("schemas", "synth", "omop.toml")[table]["columns"]
        required = [entry.split(":")[0] for entry in columns if entry.endswith("!")]
        for row in rows:
            assert all(row[column] for column in required), table


def test_fhir_and_omop_agree(resources: list[dict[str, Any]], tables: dict[str, list[dict[str, str]]]) -> None:
    fhir = Counter(resource["resourceType"] for resource in resources)
    omop = {table: len(rows) for table, rows in tables.items()}
    pairs = {
        "Patient": "person",
        "Encounter": "visit_occurrence",
        "Condition": "condition_occurrence",
        "Procedure": "procedure_occurrence",
        "Device": "device_exposure",
        "Specimen": "specimen",
        "Coverage": "payer_plan_period",
        "Claim": "cost",
        "Practitioner": "provider",
    }
    assert {kind: fhir[kind] for kind in pairs} == {kind: omop[table] for kind, table in pairs.items()}
    drugs = [
        "MedicationRequest",
        "MedicationAdministration",
        "MedicationDispense",
        "MedicationStatement",
        "Immunization",
    ]
    assert sum(fhir[kind] for kind in drugs) == omop["drug_exposure"]
    assert fhir["DocumentReference"] + fhir["DiagnosticReport"] == omop["note"]
    observed = [resource for resource in resources if resource["resourceType"] == "Observation"]
    parts = sum(len(resource.get("component", [1])) for resource in observed)
    answers = sum(
        "valueCoding" in item["answer"][0]
        for resource in resources
        if resource["resourceType"] == "QuestionnaireResponse"
        for item in resource["item"]
    )
    noted = fhir["AllergyIntolerance"] + fhir["FamilyMemberHistory"] + answers
    assert parts + noted == omop["measurement"] + omop["observation"]
    mrns = {code["value"] for one in resources if one["resourceType"] == "Patient" for code in one["identifier"]}
    assert {row["person_source_value"] for row in tables["person"]} <= mrns
    assert omop["death"] == sum("deceasedDateTime" in one for one in resources)


def test_local_concept_ids_do_not_collide() -> None:
    made = {(item.vocabulary, item.code) for group in book().values() for item in group.values()}
    assert len({site_id(*pair) for pair in made}) == len(made)


# notes


def test_gold_spans_are_exact(gold: list[dict[str, Any]]) -> None:
    for note in gold:
        last = 0
        for span in note["spans"]:
            assert note["text"][span["start"] : span["end"]] == span["text"]
            assert span["text"] == span["text"].strip() != ""
            assert span["start"] >= last
            assert span["category"] in template.CATEGORIES
            last = span["end"]
        assert "[[" not in note["text"]
        assert "{" not in note["text"]


def test_gold_text_is_what_fhir_and_omop_carry(
    gold: list[dict[str, Any]], resources: list[dict[str, Any]], tables: dict[str, list[dict[str, str]]]
) -> None:
    carried = {}
    for resource in resources:
        if resource["resourceType"] == "DocumentReference":
            carried[f"DocumentReference/{resource['id']}"] = resource["content"][0]["attachment"]["data"]
        elif resource["resourceType"] == "DiagnosticReport":
            carried[f"DiagnosticReport/{resource['id']}"] = resource["presentedForm"][0]["data"]
    texts = {row["note_id"]: row["note_text"] for row in tables["note"]}
    assert len(gold) == len(carried) == len(texts)
    for note in gold:
        assert base64.b64decode(carried[note["resource"]]).decode() == note["text"] == texts[str(note["note_id"])]


def test_all_kinds_styles_and_categories_occur(gold: list[dict[str, Any]]) -> None:
    types = set(assets.toml("schemas", "synth", "codes.toml")["document"]) - {"lab_panel"}
    assert {note["type"] for note in gold} == types
    assert len(types) >= 14
    assert all(len(template.styles(kind)) >= 3 for kind in types)
    assert {span["category"] for note in gold for span in note["spans"]} == template.CATEGORIES
    marks = {mark for note in gold for mark in note["style"].split("+")}
    assert {"caps", "crlf", "wrapped", "telegraphic", "table", "dictated"} <= marks


def test_notes_name_the_people_of_their_own_record(gold: list[dict[str, Any]], resources: list[dict[str, Any]]) -> None:
    people = {one["id"]: one for one in resources if one["resourceType"] == "Patient"}
    for note in gold:
        person = people[note["subject"]]
        parts = {part for name in person["name"] for part in (name["family"], *name.get("given", []))}
        upper = {part.upper() for part in parts}
        for span in note["spans"]:
            if span["category"] == "PATIENT" and len(span["text"]) > 3:
                assert any(part in " ".join(span["text"].upper().split()) for part in upper)
            if span["category"] == "MRN":
                assert span["text"] in {code["value"] for code in person["identifier"]}


def test_nothing_that_identifies_stands_outside_the_spans() -> None:
    clinical = {
        "will",
        "may",
        "march",
        "austin",
        "rose",
        "grant",
        "wood",
        "mark",
        "hope",
    }  # words and eponyms, too
    for chart in export.charts(11, 60):
        person = chart.person
        values = [person.mrn, person.ssn, person.account, person.member, person.home_phone, person.mobile]
        values += [
            person.email,
            person.address.street,
            person.address.city,
            person.hospital.short,
            person.employer,
        ]
        values += [person.username, person.plate, person.insurer, person.maiden, person.nickname]
        names = [
            person.name,
            *(one.name for one in person.contacts),
            *(one.name for one in person.hospital.staff),
        ]
        for name in names:
            values += [name.given, name.family]
        whole = "|".join(re.escape(value) for value in values if len(value) > 2)
        pattern = re.compile(rf"(?<!\w)(?:{whole})(?!\w)", re.IGNORECASE)
        for note in chart.facts:
            if isinstance(note, Note):
                for found in pattern.finditer(note.text):
                    inside = any(span.start < found.end() and found.start() < span.end for span in note.spans)
                    assert inside or found[0].lower() in clinical, (note.type, note.style)


def test_clinical_confounders_stay_unmarked(gold: list[dict[str, Any]]) -> None:
    words = ("foley", "babinski", "parkinson disease", "3/5", "5/5", "apgar", "will ", "braden 19/23")
    for word in words:
        found = 0
        for note in gold:
            at = note["text"].lower().find(word)
            if at >= 0 and not any(span["start"] <= at < span["end"] for span in note["spans"]):
                found += 1
        assert found, word


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="ab \n", max_size=400))
def test_wrapping_changes_spaces_only(text: str) -> None:
    wrapped = wrap(text)
    assert len(wrapped) == len(text)
    assert all(old == new or (old == " " and new == "\n") for old, new in zip(text, wrapped, strict=True))


def test_every_mark_of_every_template_resolves() -> None:
    charts = list(export.charts(3, 6))

    def walk(nodes: tuple[template.Node, ...]) -> Iterator[template.Node]:
        for node in nodes:
            yield node
            for option in node.options:
                yield from walk(option)

    kinds = set(assets.toml("schemas", "synth", "codes.toml")["document"]) - {"lab_panel"}
    bodies = [body for kind in kinds for _, body in template.styles(kind)]
    bodies += [body for options in template.snippets().values() for body in options]
    for chart in charts:
        note = next(fact for fact in chart.facts if isinstance(fact, Note))
        scene = ChartScene(chart, note, Dice(1))
        for body in bodies:
            for node in walk(template.parse(body)):
                if node.kind == "mark" and node.value != "maiden":
                    assert scene.text(node.value), node
                elif node.kind == "plain":
                    scene.pieces(node.value)


def test_manifest_counts_what_was_written(out: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["patients"] == PATIENTS
    assert manifest["output"]
    for entry in manifest["output"]:
        path = out / entry["url"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
        if path.suffix in (".ndjson", ".jsonl"):
            assert len(path.read_bytes().splitlines()) == entry["count"]


def test_sizes_are_as_promised(resources: list[dict[str, Any]], gold: list[dict[str, Any]]) -> None:
    assert 110 <= len(resources) / PATIENTS <= 250
    assert 5 <= len(gold) / PATIENTS <= 9
