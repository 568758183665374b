"""What the golden cases do not ask: hostile input, dates, references, several standard concepts, nothing lost."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data import assets
from mayo_data.mapping import cdm
from mayo_data.mapping.elements import moment, number, reference
from mayo_data.mapping.mapper import Mapper
from mayo_data.mapping.vocabulary import Concept, MemoryVocabulary, spellings

SCT = "http://snomed.info/sct"
CONCEPTS = [
    Concept(32817, "Type Concept", "Type Concept", "Type Concept", True, "OMOP4976890"),
    Concept(32838, "Type Concept", "Type Concept", "Type Concept", True, "OMOP4976911"),
    Concept(38000177, "Type Concept", "Drug Type", "Drug Type", False, "OMOP4822241"),
    Concept(437663, "Condition", "SNOMED", "Clinical Finding", True, "386661006"),
    Concept(4310250, "Observation", "SNOMED", "Clinical Finding", False, "8517006"),
    Concept(903651, "Observation", "OMOP Extension", "Clinical Finding", True, "OMOP5181833"),
    Concept(1340204, "Observation", "OMOP Extension", "Context-dependent", True, "OMOP5165859"),
    Concept(4329041, "Condition", "SNOMED", "Clinical Finding", True, "22253000"),
    Concept(4298794, "Observation", "SNOMED", "Clinical Finding", False, "77176002"),
    Concept(4276526, "Observation", "SNOMED", "Clinical Finding", True, "365981007"),
    Concept(4005823, "Observation", "SNOMED", "Clinical Finding", True, "266919005"),
    Concept(35207668, "Condition", "ICD10CM", "3-char", False, "E11.9"),
    Concept(201826, "Condition", "SNOMED", "Disorder", True, "44054006"),
    Concept(1127433, "Drug", "RxNorm", "Clinical Drug", True, "313782"),
    Concept(439224, "Observation", "SNOMED", "Clinical Finding", True, "416098002"),
    Concept(3004249, "Measurement", "LOINC", "Clinical Observation", True, "8480-6"),
    Concept(8876, "Unit", "UCUM", "Unit", True, "mm[Hg]"),
]
MAPS = [(4310250, 903651), (4310250, 1340204), (35207668, 201826), (38000177, 32838), (4298794, 4276526)]


def mapper() -> Mapper:
    return Mapper(MemoryVocabulary(CONCEPTS, MAPS, [(4298794, 4005823)]))


def rows(resource: dict[str, Any], one: Mapper | None = None) -> list[tuple[str, dict[str, Any]]]:
    return (one or mapper()).rows({"id": "x", "subject": {"reference": "Patient/p"}, **resource})


def coded(code: str, system: str = SCT) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def test_a_code_that_means_two_things_makes_two_rows() -> None:
    found = rows({"resourceType": "Condition", "code": coded("8517006"), "onsetDateTime": "2020-01-01"})
    assert [(table, row["observation_concept_id"]) for table, row in found] == [
        ("observation", 903651), ("observation", 1340204),
    ]  # fmt: skip
    assert len({row["observation_id"] for _, row in found}) == 2
    assert {row["observation_source_concept_id"] for _, row in found} == {4310250}


def test_an_unmapped_code_keeps_its_row_and_is_counted() -> None:
    one = mapper()
    made = dict(
        rows({"resourceType": "Condition", "code": coded("X1", "urn:site"), "recordedDate": "2020"}, one)
        + rows({"resourceType": "Observation", "code": {"text": "gait"}, "valueString": "slow", "issued": "2020"}, one)
        + rows(
            {"resourceType": "MedicationRequest", "medicationCodeableConcept": coded("1"), "authoredOn": "2020"}, one
        )
    )
    assert made["condition_occurrence"]["condition_concept_id"] == 0
    assert made["condition_occurrence"]["condition_source_value"] == "X1"
    assert made["observation"]["observation_source_value"] == "gait"
    assert made["observation"]["value_as_string"] == "slow"
    assert made["drug_exposure"]["drug_source_value"] == "1"
    assert one.tally.unmapped == {
        ("condition_occurrence.condition_concept_id", "(no OMOP vocabulary)"): 1,
        ("observation.observation_concept_id", "(words only)"): 1,
        ("drug_exposure.drug_concept_id", "SNOMED"): 1,
    }


def test_an_answer_within_a_code_becomes_the_value() -> None:
    found = rows({"resourceType": "Observation", "code": coded("77176002"), "effectiveDateTime": "2020"})
    assert [(row["observation_concept_id"], row["value_as_concept_id"]) for _, row in found] == [(4276526, 4005823)]


def test_a_finding_with_an_answer_is_no_condition() -> None:
    said = {"resourceType": "Observation", "code": coded("386661006"), "effectiveDateTime": "2020"}
    assert [table for table, _ in rows(said)] == ["condition_occurrence"]
    found = rows({**said, "valueBoolean": False})
    assert [(table, row["observation_concept_id"], row["value_source_value"]) for table, row in found] == [
        ("observation", 437663, "false")
    ]


def test_components_are_rows_and_their_panel_is_none() -> None:
    one = mapper()
    part = {"code": coded("8480-6", "http://loinc.org"), "valueQuantity": {"value": 120, "code": "mm[Hg]"}}
    panel = {"resourceType": "Observation", "code": coded("85354-9", "http://loinc.org"), "issued": "2020-02-03"}
    found = rows({**panel, "component": [part, {"code": {"text": "diastolic"}, "dataAbsentReason": {}}]}, one)
    assert [(table, row["value_as_number"], row["unit_concept_id"]) for table, row in found] == [
        ("measurement", 120, 8876)
    ]
    assert one.tally.dropped == {("Observation", "no_value"): 1}


def test_a_substance_is_the_value_of_its_allergy() -> None:
    allergy = {
        "resourceType": "AllergyIntolerance", "type": "allergy", "category": ["medication"], "recordedDate": "2020",
        "patient": {"reference": "Patient/p"}, "code": coded("313782", "http://www.nlm.nih.gov/research/umls/rxnorm"),
        "reaction": [{"manifestation": [{"text": "hives"}]}],
    }  # fmt: skip
    ((table, row),) = rows(allergy)
    assert table == "observation"
    assert (row["observation_concept_id"], row["value_as_concept_id"], row["value_as_string"]) == (
        439224,
        1127433,
        "hives",
    )


def test_a_retired_type_is_written_as_what_it_is_today() -> None:
    request = {"resourceType": "MedicationRequest", "medicationCodeableConcept": coded("313782"), "authoredOn": "2020"}
    vocabulary = MemoryVocabulary([one for one in CONCEPTS if one.concept_id != 32838], MAPS)
    assert rows(request)[0][1]["drug_type_concept_id"] == 32838
    assert rows(request, Mapper(vocabulary))[0][1]["drug_type_concept_id"] == 38000177


@pytest.mark.parametrize("link", [{"medicationReference": {"reference": "Medication/m"}},
                                  {"medicationReference": {"reference": "#m"}, "contained": [
                                      {"resourceType": "Medication", "id": "m", "code": coded("313782", "http://www.nlm.nih.gov/research/umls/rxnorm")}]}])  # fmt: skip
def test_a_drug_is_found_where_it_is_pointed_to(link: dict[str, Any]) -> None:
    one = mapper()
    one.learn({"resourceType": "Medication", "id": "m",
               "code": coded("313782", "http://www.nlm.nih.gov/research/umls/rxnorm")})  # fmt: skip
    ((_, row),) = rows({"resourceType": "MedicationRequest", "authoredOn": "2020-01-01", **link}, one)
    assert row["drug_concept_id"] == 1127433


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"resourceType": "Condition", "code": coded("1"), "subject": None}, "no_subject"),
        ({"resourceType": "Condition", "code": coded("1")}, "no_date"),
        ({"resourceType": "Condition", "recordedDate": "2020"}, "no_code"),
        ({"resourceType": "Condition", "code": coded("1"), "verificationStatus": coded("refuted")}, "status"),
        ({"resourceType": "MedicationRequest", "doNotPerform": True}, "not_done"),
        ({"resourceType": "Patient", "id": "p"}, "no_year_of_birth"),
        ({"resourceType": "Patient", "birthDate": "1950", "deceasedBoolean": True}, "no_date_of_death"),
        ({"resourceType": "DocumentReference", "date": "2020"}, "no_text"),
        ({"resourceType": "Specimen", "type": coded("1")}, "no_date"),
        ({"resourceType": "Claim"}, "type_has_no_map"),
    ],
)
def test_what_makes_no_row_is_counted_once(resource: dict[str, Any], reason: str) -> None:
    one = mapper()
    rows(resource, one)
    assert one.tally.dropped == {(resource["resourceType"], reason): 1}
    assert reason in assets.toml("schemas", "omop", "from_fhir.toml")["reasons"]


def test_an_undated_fact_waits_for_its_visit() -> None:
    ((_, row),) = rows(
        {"resourceType": "Condition", "code": coded("386661006"), "encounter": {"reference": "Encounter/e"}}
    )
    assert row["condition_start_date"] is None
    assert row["visit_occurrence_id"] == cdm.key("visit_occurrence", "e")


def test_the_end_is_on_the_clock_of_the_start() -> None:
    ((_, row),) = rows({
        "resourceType": "MedicationAdministration", "medicationCodeableConcept": coded("1"),
        "effectivePeriod": {"start": "2023-11-21T05:02:00+05:30", "end": "2023-11-20T23:40:00Z"},
    })  # fmt: skip
    assert row["drug_exposure_start_datetime"].isoformat() == "2023-11-21T05:02:00"
    assert row["drug_exposure_end_datetime"].isoformat() == "2023-11-21T05:10:00"


def test_a_document_is_a_note() -> None:
    data = base64.b64encode("Grüße".encode("latin-1")).decode()
    content = [{"attachment": {"contentType": "application/pdf", "data": data}},
               {"attachment": {"contentType": "text/plain; charset=ISO-8859-1", "data": data}}]  # fmt: skip
    ((table, row),) = rows({"resourceType": "DocumentReference", "date": "2020-05-06T07:08:09Z", "content": content})
    assert (table, row["note_text"], row["note_class_concept_id"]) == ("note", "Grüße", 0)


def test_icd_codes_are_found_without_their_point() -> None:
    found = rows({"resourceType": "Condition", "recordedDate": "2020",
                  "code": coded("E119", "http://hl7.org/fhir/sid/icd-10-cm")})  # fmt: skip
    assert found[0][1]["condition_concept_id"] == 201826
    assert spellings("ICD9CM", "E8800") == ("E8800", "E880.0")


def test_texts_are_as_long_as_the_cdm_has_room() -> None:
    ((_, row),) = rows({"resourceType": "Condition", "recordedDate": "2020", "code": {"text": "é" * 80}})
    assert row["condition_source_value"] == "é" * 50
    place = mapper().rows(
        {"resourceType": "Patient", "id": "p", "birthDate": "1970", "address": [{"state": "Bavaria"}]}
    )
    assert place[0][1]["state"] is None
    assert place[0][1]["location_source_value"] == "Bavaria"


# ── hostile input ─────────────────────────────────────────────────────────────────────────────────

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["2020-01-01", "Patient/p", "final", SCT, "386661006"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "coding", "code", "system", "reference", "value", "start", "end", "text", "url", "valueCode", "extension", "unit",
        "attachment", "data", "contentType", "individual", "actor", "low", "high"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
KEYS = [
    "id", "status", "subject", "patient", "code", "type", "class", "period", "encounter", "context", "onsetDateTime",
    "performedPeriod", "effectiveDateTime", "authoredOn", "medicationCodeableConcept", "medicationReference", "contained",
    "component", "valueQuantity", "valueCodeableConcept", "valueRange", "referenceRange", "category", "performer",
    "presentedForm", "content", "birthDate", "address", "extension", "name", "gender", "udiCarrier", "manufactureDate",
    "collection", "dosageInstruction", "dispenseRequest", "hospitalization", "participant", "generalPractitioner",
    "vaccineCode", "occurrenceDateTime", "reaction", "position", "deceasedDateTime", "_birthDate", "date",
]  # fmt: skip
TYPES = sorted(assets.toml("schemas", "omop", "from_fhir.toml")["resource"])


@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=10))
def test_junk_never_raises_and_every_row_is_whole(kind: str, junk: dict[str, Any]) -> None:
    one = mapper()
    one.learn({**junk, "resourceType": kind})
    for table, row in one.rows({**junk, "resourceType": kind}):
        assert list(row) == [field.name for field in cdm.fields(table)]
        for field in cdm.fields(table):
            assert row[field.name] is not None or not field.required or cdm.is_late(table, field.name)


@given(st.text(max_size=30) | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", fullmatch=True))
def test_a_moment_is_one_or_none(text: str) -> None:
    for clock in ("wall", "utc"):
        found = moment(text, clock)
        assert found is None or found.day == found.time.date()


@pytest.mark.parametrize("link", [None, [], {}, {"reference": 5}, {"reference": "#x"}, {"reference": "Patient"},
                                  {"reference": "Practitioner?identifier=a|b/c"}])  # fmt: skip
def test_a_reference_that_is_none_leads_nowhere(link: Any) -> None:
    assert reference(link, "Patient") == ""


@pytest.mark.parametrize("value", [True, None, "x", {}, float("nan"), float("inf"), 10**400])
def test_no_number_is_no_number(value: Any) -> None:
    assert number(value) is None
