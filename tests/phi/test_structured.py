from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data import schema
from mayo_data.events.normalize import Normalize
from mayo_data.keys import Secret
from mayo_data.phi import policy
from mayo_data.phi.identifiers import from_fhir
from mayo_data.phi.structured import Scrub
from mayo_data.phi.units import is_public
from mayo_data.phi.vault import Vault
from mayo_data.stage import TALLY

SECRET = Secret(bytes(range(32)))
LOINC = "http://loinc.org"
OFFSET = SECRET.offset_days(SECRET.subject_id("Patient/p1"))
Json = dict[str, Any]

PATIENT: Json = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"family": "Quimbleford", "given": ["Ottoline"]}],
    "identifier": [{"system": "urn:mrn", "value": "M-7788123"}],
    "birthDate": "1971-03-04",
    "gender": "female",
}
ELDER = {**PATIENT, "id": "p2", "name": [{"family": "Vantongeren"}], "identifier": [], "birthDate": "1920-05-06"}


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vault") / "vault.sqlite"
    opened = Vault(path, SECRET)
    for resource in (
        PATIENT,
        ELDER,
        {"resourceType": "Medication", "id": "m1", "code": {"coding": [{"system": LOINC, "code": "2160-0"}]}},
    ):
        opened.add(from_fhir(resource))
    opened.close()
    return path


def stage(vault: Path, name: str = "expert_determination", **changes: Any) -> Scrub:
    import dataclasses

    return Scrub(dataclasses.replace(policy.load(name), **changes), SECRET, SECRET, vault, "2024-01-01")


def raw(bodies: Sequence[bytes | Json], start: int = 1) -> pa.RecordBatch:
    rows = [
        {
            "source_table": 0,
            "source_row": start + number,
            "body": body if isinstance(body, bytes) else orjson.dumps(body),
        }
        for number, body in enumerate(bodies)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=schema.table("raw"))


Clean = Callable[..., Json]


@pytest.fixture
def clean(vault: Path) -> Clean:
    """Scrub one resource and return what is left of it."""

    def scrub(body: Json, name: str = "expert_determination", **changes: Any) -> Json:
        [batch] = stage(vault, name, **changes)(iter([raw([body])]))
        [row] = [row for row in batch.to_pylist() if row["fate"] != TALLY]
        assert row["fate"] is None, row["fate"]
        found: Json = json.loads(row["body"])
        return found

    return scrub


def observation(**more: Any) -> Json:
    return {
        "resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient/p1"}, **more,
    }  # fmt: skip


def test_what_is_not_named_is_not_there(clean: Clean) -> None:
    found = clean(observation(zzz=1, _status={}, text={"div": "x"}, performer=[{}], contained=[], focus=[]))
    assert set(found) == {"resourceType", "id", "status", "code", "subject"}
    assert found["id"] == f"{SECRET.integer('resource', 'Observation/o1'):016x}"
    assert found["subject"] == {"reference": f"Patient/{SECRET.subject_id('Patient/p1')}"}


def test_dates_move_and_years_stay(clean: Clean) -> None:
    from mayo_data.phi import fhir_dates

    body = observation(
        effectivePeriod={"start": "2020-01-01T10:00:00.5+02:00", "end": "2020-02"}, issued="2021-01-01T00:00:00Z"
    )
    found = clean(body)
    assert found["effectivePeriod"]["start"] == fhir_dates.shift("2020-01-01T10:00:00.5+02:00", OFFSET)
    assert found["effectivePeriod"]["end"] == fhir_dates.shift("2020-02", OFFSET)
    found = clean(body, "safe_harbor")
    assert (found["effectivePeriod"], found["issued"]) == ({"start": "2020", "end": "2020"}, "2021")
    assert clean(body, "limited_data_set")["issued"] == "2021-01-01T00:00:00Z"


def test_digits_stay_as_written(clean: Clean, vault: Path) -> None:
    for digits in ("1.10", "0.1e1", "1e999999", "-0.0", "123456789012345678901234567890", "5"):
        body = orjson.dumps(observation(valueQuantity={"value": "@"})).replace(b'"@"', digits.encode())
        [batch] = stage(vault)(iter([raw([body])]))
        assert f'"value":{digits}'.encode() in batch.column("body")[0].as_py()


def test_codes_of_the_site_are_masked_and_stable(clean: Clean) -> None:
    concept = {
        "coding": [{"system": "urn:site", "code": "Jane Doe", "display": "Doe"}, {"system": LOINC, "code": "2160-0"}]
    }
    first, second = (clean({**observation(code=concept), "id": ident})["code"]["coding"] for ident in ("a", "b"))
    assert first == second
    assert first[0]["system"] == "urn:mayo-data:masked"
    assert len(first[0]["code"]) == 16
    assert set(first[0]) == {"system", "code"}
    assert first[1] == {"system": LOINC, "code": "2160-0"}
    admitted = clean(observation(code={"coding": concept["coding"][:1]}), admit=("urn:si*",))
    assert admitted["code"]["coding"][0]["system"] == "urn:site"


@pytest.mark.parametrize(
    ("system", "code", "kept"),
    [
        (LOINC, "2160-0", True), (LOINC, "Quimbleford", False), ("http://snomed.info/sct", "22298006", True),
        ("http://snomed.info/sct", "617-555-0100", False), ("http://hl7.org/fhir/sid/us-ssn", "999-10-2000", False),
        ("http://hl7.org/fhir/sid/icd-10-cm", "E11.9", True), ("http://hl7.org/fhir/sid/anything", "E11", False),
        (None, "E11.9", False), ("", "E11.9", False), ("http://loinc.org/", "2160-0", False),
    ],
)  # fmt: skip
def test_a_code_is_public_only_in_its_own_syntax(clean: Clean, system: str | None, code: str, kept: bool) -> None:
    [coding] = clean(observation(code={"coding": [{"system": system, "code": code}]}))["code"]["coding"]
    assert (coding == {"system": system, "code": code}) is kept


def test_a_code_that_names_the_subject_is_none(clean: Clean) -> None:
    for said in ("Quimbleford", "quimbleford", "OTTOLINE"):
        assert "status" not in clean(observation(status=said))
    assert "status" not in clean(observation(status="ottoline-quimbleford"))
    for said in ("Doe", "in-progress", "two words"):  # of a required value set nothing else is a code
        assert "status" not in clean(observation(status=said))
    assert clean(observation(status="Final"))["status"] == "final"
    prefix = "http://terminology.hl7.org/CodeSystem/"
    for system, code in (
        (prefix + "site", "Quimbleford"),
        (prefix + "Quimbleford", "x"),
        (prefix + "site", "o.Quimbleford-1"),
    ):
        for subject, kept in (("p1", False), ("p2", True), ("p1", False)):
            body = observation(
                code={"coding": [{"system": system, "code": code}]}, subject={"reference": f"Patient/{subject}"}
            )
            assert (clean(body)["code"]["coding"][0]["code"] == code) is kept


def test_names_of_this_subject_leave_labels_and_units_and_those_of_others_do_not_matter(clean: Clean) -> None:
    for label in ("Creatinine for Quimbleford", "Creatinine"):
        for subject in ("p1", "p2", "p1"):  # what is remembered for one subject must not serve another
            body = {**observation(code={"text": label}), "subject": {"reference": f"Patient/{subject}"}}
            text = clean(body, replace="tag")["code"]["text"]
            assert ("Quimbleford" in text) is (subject == "p2" and "Quimbleford" in label)
    unit = clean(
        observation(
            valueQuantity={"value": 5, "unit": "Quimbleford", "code": "mg", "system": "http://unitsofmeasure.org"}
        )
    )
    assert "Quimbleford" not in json.dumps(unit)
    assert unit["valueQuantity"]["code"] == "mg"


def test_ages_over_89_are_one_group(clean: Clean) -> None:
    found = clean(ELDER)
    assert found["birthDate"] in ("1933", "1934", "1935")
    assert clean(ELDER, "safe_harbor")["birthDate"] == "1934"
    assert clean(ELDER, "limited_data_set")["birthDate"] == "1920-05-06"
    history = {
        "resourceType": "FamilyMemberHistory",
        "id": "f",
        "status": "completed",
        "patient": {"reference": "Patient/p1"},
    }
    age = {"system": "http://unitsofmeasure.org", "code": "a"}
    for value, kept in ((95, 90), (90, 90), (89, 89), (89.5, 90)):
        assert clean({**history, "deceasedAge": {"value": value, **age}})["deceasedAge"]["value"] == kept
    assert (
        clean({**history, "deceasedAge": {"value": 95, "system": age["system"], "code": "mo"}})["deceasedAge"]["value"]
        == 95
    )


@pytest.mark.parametrize(
    ("given", "kept"), [("02139", "021"), ("03601", "000"), ("02139-4307", "021"), ("1", None), ("AB1 2CD", None)]
)
def test_zip3(clean: Clean, given: str, kept: str | None) -> None:
    found = clean({**PATIENT, "address": [{"postalCode": given, "city": "Salem", "line": ["1 Elm"], "state": "MA"}]})
    assert found["address"] == [{"postalCode": kept, "state": "MA"} if kept else {"state": "MA"}]


def test_an_order_keeps_its_drug(clean: Clean) -> None:
    order = {"resourceType": "MedicationRequest", "id": "r", "status": "active", "subject": {"reference": "Patient/p1"}}
    inside = {"resourceType": "Medication", "id": "in", "code": {"text": "aspirin"}}
    for reference, wanted in (
        ({"reference": "Medication/m1"}, {"coding": [{"system": LOINC, "code": "2160-0"}]}),
        ({"reference": "#in"}, {"text": "aspirin"}),
        ({"reference": "Medication/unknown", "display": "aspirin"}, {"text": "aspirin"}),
    ):
        assert (
            clean({**order, "contained": [inside], "medicationReference": reference})["medicationCodeableConcept"]
            == wanted
        )


def test_decisions_say_where(vault: Path) -> None:
    notes = [{"text": "fine"}, {"text": "Quimbleford is fine"}]
    [batch] = stage(vault)(iter([raw([observation(note=notes)])]))
    [decision] = batch.column("decisions")[0].as_py()
    assert (decision["path"], decision["start"], decision["end"]) == ("Observation.note[1].text", 0, 11)
    assert (decision["category"], decision["action"]) == ("PATIENT", "surrogate")


def test_an_attachment_becomes_plain_text(clean: Clean) -> None:
    body = {
        "resourceType": "DocumentReference", "id": "d", "status": "current", "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": {"contentType": kind, "data": base64.b64encode(b"<p>Quimbleford</p>").decode(), "title": "x"}}
                    for kind in ("text/html", "image/png")],
    }  # fmt: skip
    [content] = clean(body, replace="tag")["content"]
    assert content["attachment"]["contentType"].startswith("text/plain")
    assert base64.b64decode(content["attachment"]["data"]) == b"[PATIENT]\n"
    assert set(content["attachment"]) == {"contentType", "data"}


ROWS: list[bytes | Json] = [
    PATIENT,
    ELDER,
    *(observation(id=f"o{n}", note=[{"text": f"Quimbleford {n}, seen 3/{n + 1}/2020"}], zzz=n) for n in range(5)),
    *({**observation(id=f"e{n}", code={"text": "Quimbleford"}), "subject": {"reference": f"Patient/p{n}"}} for n in range(4)),
    observation(valueQuantity={"value": 1, "unit": "mg/dL"}, component=[{"code": {"text": "Ottoline"}}]),
    b"{bad", b"", b"[]", b"\xff", observation(modifierExtension=[{}]), observation(issued="soon"), {"resourceType": "Practitioner"},
    observation(code={"coding": [{"system": "urn:site", "code": "x"}]}, extension=[{"url": "x"}]),
]  # fmt: skip


@given(st.lists(st.integers(0, len(ROWS)), max_size=6), st.permutations(range(len(ROWS))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_how_rows_are_batched_and_ordered_does_not_matter(vault: Path, cuts: list[int], order: list[int]) -> None:
    def outcome(batches: list[pa.RecordBatch]) -> tuple[list[Any], list[Any], Counter[str]]:
        scrubbed = list(stage(vault)(iter(batches)))
        staged = list(Normalize()(iter(scrubbed)))
        counts: Counter[str] = Counter()
        rows: list[list[Any]] = []
        for found in (scrubbed, staged):
            every = [row for batch in found for row in batch.to_pylist()]
            rows.append(sorted(json.dumps(row, default=str, sort_keys=True) for row in every if row["fate"] != TALLY))
            counts.update(
                {name: n for row in every if row["fate"] == TALLY for name, n in orjson.loads(row["body"]).items()}
            )
        tallies: Counter[str] = Counter()
        for batch in scrubbed:
            for row in batch.to_pylist():
                if row["fate"] == TALLY:
                    tallies.update(orjson.loads(row["body"]))
        return rows[0], rows[1], tallies

    whole = raw(ROWS)
    edges = sorted({0, *cuts, len(ROWS)})
    parts = [whole.slice(a, b - a) for a, b in pairwise(edges)]
    shuffled = whole.take(pa.array(order))
    assert outcome([whole]) == outcome(parts) == outcome([shuffled])


def test_a_row_that_ended_is_passed_on(vault: Path) -> None:
    batch = raw([PATIENT, b"x"]).to_pylist()
    batch[1]["fate"] = "read/corrupt_file"
    [found] = stage(vault)(iter([pa.RecordBatch.from_pylist(batch, schema=schema.table("raw"))]))
    rows = [row for row in found.to_pylist() if row["fate"] != TALLY]
    assert [(row["fate"], row["body"]) for row in rows[1:]] == [("read/corrupt_file", b"x")]
    assert rows[1]["subject_id"] is None
    assert found.schema == schema.table("scrubbed")


def test_what_is_about_a_group_is_about_no_patient(vault: Path) -> None:
    rows: list[bytes | Json] = [
        observation(subject={"reference": "Group/g"}),
        observation(implicitRules="http://x.example.org"),
    ]
    [batch] = stage(vault)(iter([raw(rows)]))
    assert batch.column("fate").to_pylist()[:2] == ["scrub/not_about_a_patient", "scrub/implicit_rules"]


@pytest.mark.parametrize("code", ["30525-0", "21612-7", "29553-5"])
def test_an_age_over_89_is_grouped_where_it_is_the_value_of_an_observation(clean: Clean, code: str) -> None:
    age = {"coding": [{"system": LOINC, "code": code}]}
    ucum = "http://unitsofmeasure.org"
    for value, kept in ((97, 90), (1200, 90), (44, 44)):
        unit = "mo" if value > 1000 else "a"
        found = clean(observation(code=age, valueQuantity={"value": value, "unit": unit, "system": ucum, "code": unit}))
        assert found["valueQuantity"]["value"] == kept
    assert clean(observation(code=age, valueInteger=93))["valueInteger"] == 90
    assert clean(observation(code=age, valueInteger=93), "limited_data_set")["valueInteger"] == 93
    component = {"code": age, "valueQuantity": {"value": 95, "unit": "yr"}}
    assert clean(observation(component=[component]))["component"][0]["valueQuantity"]["value"] == 90
    years = {"low": {"value": 85, "unit": "years"}, "high": {"value": 95, "unit": "years"}}
    assert clean(observation(valueRange=years))["valueRange"]["high"]["value"] == 90


def test_birth_sex_of_us_core_stays_and_nothing_else_in_its_place(clean: Clean) -> None:
    url = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex"
    for code, kept in (("F", [{"url": url, "valueCode": "F"}]), ("Quimbleford", None), ("Doe", None)):
        found = clean({**PATIENT, "extension": [{"url": url, "valueCode": code}]}).get("extension")
        assert (found or None) == kept


@pytest.mark.parametrize(
    ("unit", "public"),
    [
        ("mL/min/{1.73_m2}", True), ("{score}", True), ("1/1", True), ("10*12/L", True),
        ("mL/{Jane}", False), ("{617-555-1234}", False), ("617.555.1234", False), ("3/12/1961", False),
        ("mL/5551234567", False), ("{", False), ("{}", False),
    ],
)  # fmt: skip
def test_a_unit_is_public_where_its_annotation_is_and_no_number_of_somebody(unit: str, public: bool) -> None:
    assert is_public(unit) == public
