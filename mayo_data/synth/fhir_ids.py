"""Which resource carries a fact, under which id, and the elements they all begin with."""

from __future__ import annotations

from mayo_data.synth.dice import identify
from mayo_data.synth.facts import Chart, Drug, Fact, Note, Person
from mayo_data.synth.fhir_parts import Json, meta, patient, reference

TYPES = {
    "Visit": "Encounter",
    "Diagnosis": "Condition",
    "Measure": "Observation",
    "Operation": "Procedure",
    "Shot": "Immunization",
    "Allergy": "AllergyIntolerance",
    "Sample": "Specimen",
    "Order": "ServiceRequest",
    "Implant": "Device",
    "Family": "FamilyMemberHistory",
    "Survey": "QuestionnaireResponse",
    "Plan": "CarePlan",
    "Imaging": "ImagingStudy",
    "Bill": "Claim",
    "Cover": "Coverage",
}
_DRUGS = {
    "request": "MedicationRequest",
    "administration": "MedicationAdministration",
    "dispense": "MedicationDispense",
    "statement": "MedicationStatement",
}


def type_of(fact: Fact) -> str:
    """Return the resource type that carries a fact."""
    if isinstance(fact, Drug):
        return _DRUGS[fact.act]
    if isinstance(fact, Note):
        return fact.home
    return TYPES[type(fact).__name__]


def id_of(person: Person, fact: Fact, kind: str = "") -> str:
    """Return the id of the resource that carries a fact."""
    return identify(person.id, kind or type_of(fact), fact.key)


def start(
    chart: Chart, fact: Fact, *, profile: str = "", subject: str = "subject", encounter: str = "encounter"
) -> Json:
    """Return the elements that every resource begins with: type, id, meta, subject, encounter."""
    kind = type_of(fact)
    found: Json = {
        "resourceType": kind,
        "id": id_of(chart.person, fact),
        "meta": meta(fact.recorded, profile),
        subject: patient(chart.person),
    }
    if fact.visit and encounter:
        found[encounter] = reference("Encounter", id_of(chart.person, fact.visit))
    return found
