"""Insurance policies, claims and what was paid, as FHIR R4."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from mayo_data.synth.facts import Bill, Chart, Cover
from mayo_data.synth.fhir_ids import id_of
from mayo_data.synth.fhir_parts import Json, coding, meta, patient, reference, second, staff, term


def _money(amount: str) -> Json:
    return {"value": Decimal(amount), "currency": "USD"}


def cover(chart: Chart, fact: Cover) -> Iterator[Json]:
    """Yield the Coverage."""
    person = chart.person
    period = {"start": fact.when.iso(), **({"end": fact.end.iso()} if fact.end else {})}
    yield {
        "resourceType": "Coverage",
        "id": id_of(person, fact),
        "meta": meta(fact.recorded),
        "status": "active",
        "type": term("v3-ActCode", "EHCPOL", "extended healthcare"),
        "subscriberId": person.member,
        "beneficiary": patient(person),
        "relationship": term("subscriber-relationship", "self"),
        "period": period,
        "payor": [{"display": person.insurer}],
        "class": [{"type": term("coverage-class", "group"), "value": person.group_number, "name": person.employer}],
    }


def bill(chart: Chart, fact: Bill) -> Iterator[Json]:
    """Yield the Claim and the ExplanationOfBenefit."""
    person, visit = chart.person, fact.visit
    policy = next(found for found in chart.facts if isinstance(found, Cover))
    held = reference("Coverage", id_of(person, policy))
    shared: Json = {
        "meta": meta(fact.recorded),
        "status": "active",
        "type": term("claim-type", "institutional" if visit and visit.kind == "IMP" else "professional"),
        "use": "claim",
        "patient": patient(person),
        "billablePeriod": {"start": fact.when.iso(), "end": fact.when.iso()},
        "created": second(fact.recorded),
        "provider": reference("Organization", person.hospital.id, person.hospital.name),
    }
    encounter = [reference("Encounter", id_of(person, visit))] if visit else []
    lines = [
        {
            "sequence": number,
            "productOrService": {"coding": [coding(item.billed or item)]},
            "servicedDate": fact.when.written("day").iso(),
            "encounter": encounter,
        }
        for number, item in enumerate(fact.codes, 1)
    ]
    lines[0]["net"] = _money(fact.charge)
    diagnoses = [
        {"sequence": number, "diagnosisReference": reference("Condition", id_of(person, found))}
        for number, found in enumerate(visit.diagnoses if visit else [], 1)
    ]
    claim: Json = {
        "resourceType": "Claim",
        "id": id_of(person, fact),
        **shared,
        "identifier": [{"system": "urn:oid:2.25.30047", "value": fact.number}],
        "priority": term("processpriority", "normal"),
        "careTeam": [{"sequence": 1, "provider": staff(fact.staff)}],
        "insurance": [{"sequence": 1, "focal": True, "coverage": held}],
        "item": lines,
        "total": _money(fact.charge),
    }
    benefit: Json = {
        "resourceType": "ExplanationOfBenefit",
        "id": id_of(person, fact, "ExplanationOfBenefit"),
        **shared,
        "insurer": {"display": person.insurer},
        "claim": reference("Claim", id_of(person, fact)),
        "outcome": "complete",
        "insurance": [{"focal": True, "coverage": held}],
        "item": lines,
        "total": [
            {"category": term("adjudication", "submitted"), "amount": _money(fact.charge)},
            {"category": term("adjudication", "eligible"), "amount": _money(fact.allowed)},
            {"category": term("adjudication", "benefit"), "amount": _money(fact.paid)},
            {"category": term("adjudication", "copay"), "amount": _money(fact.copay)},
        ],
        "payment": {"amount": _money(fact.paid), "date": fact.recorded.later(days=12).written("day").iso()},
    }
    if diagnoses:
        claim["diagnosis"] = benefit["diagnosis"] = diagnoses
    yield claim
    yield benefit
