"""Small FHIR R4 elements that many resources share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mayo_data.synth.codes import UCUM, Code
from mayo_data.synth.facts import Address, Fact, Name, Person, Staff, Value, When

Json = dict[str, Any]
TERMS = "http://terminology.hl7.org/CodeSystem/"


def coding(item: Code) -> Json:
    """Return a Coding."""
    return {"system": item.system, "code": item.code, "display": item.name}


def concept(item: Code, text: str = "") -> Json:
    """Return a CodeableConcept, with the billed code beside the clinical one."""
    found: Json = {"coding": [coding(item)]}
    if item.billed:
        found["coding"].append(coding(item.billed))
    found["text"] = text or item.short or item.name
    return found


def term(system: str, code: str, display: str = "") -> Json:
    """Return a CodeableConcept of an HL7 code system."""
    found = {"system": system if ":" in system else TERMS + system, "code": code}
    if display:
        found["display"] = display
    return {"coding": [found]}


def reference(kind: str, id_: str, display: str = "") -> Json:
    """Return a Reference."""
    return {"reference": f"{kind}/{id_}", "display": display} if display else {"reference": f"{kind}/{id_}"}


def staff(who: Staff) -> Json:
    """Return a Reference to a clinician, with the name that people see."""
    return reference("Practitioner", who.id, f"{who.name.full}, {who.title}")


def patient(person: Person) -> Json:
    """Return a Reference to the patient; two hospitals of four print the name beside it."""
    return reference("Patient", person.id, person.name.listed if person.hospital.number % 2 else "")


def quantity(text: str, unit: str) -> Json:
    """Return a Quantity that keeps the digits as printed."""
    found: Json = {"value": Decimal(text)}
    if unit:
        found |= {"unit": unit.strip("{}") if unit.startswith("{") else unit, "system": UCUM, "code": unit}
    return found


def value(given: Value) -> Json:
    """Return the `value[x]` element of an observation.

    >>> value(Value("boolean", "true"))
    {'valueBoolean': True}
    """
    kind: str = given.kind
    content: Any
    if kind == "Quantity":
        content = quantity(given.text, given.unit)
    elif kind == "CodeableConcept" and given.code:
        content = concept(given.code)
    elif kind == "integer":
        content = int(given.text)
    elif kind == "boolean":
        content = given.text == "true"
    elif kind == "Period":
        content = {"start": given.text, "end": given.other}
    elif kind == "Range":
        content = {"low": quantity(given.text, given.unit), "high": quantity(given.other, given.unit)}
    elif kind == "Ratio":
        content = {"numerator": quantity(given.text, "1"), "denominator": quantity(given.other, "1")}
    elif kind == "SampledData":
        content = {
            "origin": quantity("0", given.unit),
            "period": Decimal(given.other),
            "dimensions": 1,
            "data": given.text,
        }
    else:
        content = given.text
    return {f"value{kind[0].upper()}{kind[1:]}": content}


def human_name(name: Name, use: str, prefix: str = "") -> Json:
    """Return a HumanName."""
    found: Json = {
        "use": use,
        "text": name.full,
        "family": name.family,
        "given": [part for part in (name.given, name.middle) if part],
    }
    if prefix:
        found["prefix"] = [prefix]
    if name.suffix:
        found["suffix"] = [name.suffix]
    return found


def address(place: Address, use: str = "home") -> Json:
    """Return an Address."""
    found: Json = {
        "use": use,
        "type": "both",
        "line": place.street.split(", ", 1),
        "city": place.city,
        "district": place.county,
        "state": place.state,
        "postalCode": place.zip,
        "country": "US",
    }
    period = {}
    if place.since:
        period["start"] = place.since.isoformat()
    if place.until:
        period["end"] = place.until.isoformat()
    if period:
        found["period"] = period
    return found


def telecom(system: str, number: str, use: str) -> Json:
    """Return a ContactPoint."""
    return {"system": system, "value": number, "use": use}


def meta(recorded: When, profile: str = "") -> Json:
    """Return a Meta: the server stamped the resource a little after it was recorded."""
    stamp = recorded.later(minutes=3)
    stamp = stamp._replace(at=stamp.at.replace(microsecond=137000), precision="milli")
    found: Json = {"versionId": "1", "lastUpdated": stamp.iso()}
    if profile:
        found["profile"] = [f"http://hl7.org/fhir/us/core/StructureDefinition/{profile}"]
    return found


def note(text: str, fact: Fact) -> Json:
    """Return an Annotation."""
    return {"authorString": fact.staff.name.plain, "time": fact.recorded.iso(), "text": text}


def second(when: When) -> str:
    """Return an instant: a time to the second with its offset."""
    return (when if when.precision in ("second", "milli", "utc") else when.written("second")).iso()
