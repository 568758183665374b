"""Medicines ordered, given, dispensed and reported, as FHIR R4."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from mayo_data.synth import fhir_people
from mayo_data.synth.codes import SNOMED
from mayo_data.synth.facts import Chart, Drug
from mayo_data.synth.fhir_ids import id_of, start
from mayo_data.synth.fhir_parts import (
    Json,
    coding,
    concept,
    note,
    patient,
    quantity,
    reference,
    second,
    staff,
)

ROUTES = {
    "oral": ("26643006", "Oral route"),
    "intravenous": ("47625008", "Intravenous route"),
    "subcutaneous": ("34206005", "Subcutaneous route"),
    "inhalation": ("447694001", "Respiratory tract route"),
}


def sig(fact: Drug) -> str:
    """Return the dosage as a pharmacist reads it."""
    item = fact.code
    times = {1: "once daily", 2: "twice daily", 3: "three times daily", 4: "every 6 hours as needed"}[item.per_day]
    return f"{fact.dose} {item.unit.strip('{}[]')} {item.route} {times}"


def drug(chart: Chart, fact: Drug) -> Iterator[Json]:
    """Yield the resource of one act: request, administration, dispense or statement."""
    key = "context" if fact.act != "request" else "encounter"
    found = start(chart, fact, encounter=key)
    if fact.by_reference and fact.key % 3 == 0:
        found["contained"] = [
            {
                "resourceType": "Medication",
                "id": "med",
                "code": {"coding": [coding(fact.code)], "text": fact.code.short},
            }
        ]
        found["medicationReference"] = {"reference": "#med", "display": fact.code.short}
    elif fact.by_reference:
        found["medicationReference"] = reference(
            "Medication", fhir_people.medication_id(chart.person.seed, fact.code.key)
        )
    else:
        found["medicationCodeableConcept"] = concept(fact.code)
    number, label = ROUTES[fact.code.route]
    route = {"coding": [{"system": SNOMED, "code": number, "display": label}]}
    dose = quantity(fact.dose, fact.code.unit)
    dosage: Json = {
        "text": sig(fact),
        "timing": {"repeat": {"frequency": fact.code.per_day, "period": Decimal(1), "periodUnit": "d"}},
        "route": route,
        "doseAndRate": [{"doseQuantity": dose}],
    }
    if fact.remark:
        found["note"] = [note(fact.remark, fact)]
    period = {"start": fact.when.iso(), **({"end": fact.end.iso()} if fact.end else {})}
    pills = quantity(str(fact.code.per_day * fact.days), f"{{{fact.code.form}}}")
    supply = quantity(str(fact.days), "d")
    if fact.act == "request":
        found |= {
            "status": "active",
            "intent": "order",
            "authoredOn": fact.when.iso(),
            "requester": staff(fact.staff),
            "dosageInstruction": [dosage],
            "dispenseRequest": {
                "validityPeriod": period,
                "numberOfRepeatsAllowed": fact.refills,
                "quantity": pills,
                "expectedSupplyDuration": supply,
            },
        }
    elif fact.act == "administration":
        found |= {
            "status": "completed",
            "effectivePeriod": period,
            "performer": [{"actor": staff(fact.staff)}],
            "dosage": {"text": sig(fact), "route": route, "dose": dose},
        }
    elif fact.act == "dispense":
        found |= {
            "status": "completed",
            "quantity": pills,
            "daysSupply": supply,
            "whenPrepared": fact.when.iso(),
            "whenHandedOver": second(fact.when.later(minutes=40)),
            "dosageInstruction": [dosage],
        }
        if fact.based_on:
            found["authorizingPrescription"] = [reference("MedicationRequest", id_of(chart.person, fact.based_on))]
    else:
        found |= {
            "status": "active",
            "effectivePeriod": period,
            "dateAsserted": fact.recorded.iso(),
            "informationSource": patient(chart.person),
            "dosage": [dosage],
        }
    yield found
