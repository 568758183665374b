"""Drugs, devices and specimens.

Sources: HL7 FHIR-to-OMOP guide, MedicationRequestMap, MedicationStatementMap, ImmunizationMap; CDM 5.4 conventions.
"""

from __future__ import annotations

from typing import Any

from mayo_data.mapping import cdm
from mayo_data.mapping.cdm import Row
from mayo_data.mapping.context import Context
from mayo_data.mapping.elements import Json, code_of, data, first, number, reference, some, text_of, words
from mayo_data.mapping.facts import Rows, coded, fact_of, row, table_of


def _medication(context: Context, resource: Json) -> Any:
    """The code of the drug: in the resource, in a Medication that it contains, or in one of the export."""
    either = resource.get("medication")  # R5: CodeableReference
    coded = resource.get("medicationCodeableConcept") or (first(either).get("concept") if either else None)
    if coded:
        return coded
    link = resource.get("medicationReference") or first(either).get("reference")
    target = words(first(link).get("reference"))
    if target.startswith("#"):
        inner = [one for one in some(resource.get("contained")) if one.get("id") == target[1:]]
        return inner[0].get("code") if inner else None
    return context.medications.get(reference(link, "Medication")) or {"text": words(first(link).get("display"))}


def drug(context: Context, resource: Json) -> Rows:
    """Map a MedicationRequest, -Administration, -Dispense or -Statement, or an Immunization, to drug_exposure."""
    if resource.get("doNotPerform") is True:
        context.drop(resource, "not_done")
        return
    kind = resource["resourceType"]
    times, end, staff = _drug_times(resource, kind)
    fact = fact_of(context, resource, times, end, staff)
    if fact is None:
        return
    element = resource.get("vaccineCode") if kind == "Immunization" else _medication(context, resource)
    if not coded(context, resource, element):
        return
    for found in context.resolve(element, fact.spec, "Drug"):
        table = table_of(found, fact.spec["home"])
        made = row(context, fact, found, table)
        if table == "drug_exposure":
            made |= _dose(context, resource, kind)
        yield table, made


def _drug_times(resource: Json, kind: str) -> tuple[tuple[str, ...], Any, Any]:
    if kind == "MedicationRequest":
        return ("authoredOn",), None, resource.get("requester")
    if kind == "Immunization":
        return ("occurrenceDateTime", "recorded"), None, [one.get("actor") for one in some(resource.get("performer"))]
    staff = [one.get("actor") for one in some(resource.get("performer"))]
    if kind == "MedicationDispense":
        return ("whenHandedOver", "whenPrepared"), None, staff
    times = ("effectiveDateTime", "effectivePeriod", "occurenceDateTime", "occurencePeriod", "dateAsserted")
    period = first(resource.get("effectivePeriod") or resource.get("occurencePeriod"))
    return times, period.get("end"), staff or resource.get("informationSource")


def _dose(context: Context, resource: Json, kind: str) -> Row:
    dosage = first(resource.get("dosageInstruction") or resource.get("dosage"))
    supply = first(resource.get("dispenseRequest"))
    quantity = first(resource.get("quantity") or supply.get("quantity") or dosage.get("dose") or
                     resource.get("doseQuantity") or first(dosage.get("doseAndRate")).get("doseQuantity"))  # fmt: skip
    days = number(first(resource.get("daysSupply") or supply.get("expectedSupplyDuration")).get("value"))
    refills = number(supply.get("numberOfRepeatsAllowed"))
    route = dosage.get("route") or (resource.get("route") if kind == "Immunization" else None)
    stopped = resource.get("statusReason")
    return {
        "quantity": number(quantity.get("value")),
        "dose_unit_source_value": words(quantity.get("unit")) or words(quantity.get("code")),
        "days_supply": int(days) if days is not None and abs(days) < 100_000 else None,
        "refills": int(refills) if refills is not None and abs(refills) < 100_000 else None,
        "sig": words(dosage.get("text")),
        "route_concept_id": context.standard(route, "drug_exposure.route_concept_id") if route else None,
        "route_source_value": code_of(route) or text_of(route),
        "lot_number": words(resource.get("lotNumber")) or words(first(resource.get("batch")).get("lotNumber")),
        "stop_reason": text_of(stopped) if code_of(resource.get("status")) == "stopped" else "",
    }


def device(context: Context, resource: Json) -> Rows:
    """Map a Device of a patient to device_exposure; a code that is no device makes no exposure."""
    spec = data()["resource"]["Device"]
    if not (resource.get("patient") or resource.get("subject")):
        return context.drop(resource, "no_subject")
    until = resource.get("expirationDate")
    fact = fact_of(context, resource, ("manufactureDate",), until)
    if fact is None or not coded(context, resource, resource.get("type")):
        return None
    carrier = first(resource.get("udiCarrier"))
    for found in context.resolve(resource["type"], spec, "Device"):
        if found.standard is not None and found.standard.domain != "Device":
            context.drop(resource, "wrong_domain")
            continue
        made = row(context, fact, found, "device_exposure")
        yield (
            "device_exposure",
            made
            | {
                "unique_device_id": words(carrier.get("deviceIdentifier")),
                "production_id": words(resource.get("lotNumber")),
            },
        )
    return None


def specimen(context: Context, resource: Json) -> Rows:
    """Map a Specimen."""
    collected = first(resource.get("collection"))
    times = {name: collected.get(name) for name in ("collectedDateTime", "collectedPeriod")}
    fact = fact_of(context, {**times, **resource}, (*times, "receivedTime"), None)
    if fact is None or not coded(context, resource, resource.get("type")):
        return
    if fact.start is None:  # a specimen has no visit in the CDM that could date it
        context.drop(resource, "no_date")
        return
    found = context.resolve(resource["type"], fact.spec, "Specimen")[0]
    if found.standard is None:
        context.miss("specimen.specimen_concept_id", found.coding)
    quantity = first(collected.get("quantity"))
    unit, written = context.unit(quantity, "specimen.unit_concept_id")
    site = collected.get("bodySite")
    if isinstance(site, dict) and "concept" in site:
        site = site["concept"]
    yield (
        "specimen",
        {
            "specimen_id": cdm.key("specimen", words(resource.get("id"))),
            "person_id": fact.person,
            "specimen_concept_id": found.standard.concept_id if found.standard else 0,
            "specimen_type_concept_id": context.kind("Specimen", "specimen"),
            "specimen_date": fact.start.day,
            "specimen_datetime": fact.start.time,
            "quantity": number(quantity.get("value")),
            "unit_concept_id": unit,
            "unit_source_value": written,
            "anatomic_site_concept_id": context.standard(site, "specimen.anatomic_site_concept_id") if site else None,
            "anatomic_site_source_value": code_of(site) or text_of(site),
            "specimen_source_id": words(resource.get("id")),
            "specimen_source_value": found.coding.code or found.coding.display,
        },
    )
