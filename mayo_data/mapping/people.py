"""Patients, practitioners and places: person, death, location, provider, care_site, visit_occurrence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mayo_data.mapping import cdm
from mayo_data.mapping.cdm import Row
from mayo_data.mapping.context import Context
from mayo_data.mapping.elements import (
    Coding,
    Json,
    code_of,
    codings,
    data,
    extension,
    first,
    moment,
    number,
    reference,
    some,
    text_of,
    words,
)  # fmt: skip

Rows = Iterator[tuple[str, Row]]

_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
_CHOSEN = "https://fhir2omop.health-samurai.io/StructureDefinition/omop-"  # a concept chosen by hand goes first
_BIRTH_TIME = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
_GEOLOCATION = "http://hl7.org/fhir/StructureDefinition/geolocation"


def patient(context: Context, resource: Json) -> Rows:
    """Map a Patient to person, and to location and death where it has an address and a date of death.

    Source: HL7 FHIR-to-OMOP guide, PersonMap; sex at birth before administrative gender, as the CDM asks.
    """
    name = words(resource.get("id"))
    person = cdm.key("person", name)
    place = next((one for one in some(resource.get("address")) if one.get("use") == "official"), None)
    place = place or first(resource.get("address"))
    location = _address(context, place)
    if location is not None:
        yield "location", location
    sex = next((words(one.get("valueCode")) for one in extension(resource, _CORE + "birthsex")), "")
    sex = sex or words(resource.get("gender"))
    race, race_words = _group(context, resource, "race")
    ethnicity, ethnicity_words = _group(context, resource, "ethnicity")
    who = next(
        (found for one in some(resource.get("generalPractitioner")) if (found := reference(one, "Practitioner"))), ""
    )
    site = reference(resource.get("managingOrganization"), "Organization")
    yield (
        "person",
        {
            "person_id": person,
            "gender_concept_id": context.constant("gender", sex) or 0,
            **_birth(resource),
            "race_concept_id": race,
            "ethnicity_concept_id": ethnicity,
            "location_id": location["location_id"] if location else None,
            "provider_id": cdm.key("provider", who) if who else None,
            "care_site_id": cdm.key("care_site", site) if site else None,
            "person_source_value": name,
            "gender_source_value": sex,
            "gender_source_concept_id": context.constant("gender_source", sex) or 0,
            "race_source_value": race_words,
            "race_source_concept_id": 0,
            "ethnicity_source_value": ethnicity_words,
            "ethnicity_source_concept_id": 0,
        },
    )
    died = moment(resource.get("deceasedDateTime"))
    if died is not None:
        yield "death", {
            "person_id": person, "death_date": died.day, "death_datetime": died.time,
            "death_type_concept_id": context.kind("Patient", "death"),
        }  # fmt: skip
    elif resource.get("deceasedBoolean") is True or "deceasedDateTime" in resource:
        context.drop(resource, "no_date_of_death")


def _birth(resource: Json) -> Row:
    written = words(resource.get("birthDate"))
    born = moment(written)
    if born is None:
        return {}
    parts = len(written.split("T")[0].split("-"))
    exact = next((found for one in extension(first(resource.get("_birthDate")), _BIRTH_TIME)
                  if (found := moment(one.get("valueDateTime"))) is not None), None)  # fmt: skip
    return {
        "year_of_birth": born.day.year,
        "month_of_birth": born.day.month if parts > 1 else None,
        "day_of_birth": born.day.day if parts > 2 else None,
        "birth_datetime": exact.time if exact else born.time if parts > 2 else None,
    }


def _group(context: Context, resource: Json, name: str) -> tuple[int, str]:
    """Race or ethnicity: its concept and its words. Of several categories the first counts: OMOP has room for one."""
    said = first(extension(resource, _CORE + name))
    text = next((words(one.get("valueString")) for one in extension(said, "text")), "")
    chosen = first([one.get("valueCoding") for one in extension(resource, _CHOSEN + name)])
    if chosen:
        code = words(chosen.get("code"))
        own = context.vocabulary.get(int(code)) if code.isascii() and code.isdigit() and len(code) < 12 else None
        return own.concept_id if own else 0, words(chosen.get("display")) or text
    code = next((words(first(one.get("valueCoding")).get("code")) for one in extension(said, "ombCategory")), "")
    concept = context.constant(f"{name}_text", text) if code == "UNK" and f"{name}_text" in data() else None
    concept = concept or context.constant(name, code) or 0
    if not concept and said:
        context.miss(f"person.{name}_concept_id", Coding("", code, text))
    return concept, text


def _address(context: Context, address: Json) -> Row | None:
    """The location of an address: the same address is the same location."""
    line = " ".join(one for one in _lines(address) if one)
    parts = [line, words(address.get("city")), words(address.get("state")), words(address.get("postalCode"))]
    if not any(parts):
        return None
    country = words(address.get("country"))
    where = first(extension(address, _GEOLOCATION))
    return {
        "location_id": cdm.key("location", "|".join(parts)),
        "address_1": line,
        "city": parts[1],
        "state": parts[2],
        "zip": parts[3],
        "county": words(address.get("district")),
        "location_source_value": ", ".join(filter(None, parts)),
        "country_concept_id": context.constant("country", country) or 0,
        "country_source_value": country,
        **{side: next((number(one.get("valueDecimal")) for one in extension(where, side)), None)
           for side in ("latitude", "longitude")},
    }  # fmt: skip


def _lines(address: Json) -> list[str]:
    lines = address.get("line")
    return [words(one).strip() for one in (lines if isinstance(lines, list) else [lines])]


def location(context: Context, resource: Json) -> Rows:
    """Map a Location to location, and to care_site where it has a name.

    The guide has no such map; as the golden cases have it, the state is the source value and not the column `state`.
    """
    name = words(resource.get("id"))
    address, position = first(resource.get("address")), first(resource.get("position"))
    country = words(address.get("country"))
    yield (
        "location",
        {
            "location_id": cdm.key("location", f"Location/{name}"),
            "address_1": " ".join(one for one in _lines(address) if one),
            "city": words(address.get("city")),
            "zip": words(address.get("postalCode")),
            "location_source_value": words(address.get("state")),
            "country_concept_id": context.constant("country", country) or 0,
            "country_source_value": country,
            "latitude": number(position.get("latitude")),
            "longitude": number(position.get("longitude")),
        },
    )
    if words(resource.get("name")):
        yield "care_site", _site(context, resource, f"Location/{name}", cdm.key("location", f"Location/{name}"))


def organization(context: Context, resource: Json) -> Rows:
    """Map an Organization to care_site, and its address to location."""
    place = _address(context, first(resource.get("address")))
    if place is not None:
        yield "location", place
    yield "care_site", _site(context, resource, words(resource.get("id")), place["location_id"] if place else None)


def _site(context: Context, resource: Json, name: str, place: int | None) -> Row:
    kind = resource.get("type")
    concept = context.standard(kind, "care_site.place_of_service_concept_id") if kind else None
    own = context.vocabulary.get(concept) if concept else None
    return {
        "care_site_id": cdm.key("care_site", name),
        "care_site_name": words(resource.get("name")),
        "place_of_service_concept_id": concept if own is not None and own.domain == "Visit" else 0,
        "location_id": place,
        "care_site_source_value": words(resource.get("id")),
        "place_of_service_source_value": code_of(kind) or text_of(kind),
    }


def practitioner(context: Context, resource: Json) -> Rows:
    """Map a Practitioner to provider; the specialty is that of a PractitionerRole, if one names it."""
    who = words(resource.get("id"))
    name = first(resource.get("name"))
    given = name.get("given")
    given = words(given[0]) if isinstance(given, list) and given else words(given)
    sex = words(resource.get("gender"))
    gender = context.constant("gender", sex.lower()) or 0
    said = context.specialties.get(who)
    usual = context.constant("provider", "specialty") or 0
    specialty = (context.standard(said, "provider.specialty_concept_id") or 0) if said else usual
    yield "provider", {
        "provider_id": cdm.key("provider", who),
        "provider_name": f"{words(name.get('family'))}, {given}",
        "npi": next((words(one.get("value")) for one in some(resource.get("identifier"))
                     if one.get("system") == "http://hl7.org/fhir/sid/us-npi"), ""),
        "specialty_concept_id": specialty,
        "gender_concept_id": gender,
        "provider_source_value": who,
        "specialty_source_value": (code_of(said) or text_of(said)) if said else None,
        "specialty_source_concept_id": specialty,
        "gender_source_value": sex,
        "gender_source_concept_id": gender if sex.lower() in ("male", "female") else 0,
    }  # fmt: skip


def encounter(context: Context, resource: Json) -> Rows:
    """Map an Encounter to visit_occurrence; one under way ends, for now, where it starts.

    Source: HL7 FHIR-to-OMOP guide, EncounterVisitMap and its concept maps of class, admission and discharge.
    """
    person = context.subject(resource)
    if person is None:
        return
    period = first(resource.get("period") or resource.get("actualPeriod"))
    start = moment(period.get("start"), "utc") or moment(period.get("end"), "utc")
    end = moment(period.get("end"), "utc") or start
    stay = first(resource.get("hospitalization") or resource.get("admission"))
    admitted, left = code_of(stay.get("admitSource")), code_of(stay.get("dischargeDisposition"))
    kind = code_of(resource.get("class"))
    concept = context.constant("visit", kind)
    if concept is None:
        context.miss("visit_occurrence.visit_concept_id", next(iter(codings(resource.get("class"))), None))
    staff: list[Any] = [one.get("individual") or one.get("actor") for one in some(resource.get("participant"))]
    who = next((found for one in staff if (found := reference(one, "Practitioner"))), "")
    site = reference(resource.get("serviceProvider"), "Organization")
    before = reference(resource.get("partOf"), "Encounter")
    yield (
        "visit_occurrence",
        {
            "visit_occurrence_id": cdm.key("visit_occurrence", words(resource.get("id"))),
            "person_id": person,
            "visit_concept_id": concept or 0,
            "visit_start_date": start.day if start else None,
            "visit_start_datetime": start.time if start else None,
            "visit_end_date": end.day if end else None,
            "visit_end_datetime": end.time if end else None,
            "visit_type_concept_id": context.kind("Encounter", "visit_occurrence"),
            "provider_id": cdm.key("provider", who) if who else None,
            "care_site_id": cdm.key("care_site", site) if site else None,
            "visit_source_value": words(resource.get("id")),
            "visit_source_concept_id": 0,
            "admitted_from_concept_id": context.constant("admitted_from", admitted) or 0,
            "admitted_from_source_value": admitted,
            "discharged_to_concept_id": context.constant("discharged_to", left) or 0,
            "discharged_to_source_value": left,
            "preceding_visit_occurrence_id": cdm.key("visit_occurrence", before) if before else None,
        },
    )
