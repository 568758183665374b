"""A chart as FHIR R4 resources, fact by fact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mayo_data.synth import fhir_documents, fhir_drugs, fhir_money, fhir_people
from mayo_data.synth.codes import Code
from mayo_data.synth.facts import (
    Allergy,
    Bill,
    Chart,
    Cover,
    Diagnosis,
    Drug,
    Fact,
    Family,
    Imaging,
    Implant,
    Measure,
    Note,
    Operation,
    Order,
    Plan,
    Sample,
    Shot,
    Survey,
    Visit,
)
from mayo_data.synth.fhir_ids import id_of, start
from mayo_data.synth.fhir_parts import (
    Json,
    coding,
    concept,
    meta,
    note,
    patient,
    quantity,
    reference,
    second,
    staff,
    term,
    value,
)

_CLASS = {"AMB": "ambulatory", "IMP": "inpatient encounter", "EMER": "emergency", "VR": "virtual"}
_DISCHARGE = {"home": "Home", "snf": "Skilled nursing facility", "home-health": "Home with home health"}


def render(chart: Chart) -> Iterator[Json]:
    """Yield all resources of a chart, the Patient first.

    Args:
        chart: A person and the facts about them; notes have their text.
    """
    yield fhir_people.patient(chart)
    yield from fhir_people.related(chart.person)
    for fact in chart.facts:
        yield from _RENDER[type(fact)](chart, fact)


def _visit(chart: Chart, fact: Visit) -> Iterator[Json]:
    found = start(chart, fact, profile="us-core-encounter")
    act = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    period = {"start": fact.when.iso(), "end": fact.end.iso()}
    found |= {
        "identifier": [{"use": "official", "system": "urn:oid:2.25.30045", "value": fact.number}],
        "status": "finished",
        "class": {"system": act, "code": fact.kind, "display": _CLASS[fact.kind]},
        "type": [concept(fact.type)],
        "participant": [
            {"type": [term("v3-ParticipationType", kind, label)], "individual": staff(who)}
            for kind, label, who in [("PPRF", "primary performer", fact.staff)]
            + [("PART", "Participation", other) for other in fact.others]
        ],
        "period": period,
        "serviceProvider": reference("Organization", chart.person.hospital.id, chart.person.hospital.name),
    }
    if fact.reason:
        found["reasonCode"] = [concept(fact.reason)]
    if fact.diagnoses:
        found["diagnosis"] = [
            {
                "condition": reference("Condition", id_of(chart.person, diagnosis), diagnosis.code.short),
                "use": term("diagnosis-role", "DD" if fact.kind == "IMP" else "billing"),
                "rank": rank,
            }
            for rank, diagnosis in enumerate(fact.diagnoses, 1)
        ]
    if fact.kind == "IMP":
        found["hospitalization"] = {
            "admitSource": term("admit-source", "emd", "From accident/emergency department"),
            "dischargeDisposition": {"text": _DISCHARGE[fact.discharge]},
        }
    stays = fact.stays or [(fact.place, fact.when, fact.end)]
    found["location"] = [
        {
            "location": reference("Location", place.id, place.name),
            "status": "completed",
            "period": {"start": start.iso(), "end": end.iso()},
        }
        for place, start, end in stays
    ]
    yield found


def _diagnosis(chart: Chart, fact: Diagnosis) -> Iterator[Json]:
    found = start(chart, fact, profile="us-core-condition")
    status = "resolved" if fact.end else "active"
    found |= {
        "clinicalStatus": term("condition-clinical", status),
        "verificationStatus": term("condition-ver-status", "confirmed"),
        "category": [term("condition-category", fact.category)],
        "code": concept(fact.code),
        "onsetDateTime": fact.when.iso(),
        "recordedDate": fact.recorded.iso(),
        "recorder": staff(fact.staff),
    }
    if fact.end:
        found["abatementDateTime"] = fact.end.iso()
    if fact.remark:
        found["note"] = [note(fact.remark, fact)]
    yield found


def _measure(chart: Chart, fact: Measure) -> Iterator[Json]:
    found = start(chart, fact)
    found |= {
        "status": "final",
        "category": [term("observation-category", fact.category)],
        "code": concept(fact.code),
        "effectiveDateTime": fact.when.iso(),
        "issued": second(fact.recorded),
        "performer": [staff(fact.staff)],
    }
    if fact.value:
        found |= value(fact.value)
    if fact.absent:
        found["dataAbsentReason"] = term("data-absent-reason", "error" if "unsat" in fact.absent else "unknown")
        found["dataAbsentReason"]["text"] = fact.absent
    if fact.flag:
        label = {"H": "High", "L": "Low", "N": "Normal"}[fact.flag]
        found["interpretation"] = [term("v3-ObservationInterpretation", fact.flag, label)]
    if fact.remark:
        found["note"] = [note(fact.remark, fact)]
    if fact.sample:
        found["specimen"] = reference("Specimen", id_of(chart.person, fact.sample))
    if fact.value and fact.value.kind == "Quantity" and (fact.code.low or fact.code.high):
        found["referenceRange"] = [_range(fact.code)]
    if fact.parts:
        found["component"] = [{"code": concept(item)} | value(part) for item, part in fact.parts]
    yield found


def _range(item: Code) -> Json:
    found: Json = {}
    if item.low:
        found["low"] = quantity(item.low, item.unit)
    if item.high:
        found["high"] = quantity(item.high, item.unit)
    found["text"] = (
        f"{item.low} - {item.high}" if item.low and item.high else f"< {item.high}" if item.high else f"> {item.low}"
    )
    return found


def _operation(chart: Chart, fact: Operation) -> Iterator[Json]:
    found = start(chart, fact)
    found |= {
        "status": "completed",
        "code": concept(fact.code),
        "performedPeriod": {"start": fact.when.iso(), "end": fact.end.iso()},
        "performer": [{"actor": staff(fact.staff)}],
    }
    if fact.remark:
        found["note"] = [note(fact.remark, fact)]
    yield found


def _shot(chart: Chart, fact: Shot) -> Iterator[Json]:
    found = start(chart, fact, subject="patient", profile="us-core-immunization")
    found |= {
        "status": "completed",
        "vaccineCode": concept(fact.code),
        "occurrenceDateTime": fact.when.iso(),
        "recorded": fact.recorded.iso(),
        "primarySource": True,
        "lotNumber": fact.lot,
        "performer": [{"actor": staff(fact.staff)}],
    }
    yield found


def _allergy(chart: Chart, fact: Allergy) -> Iterator[Json]:
    found = start(chart, fact, subject="patient", profile="us-core-allergyintolerance")
    found |= {
        "clinicalStatus": term("allergyintolerance-clinical", "active"),
        "verificationStatus": term("allergyintolerance-verification", "confirmed"),
        "type": "allergy",
        "category": [fact.code.kind],
        "criticality": "high" if fact.severity == "severe" else "low",
        "code": concept(fact.code),
        "onsetDateTime": fact.when.iso(),
        "recordedDate": fact.recorded.iso(),
        "recorder": staff(fact.staff),
        "reaction": [{"manifestation": [concept(fact.reaction)], "severity": fact.severity}],
    }
    if fact.remark:
        found["note"] = [note(fact.remark, fact)]
    yield found


def _sample(chart: Chart, fact: Sample) -> Iterator[Json]:
    found = start(chart, fact, encounter="")
    found |= {
        "accessionIdentifier": {"system": "urn:oid:2.25.30046", "value": fact.accession},
        "status": "available",
        "type": concept(fact.code),
        "receivedTime": fact.recorded.iso(),
        "collection": {"collectedDateTime": fact.when.iso()},
    }
    yield found


def _order(chart: Chart, fact: Order) -> Iterator[Json]:
    found = start(chart, fact)
    found |= {
        "status": "completed",
        "intent": "order",
        "code": concept(fact.code),
        "authoredOn": fact.when.iso(),
        "requester": staff(fact.staff),
    }
    if fact.reason:
        found["reasonCode"] = [{"text": fact.reason}]
    yield found


def _implant(chart: Chart, fact: Implant) -> Iterator[Json]:
    found = start(chart, fact, subject="patient", encounter="")
    found |= {
        "udiCarrier": [{"deviceIdentifier": fact.udi[4:18], "carrierHRF": fact.udi}],
        "status": "active",
        "manufacturer": fact.maker,
        "manufactureDate": fact.when.later(days=-200).written("day").iso(),
        "lotNumber": fact.lot,
        "serialNumber": fact.serial,
        "modelNumber": fact.model,
        "type": concept(fact.code),
    }
    yield found


def _family(chart: Chart, fact: Family) -> Iterator[Json]:
    found = start(chart, fact, subject="patient", encounter="")
    age = quantity(str(fact.age), "a") | {"unit": "years"}
    found |= {
        "status": "completed",
        "date": fact.when.iso(),
        "name": fact.name,
        "relationship": term("v3-RoleCode", "MTH", fact.relation),
        "condition": [{"code": concept(fact.code), "onsetAge": age}],
    }
    yield found


def _survey(chart: Chart, fact: Survey) -> Iterator[Json]:
    found = start(chart, fact)
    found |= {
        "status": "completed",
        "authored": fact.when.iso(),
        "item": [
            {"linkId": f"/{item.code}", "text": item.name, "answer": [{"valueCoding": coding(answer)}]}
            for item, answer in fact.answers
        ],
    }
    if fact.remark:
        found["item"].append({"linkId": "remark", "text": "Remark", "answer": [{"valueString": fact.remark}]})
    yield found


def _plan(chart: Chart, fact: Plan) -> Iterator[Json]:
    goal = id_of(chart.person, fact, "Goal")
    found = start(chart, fact)
    found |= {
        "status": "active",
        "intent": "plan",
        "title": fact.code.short,
        "category": [concept(fact.code)],
        "period": {"start": fact.when.iso()},
        "goal": [reference("Goal", goal)],
        "activity": [{"detail": {"code": concept(item), "status": "in-progress"}} for item in fact.activities],
    }
    yield found
    aim: Json = {
        "resourceType": "Goal",
        "id": goal,
        "meta": meta(fact.recorded),
        "lifecycleStatus": "active",
        "description": {"text": fact.goal},
        "subject": patient(chart.person),
        "startDate": fact.when.iso(),
    }
    if fact.target:
        item, bound = fact.target
        due = fact.when.later(days=180).written("day").iso()
        aim["target"] = [{"measure": concept(item), "detailQuantity": quantity(bound, item.unit), "dueDate": due}]
    yield aim


_RENDER: dict[type[Fact], Callable[[Chart, Any], Iterator[Json]]] = {
    Visit: _visit,
    Diagnosis: _diagnosis,
    Measure: _measure,
    Drug: fhir_drugs.drug,
    Operation: _operation,
    Shot: _shot,
    Allergy: _allergy,
    Sample: _sample,
    Order: _order,
    Implant: _implant,
    Family: _family,
    Survey: _survey,
    Plan: _plan,
    Imaging: fhir_documents.imaging,
    Note: fhir_documents.document,
    Bill: fhir_money.bill,
    Cover: fhir_money.cover,
}
