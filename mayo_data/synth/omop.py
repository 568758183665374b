"""A chart as rows of the OMOP CDM 5.4, from the same facts as its FHIR resources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

from mayo_data.synth import fhir_drugs
from mayo_data.synth.codes import LOINC, Code
from mayo_data.synth.facts import (
    Allergy,
    Bill,
    Chart,
    Cover,
    Diagnosis,
    Drug,
    Fact,
    Family,
    Implant,
    Measure,
    Note,
    Operation,
    Person,
    Sample,
    Shot,
    Survey,
    Value,
    Visit,
    When,
)
from mayo_data.synth.omop_people import EHR, Row, directory, person_id, person_rows, stamp
from mayo_data.synth.vocabulary import unit_id

_VISIT = {"AMB": 9202, "IMP": 9201, "EMER": 9203, "VR": 5083}
_DRUG_TYPE = {"request": 32838, "administration": 32818, "dispense": 32825, "statement": 32865}
_ROUTE = {"oral": 4132161, "intravenous": 4171047, "subcutaneous": 4142048, "inhalation": 40486069}
_DISCHARGED_TO = {"home": 0, "snf": 8863, "home-health": 38004519}


def event_id(person: Person, fact: Fact, part: int = 0) -> int:
    """Return the id of a row: unique in its table, stable when patients are added."""
    return (person_id(person) * 10_000 + fact.key) * 10 + part


def render(chart: Chart) -> Iterator[Row]:
    """Yield all rows of a chart: table name and columns.

    Args:
        chart: A person and the facts about them; notes have their text.
    """
    yield from person_rows(chart)
    for fact in chart.facts:
        maker = _RENDER.get(type(fact))
        if maker is not None:
            yield from maker(chart, fact)


def _day(when: When) -> date:
    # OMOP knows no partial dates: a year becomes its first day, as ETL conventions have it.
    if when.precision == "year":
        return date(when.at.year, 1, 1)
    if when.precision == "month":
        return date(when.at.year, when.at.month, 1)
    return when.at.date()


def _base(chart: Chart, fact: Fact, key: str, part: int = 0) -> dict[str, Any]:
    return {
        key: event_id(chart.person, fact, part),
        "person_id": person_id(chart.person),
        "provider_id": fact.staff.number,
        "visit_occurrence_id": event_id(chart.person, fact.visit) if fact.visit else None,
    }


def _concept(prefix: str, item: Code) -> dict[str, Any]:
    """Return concept and source columns: the billed code is the source where there is one."""
    source = item.billed if item.billed and item.group == "condition" else item
    return {
        f"{prefix}_concept_id": item.omop,
        f"{prefix}_source_value": source.code,
        f"{prefix}_source_concept_id": source.omop,
    }


def _visit(chart: Chart, fact: Visit) -> Iterator[Row]:
    ward = fact.place.parent if fact.place.kind == "room" and fact.place.parent else fact.place
    number = event_id(chart.person, fact)
    yield (
        "visit_occurrence",
        {
            "visit_occurrence_id": number,
            "person_id": person_id(chart.person),
            "visit_concept_id": _VISIT[fact.kind],
            "visit_start_date": fact.when.at.date(),
            "visit_start_datetime": stamp(fact.when),
            "visit_end_date": fact.end.at.date(),
            "visit_end_datetime": stamp(fact.end),
            "visit_type_concept_id": EHR,
            "provider_id": fact.staff.number,
            "care_site_id": chart.person.hospital.place.number,
            "visit_source_value": fact.number,
            "visit_source_concept_id": 0,
            "admitted_from_concept_id": 8870 if fact.kind == "IMP" else None,
            "discharged_to_concept_id": _DISCHARGED_TO.get(fact.discharge),
            "discharged_to_source_value": fact.discharge or None,
        },
    )
    stays = fact.stays or [(ward, fact.when, fact.end)]
    for part, (place, start, end) in enumerate(stays):
        site = place.parent if place.kind == "room" and place.parent else place
        yield (
            "visit_detail",
            {
                "visit_detail_id": event_id(chart.person, fact, part),
                "person_id": person_id(chart.person),
                "visit_detail_concept_id": _VISIT[fact.kind],
                "visit_detail_start_date": start.at.date(),
                "visit_detail_start_datetime": stamp(start),
                "visit_detail_end_date": end.at.date(),
                "visit_detail_end_datetime": stamp(end),
                "visit_detail_type_concept_id": EHR,
                "provider_id": fact.staff.number,
                "care_site_id": site.number,
                "visit_detail_source_value": place.name,
                "visit_detail_source_concept_id": 0,
                "preceding_visit_detail_id": event_id(chart.person, fact, part - 1) if part else None,
                "visit_occurrence_id": number,
            },
        )


def _diagnosis(chart: Chart, fact: Diagnosis) -> Iterator[Row]:
    row = _base(chart, fact, "condition_occurrence_id") | _concept("condition", fact.code)
    row |= {
        "condition_start_date": _day(fact.when),
        "condition_start_datetime": stamp(fact.when),
        "condition_end_date": _day(fact.end) if fact.end else None,
        "condition_type_concept_id": 32840 if fact.category == "problem-list-item" else EHR,
        "condition_status_source_value": "resolved" if fact.end else "active",
    }
    yield "condition_occurrence", row


def _measured(given: Value | None) -> dict[str, Any]:
    if given is None:
        return {}
    if given.kind in ("Quantity", "integer"):
        unit = {"unit_concept_id": unit_id(given.unit), "unit_source_value": given.unit} if given.unit else {}
        return {"value_as_number": float(given.text), "value_source_value": given.text, **unit}
    if given.kind == "CodeableConcept" and given.code:
        return {"value_as_concept_id": given.code.omop, "value_source_value": given.code.name[:50]}
    text = given.text
    if given.other and given.kind in ("Range", "Ratio", "Period"):
        text = f"{given.text}{':' if given.kind == 'Ratio' else '-'}{given.other}"
    return {"value_source_value": text[:50]}


def _measure(chart: Chart, fact: Measure) -> Iterator[Row]:
    # A panel is its components: OMOP has no row for the panel itself.
    pairs: Sequence[tuple[Code, Value | None]] = fact.parts or [(fact.code, fact.value)]
    for part, (item, given) in enumerate(pairs):
        measured = _measured(given)
        if item.domain == "Observation":
            row = _base(chart, fact, "observation_id", part) | _concept("observation", item) | measured
            row |= {
                "observation_date": fact.when.at.date(),
                "observation_datetime": stamp(fact.when),
                "observation_type_concept_id": EHR,
                "value_as_string": given.text[:60]
                if given and given.kind not in ("Quantity", "integer", "CodeableConcept")
                else None,
            }
            yield "observation", row
            continue
        row = _base(chart, fact, "measurement_id", part) | _concept("measurement", item) | measured
        row |= {
            "measurement_date": fact.when.at.date(),
            "measurement_datetime": stamp(fact.when),
            "measurement_time": fact.when.at.strftime("%H:%M:%S"),
            "measurement_type_concept_id": 32856 if fact.category == "laboratory" else EHR,
            "range_low": float(item.low) if item.low and item.unit else None,
            "range_high": float(item.high) if item.high and item.unit else None,
        }
        if fact.sample:
            row |= {
                "measurement_event_id": event_id(chart.person, fact.sample),
                "meas_event_field_concept_id": 1147306,  # specimen.specimen_id
            }
        yield "measurement", row


def _drug(chart: Chart, fact: Drug) -> Iterator[Row]:
    end = fact.end or fact.when
    row = _base(chart, fact, "drug_exposure_id") | _concept("drug", fact.code)
    row |= {
        "drug_exposure_start_date": fact.when.at.date(),
        "drug_exposure_start_datetime": stamp(fact.when),
        "drug_exposure_end_date": end.at.date(),
        "drug_exposure_end_datetime": stamp(end),
        "drug_type_concept_id": _DRUG_TYPE[fact.act],
        "refills": fact.refills if fact.act == "request" else None,
        "quantity": float(fact.dose) if fact.act == "administration" else float(fact.code.per_day * fact.days),
        "days_supply": None if fact.act == "administration" else fact.days,
        "sig": fhir_drugs.sig(fact),
        "route_concept_id": _ROUTE[fact.code.route],
        "route_source_value": fact.code.route,
        "dose_unit_source_value": fact.code.unit,
    }
    yield "drug_exposure", row


def _shot(chart: Chart, fact: Shot) -> Iterator[Row]:
    row = _base(chart, fact, "drug_exposure_id") | _concept("drug", fact.code)
    row |= {
        "drug_exposure_start_date": fact.when.at.date(),
        "drug_exposure_start_datetime": stamp(fact.when),
        "drug_exposure_end_date": fact.when.at.date(),
        "drug_type_concept_id": 32818,
        "quantity": 1.0,
        "lot_number": fact.lot,
    }
    yield "drug_exposure", row


def _operation(chart: Chart, fact: Operation) -> Iterator[Row]:
    row = _base(chart, fact, "procedure_occurrence_id") | _concept("procedure", fact.code)
    row |= {
        "procedure_date": fact.when.at.date(),
        "procedure_datetime": stamp(fact.when),
        "procedure_end_date": fact.end.at.date(),
        "procedure_end_datetime": stamp(fact.end),
        "procedure_type_concept_id": EHR,
        "quantity": 1,
    }
    yield "procedure_occurrence", row


def _implant(chart: Chart, fact: Implant) -> Iterator[Row]:
    row = _base(chart, fact, "device_exposure_id") | _concept("device", fact.code)
    row |= {
        "device_exposure_start_date": fact.when.at.date(),
        "device_exposure_start_datetime": stamp(fact.when),
        "device_type_concept_id": EHR,
        "unique_device_id": fact.udi,
        "production_id": fact.serial,
        "quantity": 1,
    }
    yield "device_exposure", row


def _noted(chart: Chart, fact: Fact, item: Code, answer: Code | None, text: str, part: int = 0) -> Row:
    row = _base(chart, fact, "observation_id", part) | _concept("observation", item)
    row |= {
        "observation_date": _day(fact.when),
        "observation_datetime": stamp(fact.when),
        "observation_type_concept_id": EHR,
        "value_as_concept_id": answer.omop if answer else None,
        "value_as_string": text[:60] or None,
        "value_source_value": answer.code if answer else None,
    }
    return "observation", row


def _allergy(chart: Chart, fact: Allergy) -> Iterator[Row]:
    yield _noted(chart, fact, fact.code, fact.reaction, fact.reaction.short)


def _family(chart: Chart, fact: Family) -> Iterator[Row]:
    history = Code("family", "family", LOINC, "10157-6", "History of family member diseases Narrative", omop=FAMILY)
    yield _noted(chart, fact, history, fact.code, f"{fact.relation}: {fact.code.short}")


def _survey(chart: Chart, fact: Survey) -> Iterator[Row]:
    for part, (item, answer) in enumerate(fact.answers):
        yield _noted(chart, fact, item, answer, answer.name, part)


def _sample(chart: Chart, fact: Sample) -> Iterator[Row]:
    yield (
        "specimen",
        {
            "specimen_id": event_id(chart.person, fact),
            "person_id": person_id(chart.person),
            "specimen_concept_id": fact.code.omop,
            "specimen_type_concept_id": EHR,
            "specimen_date": fact.when.at.date(),
            "specimen_datetime": stamp(fact.when),
            "specimen_source_id": fact.accession,
            "specimen_source_value": fact.code.code,
        },
    )


def _note(chart: Chart, fact: Note) -> Iterator[Row]:
    row = _base(chart, fact, "note_id")
    row |= {
        "note_date": fact.when.at.date(),
        "note_datetime": stamp(fact.when),
        "note_type_concept_id": 32831,
        "note_class_concept_id": fact.code.omop,
        "note_title": fact.code.name,
        "note_text": fact.text,
        "encoding_concept_id": 32678,
        "language_concept_id": 4180186,
        "note_source_value": fact.type,
    }
    yield "note", row


def _cover(chart: Chart, fact: Cover) -> Iterator[Row]:
    last = max(found.end.at for found in chart.facts if isinstance(found, Visit))
    yield (
        "payer_plan_period",
        {
            "payer_plan_period_id": event_id(chart.person, fact),
            "person_id": person_id(chart.person),
            "payer_plan_period_start_date": fact.when.at.date(),
            "payer_plan_period_end_date": (fact.end.at if fact.end else last).date(),
            "payer_source_value": chart.person.insurer,
            "plan_source_value": chart.person.group_number,
            "family_source_value": chart.person.member,
        },
    )


def _bill(chart: Chart, fact: Bill) -> Iterator[Row]:
    policy = next(found for found in chart.facts if isinstance(found, Cover))
    assert fact.visit is not None
    yield (
        "cost",
        {
            "cost_id": event_id(chart.person, fact),
            "cost_event_id": event_id(chart.person, fact.visit),
            "cost_domain_id": "Visit",
            "cost_type_concept_id": 32810,
            "currency_concept_id": 44818668,
            "total_charge": float(fact.charge),
            "total_paid": round(float(fact.paid) + float(fact.copay), 2),
            "paid_by_payer": float(fact.paid),
            "paid_by_patient": float(fact.copay),
            "paid_patient_copay": float(fact.copay),
            "payer_plan_period_id": event_id(chart.person, policy),
            "amount_allowed": float(fact.allowed),
        },
    )


FAMILY = 2_000_000_001
_RENDER: dict[type[Fact], Callable[[Chart, Any], Iterator[Row]]] = {
    Visit: _visit,
    Diagnosis: _diagnosis,
    Measure: _measure,
    Drug: _drug,
    Shot: _shot,
    Operation: _operation,
    Implant: _implant,
    Allergy: _allergy,
    Family: _family,
    Survey: _survey,
    Sample: _sample,
    Note: _note,
    Cover: _cover,
    Bill: _bill,
}


__all__ = ["directory", "event_id", "person_id", "render"]
