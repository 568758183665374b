"""Clinical facts: a code, a person, a time. The domain of the standard concept decides the table.

Sources: HL7 FHIR-to-OMOP guide, ConditionMap, ProcedureMap, MeasurementMap, ObservationMap, AllergyMap,
MedicationRequestMap, MedicationStatementMap, ImmunizationMap; CDM 5.4 conventions where it is silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mayo_data.mapping import cdm
from mayo_data.mapping.cdm import Row
from mayo_data.mapping.context import Context, Resolved, Value, answer
from mayo_data.mapping.elements import (
    Json,
    Moment,
    code_of,
    codings,
    data,
    earliest,
    first,
    moment,
    number,
    some,
    text_of,
    words,
)  # fmt: skip

Rows = Iterator[tuple[str, Row]]

_COLUMNS = {  # table: prefix of concept and source columns, start, end
    "condition_occurrence": ("condition", "condition_start", "condition_end"),
    "drug_exposure": ("drug", "drug_exposure_start", "drug_exposure_end"),
    "procedure_occurrence": ("procedure", "procedure", "procedure_end"),
    "device_exposure": ("device", "device_exposure_start", "device_exposure_end"),
    "measurement": ("measurement", "measurement", ""),
    "observation": ("observation", "observation", ""),
}
EFFECTIVE = ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming", "issued")


class Fact(NamedTuple):
    """What a row says, whatever its table.

    Attributes:
        resource: The resource.
        spec: Its type's section of `from_fhir.toml`.
        person: `person_id`.
        start: When it was or began; None where only its visit can tell.
        end: When it ended, where the table has room for that.
        links: `visit_occurrence_id` and `provider_id`.
        part: What tells the rows of one resource apart, beside their concepts.
    """

    resource: Json
    spec: Json
    person: int
    start: Moment | None
    end: Moment | None
    links: Json
    part: str = ""


def row(context: Context, fact: Fact, found: Resolved, table: str, source_value: str = "") -> Row:
    """Return the columns that the tables of clinical facts have in common.

    Args:
        context: The mapping under way.
        fact: Who and when.
        found: Concepts of the code.
        table: The table.
        source_value: Instead of the code as it is written.
    """
    prefix, start, end = _COLUMNS[table]
    standard = found.standard.concept_id if found.standard else 0
    kind = words(fact.resource.get("resourceType"))
    if not standard:
        context.miss(f"{table}.{prefix}_concept_id", found.coding)
    name = f"{kind}/{words(fact.resource.get('id'))}|{fact.part}|{standard}"
    made: Row = {
        f"{table}_id": cdm.key(table, name),
        "person_id": fact.person,
        f"{prefix}_concept_id": standard,
        f"{start}_date": fact.start.day if fact.start else None,
        f"{start}_datetime": fact.start.time if fact.start else None,
        f"{prefix}_type_concept_id": context.kind(kind, table),
        f"{prefix}_source_value": source_value or found.coding.code or found.coding.display,
        f"{prefix}_source_concept_id": found.source.concept_id if found.source else 0,
        **fact.links,
    }
    until = fact.end or (fact.start if table == "drug_exposure" else None)  # a drug must end, if only where it starts
    if end and until is not None:
        made |= {f"{end}_date": until.day, f"{end}_datetime": until.time}
    return made


def table_of(found: Resolved, home: str) -> str:
    """Return the table of a concept: that of its domain, of a domain without a table `observation`."""
    if found.standard is None:
        return home
    table: str = data()["domains"].get(found.standard.domain, "observation")
    return table


def fact_of(context: Context, resource: Json, times: tuple[str, ...], end: Any, *providers: Any) -> Fact | None:
    """Return who and when, or None and a count of why not.

    Args:
        context: The mapping under way.
        resource: The resource.
        times: Elements that may say when, best first.
        end: When it ended.
        providers: References to who did it, or lists of them.
    """
    spec = data()["resource"][resource["resourceType"]]
    if not context.happened(resource, spec):
        return None
    person = context.subject(resource)
    if person is None:
        return None
    start = earliest(resource, times, spec["clock"])
    links = context.links(resource, *providers)
    if start is None and links["visit_occurrence_id"] is None:
        context.drop(resource, "no_date")
        return None
    return Fact(resource, spec, person, start, _until(resource, times, end, start, spec["clock"]), links)


def _until(resource: Json, times: tuple[str, ...], end: Any, start: Moment | None, clock: str) -> Moment | None:
    """The end on the clock of the start: 10:00+05:30 until 05:00Z is half an hour, not five hours backwards."""
    until = moment(end, clock)
    if until is None or start is None or until.time >= start.time:
        return until
    began, ended = earliest(resource, times, "utc"), moment(end, "utc")
    if began is None or ended is None or ended.time < began.time:
        return until
    at = start.time + (ended.time - began.time)
    return Moment(at.date(), at)


def coded(context: Context, resource: Json, element: Any) -> bool:
    """Whether an element says anything; else its resource is counted."""
    if codings(element) or text_of(element):
        return True
    context.drop(resource, "no_code")
    return False


def condition(context: Context, resource: Json) -> Rows:
    """Map a Condition: a row for every different standard concept of its codings."""
    period = first(resource.get("abatementPeriod"))
    fact = fact_of(
        context, resource, ("onsetDateTime", "onsetPeriod", "recordedDate"),
        resource.get("abatementDateTime") or period.get("end"), resource.get("asserter"), resource.get("recorder"),
    )  # fmt: skip
    if fact is None or not coded(context, resource, resource.get("code")):
        return
    clinical, verified = code_of(resource.get("clinicalStatus")), code_of(resource.get("verificationStatus"))
    status = context.constant("condition_status", verified) or context.constant("condition_status", clinical) or 0
    kind = context.constant("condition_type", code_of(first(resource.get("category"))))
    for found in context.resolve(resource["code"], fact.spec):
        table = table_of(found, fact.spec["home"])
        made = row(context, fact, found, table, found.coding.display or found.coding.code or text_of(resource["code"]))
        if table == "condition_occurrence":
            made |= {
                "condition_status_concept_id": status,
                "condition_status_source_value": clinical,
                "stop_reason": words(resource.get("abatementString")),
            }
        if table in ("condition_occurrence", "observation"):
            made[f"{_COLUMNS[table][0]}_type_concept_id"] = kind or context.constant("condition_type", "other") or 0
        yield table, made


def procedure(context: Context, resource: Json) -> Rows:
    """Map a Procedure: the best coding, preferably one that means a procedure."""
    period = first(resource.get("performedPeriod") or resource.get("occurrencePeriod"))
    times = ("performedDateTime", "performedPeriod", "occurrenceDateTime", "occurrencePeriod")
    staff = [one.get("actor") for one in some(resource.get("performer"))]
    fact = fact_of(context, resource, times, period.get("end"), staff)
    if fact is None or not coded(context, resource, resource.get("code")):
        return
    for found in context.resolve(resource["code"], fact.spec, "Procedure"):
        table = table_of(found, fact.spec["home"])
        yield table, row(context, fact, found, table)


def observation(context: Context, resource: Json) -> Rows:
    """Map an Observation, and each of its components: labs and vital signs, answers, findings."""
    fact = fact_of(context, resource, EFFECTIVE, None, resource.get("performer"))
    if fact is None:
        return
    parts = [one for one in some(resource.get("component")) if codings(one.get("code")) or text_of(one.get("code"))]
    home = _home(resource)
    if _says(resource, panel=bool(parts or resource.get("hasMember"))):
        if coded(context, resource, resource.get("code")):
            yield from _observed(context, fact, resource, home)
    elif not parts:
        context.drop(resource, "no_value")
    for at, part in enumerate(parts):
        if _says(part, panel=False):
            yield from _observed(context, fact._replace(part=f"component {at}"), part, home)
        else:
            context.drop(resource, "no_value")


def _home(resource: Json) -> str:
    """Where an observation goes that has no standard concept: the guide's table of categories."""
    codes = {one.code for one in codings(resource.get("category"))}
    return "measurement" if codes & {"laboratory", "vital-signs"} else "observation"


def _says(element: Json, *, panel: bool) -> bool:
    """Whether an Observation or component is a fact: it has a value, or is a finding that needs none."""
    if any(name.startswith("value") and value not in (None, {}, [], "") for name, value in element.items()):
        return True
    return not panel and "dataAbsentReason" not in element


def _observed(context: Context, fact: Fact, element: Json, home: str) -> Rows:
    for found in context.resolve(element.get("code"), fact.spec):
        table = table_of(found, home)
        valued = any(name.startswith("value") for name in element)
        if valued and table not in ("measurement", "observation"):
            table = "observation"  # only there is room for a value, and "fever: no" is no condition
        made = row(context, fact, found, table)
        if table in ("measurement", "observation"):
            value = answer(context, element, table) or Value()
            if value == Value() and found.source is not None:  # a code that holds question and answer
                answers = context.vocabulary.answers(found.source.concept_id)
                value = Value(concept=answers[0].concept_id if answers else None)
            made |= _valued(context, table, value, first(element.get("referenceRange")))
        yield table, made


def _valued(context: Context, table: str, value: Value, limits: Json) -> Row:
    made: Row = {
        "value_as_number": value.number,
        "value_as_concept_id": value.concept,
        "unit_concept_id": value.unit,
        "unit_source_value": value.unit_text,
        "value_source_value": value.coded,
    }
    if table == "observation":
        return made | {"value_as_string": value.text}
    return made | {
        "value_source_value": value.coded or value.text,
        "operator_concept_id": context.constant("operator", value.operator),
        "range_low": number(first(limits.get("low")).get("value")),
        "range_high": number(first(limits.get("high")).get("value")),
    }


def allergy(context: Context, resource: Json) -> Rows:
    """Map an AllergyIntolerance: what kind of allergy, with the substance as its value.

    Source: HL7 FHIR-to-OMOP guide, AllergyMap, ConceptMaps AllergyType and IntoleranceType, pattern value as concept.
    A code that says the whole (no known allergy, allergy to peanuts) is the concept itself.
    """
    fact = fact_of(
        context, resource, ("onsetDateTime", "onsetPeriod", "recordedDate"), None, resource.get("asserter"),
        resource.get("recorder"),
    )  # fmt: skip
    if fact is None or not coded(context, resource, resource.get("code")):
        return
    reactions = [text_of(sign) for one in some(resource.get("reaction")) for sign in some(one.get("manifestation"))]
    group = f"{words(resource.get('type')) or 'allergy'} {code_of(resource.get('category'))}"
    for found in context.resolve(resource["code"], fact.spec):
        standard = found.standard
        substance = standard is not None and standard.kind not in ("Clinical Finding", "Context-dependent", "Disorder")
        table = "observation" if substance else table_of(found, "observation")
        made = row(context, fact, found, table)
        if table == "observation":
            made["value_as_string"] = "; ".join(filter(None, reactions))
        if substance and standard is not None:
            made["observation_concept_id"] = context.constant("allergy", group) or standard.concept_id
            made["value_as_concept_id"] = standard.concept_id
            made["value_source_value"] = found.coding.code
        yield table, made
