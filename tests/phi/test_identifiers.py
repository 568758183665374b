from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.identifiers import from_fhir, reference_key
from mayo_data.types import Identifier


def said(resource: dict[str, Any]) -> set[tuple[str, str]]:
    return {(entry.category, entry.value) for record in from_fhir(resource) for entry in record.identifiers}


PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "id-77421",
    "identifier": [
        {"type": {"coding": [{"code": "MR"}]}, "value": "MRN-1001"},
        {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "999-10-2000"},
        {"type": {"coding": [{"code": "DL"}]}, "value": "S99987654"},
        {"system": "urn:x", "value": "abcd99"},
        {"value": "12"},
    ],
    "name": [{"family": "Fam", "given": ["Giv", "Mid"], "text": "Giv M. Fam"}, {"use": "maiden", "family": "Maid"}],
    "telecom": [
        {"system": "phone", "value": "617-555-0100"},
        {"system": "fax", "value": "617-555-0101"},
        {"system": "email", "value": "g@x.org"},
        {"value": "617-555-0102"},
    ],
    "address": [
        {"line": ["1 Elm St", "Apt 2"], "city": "Salem", "district": "Essex", "postalCode": "01970", "state": "MA"}
    ],
    "contact": [
        {
            "name": {"family": "Con", "given": ["Rel"]},
            "telecom": [{"value": "617-555-0103"}],
            "address": {"line": ["9 Oak"]},
        }
    ],
    "generalPractitioner": [{"display": "Dr. Gep"}],
    "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName", "valueString": "Moth Er"},
        {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": {"city": "Lynn"}},
    ],
    "birthDate": "1970-01-02",
    "deceasedDateTime": "2020-03-04T05:06:07Z",
    "gender": "male",
}


def test_a_patient_says_all_of_this() -> None:
    assert said(PATIENT) == {
        ("MRN", "MRN-1001"), ("SSN", "999-10-2000"), ("LICENSE", "S99987654"), ("OTHERID", "abcd99"), ("OTHERID", "id-77421"),
        ("PATIENT", "Fam"), ("PATIENT", "Giv"), ("PATIENT", "Mid"), ("PATIENT", "Giv M. Fam"), ("PATIENT", "Maid"),
        ("PHONE", "617-555-0100"), ("FAX", "617-555-0101"), ("EMAIL", "g@x.org"), ("PHONE", "617-555-0102"),
        ("STREET", "1 Elm St"), ("STREET", "Apt 2"), ("CITY", "Salem"), ("COUNTY", "Essex"), ("ZIP", "01970"),
        ("RELATIVE", "Con"), ("RELATIVE", "Rel"), ("PHONE", "617-555-0103"), ("STREET", "9 Oak"), ("STAFF", "Dr. Gep"),
        ("RELATIVE", "Moth Er"), ("CITY", "Lynn"), ("DATE", "1970-01-02"), ("DATE", "2020-03-04"),
    }  # fmt: skip
    [record] = from_fhir(PATIENT)
    assert (record.kind, record.ref, record.sex, record.birth) == ("patient", "Patient/id-77421", "male", "1970-01-02")
    assert "identifier:|12" in record.aliases


def test_shapes_are_not_trusted() -> None:
    odd = {
        "resourceType": "Patient", "id": "1", "name": "Fam Giv", "identifier": [84736251, "AB-7788", {"value": 55512399}],
        "telecom": "617-555-0100", "address": "1 Elm St", "contact": {"name": ["Rel Con"]}, "birthDate": ["1970-01-02"],
    }  # fmt: skip
    assert said(odd) >= {
        ("PATIENT", "Fam Giv"), ("OTHERID", "84736251"), ("OTHERID", "AB-7788"), ("OTHERID", "55512399"),
        ("PHONE", "617-555-0100"), ("STREET", "1 Elm St"), ("RELATIVE", "Rel Con"), ("DATE", "1970-01-02"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "kind", "ref", "wanted"),
    [
        (
            {"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": "Patient/1"}, "name": [{"text": "Rel A"}]},
            "attached", "Patient/1", ("RELATIVE", "Rel A"),
        ),
        (
            {"resourceType": "Coverage", "id": "c", "beneficiary": {"reference": "Patient/1"}, "subscriberId": "SUB-777"},
            "attached", "Patient/1", ("HEALTHPLAN", "SUB-777"),
        ),
        (
            {"resourceType": "Account", "id": "a", "subject": [{"reference": "Patient/1"}], "identifier": [{"value": "ACC-1"}]},
            "attached", "Patient/1", ("ACCOUNT", "ACC-1"),
        ),
        (
            {"resourceType": "Device", "id": "d", "patient": {"reference": "Patient/1"}, "udiCarrier": [{"carrierHRF": "(01)99"}]},
            "attached", "Patient/1", ("DEVICE", "(01)99"),
        ),
        (
            {"resourceType": "Person", "id": "p", "name": {"family": "Per"}, "link": [{"target": {"reference": "Patient/1"}}]},
            "attached", "Patient/1", ("PATIENT", "Per"),
        ),
        ({"resourceType": "Practitioner", "id": "s", "name": [{"family": "Sta"}]}, "directory", "Practitioner/s", ("STAFF", "Sta")),
        (
            {"resourceType": "PractitionerRole", "id": "s", "practitioner": {"display": "Dr. Sta"}},
            "directory", "PractitionerRole/s", ("STAFF", "Dr. Sta"),
        ),
        ({"resourceType": "Organization", "id": "o", "alias": ["Org"]}, "directory", "Organization/o", ("HOSPITAL", "Org")),
        ({"resourceType": "Location", "id": "l", "name": "Ward"}, "directory", "Location/l", ("HOSPITAL", "Ward")),
    ],
)  # fmt: skip
def test_everybody_else(resource: dict[str, Any], kind: str, ref: str, wanted: tuple[str, str]) -> None:
    [record] = from_fhir(resource)
    assert (record.kind, record.ref) == (kind, ref)
    assert wanted in said(resource)


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ({"reference": "Patient/1"}, "Patient/1"),
        ({"reference": "https://e.org/fhir/Patient/1/_history/3"}, "Patient/1"),
        ({"reference": "urn:uuid:1-2"}, "Patient/1-2"),
        ({"reference": "Patient?identifier=urn:mrn|7"}, "identifier:urn:mrn|7"),
        ({"identifier": {"system": "urn:mrn", "value": "7"}}, "identifier:urn:mrn|7"),
        ({"identifier": {"value": "7"}}, "identifier:|7"),
        ({"reference": "#p"}, None), ({"reference": ""}, None), ({"reference": 5}, None), ({"display": "x"}, None),
        (None, None), ("Patient/1", None), ([{"reference": "Patient/1"}], None),
    ],
)  # fmt: skip
def test_references(reference: Any, wanted: str | None) -> None:
    assert reference_key(reference) == wanted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*PATIENT, "value", "given", "line", "coding"]), inner)
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["Patient", "Practitioner", "Organization", "Device", "Person", "Medication", "Coverage"]),
    json_values,
)
def test_nothing_breaks_it(kind: str, body: Any) -> None:
    resource = {**(body if isinstance(body, dict) else {"name": body}), "resourceType": kind, "id": "1"}
    for record in from_fhir(resource):
        assert all(type(entry) is Identifier and entry.value for entry in record.identifiers)


def test_a_clinician_is_known_by_the_whole_name() -> None:
    (record,) = from_fhir(
        {"resourceType": "Practitioner", "id": "1", "name": [{"family": "Zed", "given": ["Ann", "B"]}]}
    )
    assert record.identifiers == (Identifier("STAFF", "full", "Ann B Zed"),)


# ── contained resources ───────────────────────────────────────────────────────────────────────────


def name(given: str, family: str) -> dict[str, Any]:
    return {"name": [{"given": [given], "family": family}]}


CONTAINED = [
    {"resourceType": "Practitioner", "id": "d", **name("Maria", "Okafor"), "telecom": [{"value": "507-555-0143"}]},
    {"resourceType": "Organization", "id": "o", "name": "Quimble Valley Clinic"},
    {"resourceType": "RelatedPerson", "id": "r", **name("Tunde", "Adeyemi"), "birthDate": "1990-01-02"},
    {"resourceType": "Patient", "id": "m", **name("Ngozi", "Adeyemi"), "birthDate": "1960-05-06"},
    {"resourceType": "Coverage", "id": "c", "subscriberId": "XQ-9912345"},
    {"resourceType": "Observation", "id": "x"},
]


def test_who_is_contained_is_known_to_the_patient_and_clinicians_to_the_site() -> None:
    resource = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, "contained": CONTAINED}
    found = from_fhir(resource)
    site = {one.identifiers[0] for one in found if one.kind == "directory"}
    assert site == {
        ("STAFF", "full", "Maria Okafor"),
        ("PHONE", "value", "507-555-0143"),
        ("HOSPITAL", "value", "Quimble Valley Clinic"),
    }
    attached = [one for one in found if one.kind == "attached"]
    assert {one.ref for one in attached} == {"Patient/p1"}
    said = {identifier for one in attached for identifier in one.identifiers}
    assert {
        ("RELATIVE", "family", "Adeyemi"),
        ("PATIENT", "given", "Ngozi"),
        ("HEALTHPLAN", "value", "XQ-9912345"),
    } <= said
    assert not [one for one in said if one.category == "DATE"], "days of somebody else's life are everybody's days"


def test_who_is_contained_in_what_is_about_nobody_is_known_to_the_site() -> None:
    found = from_fhir({"resourceType": "Basic", "id": "b", "contained": [CONTAINED[2], CONTAINED[4]]})
    assert [(one.kind, one.identifiers) for one in found] == [("directory", (("STAFF", "full", "Tunde Adeyemi"),))]


def test_the_same_entry_is_one_entry() -> None:
    refs = [
        one.ref
        for n in range(3)
        for one in from_fhir({"resourceType": "Basic", "id": f"b{n}", "contained": CONTAINED[:1]})
    ]
    assert len(refs) == 6
    assert len(set(refs)) == 2


@pytest.mark.parametrize(
    "contained", ["x", 5, [5], [{}], [{"resourceType": 5}], {"resourceType": "Patient"}, [[CONTAINED[0]]], [None]]
)
def test_any_shape_of_contained_is_read(contained: Any) -> None:
    found = from_fhir({"resourceType": "Patient", "id": "p", "contained": contained})
    assert found[0].kind == "patient"
